//! The queue of starts: what was submitted, and retries. Entries are started only when there is room for them, so
//! that PID 1 never has more to do than the host can.

mod behind;
mod capacity;
mod delays;
mod desk;
mod pace;
mod pump;
mod room;
mod submit;
mod taken_back;

use std::collections::{BTreeMap, BTreeSet};

use interlock_core::arbiter::Uses;
use tokio::time::{Duration, Instant};

use super::super::{Notice, QueueQuery};
use super::Engine;
use crate::clock;
use crate::failpoint::step;
use crate::store::{
    Backlog, Capacity, Entry, Outcome, Paused, State, Store, StoreError, Unwritten,
};

use pace::Pace;

pub use capacity::CapacityView;
pub use desk::{BatchView, QueueError, QueuedView, Selection, TaskCounts};
pub use submit::{SubmitError, SubmitOptions, SubmittedView};

/// How soon is tried again what could not be done: PID 1 or the database didn't answer.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// How fast batches come along.
    pace: BTreeMap<u64, Pace>,
    idle_jobs: taken_back::IdleJobs,
    /// `CLOCK_REALTIME` less `CLOCK_BOOTTIME` when delays were last compared with it, microseconds.
    epoch: Option<u64>,
    /// What could not be written down yet.
    unwritten: Backlog,
    /// What is wrong with the database.
    trouble: Option<String>,
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
    pub(super) fn new(store: &mut Store, unwritten: Backlog) -> Self {
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
            unwritten,
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

    /// Entries of tasks that the policy has again may be started.
    pub(super) fn queue_of_new_policy(&mut self) {
        let queued = self.store().counts().unwrap_or_default();
        self.queue.waiting.extend(queued.into_keys());
        self.queue.wake();
    }

    /// Entries of this task may be queued now.
    pub(super) fn queue_again(&mut self, task: &str) {
        self.queue.waiting.insert(task.to_owned());
        self.queue.wake();
    }

    pub(super) fn entry_is_over(&mut self, id: u64, how: Outcome) {
        // Here, and not where it is written, which may take several tries.
        let entry = self.store().entry(id).ok().flatten();
        if let Some(batch) = entry.and_then(|entry| entry.batch) {
            let pace = self.queue.pace.entry(batch).or_default();
            pace.count(clock::monotonic());
        }
        self.write_or_put_behind(Unwritten::Over(id, how));
    }

    /// The run of a unit begins: it serves the entry that waits, if one does. If the database doesn't take that, its end
    /// is the entry's all the same, and the entry isn't started again meanwhile.
    pub(super) fn entry_begins(&mut self, unit: &str, at: u64, monotonic: u64) -> Option<Entry> {
        // What is written depends on what was to be written before.
        self.write_what_is_unwritten();
        if self.queue.unwritten.is_empty() {
            let boot = self.boot.clone();
            match self.store().begins(unit, at, monotonic, &boot) {
                Ok(entry) => return entry,
                Err(error) => self.queue_trouble(&error),
            }
        }
        let waiting = self.store().waiting(unit).ok().flatten();
        let entry = Entry {
            state: State::Running,
            granted: at,
            granted_monotonic: monotonic,
            boot: self.boot.clone(),
            ..self.queue.unwritten.waiting(unit, waiting)?
        };
        // Before its gate opens.
        self.queue.unwritten.push(Unwritten::Begun(entry.clone()));
        step("beginning put behind");
        self.queue.wake_in(PAUSE);
        Some(entry)
    }

    /// The entries that run, as far as is known.
    pub(super) fn running_entries(&mut self) -> Vec<Entry> {
        let running = self.store().running().unwrap_or_default();
        self.queue.unwritten.running(running)
    }

    /// An entry's run is to be repeated, or tried again.
    pub(super) fn entry_runs_again(&mut self, entry: Entry) {
        self.write_or_put_behind(Unwritten::Again(entry));
    }

    /// What nobody had submitted is to be tried again.
    pub(super) fn add_retry(&mut self, entry: Entry) {
        self.write_or_put_behind(Unwritten::Retry(entry));
    }

    fn write_or_put_behind(&mut self, change: Unwritten) {
        if !self.queue.unwritten.is_empty() {
            self.queue.unwritten.push(change);
            self.queue.wake_in(PAUSE);
        } else if let Err(error) = self.write(&change) {
            self.queue.unwritten.push(change);
            self.queue_trouble(&error);
        }
    }

    pub(super) fn write_what_is_unwritten(&mut self) {
        let mut written = 0;
        while let Some(change) = self.queue.unwritten.get(written).cloned() {
            if let Err(error) = self.write(&change) {
                self.queue_trouble(&error);
                break;
            }
            written += 1;
        }
        self.queue.unwritten.written(written);
    }

    /// Into the database; what follows from it. Twice is as once: interlockd may die before it has forgotten the change.
    fn write(&mut self, change: &Unwritten) -> Result<(), StoreError> {
        step("before queue is written");
        match change {
            Unwritten::Begun(entry) => self.store().has_begun(entry)?,
            Unwritten::Over(id, how) => {
                let ended = self.store().over(*id, *how, clock::realtime())?;
                self.batches_ended(ended);
                self.queue.wake();
            }
            Unwritten::Again(entry) => {
                self.store().again(entry)?;
                self.queue_again(&entry.task);
            }
            Unwritten::Retry(entry) => {
                self.store().retry(entry)?;
                self.queue_again(&entry.task);
            }
        }
        step("after queue was written");
        Ok(())
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
