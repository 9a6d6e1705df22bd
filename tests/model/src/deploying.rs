//! The daemon around the real deployments: what they see and how their steps are taken, as
//! `supervisor/src/daemon/engine/deploy` does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use interlock_core::arbiter::{Event as Told, Hurdle};
use interlock_core::deploy::{Activity, Begin, Deployment, Phase, Rule, Seen, Sight, Stage, Step};
use interlock_generator::policy::settings::DeployAction;

use crate::daemon::daemon_policy;
use crate::faults;
use crate::pid1::THIS_RUN;
use crate::setup::{GROUP, GROUPS, Setup, TASK, TASKS, has, members, unit};
use crate::shared::Shared;
use crate::world::{Daemon, Event, Run, Todo, World};

/// Any moment, microseconds of both clocks.
const NOW: u64 = 1 << 50;
/// At the end of any `grace`.
const GRACE: Duration = Duration::from_secs(10);
/// The groups' `max-wait`.
const MAX_WAIT: Duration = Duration::from_secs(200);
/// Longer than a service must live to have started well, and than one lingers that heard no call for a checkpoint.
const LONG: u64 = 20_000_000;

fn usec(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a deployment that holds wants this unit frozen.
pub fn wants_frozen<'a>(
    deployments: impl Iterator<Item = &'a Shared<Deployment>>,
    unit: usize,
) -> bool {
    let mut holding = deployments.filter(|it| it.holds());
    holding.any(|it| {
        let member = it.members.get(TASK[unit]);
        member.is_some_and(|member| member.may_be_frozen())
    })
}

impl World {
    /// What can happen to deployments.
    pub fn deployment_events(&self, daemon: &Daemon, out: &mut Vec<Event>) {
        for (at, deployment) in (0_u8..).zip(&daemon.deployments) {
            let group = usize::from(at);
            let Some(it) = deployment else {
                if self.budget.deployments[group] > 0 {
                    out.push(Event::Begin(at));
                }
                continue;
            };
            let clock = self.clocks[group];
            // Only where it means anything that time passes.
            let fell_back = it.members.values().any(|member| member.fell_back);
            let most = match it.stage {
                Stage::Settle if fell_back => 3,
                Stage::Settle => 2,
                Stage::Watch => 1,
                _ => 0,
            };
            if clock < most {
                out.push(Event::Time(at));
            }
            // One that is ended earlier is as one whose owner dies.
            if it.stage == Stage::Ready && self.owners[group] {
                out.push(Event::End(at));
            }
        }
        let is_frozen = self.units.iter().any(|it| it.frozen);
        if is_frozen || daemon.deployments.iter().any(Option::is_some) {
            out.push(Event::Round);
        }
    }

    /// Has it happen.
    pub fn deployment_event(&mut self, setup: &Setup, event: Event) {
        match event {
            Event::Begin(at) => self.begin(setup, usize::from(at)),
            Event::End(at) => {
                let group = usize::from(at);
                self.with(group, |it| it.end(None));
                // `Engine::keep`.
                let daemon = self.daemon.as_ref();
                self.stored[group] = daemon.and_then(|it| it.deployments[group].clone());
            }
            Event::HearOwner(at) => {
                self.with(usize::from(at), |it| it.fail("its caller went away"));
            }
            Event::Time(at) => self.clocks[usize::from(at)] += 1,
            Event::Round => self.round(setup),
            _ => {}
        }
    }

    fn with(&mut self, group: usize, how: impl FnOnce(&mut Deployment)) {
        if let Some(daemon) = &mut self.daemon
            && let Some(deployment) = &mut daemon.deployments[group]
        {
            deployment.change(how);
        }
    }

    fn begin(&mut self, setup: &Setup, group: usize) {
        crate::setup::spend(&mut self.budget.deployments[group]);
        let begin = Begin {
            group: GROUP[group].to_owned(),
            grace: Duration::from_secs(setup.grace),
            max_wait: Some(MAX_WAIT),
            ..Begin::default()
        };
        let it = Deployment::begin(GROUP[group].to_owned(), "", begin, 0);
        let it = Shared::new(it);
        self.owners[group] = true;
        self.clocks[group] = u8::from(setup.grace == 0);
        self.stored[group] = Some(it.clone());
        if let Some(daemon) = &mut self.daemon {
            daemon.deployments[group] = Some(it);
        }
        self.close_admission(setup);
    }

    /// `Engine::close_admission`, and what operators hold.
    pub fn close_admission(&mut self, setup: &Setup) {
        let policy = daemon_policy(setup, self);
        let Some(daemon) = &self.daemon else {
            return;
        };
        let mut closed = self.held;
        for (group, it) in daemon.deployments.iter().enumerate() {
            if let Some(it) = it.as_ref().filter(|it| it.closes_admission()) {
                closed |= policy.groups[group];
                let tasks = it.members.values().map(|member| unit(&member.task));
                closed = tasks.fold(closed, |set, task| set | 1 << task);
            }
        }
        if closed != daemon.closed {
            if let Some(daemon) = &mut self.daemon {
                daemon.closed = closed;
            }
            self.admission_again();
        }
    }

    /// Tells the arbiter what it may know already: its claims are new.
    pub fn admission_again(&mut self) {
        let closed = self.daemon.as_ref().map_or(0, |it| it.closed);
        let closed: BTreeSet<String> = members(closed).map(|at| TASK[at].to_owned()).collect();
        self.feed(Told::Admission { closed, now: 0 });
    }

    fn seen(&self, setup: &Setup, at: usize) -> Seen {
        let it = &self.units[at];
        let policy = daemon_policy(setup, self);
        let arbiter = self.daemon.as_ref().map(|daemon| &daemon.arbiter);
        let wait = arbiter.and_then(|arbiter| arbiter.view(TASK[at]));
        let activity = match it.run {
            Run::Down | Run::Leftovers => Activity::Down,
            Run::Running => Activity::Running,
            Run::Leaving => Activity::Leaving,
        };
        Seen {
            rule: Rule {
                task: TASK[at].to_owned(),
                action: policy.actions[at],
                signal: Some("SIGUSR1".to_owned()),
                fallback: policy.fallback[at],
                gated: true,
                ..Rule::default()
            },
            activity,
            stop_queued: it.run == Run::Leaving && !it.job,
            start_queued: it.waits(),
            kept_waiting: wait.is_some_and(|wait| {
                let mut hurdles = wait.hurdles.iter();
                has(self.held, at) || hurdles.any(|hurdle| !matches!(hurdle, Hurdle::Held))
            }),
            is_up: it.run == Run::Running,
            failed: it.failed && it.run == Run::Down,
            occupied: arbiter.is_some_and(|it| it.leases().contains_key(TASK[at])),
            frozen: it.frozen,
            busy: it.busy.then(|| "it is in a transaction".to_owned()),
            unfreezable: None,
            invocation: THIS_RUN.to_owned(),
        }
    }

    fn sight(&self, setup: &Setup, group: usize, it: &Deployment) -> Sight {
        let policy = daemon_policy(setup, self);
        let concerns =
            |at: &usize| has(policy.groups[group], *at) || it.members.contains_key(TASK[*at]);
        let units = (0..TASKS).filter(concerns);
        let units: BTreeMap<String, Seen> = units
            .map(|at| (TASK[at].to_owned(), self.seen(setup, at)))
            .collect();
        let mut held_by_others = BTreeMap::new();
        for (other, deployment) in self
            .daemon
            .iter()
            .flat_map(|d| d.deployments.iter().enumerate())
        {
            if other != group && deployment.as_ref().is_some_and(|it| it.holds()) {
                let theirs = it.members.keys();
                let theirs = theirs.filter(|name| has(policy.groups[other], unit(name)));
                held_by_others.extend(theirs.map(|name| (name.clone(), GROUP[other].to_owned())));
            }
        }
        let after = match (it.stage, self.clocks[group]) {
            (Stage::Watch, 1..) => usec(MAX_WAIT),
            (Stage::Settle, 1) => usec(GRACE),
            (Stage::Settle, 2) => usec(MAX_WAIT),
            (Stage::Settle, 3..) => usec(MAX_WAIT) * 2,
            _ => 0,
        };
        Sight {
            now: NOW + after,
            realtime: if it.stage == Stage::Watch { LONG } else { 1 },
            units,
            held_by_others,
            hook: None,
        }
    }

    /// `Engine::decide` and `write_down`, and what is to be done then.
    fn round(&mut self, setup: &Setup) {
        let mut todo = Vec::new();
        let mut all = Vec::new();
        // All are decided on what was seen at once.
        for group in 0..GROUPS {
            let Some(it) = self.deployment(group) else {
                continue;
            };
            let sight = self.sight(setup, group, &it);
            let Some(it) = self.deployment(group) else {
                continue;
            };
            let mut fresh = (*it).clone();
            let steps = fresh.advance(&sight);
            if fresh.stage > Stage::Settle && fresh.stage != it.stage {
                self.clocks[group] = 0;
            }
            forget_times(&mut fresh);
            if fresh != *it {
                self.with(group, |it| *it = fresh);
            }
            for step in &steps {
                if let Step::HandOver(name, to, member) = step {
                    let to = GROUP.iter().position(|it| it == to).unwrap_or_default();
                    let member = (**member).clone();
                    self.with(to, |it| it.take_over(name, member));
                }
            }
            all.push((group, steps));
        }
        faults::check_ends(self, setup);
        for group in 0..GROUPS {
            let is_over = self.deployment(group).is_some_and(|it| !it.is_live());
            if let Some(daemon) = self.daemon.as_mut().filter(|_| is_over) {
                daemon.deployments[group] = None;
            }
            self.stored[group] = self.deployment(group);
            if is_over {
                self.clocks[group] = 0;
                self.owners[group] = false;
            }
        }
        // In memory alone: a crash on the way changes nothing.
        self.close_admission(setup);
        let thaws = all.iter().flat_map(|(_, steps)| steps);
        let thaws = thaws.filter_map(|step| match step {
            Step::Thaw(name) => Some(Todo::Thaw(unit(name))),
            _ => None,
        });
        todo.extend(thaws);
        for (group, steps) in all {
            let (stops, others): (Vec<Step>, Vec<Step>) = steps
                .into_iter()
                .partition(|step| matches!(step, Step::Stop(_)));
            let others = others.into_iter().filter(is_done_by_hand);
            todo.extend(others.chain(stops).map(|step| Todo::Step(group, step)));
        }
        todo.retain(|it| match it {
            Todo::Thaw(unit) => self.units[*unit].frozen,
            _ => true,
        });
        let memory = self.daemon.as_ref().map(|it| it.deployments.clone());
        let memory = memory.unwrap_or_default();
        let is_unwanted = |at: usize| !wants_frozen(memory.iter().flatten(), at);
        if (0..TASKS).any(|at| self.units[at].frozen && is_unwanted(at)) {
            todo.push(Todo::ThawUnwanted);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.steps = todo;
        }
    }

    fn deployment(&self, group: usize) -> Option<Shared<Deployment>> {
        self.daemon.as_ref()?.deployments[group].clone()
    }

    /// The next step.
    pub fn step(&mut self, setup: &Setup) {
        let Some(daemon) = self.daemon.as_mut().filter(|it| !it.steps.is_empty()) else {
            return;
        };
        let todo = daemon.steps.remove(0);
        self.take(setup, todo);
    }

    fn take(&mut self, setup: &Setup, todo: Todo) {
        match todo {
            Todo::Thaw(unit) => self.units[unit].frozen = false,
            Todo::ThawUnwanted => {
                for at in 0..TASKS {
                    let known = self.daemon.iter().flat_map(|it| &it.deployments);
                    let is_wanted = wants_frozen(known.flatten(), at);
                    self.units[at].frozen &= is_wanted;
                }
            }
            Todo::Step(group, step) => self.take_step(setup, group, step),
        }
    }

    fn take_step(&mut self, setup: &Setup, group: usize, step: Step) {
        match step {
            Step::Freeze(name) => {
                let it = &mut self.units[unit(&name)];
                // Its control group is gone otherwise.
                it.frozen |= it.is_running();
            }
            Step::Stop(name) => {
                let at = unit(&name);
                faults::check_stop(self, at);
                self.owe(group, at);
                self.units[at].frozen = false;
                self.stop(at);
            }
            Step::Signal(name, _) => {
                let at = unit(&name);
                faults::check_stop(self, at);
                self.owe(group, at);
                self.with(group, |it| it.taken(&name));
            }
            Step::Start(name, _) => {
                self.start(setup, unit(&name));
                self.with(group, |it| it.taken(&name));
            }
            Step::Reset(name) => self.units[unit(&name)].failed = false,
            _ => {}
        }
    }

    /// Remembers who has a run on his conscience, and whether he means to make good for it in any case.
    fn owe(&mut self, group: usize, unit: usize) {
        let member = self.deployment(group);
        let member = member.as_ref().and_then(|it| it.members.get(TASK[unit]));
        let resumes = member.is_some_and(|member| member.resume);
        let it = &mut self.units[unit];
        if it.run == Run::Running {
            // A stop is a stop, whatever was asked for before.
            it.owed &= !(faults::debt(group, true) | faults::debt(group, false));
            it.owed |= faults::debt(group, resumes);
        }
    }
}

/// The rest are done by writing them down.
fn is_done_by_hand(step: &Step) -> bool {
    !matches!(
        step,
        Step::Thaw(_) | Step::HandOver(..) | Step::Interrupted(_) | Step::Stale(_)
    )
}

/// When something was means nothing, but whether it was.
fn forget_times(it: &mut Deployment) {
    it.ready_since = it.ready_since.min(1);
    it.ended = 0;
    if it.grace_until > 0 {
        it.grace_until = NOW + usec(GRACE);
        it.deadline = NOW + usec(MAX_WAIT);
    }
    if it.watch_until > 0 {
        it.watch_until = NOW + usec(MAX_WAIT);
    }
    for member in it.members.values_mut() {
        member.since = 0;
        if member.phase == Phase::Resumed || member.phase == Phase::Ended {
            member.detail.clear();
        }
    }
}

/// Whether a run of a task may go on beside a deployment that is ready.
pub fn may_go_on(it: &Deployment, name: &str) -> bool {
    it.members
        .get(name)
        .is_some_and(|member| member.action == DeployAction::Ignore)
}
