//! The queue of the fake interlockd of [`crate::ctl::fake`].

use std::sync::{Arc, Mutex};

use zbus::object_server::SignalEmitter;
use zbus::{OwnedVariant, fdo, interface};

use crate::ctl::fixture::NOW;
use crate::ctl::history::fake::{row, words};
use crate::ctl::proxy::Row;
use crate::ctl::proxy::queue::{ListedCapacity, Paused};

/// The only batch.
pub const BATCH: &str = "3";

/// What it does with submissions, and what it was asked.
#[derive(Debug, Clone, Default)]
pub struct Submissions {
    /// So many of those that are submitted are queued already.
    pub already: u64,
    /// So many fail for good.
    pub failed: u64,
    /// So many run at the first look, and none any more at the next.
    pub running: Arc<Mutex<u64>>,
    /// Nobody may submit.
    pub denied: bool,
    /// All calls, with their options.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// How many were submitted.
    pub submitted: Arc<Mutex<u64>>,
    /// Whether the batch was looked at.
    pub seen: Arc<Mutex<bool>>,
}

impl Submissions {
    /// `Manager.Submit`.
    pub fn submit(&self, tasks: &[String], options: Row) -> fdo::Result<Vec<u64>> {
        self.ask(format!("submit {}{}", tasks.len(), words(options)));
        if self.denied {
            return Err(fdo::Error::AccessDenied("not authorised".to_owned()));
        }
        *self.submitted.lock().unwrap() += tasks.len() as u64;
        Ok((1..=tasks.len() as u64).collect())
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    /// All that it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The interface.
pub struct Queue(pub Submissions);

#[interface(name = "org.interlock.Interlock1.Queue")]
impl Queue {
    fn new_batch(&self, name: &str) -> String {
        self.0.ask(format!("batch {name:?}"));
        BATCH.to_owned()
    }

    fn list_queued(&self, filter: Row) -> (u64, Vec<Row>) {
        self.0.ask(format!("list{}", words(filter)));
        let entries = vec![row([
            ("id", 41_u64.into()),
            ("unit", "package-import@foo.service".into()),
            ("task", "import".into()),
            ("state", "delayed".into()),
            ("detail", "attempt 1 failed; the next is in 1min".into()),
            ("priority", (-10_i32).into()),
            ("position", 0_u64.into()),
            ("batch", BATCH.into()),
            ("by", "alice (uid 1000)".into()),
            ("at", (NOW - 60_000_000).into()),
            ("not-before", (NOW + 60_000_000).into()),
            ("attempt", 2_u32.into()),
            ("kind", "retry".into()),
        ])];
        (3000, entries)
    }

    fn count_queued(&self) -> Vec<Row> {
        let mut running = self.0.running.lock().unwrap();
        vec![row([
            ("task", "import".into()),
            ("queued", 12_u64.into()),
            ("delayed", 3_u64.into()),
            ("behind", 0_u64.into()),
            ("running", std::mem::take(&mut *running).into()),
            ("paused", false.into()),
        ])]
    }

    async fn list_batches(
        &self,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<Vec<Row>> {
        let seen = std::mem::replace(&mut *self.0.seen.lock().unwrap(), true);
        let submitted = *self.0.submitted.lock().unwrap();
        let total = submitted.saturating_sub(self.0.already);
        let done = total - self.0.failed;
        if !seen {
            emitter.batch_ended("2", 1, 0).await?;
            emitter.batch_ended(BATCH, done, self.0.failed).await?;
        }
        let numbers: [(&str, u64); 6] = match seen {
            true => [
                ("done", done),
                ("failed", self.0.failed),
                ("cancelled", 0),
                ("waiting", 0),
                ("running", 0),
                ("ended", NOW),
            ],
            false => [
                ("done", 0),
                ("failed", 0),
                ("cancelled", 0),
                ("waiting", total),
                ("running", 0),
                ("finish", NOW + 3_600_000_000),
            ],
        };
        let mut batch = row([
            ("id", BATCH.into()),
            ("name", "nightly".into()),
            ("by", "root".into()),
            ("at", (NOW - 60_000_000).into()),
            ("total", total.into()),
        ]);
        batch.extend(
            numbers
                .into_iter()
                .map(|(name, number)| (name.to_owned(), OwnedVariant::from(number))),
        );
        Ok(vec![batch])
    }

    fn cancel(&self, entries: Vec<String>, options: Row) -> u64 {
        let words = words(options);
        self.0.ask(format!("cancel {}{words}", entries.join(" ")));
        match entries.first().is_some_and(|entry| entry == "99") {
            true => 0,
            false => 2,
        }
    }

    #[zbus(name = "Move")]
    fn move_entries(&self, entries: Vec<String>, place: &str, priority: i32) {
        let entries = entries.join(" ");
        self.0.ask(format!("move {entries} {place} {priority}"));
    }

    fn pause(&self, task: &str, reason: &str) {
        self.0.ask(format!("pause {task:?} {reason:?}"));
    }

    fn resume(&self, task: &str) {
        self.0.ask(format!("resume {task:?}"));
    }

    fn list_paused(&self) -> Vec<Paused> {
        Vec::new()
    }

    fn set_capacity(&self, resource: &str, capacity: u32, reason: &str) {
        self.0
            .ask(format!("capacity {resource} {capacity} {reason:?}"));
    }

    fn list_capacities(&self) -> Vec<ListedCapacity> {
        let plain = (
            "rpm-db".to_owned(),
            1,
            1,
            0,
            String::new(),
            String::new(),
            0,
        );
        let changed = (
            "import-slots".to_owned(),
            4,
            8,
            6,
            "alice".to_owned(),
            "the disk is slow".to_owned(),
            NOW - 60_000_000,
        );
        vec![plain, changed]
    }

    #[zbus(signal)]
    async fn batch_ended(
        emitter: &SignalEmitter<'_>,
        id: &str,
        done: u64,
        failed: u64,
    ) -> zbus::Result<()>;
}
