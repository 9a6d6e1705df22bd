//! The queue of starts: what was submitted, and retries. Entries are started only when there is room for them, so
//! that PID 1 never has more to do than the host can.

mod behind;
mod capacity;
mod delays;
mod desk;
mod pump;
mod submit;
mod taken_back;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use interlock_core::arbiter::Uses;
use tokio::time::{Duration, Instant};

use super::super::{Notice, QueueQuery};
use super::Engine;
use crate::clock;
use crate::store::{Capacity, Entry, Outcome, Paused, State, Store, StoreError};

pub use capacity::CapacityView;
pub use desk::{BatchView, QueueError, QueuedView, Selection, TaskCounts};
pub use submit::{SubmitError, SubmitOptions, SubmittedView};

/// How soon is tried again what could not be done: PID 1 or the database didn't answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How many of a batch's last ends its estimate is made from.
const PACE: usize = 256;

/// What the engine knows of the queue beyond the database.
#[derive(Debug)]
pub(super) struct Queue {
    /// When to work on it again.
    due: Option<Instant>,
    /// Tasks of which entries may be queued.
    waiting: BTreeSet<String>,
    /// Entries may wait for a task's run or a transaction.
    behind: bool,
    /// Started, and neither granted nor refused yet.
    pub(super) in_flight: BTreeMap<String, InFlight>,
    paused: BTreeMap<String, Paused>,
    capacities: BTreeMap<String, Capacity>,
    /// When entries of batches ended, microseconds of `CLOCK_REALTIME`.
    pace: BTreeMap<u64, VecDeque<u64>>,
    idle_jobs: taken_back::IdleJobs,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` when delays were last compared with it, microseconds.
    epoch: Option<u64>,
    /// What could not be written down yet.
    unwritten: Vec<Unwritten>,
    /// What is wrong with the database.
    trouble: Option<String>,
}

/// A change that the database didn't take.
#[derive(Debug)]
enum Unwritten {
    /// The beginning of an entry's run.
    Begun(Entry),
    /// An entry's end.
    Over(u64, Outcome),
    /// An entry that is to run again.
    Again(Entry),
    /// A retry of what nobody had submitted.
    Retry(Entry),
}

/// An entry whose start was sent to PID 1.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    id: u64,
    not_after: u64,
    uses: Uses,
    since: Instant,
    gated: bool,
}

impl Queue {
    pub(super) fn new(store: &mut Store) -> Self {
        let waiting = store.counts().unwrap_or_default().into_keys().collect();
        Self {
            due: Some(Instant::now()),
            waiting,
            behind: true,
            epoch: None,
            in_flight: BTreeMap::new(),
            paused: store.paused(),
            capacities: store.capacities(),
            pace: BTreeMap::new(),
            idle_jobs: taken_back::IdleJobs::default(),
            unwritten: Vec::new(),
            trouble: None,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something may have made room, or something may be due.
    pub(super) fn wake(&mut self) {
        self.due = Some(Instant::now());
    }

    fn wake_in(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn is_paused(&self, task: &str) -> bool {
        self.paused.contains_key("") || self.paused.contains_key(task)
    }
}

impl Engine {
    /// Whoever asked may be gone: then nobody misses the answer.
    pub(super) fn answer_about_queue(&mut self, query: QueueQuery) {
        match query {
            QueueQuery::List(task, batch, state, limit, to) => {
                let queued = self.queued(task.as_deref(), batch.as_deref(), state, limit);
                drop(to.send(queued));
            }
            QueueQuery::Counts(to) => drop(to.send(self.queue_counts())),
            QueueQuery::NewBatch(name, by, to) => drop(to.send(self.new_batch(&name, &by))),
            QueueQuery::Batches(to) => drop(to.send(self.batch_views())),
            QueueQuery::Cancel(which, to) => drop(to.send(self.cancel_queued(&which))),
            QueueQuery::Move(names, place, to) => drop(to.send(self.move_queued(&names, place))),
            QueueQuery::Pause(task, reason, by, to) => {
                drop(to.send(self.pause_queue(&task, &reason, &by)));
            }
            QueueQuery::Resume(task, by, to) => drop(to.send(self.resume_queue(&task, &by))),
            QueueQuery::Pauses(to) => drop(to.send(Ok(self.pauses()))),
            QueueQuery::SetCapacity(resource, capacity, reason, by, to) => {
                drop(to.send(self.set_capacity(&resource, capacity, &reason, &by)));
            }
            QueueQuery::Capacities(to) => drop(to.send(Ok(self.capacity_views()))),
        }
    }

    /// What is wrong with the database of the queue, if anything is.
    pub(super) fn trouble_of_queue(&self) -> Option<&str> {
        self.queue.trouble.as_deref()
    }

    pub(super) fn queue_trouble(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.queue.trouble.as_ref() != Some(&text) {
            tracing::error!(%error, "the queue can't be written down; nothing of it is started until it can");
        }
        self.queue.trouble = Some(text);
        self.queue.wake_in(PAUSE);
    }

    /// Entries of this task may be queued now.
    pub(super) fn queue_again(&mut self, task: &str) {
        self.queue.waiting.insert(task.to_owned());
        self.queue.wake();
    }

    pub(super) fn entry_is_over(&mut self, id: u64, how: Outcome) {
        let now = clock::realtime();
        let batch = match self.store().entry(id) {
            Ok(entry) => entry.and_then(|entry| entry.batch),
            Err(_) => None,
        };
        if let Some(batch) = batch {
            let pace = self.queue.pace.entry(batch).or_default();
            pace.push_back(now);
            if pace.len() > PACE {
                pace.pop_front();
            }
        }
        if self.is_put_behind(|| Unwritten::Over(id, how)) {
            return;
        }
        match self.store().over(id, how, now) {
            Ok(ended) => {
                self.batches_ended(ended);
                self.queue.wake();
            }
            Err(error) => {
                self.queue.unwritten.push(Unwritten::Over(id, how));
                self.queue_trouble(&error);
            }
        }
    }

    /// What is written depends on what was to be written before.
    fn is_put_behind(&mut self, change: impl FnOnce() -> Unwritten) -> bool {
        if self.queue.unwritten.is_empty() {
            return false;
        }
        self.queue.unwritten.push(change());
        self.queue.wake_in(PAUSE);
        true
    }

    /// The run of an entry begins, which the database doesn't take. Its end is the entry's all the same, and the entry
    /// isn't started again meanwhile.
    pub(super) fn begins_unwritten(
        &mut self,
        unit: &str,
        granted: u64,
        granted_monotonic: u64,
    ) -> Option<Entry> {
        let waiting = self.store().waiting(unit).ok().flatten()?;
        let entry = Entry {
            state: State::Running,
            granted,
            granted_monotonic,
            boot: self.boot.clone(),
            ..waiting
        };
        self.queue.unwritten.push(Unwritten::Begun(entry.clone()));
        Some(entry)
    }

    fn entry_has_begun(&mut self, entry: Entry) {
        if !self.is_put_behind(|| Unwritten::Begun(entry.clone()))
            && let Err(error) = self.store().has_begun(&entry)
        {
            self.queue.unwritten.push(Unwritten::Begun(entry));
            self.queue_trouble(&error);
        }
    }

    /// An entry's run is to be repeated, or tried again.
    pub(super) fn entry_runs_again(&mut self, entry: Entry) {
        if self.is_put_behind(|| Unwritten::Again(entry.clone())) {
            return;
        }
        if let Err(error) = self.store().again(&entry) {
            self.queue.unwritten.push(Unwritten::Again(entry));
            self.queue_trouble(&error);
            return;
        }
        self.queue_again(&entry.task);
    }

    /// What nobody had submitted is to be tried again.
    pub(super) fn add_retry(&mut self, entry: Entry) {
        if self.is_put_behind(|| Unwritten::Retry(entry.clone())) {
            return;
        }
        if let Err(error) = self.store().retry(&entry) {
            self.queue.unwritten.push(Unwritten::Retry(entry));
            self.queue_trouble(&error);
            return;
        }
        self.queue_again(&entry.task);
    }

    fn write_what_is_unwritten(&mut self) {
        for change in std::mem::take(&mut self.queue.unwritten) {
            match change {
                Unwritten::Begun(entry) => self.entry_has_begun(entry),
                Unwritten::Over(id, how) => self.entry_is_over(id, how),
                Unwritten::Again(entry) => self.entry_runs_again(entry),
                Unwritten::Retry(entry) => self.add_retry(entry),
            }
        }
    }

    fn batches_ended(&mut self, ended: impl IntoIterator<Item = u64>) {
        for id in ended {
            self.queue.pace.remove(&id);
            let batches = self.store().batches().unwrap_or_default();
            if let Some(batch) = batches.into_iter().find(|batch| batch.id == id) {
                self.notify(Notice::BatchEnded {
                    id: id.to_string(),
                    done: batch.done,
                    failed: batch.failed,
                });
            }
        }
    }
}
