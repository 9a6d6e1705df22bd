//! The daemon around the real deployments: how they come about and how their steps are taken, as
//! `supervisor/src/daemon/engine/deploy` does it.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::Duration;

use interlock_core::arbiter::Event as Told;
use interlock_core::deploy::{self, Answer, Begin, Deployment, Phase, Stage, Step};
use interlock_generator::policy::settings::DeployAction;

use crate::daemon::daemon_policy;
use crate::faults;
use crate::setup::{GROUP, GROUPS, Setup, TASK, TASKS, group, has, members, unit};
use crate::shared::Shared;
use crate::world::{Daemon, Event, Miss, Run, Todo, World};

/// Any moment, microseconds of both clocks.
pub const NOW: u64 = 1 << 50;
/// At the end of any `grace`.
pub const GRACE: Duration = Duration::from_secs(10);
/// The groups' `max-wait`.
pub const MAX_WAIT: Duration = Duration::from_secs(200);

/// Microseconds.
pub fn usec(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl World {
    /// What can happen to deployments.
    pub fn deployment_events(&self, setup: &Setup, daemon: &Daemon, out: &mut Vec<Event>) {
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
            let is_ready = it.stage == Stage::Ready || (setup.lasting && it.holds());
            if is_ready && self.owners[group] {
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
        let has_hooks = has(daemon_policy(setup, self).hooks, group);
        let hook = |name: &str| match has_hooks {
            true => vec![name.to_owned()],
            false => Vec::new(),
        };
        let begin = Begin {
            group: GROUP[group].to_owned(),
            grace: Duration::from_secs(setup.grace),
            max_wait: Some(MAX_WAIT),
            before_settle: hook("before"),
            after_resume: hook("after"),
            ..Begin::default()
        };
        let boot = self.boot.to_string();
        let it = Deployment::begin(GROUP[group].to_owned(), &boot, begin, 0);
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
        let live = daemon.deployments.iter().flatten();
        let live = live.map(Deref::deref).filter(|it| it.is_live());
        let tasks_of = |name: &str| members(policy.groups[group(name)]).map(|at| TASK[at]);
        let tasks = deploy::closed(live, tasks_of).into_iter();
        let closed = tasks.fold(self.held, |set, task| set | 1 << unit(&task));
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

    /// `Engine::decide` and `write_down`, and what is to be done then.
    fn round(&mut self, setup: &Setup) {
        let mut todo = Vec::new();
        let mut all = Vec::new();
        // All are decided on what was seen at once.
        for (group, id) in GROUP.iter().enumerate() {
            let Some(it) = self.deployment(group) else {
                continue;
            };
            let sight = self.sight(setup, group, &it);
            let Some(it) = self.deployment(group) else {
                continue;
            };
            let mut fresh = (*it).clone();
            let (steps, _) = fresh.look(&sight, false);
            faults::check_failures(self, group, &it, &fresh);
            if fresh.stage > Stage::Settle && fresh.stage != it.stage {
                self.clocks[group] = 0;
            }
            forget_times(&mut fresh);
            if fresh != *it {
                self.with(group, |it| *it = fresh);
            }
            for step in &steps {
                if let Step::HandOver(name, to, member) = step {
                    let to = crate::setup::group(to);
                    let member = (**member).clone();
                    let owed = &mut self.units[unit(name)].owed;
                    let mine = faults::debt(group, true) | faults::debt(group, false);
                    if *owed & mine != 0 {
                        *owed = *owed & !mine | faults::debt(to, true);
                    }
                    self.with(to, |it| it.take_over(name, member));
                }
            }
            all.push(((*id).to_owned(), steps));
        }
        faults::check_ends(self, setup);
        for group in 0..GROUPS {
            let over = self.deployment(group).filter(|it| !it.is_live());
            let is_over = over.is_some();
            if let Some(daemon) = self.daemon.as_mut().filter(|_| is_over) {
                daemon.deployments[group] = None;
            }
            self.stored[group] = self.deployment(group);
            if is_over && let Some(it) = over {
                self.check_hooks(group, &it);
                self.clocks[group] = 0;
                self.owners[group] = false;
            }
        }
        // In memory alone: a crash on the way changes nothing.
        self.close_admission(setup);
        let freezes = all.iter().flat_map(|(_, steps)| steps);
        let freezes = freezes.filter_map(|step| match step {
            Step::Freeze(name) => Some(unit(name)),
            _ => None,
        });
        let freezes = freezes.fold(0_u8, |set, unit| set | 1 << unit);
        // What isn't frozen needn't be thawed.
        let is_needed = |it: &deploy::Todo| match it {
            deploy::Todo::Thaw(name) => self.units[unit(name)].frozen || has(freezes, unit(name)),
            _ => true,
        };
        let decided = deploy::in_order(&all).into_iter();
        todo.extend(decided.filter(is_needed).map(Todo::Do));
        if (0..TASKS).any(|at| self.units[at].frozen && !self.wants_frozen(at)) {
            todo.push(Todo::ThawUnwanted);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.steps = todo;
        }
    }

    fn wants_frozen(&self, unit: usize) -> bool {
        let all = self.daemon.iter().flat_map(|it| &it.deployments);
        deploy::wants_frozen(all.flatten().map(Deref::deref), TASK[unit])
    }

    fn deployment(&self, group: usize) -> Option<Shared<Deployment>> {
        self.daemon.as_ref()?.deployments[group].clone()
    }

    /// The next step, which may go wrong.
    pub fn step(&mut self, setup: &Setup, miss: Option<Miss>) {
        let Some(daemon) = self.daemon.as_mut().filter(|it| !it.steps.is_empty()) else {
            return;
        };
        match daemon.steps.remove(0) {
            Todo::Do(deploy::Todo::Thaw(name)) => self.units[unit(&name)].frozen = false,
            Todo::Do(deploy::Todo::Take(id, step)) => {
                self.take_step(setup, group(&id), step, miss);
            }
            Todo::Do(deploy::Todo::Stop(id, names)) => {
                // Each is a call of its own: the last one goes wrong.
                let lost = names.last().filter(|_| miss == Some(Miss::Lost));
                for name in names.iter().filter(|name| Some(*name) != lost) {
                    self.stop_for(group(&id), unit(name));
                }
            }
            Todo::ThawUnwanted => {
                for at in 0..TASKS {
                    let is_wanted = self.wants_frozen(at);
                    self.units[at].frozen &= is_wanted;
                }
            }
        }
    }

    fn stop_for(&mut self, group: usize, unit: usize) {
        faults::check_stop(self, unit);
        self.owe(group, unit);
        self.stop(unit);
    }

    fn take_step(&mut self, setup: &Setup, group: usize, step: Step, miss: Option<Miss>) {
        let answer = match miss {
            None => Answer::Taken,
            Some(Miss::Lost | Miss::Unheard) => Answer::Unknown,
            Some(Miss::Refused) => Answer::Refused("it is masked".to_owned()),
        };
        let is_lost = miss == Some(Miss::Lost);
        match step {
            Step::Freeze(name) => {
                let at = unit(&name);
                match (&mut self.daemon, miss) {
                    (Some(daemon), Some(_)) => daemon.unfreezable |= 1 << at,
                    // Its control group is gone otherwise.
                    _ => self.units[at].frozen |= self.units[at].is_running(),
                }
            }
            Step::Signal(name, _) => {
                let at = unit(&name);
                if !is_lost {
                    faults::check_touch(self, at);
                    self.owe(group, at);
                }
                self.with(group, |it| it.answered(&name, answer, 0));
            }
            Step::Start(name, _) => {
                let at = unit(&name);
                self.units[at].refused |= miss == Some(Miss::Refused);
                if !is_lost {
                    self.start(setup, at);
                }
                let answer = match self.units[at].refused {
                    true => Answer::Refused("it is masked".to_owned()),
                    false => answer,
                };
                self.with(group, |it| it.answered(&name, answer, 0));
            }
            Step::Hook(hook) => self.run_hook(setup, group, hook, miss),
            Step::EndHook(hook) if !is_lost => self.end_hook(group, hook),
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

/// When something was means nothing, but whether it was.
pub fn forget_times(it: &mut Deployment) {
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
        // But that a start still waits is remembered by that.
        let is_known = member.detail == "it waits for its turn";
        if matches!(member.phase, Phase::Resumed | Phase::Ended) && !is_known {
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
