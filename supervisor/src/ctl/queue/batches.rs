//! `interlockctl queue batches`, and how the end of one is waited for.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::cli::BatchesArgs;
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::line::Line;
use crate::ctl::output::{self, Screen};
use crate::ctl::proxy::Row;
use crate::ctl::proxy::fields::Fields;
use crate::ctl::table::{self, Cell, Column};

/// Between two looks at a batch: at how far it is, and whether its end was missed.
const LOOK: Duration = Duration::from_secs(1);

/// `queue batches --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batches {
    /// The oldest first.
    pub batches: Vec<Batch>,
}

/// Submissions that belong together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// Its name, may be empty.
    pub name: String,
    /// Who submitted it.
    pub by: String,
    /// When, CLOCK_REALTIME in microseconds.
    pub at_usec: Option<u64>,
    /// How many are in it.
    pub total: u64,
    /// Ended well.
    pub done: u64,
    /// Failed for good.
    pub failed: u64,
    /// Taken out.
    pub cancelled: u64,
    /// Wait.
    pub waiting: u64,
    /// Run.
    pub running: u64,
    /// When it ended.
    pub ended_usec: Option<u64>,
    /// When it may end.
    pub finish_usec: Option<u64>,
}

impl From<Row> for Batch {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            id: row.get("id"),
            name: row.get("name"),
            by: row.get("by"),
            at_usec: row.usec("at"),
            total: row.get("total"),
            done: row.get("done"),
            failed: row.get("failed"),
            cancelled: row.get("cancelled"),
            waiting: row.get("waiting"),
            running: row.get("running"),
            ended_usec: row.usec("ended"),
            finish_usec: row.usec("finish"),
        }
    }
}

impl Batch {
    /// Nothing of it waits or runs any more.
    pub fn is_over(&self) -> bool {
        self.ended_usec.is_some()
    }

    /// `2977 done, 3 failed, 8 running, 12 waiting; over at 03:10:00 (estimated)`
    pub fn progress(&self, clock: &Clock) -> String {
        let parts = [
            (self.done, "done"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.running, "running"),
            (self.waiting, "waiting"),
        ];
        let parts = parts.into_iter().filter(|(number, _)| *number > 0);
        let parts: Vec<String> = parts
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        let parts = match parts.is_empty() {
            true => "nothing in it".to_owned(),
            false => parts.join(", "),
        };
        match self.finish_usec.filter(|_| !self.is_over()) {
            Some(finish) => format!("{parts}; over at {} (estimated)", clock.time(finish)),
            None => parts,
        }
    }
}

const COLUMNS: [Column; 8] = [
    Column::text("ID", 8),
    Column::text("NAME", 8),
    Column::whole("SINCE"),
    Column::number("DONE"),
    Column::number("FAILED"),
    Column::number("RUNNING"),
    Column::number("WAITING"),
    Column::whole("END"),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &BatchesArgs) -> Result<Outcome, CtlError> {
    let batches = all(client).await?;
    output::show(&Batches { batches }, &args.form, render)
}

/// One of them.
pub async fn find(client: &Client, id: &str) -> Result<Option<Batch>, CtlError> {
    Ok(all(client).await?.into_iter().find(|batch| batch.id == id))
}

async fn all(client: &Client) -> Result<Vec<Batch>, CtlError> {
    let queue = client.submissions().await?;
    let rows = client.ask("can't list the batches", queue.list_batches());
    Ok(rows.await?.into_iter().map(Batch::from).collect())
}

pub(super) fn render(all: &Batches, clock: &Clock, screen: &Screen) -> String {
    let row = |batch: &Batch| {
        let end = match (batch.ended_usec, batch.finish_usec) {
            (Some(ended), _) => clock.time(ended),
            (None, Some(finish)) => format!("about {}", clock.time(finish)),
            (None, None) => String::new(),
        };
        vec![
            Cell::new(&batch.id),
            Cell::new(&batch.name),
            Cell::new(&clock.time(batch.at_usec.unwrap_or(0))),
            Cell::new(&format!("{}/{}", batch.done, batch.total)),
            Cell::new(&batch.failed.to_string()),
            Cell::new(&batch.running.to_string()),
            Cell::new(&batch.waiting.to_string()),
            Cell::new(&end),
        ]
    };
    table::list(&COLUMNS, &all.batches, "There is no batch.", screen, row)
}

/// Waits for the end of a batch, and shows on a terminal how far it is. `None`: interrupted from the keyboard.
///
/// The signal says it at once; looking finds it over a restart of interlockd.
pub async fn follow(client: &Client, id: &str) -> Result<Option<Batch>, CtlError> {
    let queue = client.submissions().await?;
    let ended = queue.receive_batch_ended().await;
    let mut ended = ended.map_err(|source| CtlError::Bus {
        what: "can't listen to interlockd",
        source,
    })?;
    let mut line = Line::on_stderr();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Batch::default();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                line.clear();
                return Ok(None);
            }
            Some(signal) = ended.next() => {
                if signal.args().is_ok_and(|args| args.id != id) {
                    continue;
                }
            }
            _ = looks.tick() => {}
        }
        match find(client, id).await {
            Ok(Some(batch)) => last = batch,
            // It is over and forgotten, as when thousands of others ended since.
            Ok(None) => return Ok(Some(last)),
            // interlockd is being restarted; the batch is on disk.
            Err(CtlError::Unreachable { .. }) => continue,
            Err(error) => return Err(error),
        }
        if last.is_over() {
            line.clear();
            return Ok(Some(last));
        }
        line.show(&last.progress(&Clock::of_host()));
    }
}
