//! Starts what there is room for.

use std::collections::{BTreeMap, BTreeSet};

use interlock_core::arbiter::Uses;
use tokio::time::{Duration, Instant};

use super::super::super::words;
use super::super::Engine;
use super::{InFlight, PAUSE};
use crate::clock;
use crate::failpoint::step;
use crate::journal::message;
use crate::pid1::{self, Pid1};
use crate::store::{Entry, Outcome, StoreError};

/// When a refused start of a task without a `retry` is tried again.
pub(super) const REFUSED: Duration = Duration::from_secs(60);
/// A start of which nothing was heard for so long is looked at.
const SILENCE: Duration = Duration::from_secs(30);
/// Entries that are read in one go.
const PAGE: usize = 64;

impl Engine {
    /// Queues what is due, and starts what there is room for.
    pub(in super::super) async fn work_on_queue(&mut self) {
        if self.queue.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.queue.due = None;
        self.look_after_silent_starts().await;
        let worked = match self.wake_entries() {
            // What can't be written down that it runs would be started again and again.
            Ok(()) if !self.queue.unwritten.is_empty() => Ok(()),
            Ok(()) => self.start_entries().await,
            Err(error) => Err(error),
        };
        match worked {
            Ok(()) if self.queue.unwritten.is_empty() => {
                if self.queue.trouble.take().is_some() {
                    tracing::info!("the queue can be written down again");
                }
            }
            Ok(()) => {}
            Err(error) => self.queue_trouble(&error),
        }
    }

    fn wake_entries(&mut self) -> Result<(), StoreError> {
        self.write_what_is_unwritten();
        let now = clock::realtime();
        self.shorten_delays(now)?;
        let woken = self.store().wake(now)?;
        self.queue.waiting.extend(woken);
        if let Some(next) = self.store().next_wake()? {
            let left = next.saturating_sub(now);
            self.queue.wake_in(Duration::from_micros(left));
        }
        self.look_behind()
    }

    async fn start_entries(&mut self) -> Result<(), StoreError> {
        if self.queue.waiting.is_empty() {
            return Ok(());
        }
        let Some(pid1) = self.pid1.clone() else {
            self.queue.wake_in(PAUSE);
            return Ok(());
        };
        let mut room = self.room();
        let mut heads = self.heads()?;
        while let Some((task, entry)) = next_of(&mut heads) {
            let uses = self.policy.uses_of(&entry.unit);
            if !room.has(&task, &uses) {
                // What it waits for is kept for it; the rest of its task comes after it.
                room.take(&task, &uses);
                heads.remove(&task);
                continue;
            }
            if entry.not_after > 0 && clock::realtime() > entry.not_after {
                self.drop_entry(&entry, "its window is over");
                continue;
            }
            room.take(&task, &uses);
            self.pulse.beat();
            if !self.start_entry(&pid1, &entry, uses).await? {
                self.queue.wake_in(PAUSE);
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first entries of each task that may be started just now, the next one last.
    fn heads(&mut self) -> Result<BTreeMap<String, Head>, StoreError> {
        let mut heads = BTreeMap::new();
        for task in self.queue.waiting.clone() {
            let Some(priority) = self
                .policy
                .settings()
                .tasks()
                .get(&task)
                .map(|t| t.priority)
            else {
                if !self.adopt_entries(&task)? {
                    // No longer under policy, for now: they wait.
                    self.queue.waiting.remove(&task);
                }
                continue;
            };
            if self.queue.is_paused(&task) || self.is_admission_closed(&task) {
                continue;
            }
            if self.is_all_held(&task) {
                continue;
            }
            let busy: BTreeSet<&String> = self
                .live_units()
                .chain(self.queue.in_flight.keys())
                .chain(self.held_units())
                .collect();
            let limit = PAGE + busy.len();
            let mut entries = self.deployments.store_ref().heads(&task, limit)?;
            let is_all = entries.len() < limit;
            entries.retain(|entry| !busy.contains(&entry.unit));
            if entries.is_empty() && is_all {
                let nothing_left = self.deployments.store_ref().heads(&task, 1)?.is_empty();
                if nothing_left {
                    self.queue.waiting.remove(&task);
                }
                continue;
            }
            entries.reverse();
            heads.insert(task, Head { priority, entries });
        }
        Ok(heads)
    }

    /// Entries of a task that the policy calls otherwise now.
    fn adopt_entries(&mut self, old: &str) -> Result<bool, StoreError> {
        let Some(first) = self.store().heads(old, 1)?.pop() else {
            return Ok(false);
        };
        let Some(task) = self.policy.task_of(&first.unit).map(|t| t.name.clone()) else {
            return Ok(false);
        };
        self.store().rename_task(old, &task)?;
        self.queue.waiting.remove(old);
        self.queue_again(&task);
        Ok(true)
    }

    /// Says whether PID 1 takes starts at all.
    async fn start_entry(
        &mut self,
        pid1: &Pid1,
        entry: &Entry,
        uses: Uses,
    ) -> Result<bool, StoreError> {
        let gated = self.policy.is_gated(&entry.unit);
        if !gated {
            // Nobody will tell that it begins: it must be known before that it may have.
            let boot = self.boot.clone();
            self.store()
                .begins(&entry.unit, clock::realtime(), clock::monotonic(), &boot)?;
        }
        let start = InFlight {
            id: entry.id,
            not_after: entry.not_after,
            uses,
            since: Instant::now(),
            gated,
        };
        self.queue.in_flight.insert(entry.unit.clone(), start);
        step("before queued start");
        let started = pid1.start(&entry.unit, "fail").await;
        step("after queued start");
        let Err(error) = started else {
            tracing::info!(
                message_id = message::SUBMITTED,
                task = entry.task,
                unit = entry.unit,
                object_systemd_unit = entry.unit,
                "{} is started from the queue ({})",
                entry.unit,
                entry.by
            );
            return Ok(true);
        };
        self.queue.in_flight.remove(&entry.unit);
        let is_passing = is_passing(&error) || pid1.is_stopping().await.unwrap_or(true);
        if is_passing {
            if !gated {
                self.store().again(&Entry {
                    not_before: 0,
                    ..entry.clone()
                })?;
            }
            tracing::warn!(unit = entry.unit, %error, "cannot start it from the queue yet; trying again");
            return Ok(false);
        }
        let said = words_of(&error);
        tracing::error!(unit = entry.unit, %error, "systemd refuses a start of {} from the queue", entry.unit);
        let why = format!("systemd refused its start: {said}");
        self.history
            .skipped(&entry.task, &entry.unit, &why, clock::realtime());
        self.entry_is_over(entry.id, Outcome::Failed);
        Ok(true)
    }

    fn drop_entry(&mut self, entry: &Entry, why: &str) {
        self.history
            .skipped(&entry.task, &entry.unit, why, clock::realtime());
        tracing::warn!(unit = entry.unit, "{} is not started: {why}", entry.unit);
        self.entry_is_over(entry.id, Outcome::Cancelled);
    }

    /// The job of a start of ours has ended without a run.
    pub(in super::super) async fn start_came_to_nothing(&mut self, unit: &str, result: &str) {
        let Some(start) = self.queue.in_flight.get(unit).cloned() else {
            return;
        };
        if start.gated && self.has_job(unit).await {
            // It was queued again by somebody who knew better.
            return;
        }
        self.queue.in_flight.remove(unit);
        let how = match result {
            // Up already, or without a gate.
            "done" => Outcome::Done,
            "canceled" | "collected" => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        if how != Outcome::Done {
            let why = format!("its start ended as {result:?}");
            let task = self.policy.task_name(unit).to_owned();
            self.history.skipped(&task, unit, &why, clock::realtime());
        }
        self.entry_is_over(start.id, how);
    }

    /// Its gate was refused: it stays queued, unless its window is over.
    pub(in super::super) fn start_was_refused(&mut self, unit: &str) {
        let Some(start) = self.queue.in_flight.remove(unit) else {
            return;
        };
        if start.not_after > 0 && clock::realtime() > start.not_after {
            self.entry_is_over(start.id, Outcome::Cancelled);
            return;
        }
        let delay = self
            .policy
            .task_of(unit)
            .and_then(|task| task.retry.as_ref());
        let delay = delay.map_or(REFUSED, |retry| retry.delay);
        let not_before = clock::realtime().saturating_add(words::usec(delay));
        if let Err(error) = self.store().put_off(start.id, not_before) {
            self.queue_trouble(&error);
        }
        self.queue.wake();
    }

    /// An operator wanted it skipped: that goes for what was submitted, too.
    pub(in super::super) fn start_was_unwanted(&mut self, unit: &str) {
        if let Some(start) = self.queue.in_flight.remove(unit) {
            self.entry_is_over(start.id, Outcome::Cancelled);
        }
    }

    async fn look_after_silent_starts(&mut self) {
        let starts = self.queue.in_flight.iter();
        let silent = starts.filter(|(_, start)| start.since.elapsed() > SILENCE);
        let silent: Vec<String> = silent.map(|(unit, _)| unit.clone()).collect();
        for unit in silent {
            let waits = self.live_units().any(|live| *live == unit);
            if !waits && !self.has_job(&unit).await {
                // It stays queued, and is started anew.
                self.queue.in_flight.remove(&unit);
            }
        }
        if !self.queue.in_flight.is_empty() {
            self.queue.wake_in(SILENCE);
        }
    }

    async fn has_job(&self, unit: &str) -> bool {
        match &self.pid1 {
            Some(pid1) => pid1.job_of(unit).await.is_ok_and(|job| job.is_some()),
            None => true,
        }
    }
}

/// A task's entries, the next one last.
struct Head {
    /// The task's.
    priority: i32,
    entries: Vec<Entry>,
}

/// The entry whose turn it is.
fn next_of(heads: &mut BTreeMap<String, Head>) -> Option<(String, Entry)> {
    let ranks = heads.iter().filter_map(|(task, head)| {
        let entry = head.entries.last()?;
        let priority = head.priority.saturating_add(entry.priority);
        Some((priority, std::cmp::Reverse(entry.position), task.clone()))
    });
    let (_, _, task) = ranks.max()?;
    let entry = heads.get_mut(&task)?.entries.pop()?;
    Some((task, entry))
}

/// Whether the same start may succeed a moment later: another job of the unit is in the way, or PID 1 isn't there.
/// What PID 1 said, without the error's name on the bus.
fn words_of(error: &zbus::Error) -> String {
    let said = match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        error => error.to_string(),
    };
    said.trim_end_matches('.').to_owned()
}

fn is_passing(error: &zbus::Error) -> bool {
    let is_in_the_way = matches!(error, zbus::Error::MethodError(name, ..)
        if name.as_str() == "org.freedesktop.systemd1.TransactionIsDestructive");
    is_in_the_way || !pid1::is_refusal(error)
}
