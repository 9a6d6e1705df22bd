//! Locks that somebody outside the policy holds: gates of their resources wait for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use interlock_core::arbiter::{Event, Lock, Standing};
use interlock_generator::policy::settings::LockFile;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant};

use super::super::{Input, words};
use super::Engine;
use crate::cgroup;
use crate::locks::{Holder, Snapshot};
use crate::person::Person;

/// How often a lock is looked at whose holder lives on: that it was given back has no event.
const POLL: Duration = Duration::from_secs(1);

/// What is known of locks from outside while somebody waits for them.
pub(super) struct Outside {
    inputs: UnboundedSender<Input>,
    /// Processes whose end is waited for, by pid and start time.
    watched: BTreeMap<(i32, u64), AbortHandle>,
    /// Who held which file when it was last looked at closely.
    named: BTreeMap<PathBuf, Vec<Holder>>,
    poll: Option<Instant>,
}

impl Outside {
    pub(super) fn new(inputs: UnboundedSender<Input>) -> Self {
        Self {
            inputs,
            watched: BTreeMap::new(),
            named: BTreeMap::new(),
            poll: None,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.poll
    }

    fn watch(&mut self, holder: &Holder) {
        let key = (holder.pid, holder.start_time);
        if self.watched.contains_key(&key) {
            return;
        }
        let Some(pid) = Pid::from_raw(holder.pid) else {
            return;
        };
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::NONBLOCK) else {
            // Gone already, or an old kernel: the next poll tells.
            return;
        };
        let inputs = self.inputs.clone();
        let task = tokio::spawn(async move {
            // Any descriptor that can be polled does: a process descriptor is readable when its process has ended.
            if let Ok(end) = pipe::Receiver::from_owned_fd_unchecked(descriptor) {
                let _ = end.readable().await;
                let _ = inputs.send(Input::LockHolderGone);
            }
        });
        self.watched.insert(key, task.abort_handle());
    }

    /// Who holds a lock file. Asked again and again, it doesn't look at descriptors again (which may keep a lock of
    /// flock(2) or an open file description for a moment longer) as long as those live who held it.
    fn holders(&mut self, snapshot: &Snapshot, file: &LockFile) -> Vec<Holder> {
        let known = self.named.get(&file.path);
        let alive = |holder: &Holder| snapshot.is_alive(holder.pid, holder.start_time);
        match (snapshot.glance(file), known) {
            (Some(false), _) => Vec::new(),
            (Some(true), Some(known)) if known.iter().all(alive) => known.clone(),
            _ => {
                let holders = snapshot.holders(file).holders;
                self.named.insert(file.path.clone(), holders.clone());
                holders
            }
        }
    }

    fn forget(&mut self) {
        for task in std::mem::take(&mut self.watched).into_values() {
            task.abort();
        }
    }
}

impl Engine {
    /// What PID 1 says about a waiter, and if that is nothing, what locks say.
    pub(super) fn with_locks(&mut self, unit: &str, standing: Standing) -> Standing {
        if !matches!(standing, Standing::Clear | Standing::Jobless) {
            return standing;
        }
        let locks = self.outside_locks(unit);
        match locks.is_empty() {
            true => standing,
            false => {
                let at = Instant::now() + POLL;
                let poll = &mut self.outside.poll;
                *poll = Some(poll.map_or(at, |due| due.min(at)));
                Standing::Locked(locks)
            }
        }
    }

    /// Who outside the policy holds a lock of one of the unit's resources.
    fn outside_locks(&mut self, unit: &str) -> Vec<Lock> {
        let uses = self.policy.uses_of(unit);
        let resources = self.policy.settings().resources();
        let files: Vec<(String, LockFile)> = uses
            .keys()
            .filter_map(|name| resources.get_key_value(name))
            .flat_map(|(name, it)| it.lock_files.iter().map(|l| (name.clone(), l.clone())))
            .collect();
        if files.is_empty() {
            return Vec::new();
        }
        let snapshot = match Snapshot::take() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!(%error, "cannot read who holds locks; nobody is waited for");
                return Vec::new();
            }
        };
        let mut locks = Vec::new();
        let mut seen = BTreeSet::new();
        for (resource, file) in files {
            for holder in self.outside.holders(&snapshot, &file) {
                if self.is_accounted_for(unit, &resource, holder.pid)
                    || !seen.insert((resource.clone(), holder.pid))
                {
                    continue;
                }
                self.outside.watch(&holder);
                let person = Person::of(holder.pid);
                let since = match person.since {
                    0 => String::new(),
                    since => format!(", there since {}", words::time_of_day(since)),
                };
                locks.push(Lock {
                    resource: resource.clone(),
                    holder: format!("{person}{since}"),
                });
            }
        }
        locks
    }

    /// Who outside the policy keeps a start of this unit from being let in, in words; `None` if nobody does.
    pub(super) fn locked_out_by(&mut self, unit: &str) -> Option<String> {
        let locks = self.outside_locks(unit);
        let locks = locks
            .iter()
            .map(|it| format!("{} is locked by {}", it.resource, it.holder));
        let locks: Vec<String> = locks.collect();
        (!locks.is_empty()).then(|| words::list(&locks))
    }

    /// The holder is of the task itself, or of one whose lease says that it holds the resource.
    fn is_accounted_for(&self, unit: &str, resource: &str, pid: i32) -> bool {
        let Ok(Some(group)) = cgroup::of_process(pid) else {
            return false;
        };
        group.split('/').any(|name| {
            let lease = self.arbiter.leases().get(name);
            name == unit || lease.is_some_and(|lease| lease.uses.contains_key(resource))
        })
    }

    /// A process that held a lock has ended, or it is time to look.
    pub(super) fn locks_may_have_changed(&mut self) {
        let waits = |w: &interlock_core::arbiter::Waiter| matches!(w.standing, Standing::Locked(_));
        let is_waited_for = self.arbiter.queue().iter().any(waits);
        self.outside.poll = None;
        self.outside.forget();
        if is_waited_for {
            self.feed(Event::LocksChanged);
        } else {
            self.outside.named.clear();
        }
    }

    /// Processes outside the policy that a gate waits for.
    pub(super) fn outside_holders(&self) -> Vec<i32> {
        self.outside.watched.keys().map(|(pid, _)| *pid).collect()
    }

    /// Looks, if it is time.
    pub(super) fn poll_locks(&mut self) {
        if self.outside.poll.is_some_and(|due| due <= Instant::now()) {
            self.locks_may_have_changed();
        }
    }
}
