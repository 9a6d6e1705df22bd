//! Starts that are queued for later: after the task, or the package transaction, from inside which they were asked
//! for.

use tokio::time::{Duration, Instant};

use super::super::words;
use super::Engine;
use super::nested::RequestError;
use crate::clock;
use crate::journal::message;
use crate::locks::Snapshot;
use crate::person::{Person, parent_of};
use crate::store::{StoreError, Submission};

/// How often is looked whether a transaction is over; a task's end is heard of.
const POLL: Duration = Duration::from_secs(1);

/// Why nothing was queued.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// What was asked for isn't there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    pub(super) fn submit(
        &mut self,
        tasks: &[String],
        after_transaction: bool,
        pid: u32,
        by: &str,
    ) -> Result<Vec<u64>, SubmitError> {
        let mut units = Vec::new();
        for task in tasks {
            let unit = self.resolve(task);
            units.push(unit.ok_or_else(|| RequestError::NoSuchTask(task.clone()))?);
        }
        let after_unit = self.task_of_process(pid).unwrap_or_default();
        let holder = match after_transaction {
            true => self.holder_above(pid),
            false => None,
        };
        let mut ids = Vec::new();
        for unit in units {
            let submission = Submission {
                id: 0,
                unit: unit.clone(),
                by: by.to_owned(),
                at: clock::realtime(),
                after_unit: after_unit.clone(),
                after_pid: holder.map_or(0, |(pid, _)| pid),
                after_start: holder.map_or(0, |(_, start)| start),
                boot: self.boot.clone(),
                starting: false,
            };
            let id = self.store().submit(&submission)?;
            tracing::info!(
                message_id = message::SUBMITTED,
                task = self.policy.task_name(&unit),
                unit,
                object_systemd_unit = unit,
                "a start of {unit} is queued for later ({by}): {}",
                self.waits_for(&submission)
            );
            ids.push(id);
        }
        self.submitted_due = Some(Instant::now());
        Ok(ids)
    }

    pub(super) fn submitted_views(&mut self) -> Vec<SubmittedView> {
        let all = self.store().submissions();
        let view = |it: Submission| SubmittedView {
            waits_for: self.waits_for(&it),
            id: it.id,
            unit: it.unit,
            by: it.by,
            at: it.at,
        };
        all.into_iter().map(view).collect()
    }

    /// Starts what nothing stands in the way of any more.
    pub(super) async fn start_submitted(&mut self) {
        if self.submitted_due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.submitted_due = None;
        let Some(pid1) = self.pid1.clone() else {
            self.submitted_due = Some(Instant::now() + POLL);
            return;
        };
        let all = self.store().submissions();
        for it in all {
            if !self.is_due(&it) {
                self.submitted_due = Some(Instant::now() + POLL);
                continue;
            }
            if it.starting && self.has_started(&it).await {
                self.store().forget_submission(it.id);
                continue;
            }
            if let Err(error) = self.store().submission_starts(it.id) {
                tracing::error!(unit = it.unit, %error, "cannot start what was submitted");
                self.submitted_due = Some(Instant::now() + POLL);
                continue;
            }
            match pid1.start(&it.unit, "replace").await {
                Ok(()) => tracing::info!(
                    message_id = message::SUBMITTED,
                    task = self.policy.task_name(&it.unit),
                    unit = it.unit,
                    object_systemd_unit = it.unit,
                    "{} is started, as submitted by {}",
                    it.unit,
                    it.by
                ),
                Err(error) if pid1.states(Vec::new()).await.is_err() => {
                    tracing::warn!(unit = it.unit, %error, "cannot start what was submitted; trying again");
                    self.submitted_due = Some(Instant::now() + POLL);
                    continue;
                }
                Err(error) => {
                    let task = self.policy.task_name(&it.unit).to_owned();
                    let why = format!("systemd refused the submitted start: {error}");
                    self.history
                        .skipped(&task, &it.unit, &why, clock::realtime());
                    tracing::error!(unit = it.unit, %error, "systemd refuses what was submitted");
                }
            }
            self.store().forget_submission(it.id);
        }
    }

    /// interlockd was killed when it was about to start it, or just after.
    async fn has_started(&self, it: &Submission) -> bool {
        let Some(pid1) = &self.pid1 else {
            return false;
        };
        let state = pid1.states(vec![it.unit.clone()]).await;
        let state = state.ok().and_then(|states| states.into_values().next());
        state.is_some_and(|state| !state.is_down() || state.job.is_some())
    }

    fn is_due(&self, it: &Submission) -> bool {
        if it.boot != self.boot {
            return true;
        }
        !self.task_still_runs(it) && !self.transaction_goes_on(it)
    }

    /// The run from inside which it was asked for.
    fn task_still_runs(&self, it: &Submission) -> bool {
        let began = self.records.get(&it.after_unit).map_or(0, |r| r.granted);
        self.arbiter.leases().contains_key(&it.after_unit) && began <= it.at
    }

    fn transaction_goes_on(&self, it: &Submission) -> bool {
        it.after_pid != 0
            && self
                .lock_holders()
                .contains(&(it.after_pid, it.after_start))
    }

    fn waits_for(&self, it: &Submission) -> String {
        let mut parts = Vec::new();
        if it.boot == self.boot && self.task_still_runs(it) {
            parts.push(format!("the end of {}", it.after_unit));
        }
        if it.boot == self.boot && self.transaction_goes_on(it) {
            let person = Person::of(it.after_pid);
            parts.push(format!("the end of the transaction of {person}"));
        }
        match parts.is_empty() {
            true => "about to start".to_owned(),
            false => format!("after {}", words::list(&parts)),
        }
    }

    /// The nearest ancestor of a process that holds a resource's lock: whose transaction runs it.
    fn holder_above(&self, pid: u32) -> Option<(i32, u64)> {
        /// No chain of real processes is that long; parents can't be trusted to have no cycle while they change.
        const LIMIT: usize = 256;
        let holders = self.lock_holders();
        let mut pid = i32::try_from(pid).ok()?;
        for _ in 0..LIMIT {
            if let Some(holder) = holders.iter().find(|(holder, _)| *holder == pid) {
                return Some(*holder);
            }
            pid = parent_of(pid).filter(|parent| *parent > 1)?;
        }
        None
    }

    /// Everybody who holds a lock of any resource: pid and start time.
    fn lock_holders(&self) -> Vec<(i32, u64)> {
        let resources = self.policy.settings().resources().values();
        let files: Vec<_> = resources.flat_map(|it| &it.lock_files).collect();
        if files.is_empty() {
            return Vec::new();
        }
        let Ok(snapshot) = Snapshot::take() else {
            return Vec::new();
        };
        let holders = files
            .into_iter()
            .flat_map(|file| snapshot.holders(file).holders);
        holders
            .map(|holder| (holder.pid, holder.start_time))
            .collect()
    }
}
