//! Entries that wait for the task, or the package transaction, from inside which they were asked for.

use std::cell::OnceCell;
use std::path::Path;

use super::super::super::words;
use super::super::Engine;
use super::PAUSE;
use crate::locks::Snapshot;
use crate::person::{Person, parent_of};
use crate::process::Stat;
use crate::store::{Entry, State, StoreError};

impl Engine {
    /// Queues those that nothing comes before any more. A task's end is heard of; a transaction's is looked for.
    pub(super) fn look_behind(&mut self) -> Result<(), StoreError> {
        if !self.queue.behind {
            return Ok(());
        }
        let all = self.store().behind()?;
        self.queue.behind = !all.is_empty();
        // All descriptors of all processes are looked at for them: once, and only if somebody asks.
        let holders = OnceCell::new();
        for it in all {
            let holds = |who| holders.get_or_init(|| self.lock_holders()).contains(&who);
            if !self.is_behind(&it, holds) {
                self.store().nothing_before(it.id)?;
                self.queue.waiting.insert(it.task);
            } else if !self.task_still_runs(&it) {
                self.queue.wake_in(PAUSE);
            }
        }
        Ok(())
    }

    fn is_behind(&self, it: &Entry, holds_lock: impl FnOnce((i32, u64)) -> bool) -> bool {
        let who = (it.after_pid, it.after_start);
        let goes_on = || self.may_go_on(it) && holds_lock(who);
        it.boot == self.boot && (self.task_still_runs(it) || goes_on())
    }

    /// The run from inside which it was asked for.
    fn task_still_runs(&self, it: &Entry) -> bool {
        let began = self.records.get(&it.after_unit).map_or(0, |r| r.granted);
        self.arbiter.leases().contains_key(&it.after_unit) && began <= it.at
    }

    /// Whether the process is there whose transaction comes first. It may have ended that, and do something else.
    fn may_go_on(&self, it: &Entry) -> bool {
        let process = Stat::read_alive(Path::new("/proc"), it.after_pid);
        it.boot == self.boot
            && it.after_pid != 0
            && process.is_some_and(|process| process.start_time == it.after_start)
    }

    /// What an entry waits for that isn't due; one line.
    pub(super) fn waits_for(&self, it: &Entry) -> String {
        if it.state != State::Behind {
            return "about to start".to_owned();
        }
        let mut parts = Vec::new();
        if it.boot == self.boot && self.task_still_runs(it) {
            parts.push(format!("the end of {}", it.after_unit));
        }
        if self.may_go_on(it) {
            let person = Person::of(it.after_pid);
            parts.push(format!("the end of the transaction of {person}"));
        }
        match parts.is_empty() {
            true => "about to start".to_owned(),
            false => format!("after {}", words::list(&parts)),
        }
    }

    /// The nearest ancestor of a process that holds a resource's lock: whose transaction runs it.
    pub(super) fn holder_above(&self, pid: u32) -> Option<(i32, u64)> {
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
