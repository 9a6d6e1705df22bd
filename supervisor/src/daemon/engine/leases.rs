//! How a lease stays true: it follows PID 1's unit states and the task's cgroup, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use interlock_core::arbiter::Event;
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
        let holds = self.arbiter.leases().contains_key(unit);
        match gate.active.as_str() {
            "active" | "reloading" => self.judge_open_gate(unit, task, gate, holds).await,
            "inactive" | "failed" => {
                self.orphans.remove(unit);
                if task.is_down() && self.preempted.remove(unit) {
                    self.reset_failed(unit).await;
                }
                if holds {
                    self.end_lease(unit).await;
                } else if task.is_running() && self.policy.is_gated(unit) {
                    self.adopt_unguarded(unit).await;
                }
            }
            // Its task's next start is held while what the last one left behind still runs.
            "activating" if holds && self.arbiter.queue().iter().any(|w| w.unit == unit) => {
                self.end_lease(unit).await;
            }
            // On its way up: the gate itself will come. On its way down: its job's end will be told.
            _ => {}
        }
    }

    async fn judge_open_gate(
        &mut self,
        unit: &str,
        task: &UnitState,
        gate: &UnitState,
        holds: bool,
    ) {
        if task.has_exited() {
            // RemainAfterExit=: it stays active for as long as it likes, and uses nothing any more.
            if holds {
                self.end_lease(unit).await;
            }
            return;
        }
        let presumed = self.arbiter.leases().get(unit).is_some_and(|l| l.presumed);
        if !holds || presumed {
            self.adopt_running(unit);
        }
        if holds && task.is_down() && task.job.is_some() {
            // A start on the lease of the run before: a job that came meanwhile may stand before it.
            self.look_behind_lease(unit.to_owned()).await;
        }
        let is_orphan = task.is_down() && task.job.is_none() && gate.job.is_none();
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

    /// Whether processes are left in the task's cgroup. Unknown counts as yes.
    pub(super) async fn is_populated(&self, unit: &str) -> bool {
        match &self.pid1 {
            None => true,
            Some(pid1) => is_populated(pid1.control_group(unit).await),
        }
    }

    /// Whether processes are known to be left in the task's cgroup.
    pub(super) async fn has_leftovers(&self, unit: &str) -> bool {
        let Some(pid1) = &self.pid1 else {
            return false;
        };
        let group = pid1.control_group(unit).await;
        let group = group.ok().flatten();
        group.is_some_and(|group| cgroup::is_populated(&group).unwrap_or(false))
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
        let is_over = state.is_some_and(|task| {
            // What an exited task left running it left on purpose (RemainAfterExit=).
            task.has_exited() || !(task.is_running() || is_populated(group))
        });
        if is_over {
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
            let is_known =
                self.gates.contains_key(unit) || self.arbiter.leases().contains_key(unit);
            let (Some(gate), false) = (gate, is_known) else {
                continue;
            };
            match gate.active.as_str() {
                "inactive" | "failed" => {}
                "activating" => self.presume_lease(pid1, unit).await,
                _ if task.as_ref().is_some_and(UnitState::has_exited) => {}
                _ => self.adopt_running(unit),
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
        self.adopt_leftovers(pid1, &found).await;
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

    /// Tasks that are down, but left processes behind: their lease isn't over.
    async fn adopt_leftovers(&mut self, pid1: &Pid1, found: &Survey) {
        for (unit, (task, gate)) in found {
            let gate_down = gate.as_ref().is_none_or(UnitState::is_down);
            let task_down = task.as_ref().is_some_and(UnitState::is_down);
            if !(gate_down && task_down) || self.arbiter.leases().contains_key(unit) {
                continue;
            }
            if let Ok(Some(path)) = pid1.control_group(unit).await
                && cgroup::is_populated(&path).unwrap_or(false)
            {
                self.adopt_running(unit);
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
                let holds = self.arbiter.leases().contains_key(unit);
                let gate_open = gate.as_ref().is_some_and(|g| g.active == "active");
                let works = task.as_ref().is_some_and(UnitState::is_running);
                let gate_down = gate.as_ref().is_none_or(UnitState::is_down);
                (holds && !(gate_open && works)) || (!holds && (gate_open || works && gate_down))
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
