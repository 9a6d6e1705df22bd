//! What operators ask of the queue, and what they are told of it.

use super::super::super::words;
use super::super::Engine;
use super::super::nested::RequestError;
use super::submit::SubmitError;
use crate::clock;
use crate::journal::message;
use crate::store::{Batch, Counts, Entry, Filter, Next, Paused, State, StoreError};

/// Why the queue isn't changed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What was asked for isn't there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no such batch.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Nothing of that name or number is queued.
    #[error("{0:?} isn't queued; see \"interlockctl queue list\"")]
    NotQueued(String),
    /// There is nothing to resume.
    #[error("{0} isn't paused; see \"interlockctl queue\"")]
    NotPaused(String),
    /// Somebody else's entries.
    #[error(
        "{unit} was submitted by {by}: taking back what others have submitted needs the right to manage"
    )]
    Foreign {
        /// The unit.
        unit: String,
        /// Who submitted it.
        by: String,
    },
    /// It can't be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which entries a call is about.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Units, tasks' instances, or numbers.
    pub names: Vec<String>,
    /// All of this task.
    pub task: Option<String>,
    /// All of this batch.
    pub batch: Option<String>,
    /// All that there are.
    pub all: bool,
    /// Only what this user has submitted, as [`interlock_core::deploy::Owner`] names users; `None` if it doesn't matter.
    pub only_by: Option<String>,
}

/// An entry, for D-Bus.
#[derive(Debug, Clone)]
pub struct QueuedView {
    /// As it is kept.
    pub entry: Entry,
    /// Its place among those that are queued, from 1; 0 if it isn't queued.
    pub position: u64,
    /// One line.
    pub detail: String,
}

/// A task's part of the queue.
#[derive(Debug, Clone)]
pub struct TaskCounts {
    /// The task's name.
    pub task: String,
    /// By state.
    pub counts: Counts,
    /// Whether it is paused.
    pub paused: bool,
}

/// A batch, for D-Bus.
#[derive(Debug, Clone)]
pub struct BatchView {
    /// As it is kept.
    pub batch: Batch,
    /// When it will be over at its present pace, microseconds of `CLOCK_REALTIME`; 0 if that can't be said.
    pub finish: u64,
}

impl Engine {
    pub(in super::super) fn queued(
        &mut self,
        task: Option<&str>,
        batch: Option<&str>,
        state: Option<State>,
        limit: u32,
    ) -> Result<(u64, Vec<QueuedView>), QueueError> {
        let task = match task {
            None => None,
            Some(name) => Some(self.known_task_or_unit(name)?),
        };
        let batch = match batch {
            Some(id) => Some(self.known_batch(id)?),
            None => None,
        };
        let filter = Filter {
            task,
            batch,
            state,
            limit,
        };
        let (total, entries) = self.store().list(&filter)?;
        let mut position = 0;
        let views = entries.into_iter().map(|entry| {
            let is_queued = entry.state == State::Queued;
            position += u64::from(is_queued);
            QueuedView {
                detail: self.detail_of(&entry),
                position: if is_queued { position } else { 0 },
                entry,
            }
        });
        Ok((total, views.collect()))
    }

    /// Of a unit that does nothing just now: that it will, if it is in the queue.
    pub(in super::super) fn queued_line(&self, unit: &str) -> Option<String> {
        let entry = self.deployments.store_ref().waiting(unit).ok().flatten()?;
        Some(match entry.state {
            State::Delayed => self.detail_of(&entry),
            _ => format!("queued; {}", self.detail_of(&entry)),
        })
    }

    fn detail_of(&self, entry: &Entry) -> String {
        match entry.state {
            State::Running => self.records.get(&entry.unit).map_or_else(
                || "its end is looked into".to_owned(),
                |_| "runs".to_owned(),
            ),
            State::Behind => self.waits_for(entry),
            State::Delayed => {
                let left = entry.not_before.saturating_sub(clock::realtime());
                let last = entry.attempt.saturating_sub(1);
                let left = words::duration(left);
                match last {
                    0 => format!("not before {left} from now"),
                    last => format!("attempt {last} failed; the next is in {left}"),
                }
            }
            State::Queued => self.detail_of_queued(entry),
        }
    }

    fn detail_of_queued(&self, entry: &Entry) -> String {
        let paused = ["", &entry.task].map(|task| self.queue.paused.get(task));
        if let Some(pause) = paused.into_iter().flatten().next() {
            return match pause.reason.as_str() {
                "" => format!("paused by {}", pause.by),
                reason => format!("paused by {} ({reason})", pause.by),
            };
        }
        if self.policy.task_of(&entry.unit).is_none() {
            return "its task is no longer in the policy".to_owned();
        }
        if self.is_admission_closed(&entry.task) || self.is_held(&entry.unit) {
            return format!("waits for {}", self.end_of_what_holds(&entry.unit));
        }
        if self.arbiter.view(&entry.unit).is_some() {
            return self.waiting_line(&entry.unit);
        }
        if self.queue.in_flight.contains_key(&entry.unit) {
            return "is being started".to_owned();
        }
        "waits for room".to_owned()
    }

    pub(in super::super) fn queue_counts(&mut self) -> Result<Vec<TaskCounts>, QueueError> {
        let counts = self.store().counts()?;
        let view = |(task, counts): (String, Counts)| TaskCounts {
            paused: self.queue.is_paused(&task),
            task,
            counts,
        };
        Ok(counts.into_iter().map(view).collect())
    }

    pub(in super::super) fn new_batch(&mut self, name: &str, by: &str) -> Result<u64, QueueError> {
        Ok(self.store().new_batch(name, by, clock::realtime())?)
    }

    pub(in super::super) fn batch_views(&mut self) -> Result<Vec<BatchView>, QueueError> {
        let batches = self.store().batches()?;
        let now = clock::realtime();
        let view = |batch: Batch| BatchView {
            finish: self.finish_of(&batch, now).unwrap_or(0),
            batch,
        };
        Ok(batches.into_iter().map(view).collect())
    }

    /// By the pace of its last ends; after a restart by its whole course.
    fn finish_of(&self, batch: &Batch, now: u64) -> Option<u64> {
        let left = batch.waiting() + batch.running;
        if left == 0 || batch.ended > 0 {
            return None;
        }
        let pace = self.queue.pace.get(&batch.id);
        let each = match pace.and_then(|pace| pace.each(clock::monotonic())) {
            Some(each) => each,
            None => {
                let ends = batch.done + batch.failed;
                now.checked_sub(batch.at)?.checked_div(ends)?
            }
        };
        Some(now + each.saturating_mul(left))
    }

    pub(in super::super) fn cancel_queued(&mut self, which: &Selection) -> Result<u64, QueueError> {
        let on_their_way = self.queue.in_flight.values().map(|start| start.id);
        let spared: Vec<u64> = on_their_way.collect();
        let entries = self.named(&which.names)?;
        if let Some(user) = &which.only_by
            && let Some(foreign) = entries.iter().find(|it| !it.by.starts_with(user.as_str()))
        {
            return Err(foreign_entry(foreign));
        }
        let filter = self.filter_of(which)?;
        if let (Some(user), Some(filter)) = (&which.only_by, &filter)
            && let Some(foreign) = self.store().foreign(filter, user)?
        {
            return Err(foreign_entry(&foreign));
        }
        let ids = entries.iter().map(|it| it.id);
        let ids: Vec<u64> = ids.filter(|id| !spared.contains(id)).collect();
        let now = clock::realtime();
        let (mut cancelled, ended) = self.store().cancel(&ids, now)?;
        self.batches_ended(ended);
        if let Some(filter) = filter {
            let (more, ended) = self.store().cancel_all(&filter, &spared, now)?;
            cancelled += more;
            self.batches_ended(ended);
        }
        tracing::info!(
            message_id = message::SUBMITTED,
            "{cancelled} queued starts were cancelled"
        );
        Ok(cancelled)
    }

    pub(in super::super) fn move_queued(
        &mut self,
        names: &[String],
        place: Next,
    ) -> Result<u64, QueueError> {
        let ids: Vec<u64> = self.named(names)?.iter().map(|it| it.id).collect();
        let moved = self.store().move_to(&ids, place)?;
        self.queue.wake();
        Ok(moved)
    }

    /// Entries by number, unit or task's instance.
    fn named(&mut self, names: &[String]) -> Result<Vec<Entry>, QueueError> {
        let mut entries = Vec::new();
        for name in names {
            if let Ok(id) = name.parse::<u64>() {
                let entry = self.store().entry(id)?;
                entries.push(entry.ok_or_else(|| QueueError::NotQueued(name.clone()))?);
                continue;
            }
            let unit = self.resolve(name).unwrap_or_else(|| name.clone());
            let of_unit = Filter {
                task: Some(unit),
                limit: u32::MAX,
                ..Filter::default()
            };
            let (_, found) = self.store().list(&of_unit)?;
            if found.is_empty() {
                return Err(QueueError::NotQueued(name.clone()));
            }
            entries.extend(found);
        }
        Ok(entries)
    }

    /// What is selected besides names; `None` if nothing is.
    fn filter_of(&mut self, which: &Selection) -> Result<Option<Filter>, QueueError> {
        let batch = match &which.batch {
            Some(id) => Some(self.known_batch(id)?),
            None => None,
        };
        let task = match &which.task {
            Some(task) => Some(self.known_task_or_unit(task)?),
            None => None,
        };
        let is_any = batch.is_some() || task.is_some() || which.all;
        Ok(is_any.then(|| Filter {
            task,
            batch,
            ..Filter::default()
        }))
    }

    /// A task's name, also if only the queue still knows it; or a unit.
    fn known_task_or_unit(&mut self, name: &str) -> Result<String, QueueError> {
        let is_task = self.policy.settings().tasks().contains_key(name);
        if is_task || self.store().counts()?.contains_key(name) {
            return Ok(name.to_owned());
        }
        let unit = self.resolve(name);
        Ok(unit.ok_or_else(|| RequestError::NoSuchTask(name.to_owned()))?)
    }

    pub(in super::super) fn pause_queue(
        &mut self,
        task: &str,
        reason: &str,
        by: &str,
    ) -> Result<(), QueueError> {
        let task = match task {
            "" => String::new(),
            task => self.known_task_or_unit(task)?,
        };
        let pause = Paused {
            task: task.clone(),
            reason: reason.to_owned(),
            by: by.to_owned(),
            since: clock::realtime(),
        };
        self.store().pause(&pause)?;
        tracing::info!(
            message_id = message::SUBMITTED,
            task,
            "the queue is paused by {by}"
        );
        self.queue.paused.insert(task, pause);
        Ok(())
    }

    pub(in super::super) fn resume_queue(
        &mut self,
        task: &str,
        by: &str,
    ) -> Result<(), QueueError> {
        if !self.store().resume(task)? {
            let what = match task {
                "" => "the queue as a whole".to_owned(),
                task => task.to_owned(),
            };
            return Err(QueueError::NotPaused(what));
        }
        self.queue.paused.remove(task);
        tracing::info!(
            message_id = message::SUBMITTED,
            task,
            "the queue goes on, says {by}"
        );
        let counts = self.store().counts()?;
        self.queue.waiting.extend(counts.into_keys());
        self.queue.wake();
        Ok(())
    }

    pub(in super::super) fn pauses(&self) -> Vec<Paused> {
        self.queue.paused.values().cloned().collect()
    }
}

fn foreign_entry(it: &Entry) -> QueueError {
    QueueError::Foreign {
        unit: it.unit.clone(),
        by: it.by.clone(),
    }
}
