//! What is asked for is queued: durable before the answer.

use interlock_generator::names;

use super::super::Engine;
use super::super::nested::RequestError;
use crate::clock;
use crate::failpoint::step;
use crate::journal::message;
use crate::store::{Entry, Filter, Kind, State, StoreError};

/// How many submissions of one call are told one by one.
const TOLD: usize = 10;

/// Why nothing was queued.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// What was asked for isn't there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A template is no unit that could be started.
    #[error("{0} is a template: name an instance of it, as in {1}")]
    Template(String, String),
    /// There is no such batch.
    #[error("there is no batch {0:?}; see \"interlockctl queue batches\"")]
    NoSuchBatch(String),
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How starts are to be queued.
#[derive(Debug, Clone, Default)]
pub struct SubmitOptions {
    /// After the transaction as well in which the caller is.
    pub after_transaction: bool,
    /// Higher is started first; added to the task's.
    pub priority: i32,
    /// The batch that they belong to.
    pub batch: Option<String>,
    /// The caller's process.
    pub pid: u32,
    /// Who asks, for people.
    pub by: String,
}

/// A start that is queued for later, for D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedView {
    /// Its number.
    pub id: u64,
    /// The unit to be started.
    pub unit: String,
    /// What it waits for, one line.
    pub waits_for: String,
    /// Who asked.
    pub by: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
}

impl Engine {
    /// Queues starts of these tasks: after the task that the caller is a process of, and if asked for after the
    /// transaction. They are on disk when this returns.
    pub(in super::super) fn submit(
        &mut self,
        tasks: &[String],
        options: &SubmitOptions,
    ) -> Result<Vec<u64>, SubmitError> {
        let after_unit = self.task_of_process(options.pid).unwrap_or_default();
        let holder = match options.after_transaction {
            true => self.holder_above(options.pid),
            false => None,
        };
        let (after_pid, after_start) = holder.unwrap_or_default();
        let batch = match &options.batch {
            Some(id) => Some(self.known_batch(id)?),
            None => None,
        };
        let is_behind = !after_unit.is_empty() || after_pid != 0;
        let mut template = Entry {
            state: if is_behind {
                State::Behind
            } else {
                State::Queued
            },
            priority: options.priority,
            batch,
            by: options.by.clone(),
            at: clock::realtime(),
            attempt: 1,
            after_unit,
            after_pid,
            after_start,
            ..Entry::default()
        };
        if is_behind {
            template.boot.clone_from(&self.boot);
        }
        let mut entries = Vec::with_capacity(tasks.len());
        for task in tasks {
            let unit = self.resolve(task);
            let unit = unit.ok_or_else(|| RequestError::NoSuchTask(task.clone()))?;
            if names::is_template(&unit) {
                let stem = task.strip_suffix(".service").unwrap_or(task);
                let example = format!("{}@INSTANCE", stem.trim_end_matches('@'));
                return Err(SubmitError::Template(unit, example));
            }
            entries.push(Entry {
                task: self.policy.task_name(&unit).to_owned(),
                unit,
                ..template.clone()
            });
        }
        step("before submission");
        let ids = self.store().submit(&entries)?;
        step("after submission");
        for entry in entries.iter().take(TOLD) {
            tracing::info!(
                message_id = message::SUBMITTED,
                task = entry.task,
                unit = entry.unit,
                object_systemd_unit = entry.unit,
                "a start of {} is queued ({}): {}",
                entry.unit,
                options.by,
                self.waits_for(entry)
            );
        }
        if entries.len() > TOLD {
            tracing::info!(
                message_id = message::SUBMITTED,
                "{} starts are queued ({})",
                entries.len(),
                options.by
            );
        }
        let tasks = entries.into_iter().map(|entry| entry.task);
        self.queue.waiting.extend(tasks);
        self.queue.behind |= is_behind;
        self.queue.wake();
        Ok(ids)
    }

    /// By its number or its name.
    pub(super) fn known_batch(&mut self, id: &str) -> Result<u64, SubmitError> {
        let known = self.store().batches()?;
        if let Ok(number) = id.parse::<u64>()
            && known.iter().any(|batch| batch.id == number)
        {
            return Ok(number);
        }
        // A name may be used again and again: the last of that name that isn't over, or else the last.
        let mut named = known
            .iter()
            .filter(|batch| !id.is_empty() && batch.name == id);
        let live = named.clone().rfind(|batch| batch.ended == 0);
        match live.or_else(|| named.next_back()) {
            Some(batch) => Ok(batch.id),
            None => Err(SubmitError::NoSuchBatch(id.to_owned())),
        }
    }

    pub(in super::super) fn submitted_views(&mut self) -> Vec<SubmittedView> {
        let all = self.store().list(&Filter {
            limit: 1000,
            ..Filter::default()
        });
        let (_, all) = all.unwrap_or_default();
        let submitted = all
            .into_iter()
            .filter(|it| it.kind == Kind::Submitted && it.state != State::Running);
        let view = |it: Entry| SubmittedView {
            waits_for: self.waits_for(&it),
            id: it.id,
            unit: it.unit,
            by: it.by,
            at: it.at,
        };
        submitted.map(view).collect()
    }
}
