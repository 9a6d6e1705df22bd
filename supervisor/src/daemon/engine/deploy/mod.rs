//! Deployments: looks at the world, has [`crate::deploy`] decide, writes that down, and takes the steps.

mod desk;
mod holder;
mod observe;
mod steps;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_generator::policy::settings::Task;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::{Input, Notice};
use super::Engine;
use crate::arbiter::Event;
use crate::deploy::{Deployment, Hook, PUT_OFF, Phase, Stage, State, Step};
use crate::failpoint::pass;
use crate::journal::message;
use crate::pid1::{self, Details};
use crate::store::{Change, Stale, Store};
use crate::{clock, freezer};

pub use desk::{BeginError, BeginRequest, DeskError};
pub(super) use steps::forget_environment_of_run;
pub use views::{DeploymentView, MemberView};

/// The end of a stop's job is told at the latest so long after the unit was seen down.
const STOP_NEWS: Duration = Duration::from_secs(2);
/// How soon a freeze is looked at again: the kernel usually needs less than a millisecond.
const FREEZE_POLL: Duration = Duration::from_millis(2);
/// How often what has no signal is looked at while a deployment settles or ends: locks, leftovers.
const POLL: Duration = Duration::from_millis(200);
/// How often a deployment that is ready is looked at: only what signals lost.
const READY_POLL: Duration = Duration::from_secs(5);
/// How often is looked while the host shuts down.
const PUT_OFF_POLL: Duration = Duration::from_secs(1);
/// How many deployments are shown that are over.
const REMEMBERED: usize = 20;

/// A deployment, and what belongs to it only while interlockd runs.
#[derive(Debug)]
struct Live {
    deployment: Deployment,
    /// As it is written down.
    saved: Deployment,
    /// Watches the holder's FIFO.
    holder: Option<AbortHandle>,
    /// Counts take-overs, so that a former holder's end means nothing.
    generation: u64,
    /// Who wants to know when it no longer settles.
    waiting: Vec<oneshot::Sender<Settled>>,
    /// Its hook's unit could not be started.
    hook_error: Option<(Hook, String)>,
    /// Its end is put off to the next boot.
    put_off: bool,
}

/// What became of a deployment's settling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// No longer `Settling`.
    pub state: State,
    /// It could not be settled.
    pub refused: bool,
    /// Why it failed, if it did.
    pub why: String,
}

impl Settled {
    fn of(deployment: &Deployment) -> Self {
        Self {
            state: deployment.state(),
            refused: deployment.refused,
            why: deployment.failure.clone().unwrap_or_default(),
        }
    }
}

/// What the engine knows of deployments.
pub(super) struct Deployments {
    store: Store,
    all: BTreeMap<String, Live>,
    /// What is known of units that run, by unit.
    details: BTreeMap<String, Details>,
    /// Units of which that is still so.
    fresh: BTreeSet<String>,
    /// Units that could not be frozen, with why.
    unfreezable: BTreeMap<String, String>,
    /// Jobs of ours that stop units.
    own_stops: BTreeSet<u32>,
    /// Units that are stopped by a job of ours whose id isn't known yet, with when they were last seen up.
    expected_stops: BTreeMap<String, Instant>,
    /// Jobs that somebody else queued for a unit that had been stopped already.
    others_jobs: BTreeSet<u32>,
    /// Runs that go on with old code.
    stale: BTreeMap<String, Stale>,
    /// Units among those that have to be looked at.
    maybe_fresh: BTreeSet<String>,
    /// Tasks whose admission is closed.
    closed: BTreeSet<String>,
    /// When to look again.
    due: Option<Instant>,
    boot: String,
    inputs: UnboundedSender<Input>,
}

impl Deployments {
    pub(super) fn new(store: Store, inputs: UnboundedSender<Input>) -> Self {
        Self {
            store,
            all: BTreeMap::new(),
            details: BTreeMap::new(),
            fresh: BTreeSet::new(),
            unfreezable: BTreeMap::new(),
            own_stops: BTreeSet::new(),
            expected_stops: BTreeMap::new(),
            others_jobs: BTreeSet::new(),
            stale: BTreeMap::new(),
            maybe_fresh: BTreeSet::new(),
            closed: BTreeSet::new(),
            due: None,
            boot: clock::boot_id(),
            inputs,
        }
    }

    pub(super) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    fn live(&self) -> impl Iterator<Item = &Deployment> {
        self.all
            .values()
            .map(|live| &live.deployment)
            .filter(|deployment| deployment.is_live())
    }

    fn expect_stops(&mut self, units: impl IntoIterator<Item = String>) {
        let now = Instant::now();
        let units = units.into_iter().map(|unit| (unit, now));
        self.expected_stops.extend(units);
    }

    fn wake(&mut self) {
        self.due = Some(Instant::now());
    }

    fn wake_in(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// A unit that a live deployment has to do with, by its object path.
    fn member_at(&self, path: &str) -> Option<String> {
        let mut units = self.live().flat_map(|deployment| deployment.members.keys());
        units.find(|unit| pid1::unit_path(unit) == path).cloned()
    }
}

/// Thaws what was frozen and no deployment wants frozen. Says whether anything is still frozen.
fn thaw_unwanted<'a>(deployments: impl Iterator<Item = &'a Deployment> + Clone) -> bool {
    let marked = freezer::marked();
    for unit in &marked {
        let holding = deployments.clone().filter(|deployment| deployment.holds());
        let mut members = holding.filter_map(|deployment| deployment.members.get(unit));
        if !members.any(|member| member.may_be_frozen()) {
            freezer::thaw(unit);
            tracing::warn!(
                message_id = message::THAWED,
                unit,
                object_systemd_unit = unit,
                "{unit} was frozen, and no deployment wants it so: it goes on"
            );
        }
    }
    !marked.is_empty()
}

/// The unit of a deployment's hook.
fn hook_unit(id: &str, hook: Hook) -> String {
    format!("interlock-hook-{id}-{}.service", hook.name())
}

impl Engine {
    /// Before anything else: what was frozen and no deployment wants frozen goes on.
    pub(super) fn recover_deployments(&mut self) {
        let mut known = self.deployments.store.deployments();
        self.deployments.stale = self.deployments.store.stale();
        self.deployments.maybe_fresh = self.deployments.stale.keys().cloned().collect();
        let boot = self.deployments.boot.clone();
        for deployment in known.iter_mut().filter(|deployment| deployment.is_live()) {
            deployment.rebooted(&boot, clock::monotonic(), clock::realtime());
        }
        thaw_unwanted(known.iter());
        for deployment in known {
            self.recover(deployment);
        }
        self.close_admission();
    }

    fn recover(&mut self, mut deployment: Deployment) {
        let saved = deployment.clone();
        let id = deployment.id.clone();
        let mut holder = None;
        if deployment.is_live() {
            tracing::info!(
                message_id = message::DEPLOYMENT,
                deployment = id,
                group = deployment.group,
                state = deployment.state().name(),
                "deployment {id} goes on where it was"
            );
            if deployment.holds() && deployment.expires == 0 {
                match holder::reopen(&id, 0, &self.deployments.inputs) {
                    Ok(watch) => holder = Some(watch),
                    Err(why) => deployment.fail(format!("its caller is gone: {why}")),
                }
            }
            self.deployments.wake();
        }
        let live = Live {
            deployment,
            saved,
            holder,
            generation: 0,
            waiting: Vec::new(),
            hook_error: None,
            put_off: false,
        };
        self.deployments.all.insert(id, live);
    }

    /// Something has happened to a unit.
    pub(super) fn deployments_heard_of(&mut self, unit: &str) {
        let deployments = &mut self.deployments;
        deployments.fresh.remove(unit);
        if deployments.stale.contains_key(unit) {
            deployments.maybe_fresh.insert(unit.to_owned());
            deployments.wake();
        }
        let is_hook = unit.starts_with("interlock-hook-");
        let concerns = |d: &Deployment| d.members.contains_key(unit);
        if is_hook || deployments.live().any(concerns) {
            deployments.wake();
        } else if deployments.live().next().is_some()
            && let Some(task) = self.policy.task_of(unit)
            && self.deployments.closed.contains(&task.name)
        {
            self.deployments.wake();
        }
    }

    /// As [`Engine::deployments_heard_of`], by the unit's object path.
    pub(super) fn deployments_heard_of_path(&mut self, path: &str) {
        let stale = self.deployments.stale.keys();
        let mut stale = stale.filter(|unit| pid1::unit_path(unit) == path);
        let unit = self
            .deployments
            .member_at(path)
            .or_else(|| stale.next().cloned());
        if let Some(unit) = unit {
            self.deployments_heard_of(&unit);
        }
    }

    /// A unit has a new job.
    pub(super) fn deployments_job_new(&mut self, unit: &str, id: u32) {
        self.deployments_heard_of(unit);
        let is_ours = self.deployments.own_stops.contains(&id)
            || self.deployments.expected_stops.remove(unit).is_some();
        if !is_ours && self.deployments.live().any(|d| d.is_stopped(unit)) {
            self.deployments.others_jobs.insert(id);
        }
    }

    /// A job of a unit has ended: it may be an operator's stop of what a deployment has stopped.
    pub(super) async fn deployments_job_removed(&mut self, unit: &str, id: u32, result: &str) {
        self.deployments_heard_of(unit);
        let is_ours = self.deployments.own_stops.remove(&id);
        // Only a job that came when the unit was at rest already: that of the run has to end as well.
        let is_others = self.deployments.others_jobs.remove(&id);
        if is_ours || !is_others || result != "done" {
            return;
        }
        let Some(pid1) = &self.pid1 else {
            return;
        };
        // The host's shutdown isn't an operator's word about this unit.
        if pid1.is_stopping().await.unwrap_or(true) {
            return;
        }
        // A start isn't done while admission is closed; without a gate it leaves the unit up.
        let state = pid1.states(vec![unit.to_owned()]).await;
        let state = state.ok().and_then(|states| states.into_values().next());
        if state.is_some_and(|state| state.is_down() && state.job.is_none()) {
            for live in self.deployments.all.values_mut() {
                live.deployment.stopped_by_somebody(unit);
            }
            self.deployments.wake();
        }
    }

    /// Looks, decides, writes down, acts; until nothing more is to be done just now.
    pub(super) async fn work_on_deployments(&mut self) {
        /// What is still not done then is done a moment later, after what else has happened.
        const ROUNDS: usize = 8;
        if self.deployments.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.deployments.due = None;
        self.refresh_stale().await;
        let mut rounds = 0;
        loop {
            if self.deployments.live().next().is_none() {
                break;
            }
            if rounds == ROUNDS {
                break self.deployments.wake();
            }
            rounds += 1;
            let stages = self.stages();
            let Some(mut steps) = self.decide().await else {
                break self.deployments.wake_in(super::RETRY);
            };
            pass("decided");
            self.write_down(&mut steps);
            pass("written down");
            self.close_admission();
            self.tell_deployments();
            let has_moved = self.stages() != stages;
            let is_done = !self.take_steps(steps).await && !has_moved;
            self.carry_out().await;
            if self.deployments.all.values().any(|live| live.put_off) {
                // Only shutting down is left.
                break self.deployments.wake_in(PUT_OFF_POLL);
            }
            if is_done {
                break self.plan_next_look();
            }
        }
        let all = self.deployments.all.values().map(|live| &live.deployment);
        if thaw_unwanted(all) {
            self.deployments.wake_in(READY_POLL);
        }
    }

    fn stages(&self) -> Vec<Stage> {
        let all = self.deployments.all.values();
        all.map(|live| live.deployment.stage).collect()
    }

    /// Each deployment's next steps; `None` if PID 1 can't be asked.
    async fn decide(&mut self) -> Option<Vec<(String, Vec<Step>)>> {
        let seen = self.observe().await?;
        let ids: Vec<String> = self.deployments.live().map(|d| d.id.clone()).collect();
        let is_ending = self.deployments.live().any(|d| !d.holds());
        let is_stopping = match &self.pid1 {
            Some(pid1) if is_ending => pid1.is_stopping().await.unwrap_or(false),
            _ => false,
        };
        let mut all = Vec::new();
        for id in ids {
            let sight = self.sight_of(&id, &seen);
            let realtime = clock::realtime();
            let Some(live) = self.deployments.all.get_mut(&id) else {
                continue;
            };
            let deployment = &mut live.deployment;
            if deployment.expires > 0 && deployment.expires <= realtime {
                deployment.fail("it expired before it was ended");
            }
            let before = deployment.clone();
            live.put_off &= is_stopping;
            let mut steps = deployment.advance(&sight);
            if is_stopping && !before.holds() {
                // What is to be started again is started after the next boot.
                *deployment = before;
                if !std::mem::replace(&mut live.put_off, true) {
                    tracing::info!(deployment = id, "{PUT_OFF}");
                    let _ = self.notices.send(Notice::Deployment(id.clone()));
                }
                steps.retain(|step| matches!(step, Step::Thaw(_)));
            }
            for step in &steps {
                if let Step::HandOver(unit, to, member) = step
                    && let Some(other) = self.deployments.all.get_mut(to)
                {
                    other.deployment.take_over(unit, (**member).clone());
                }
            }
            all.push((id, steps));
        }
        Some(all)
    }

    /// What changes is on disk before it takes effect. A deployment that can't be written down fails, and is
    /// undone all the same: nothing may stay as it is for want of space.
    fn write_down(&mut self, steps: &mut Vec<(String, Vec<Step>)>) {
        let now = clock::realtime();
        let mut change = Change {
            at: now,
            ..Change::default()
        };
        let Deployments {
            store, all, stale, ..
        } = &mut self.deployments;
        for (id, steps) in steps.iter() {
            for step in steps {
                match step {
                    Step::Interrupted(unit) => {
                        change.interruptions.push((unit.clone(), id.clone()));
                    }
                    Step::Stale(unit) => {
                        let member = all
                            .get(id)
                            .and_then(|live| live.deployment.members.get(unit));
                        let Some(member) = member else {
                            continue;
                        };
                        // The first deployment that it outlived is the one since which its code is old.
                        let known = stale.get(unit).map(|s| &s.invocation);
                        if known == Some(&member.invocation) {
                            continue;
                        }
                        let it = Stale {
                            invocation: member.invocation.clone(),
                            deployment: id.clone(),
                        };
                        change.stale.push((unit.clone(), it));
                    }
                    _ => {}
                }
            }
        }
        let changed = all.values().filter(|live| live.deployment != live.saved);
        change.deployments = changed.map(|live| &live.deployment).collect();
        if change.deployments.is_empty() && change.interruptions.is_empty() {
            return;
        }
        let saved = store.save(&change);
        let news = std::mem::take(&mut change.stale);
        drop(change);
        for (unit, it) in news {
            tracing::warn!(
                message_id = message::STALE,
                unit,
                object_systemd_unit = unit,
                deployment = it.deployment,
                "{unit} goes on with code from before deployment {}",
                it.deployment
            );
            stale.insert(unit, it);
        }
        if let Err(error) = saved {
            tracing::error!(%error, "cannot write a deployment down; it is undone");
            // What undoes is done; what would go further isn't.
            steps.retain(|(id, _)| all.get(id).is_some_and(|live| !live.deployment.holds()));
            for live in all.values_mut().filter(|live| live.deployment.holds()) {
                // As if it had never been decided.
                live.deployment.clone_from(&live.saved);
                live.deployment.refuse(error.to_string());
            }
            self.deployments.wake();
        }
    }

    /// Tells the arbiter which tasks' starts wait.
    pub(super) fn close_admission(&mut self) {
        let closing = self.deployments.live().filter(|d| d.closes_admission());
        let mut closed = BTreeSet::new();
        for deployment in closing {
            if let Some(group) = self.policy.settings().groups().get(&deployment.group) {
                closed.extend(group.tasks.iter().cloned());
            }
            closed.extend(deployment.members.values().map(|m| m.task.clone()));
        }
        if closed != self.deployments.closed {
            self.deployments.closed.clone_from(&closed);
            let now = clock::monotonic();
            self.feed(Event::Admission { closed, now });
            pass("admission");
            for unit in self.live_units().cloned().collect::<Vec<_>>() {
                self.notify(Notice::Changed(unit));
            }
        }
    }

    /// The arbiter has new claims: what is held follows from their tasks.
    pub(super) fn close_admission_again(&mut self) {
        let closed = self.deployments.closed.clone();
        let now = clock::monotonic();
        self.feed(Event::Admission { closed, now });
        self.close_admission();
    }

    fn plan_next_look(&mut self) {
        let now = clock::monotonic();
        let realtime = clock::realtime();
        let mut next: Option<Duration> = None;
        let mut at_least = |after: Duration| next = Some(next.map_or(after, |n| n.min(after)));
        for deployment in self.deployments.live() {
            if let Some(at) = deployment.next_time(now) {
                at_least(Duration::from_micros(at - now));
            }
            if deployment.expires > 0 && deployment.holds() {
                at_least(Duration::from_micros(
                    deployment.expires.saturating_sub(realtime),
                ));
            }
            let freezing = |m: &crate::deploy::Member| m.phase == Phase::Freezing;
            at_least(match deployment.stage {
                Stage::Ready => READY_POLL,
                _ if deployment.members.values().any(freezing) => FREEZE_POLL,
                _ => POLL,
            });
        }
        if let Some(after) = next {
            self.deployments.wake_in(after);
        }
    }

    /// Runs that were stale and are over.
    async fn refresh_stale(&mut self) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        for unit in std::mem::take(&mut self.deployments.maybe_fresh) {
            let Ok(details) = pid1.details(&unit).await else {
                continue;
            };
            let is_over = self.deployments.stale.get(&unit).is_some_and(|stale| {
                stale.invocation != details.invocation || details.control_group.is_empty()
            });
            if is_over {
                self.deployments.stale.remove(&unit);
                self.deployments.store.forget_stale(&unit);
                self.notify(Notice::Changed(unit));
            }
        }
    }

    /// The tasks that a deployment is about.
    fn group_tasks<'a>(&'a self, deployment: &Deployment) -> Vec<&'a Task> {
        let settings = self.policy.settings();
        let group = settings.groups().get(&deployment.group);
        let names = group
            .map(|group| group.tasks.as_slice())
            .unwrap_or_default();
        names
            .iter()
            .filter_map(|name| settings.tasks().get(name))
            .collect()
    }
}
