//! Deployments: looks at the world, has [`interlock_core::deploy`] decide, writes that down, and takes the steps.

mod desk;
mod holder;
mod news;
mod observe;
mod round;
mod steps;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_core::deploy::{Deployment, Hook, State, closed, wants_frozen};
use interlock_generator::policy::settings::Task;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::Input;
use super::Engine;
use crate::failpoint::pass;
use crate::journal::message;
use crate::pid1::{self, Details};
use crate::store::{Stale, Store};
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
    /// When it was over, if that was seen here. By no clock that can be set: whoever waits for the end of one is to find
    /// it there.
    over: Option<Instant>,
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
    /// Whether hooks' units of an earlier interlockd have been looked for since the last deployment ended.
    hooks_ended: bool,
    /// PID 1 hasn't answered to a step.
    unanswered: bool,
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
            hooks_ended: false,
            unanswered: false,
            due: Some(Instant::now()),
            boot: clock::boot_id(),
            inputs,
        }
    }

    pub(super) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    pub(super) fn store_ref(&self) -> &Store {
        &self.store
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

    pub(super) fn wake(&mut self) {
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
        if !wants_frozen(deployments.clone(), unit) {
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
            over: None,
        };
        self.deployments.all.insert(id, live);
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
        self.end_forgotten_hooks().await;
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
            let is_done = !self.take_steps(&steps).await && !has_moved;
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

    /// Tells the arbiter which tasks' starts wait.
    pub(super) fn close_admission(&mut self) {
        let groups = self.policy.settings().groups();
        let tasks_of = |group: &str| groups.get(group).into_iter().flat_map(|group| &group.tasks);
        self.deployments.closed = closed(self.deployments.live(), tasks_of);
        self.tell_admission(false);
    }

    /// The arbiter has new claims: what is held follows from their tasks.
    pub(super) fn close_admission_again(&mut self) {
        self.tell_admission(true);
        self.close_admission();
    }

    pub(super) fn closed_by_deployments(&self) -> &BTreeSet<String> {
        &self.deployments.closed
    }

    /// Units of hooks whose deployment is over: interlockd was killed before it could stop them.
    async fn end_forgotten_hooks(&mut self) {
        let Some(pid1) = self.pid1.clone().filter(|_| !self.deployments.hooks_ended) else {
            return;
        };
        let Ok(hooks) = pid1
            .matching(vec!["interlock-hook-*.service".to_owned()])
            .await
        else {
            return;
        };
        self.deployments.hooks_ended = true;
        for unit in hooks.into_keys() {
            let is_live = |d: &Deployment| {
                let hooks = [Hook::BeforeSettle, Hook::AfterResume];
                hooks.iter().any(|hook| hook_unit(&d.id, *hook) == unit)
            };
            if !self.deployments.live().any(is_live) {
                let _ = pid1.stop(&unit, "replace").await;
                let _ = pid1.reset_failed(&unit).await;
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
