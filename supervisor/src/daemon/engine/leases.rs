//! How a lease stays true: it follows PID 1's unit states and the task's cgroup, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use interlock_core::arbiter::Event;
use interlock_core::lease::{self, Found, Verdict};
use interlock_generator::names;
use tokio::time::{Duration, Instant};

use super::super::{Notice, words};
use super::{Engine, deploy};
use crate::failpoint::step;
use crate::journal::message;
use crate::pid1::{Pid1, UnitState};
use crate::{cgroup, clock};

/// PID 1 usually stops an unneeded gate within a millisecond; after this it is taken to have given up.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_millis(150);
/// How often a cgroup is looked at that outlives its task, while the lease waits for it.
const LEFTOVER_POLL: Duration = Duration::from_millis(200);

impl Engine {
    /// Reads the state of one unit's gate and task again, and draws the consequences.
    pub(super) async fn refresh(&mut self, unit: &str) {
        let gate_name = names::gate_of(unit);
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        let names = vec![unit.to_owned(), gate_name.clone()];
        let Ok(states) = pid1.states(names).await else {
            // An error is not a state: look again.
            self.look_later(unit, super::RETRY);
            return;
        };
        let task = states.values().find(|s| s.name != gate_name);
        match (task, states.get(&gate_name)) {
            (Some(task), Some(gate)) => self.judge(unit, task, gate).await,
            _ => self.look_later(unit, super::RETRY),
        }
    }

    async fn judge(&mut self, unit: &str, task: &UnitState, gate: &UnitState) {
        if gate.is_down() {
            self.orphans.remove(unit);
            if task.is_down() && self.preemption.forgive(unit) {
                self.reset_failed(unit).await;
            }
        }
        let lease = self.arbiter.leases().get(unit);
        let waits = self.arbiter.queue().iter().any(|w| w.unit == unit);
        let is_gated = self.policy.is_gated(unit);
        match lease::judge(lease, waits, is_gated, task.service(), gate.service()) {
            Verdict::Nothing => {}
            Verdict::End => self.end_lease(unit).await,
            Verdict::Unguarded => self.adopt_unguarded(unit).await,
            Verdict::Open {
                adopt,
                may_be_behind,
                is_orphan,
            } => {
                if adopt {
                    self.adopt_running(unit);
                }
                if may_be_behind {
                    self.look_behind_lease(unit.to_owned()).await;
                }
                self.judge_orphan(unit, is_orphan).await;
            }
        }
    }

    async fn judge_orphan(&mut self, unit: &str, is_orphan: bool) {
        if !is_orphan {
            self.orphans.remove(unit);
            return;
        }
        let now = Instant::now();
        let since = *self.orphans.entry(unit.to_owned()).or_insert(now);
        if now - since < ORPHAN_GRACE {
            self.look_later(unit, ORPHAN_GRACE);
        } else {
            self.close_orphan(unit).await;
        }
    }

    /// PID 1 didn't stop a gate that nobody needs: its StopWhenUnneeded= is rate-limited, and a queued unit
    /// that requires the task makes the stop "destructive".
    async fn close_orphan(&mut self, unit: &str) {
        self.orphans.remove(unit);
        // First the lease file, so that a start in between meets a closed door and not an open one.
        remove_lease_file(unit);
        let now = Instant::now();
        self.closing.retain(|_, at| now - *at < ORPHAN_GRACE * 20);
        self.closing.insert(unit.to_owned(), now);
        tracing::debug!(unit, "closing a gate that PID 1 left open");
        if let Some(pid1) = &self.pid1
            && let Err(error) = pid1
                .stop(&names::gate_of(unit), "ignore-dependencies")
                .await
        {
            tracing::warn!(unit, %error, "cannot stop the gate");
        }
        self.look_later(unit, super::RETRY);
    }

    /// Whether processes are left in the task's cgroup, if PID 1 says which that is.
    pub(super) async fn leftovers(&self, unit: &str) -> Option<bool> {
        let group = self.pid1.as_ref()?.control_group(unit).await;
        group.is_ok().then(|| is_populated(group))
    }

    /// The gate is closed, or its task has exited: the lease is over as soon as nothing runs in its name.
    ///
    /// First the lease file goes. Until then a start that ignores dependencies could still slip in; whatever
    /// did is seen afterwards.
    async fn end_lease(&mut self, unit: &str) {
        step("before lease file goes");
        remove_lease_file(unit);
        step("after lease file went");
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        let names = vec![unit.to_owned()];
        let (states, group) = tokio::join!(pid1.states(names), pid1.control_group(unit));
        let state = states.ok().and_then(|states| states.into_values().next());
        let task = state.as_ref().map(UnitState::doing);
        if lease::is_over(task, is_populated(group)) {
            self.release(unit);
        } else {
            // Children may outlive their task (KillMode=process), and use the resources as it did.
            self.look_later(unit, LEFTOVER_POLL);
        }
    }

    /// The lease is over.
    pub(super) fn release(&mut self, unit: &str) {
        let record = self.records.remove(unit).unwrap_or_default();
        // Only a run that was started again after a checkpoint had one.
        deploy::forget_environment_of_run(unit, record.granted);
        let now = clock::realtime();
        let held = now.saturating_sub(record.granted);
        let task = self.policy.task_name(unit).to_owned();
        tracing::debug!(
            task,
            unit,
            "{unit} gave its lease back after {}",
            words::duration(held)
        );
        step("before release");
        self.feed(Event::Released {
            unit: unit.to_owned(),
        });
        self.granted.forget(unit);
        self.predecessor_has_ended(unit);
        self.forget_run(unit);
        self.deployments_heard_of(unit);
        self.run_ends(unit, record);
        // There is room, and what was submitted from inside it may be due.
        self.queue.wake();
        self.notify(Notice::Changed(unit.to_owned()));
    }

    async fn reset_failed(&self, unit: &str) {
        if let Some(pid1) = &self.pid1
            && let Err(error) = pid1.reset_failed(unit).await
        {
            tracing::debug!(unit, %error, "cannot reset");
        }
    }

    /// A lease that exists although it wasn't granted here.
    pub(super) fn adopt_running(&mut self, unit: &str) {
        let uses = self.uses_held_by(unit);
        let granted = granted_at(unit).unwrap_or_else(clock::realtime);
        let record = self.records.entry(unit.to_owned()).or_default();
        record.granted = granted;
        if record.asked == 0 {
            record.asked = granted;
        }
        self.run_begins(unit, false);
        self.feed(Event::Adopt {
            unit: unit.to_owned(),
            uses,
            since: clock::monotonic(),
            presumed: false,
        });
        self.keep_granted(unit);
        self.notify(Notice::Changed(unit.to_owned()));
    }

    /// A task that runs though it has no gate: it ran before it came under policy. The lease counts from
    /// now; starting the gate doesn't touch the task.
    async fn adopt_unguarded(&mut self, unit: &str) {
        tracing::info!(
            message_id = message::ADOPTED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "{unit} ran before it came under policy; its lease counts from now"
        );
        self.adopt_running(unit);
        if let Some(pid1) = &self.pid1
            && let Err(error) = pid1.start(&names::gate_of(unit), "fail").await
        {
            tracing::warn!(unit, %error, "cannot start the gate of a running task");
        }
        self.look_later(unit, super::SWEEP);
    }

    fn look_later(&mut self, unit: &str, after: Duration) {
        self.later.insert(unit.to_owned(), Instant::now() + after);
    }

    /// At start, whenever the bus comes back, and after a daemon-reload: who holds and who waits, from PID 1
    /// alone. Says whether PID 1 answered; until it has, nothing may be granted.
    pub(super) async fn rebuild(&mut self, pid1: &Pid1) -> bool {
        let Some(found) = self.survey(pid1).await else {
            return false;
        };
        for (unit, (task, gate)) in &found {
            if !self.learn_run(pid1, unit).await {
                return false;
            }
            if let Some(task) = task
                .as_ref()
                .filter(|task| task.sub.starts_with("auto-restart"))
            {
                let job = task.job.as_ref().map(|(job, _)| *job);
                self.holds.restarts.unit_restarts(unit, job);
            }
            let lease = self.arbiter.leases().get(unit);
            let is_connected = self.gates.contains_key(unit);
            let task = task.as_ref().map(UnitState::doing);
            let gate = gate.as_ref().map(UnitState::doing);
            match lease::found(lease, is_connected, task, gate) {
                Found::Nothing => {}
                Found::Presumed => self.presume_lease(pid1, unit).await,
                Found::Held => self.adopt_running(unit),
                Found::HeldIfPopulated => {
                    let Ok(group) = pid1.control_group(unit).await else {
                        return false;
                    };
                    if is_populated(Ok(group)) {
                        self.adopt_running(unit);
                    }
                }
            }
        }
        self.jobs.clear();
        for (task, _) in found.values() {
            if let Some(UnitState {
                name,
                job: Some((id, _)),
                ..
            }) = task
            {
                self.jobs.insert(name.clone(), *id);
            }
        }
        if !self.adopt_granted(pid1, &found).await {
            return false;
        }
        self.remove_stale_lease_files(&found);
        self.dirty.extend(found.into_keys());
        self.dirty.extend(self.arbiter.leases().keys().cloned());
        self.feed(Event::Sweep);
        true
    }

    /// A gate that waited for an earlier interlockd: that may have told it to go a moment ago.
    async fn presume_lease(&mut self, pid1: &Pid1, unit: &str) {
        let since = pid1.left_inactive_at(&names::gate_of(unit)).await;
        self.feed(Event::Adopt {
            unit: unit.to_owned(),
            uses: self.uses_held_by(unit),
            since: since.unwrap_or_else(|_| clock::monotonic()),
            presumed: true,
        });
    }

    /// Those of leases that ended while interlockd was away.
    fn remove_stale_lease_files(&self, found: &Survey) {
        let Ok(files) = std::fs::read_dir(names::LEASE_DIR) else {
            return;
        };
        let units = files
            .flatten()
            .filter_map(|file| file.file_name().into_string().ok());
        for unit in units {
            let (task, gate) = found.get(&unit).cloned().unwrap_or_default();
            // An exited task's gate is open for nothing.
            let may_hold = gate.is_some_and(|gate| !gate.is_down())
                && !task.is_some_and(|task| task.has_exited());
            if !may_hold && !self.arbiter.leases().contains_key(&unit) {
                remove_lease_file(&unit);
            }
        }
    }

    /// Everything again, slowly: what signals lost.
    pub(super) async fn sweep(&mut self) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        if let Some(found) = self.survey(&pid1).await {
            let news = found.into_iter().filter(|(unit, (task, gate))| {
                let lease = self.arbiter.leases().get(unit);
                let doing = |it: &Option<UnitState>| it.as_ref().map(UnitState::doing);
                lease::is_news(lease, doing(task), doing(gate))
            });
            let news: Vec<String> = news.map(|(unit, _)| unit).collect();
            self.dirty.extend(news);
            self.dirty.extend(self.arbiter.leases().keys().cloned());
        }
        self.feed(Event::Sweep);
    }

    /// Every gate and every gated task that PID 1 has loaded.
    async fn survey(&self, pid1: &Pid1) -> Option<Survey> {
        let mut patterns = vec![names::gate_of("*")];
        patterns.extend(self.policy.patterns());
        patterns.extend(
            self.arbiter
                .leases()
                .keys()
                .map(|unit| escape_pattern(unit)),
        );
        let states = pid1.matching(patterns).await.ok()?;
        let mut units: BTreeSet<&str> = BTreeSet::new();
        for name in states.keys() {
            match names::unit_of_gate(name) {
                Some(unit) => units.insert(unit),
                None => self.policy.is_gated(name) && units.insert(name),
            };
        }
        let found = units.into_iter().map(|unit| {
            let pair = (
                states.get(unit).cloned(),
                states.get(&names::gate_of(unit)).cloned(),
            );
            (unit.to_owned(), pair)
        });
        Some(found.collect())
    }
}

/// Unknown counts as yes.
pub(super) fn is_populated(control_group: zbus::Result<Option<String>>) -> bool {
    match control_group {
        Ok(None) => false,
        Ok(Some(path)) => cgroup::is_populated(&path).unwrap_or(true),
        Err(_) => true,
    }
}

/// When a lease was granted that an earlier interlockd gave: its gate wrote the file then.
fn granted_at(unit: &str) -> Option<u64> {
    let written = std::fs::metadata(names::lease_file(unit)).ok()?.modified();
    let since = written.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

fn remove_lease_file(unit: &str) {
    let file = names::lease_file(unit);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(unit, %error, "cannot remove {file}");
        }
        _ => {}
    }
}

/// Task and gate of each unit, as far as they are loaded.
pub(super) type Survey = BTreeMap<String, (Option<UnitState>, Option<UnitState>)>;

/// A unit name as an fnmatch(3) pattern that matches just it.
pub fn escape_pattern(unit: &str) -> String {
    unit.replace('\\', "\\\\").replace('[', "\\[")
}
