//! What deployments see: units, their control groups, locks, hooks.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use interlock_core::arbiter::Hurdle;
use interlock_core::deploy::{
    Activity, Deployment, Hook, HookSight, Rule, Seen, Sight, Stage, held_by_others,
};
use interlock_generator::policy::settings::{DeployAction, Task};
use tokio::time::Instant;

use super::super::super::words;
use super::super::{Engine, leases};
use super::{STOP_NEWS, hook_unit};
use crate::pid1::{Details, Pid1, UnitState};
use crate::{cgroup, clock};

/// One look at everything that live deployments are about.
pub(super) struct Observation {
    units: BTreeMap<String, Seen>,
    hooks: BTreeMap<String, UnitState>,
}

impl Engine {
    /// `None` if PID 1 can't be asked.
    pub(super) async fn observe(&mut self) -> Option<Observation> {
        let pid1 = self.pid1.clone()?;
        let mut patterns = BTreeSet::new();
        for deployment in self.deployments.live() {
            let tasks = self.group_tasks(deployment).into_iter();
            patterns.extend(tasks.map(pattern));
            let members = deployment.members.keys();
            patterns.extend(members.map(|unit| leases::escape_pattern(unit)));
            patterns.extend(self.running_actions_of(deployment));
            if deployment.hook().is_some() {
                let hooks = [Hook::BeforeSettle, Hook::AfterResume].into_iter();
                let hooks = hooks.map(|hook| hook_unit(&deployment.id, hook));
                patterns.extend(hooks.map(|unit| leases::escape_pattern(&unit)));
            }
        }
        let states = pid1.matching(patterns.into_iter().collect()).await.ok()?;
        let is_hook = |name: &str| name.starts_with("interlock-hook-");
        let (hooks, mut states): (BTreeMap<_, _>, BTreeMap<_, _>) =
            states.into_iter().partition(|(name, _)| is_hook(name));
        for member in self.deployments.live().flat_map(|d| d.members.keys()) {
            states
                .entry(member.clone())
                .or_insert_with(|| unloaded(member));
        }
        self.learn_details(&pid1, &states).await;
        let busy = self.busy_units(&pid1, &states).await;
        let units = states.into_iter().map(|(unit, state)| {
            let seen = self.seen(&unit, &state, busy.get(&unit));
            (unit, seen)
        });
        let units = units.collect::<BTreeMap<_, _>>();
        let now = Instant::now();
        self.deployments.expected_stops.retain(|unit, up| {
            let seen = units.get(unit);
            if seen.is_some_and(|seen| seen.activity != Activity::Down || seen.stop_queued) {
                *up = now;
            }
            now - *up < STOP_NEWS
        });
        Some(Observation { units, hooks })
    }

    /// Units that repair a unit of a deployment's tasks now.
    fn running_actions_of(&self, deployment: &Deployment) -> Vec<String> {
        let tasks = self.group_tasks(deployment);
        let running = self.arbiter.leases().keys().filter(|unit| {
            let action = self.policy.action(unit);
            action.is_some_and(|action| tasks.iter().any(|task| task.name == action.task))
        });
        running.map(|unit| leases::escape_pattern(unit)).collect()
    }

    /// What one deployment sees of it.
    pub(super) fn sight_of(&mut self, id: &str, observation: &Observation) -> Sight {
        let Some(live) = self.deployments.all.get(id) else {
            return Sight::default();
        };
        let deployment = &live.deployment;
        let group = self.policy.settings().groups().get(&deployment.group);
        let concerns = |unit: &str, seen: &Seen| {
            deployment.members.contains_key(unit)
                || group.is_some_and(|group| group.tasks.contains(&seen.rule.task))
        };
        let units = observation.units.iter();
        let mut units: BTreeMap<String, Seen> = units
            .filter(|(unit, seen)| concerns(unit, seen))
            .map(|(unit, seen)| (unit.clone(), seen.clone()))
            .collect();
        let hook = match (&live.hook_error, deployment.hook()) {
            (Some((of, error)), Some(hook)) if *of == hook => {
                Some((hook, HookSight::Failed(error.clone())))
            }
            (_, Some(hook)) => Some((hook, hook_sight(&observation.hooks, id, hook))),
            (_, None) => None,
        };
        // Also of one that still settles: it may be refused at this very sight.
        let held_by_others = self.held_by_others(deployment);
        // A deployment without a hook settles at its first sight.
        if deployment.stage <= Stage::Settle {
            let new = |unit: &&String| !deployment.members.contains_key(*unit);
            let new: Vec<String> = units.keys().filter(new).cloned().collect();
            for unit in new {
                let protected = self.protection(&unit);
                let usual = self.history.past(&unit).usual_duration.unwrap_or(0);
                if let Some(seen) = units.get_mut(&unit) {
                    seen.rule.protected = protected;
                    seen.rule.usual = usual;
                }
            }
        }
        Sight {
            now: clock::monotonic(),
            realtime: clock::realtime(),
            units,
            held_by_others,
            hook,
        }
    }

    /// What others hold by closed admission: the tasks of their groups, and those that were when they began.
    fn held_by_others(&self, deployment: &Deployment) -> BTreeMap<String, String> {
        let settings = self.policy.settings();
        let has = |group: &str, task: &str| {
            let group = settings.groups().get(group);
            let is_member = group.is_some_and(|group| group.tasks.iter().any(|it| it == task));
            is_member && settings.tasks().contains_key(task)
        };
        held_by_others(deployment, self.deployments.live(), has)
    }

    /// Why a unit may not be interrupted any more for now.
    fn protection(&mut self, unit: &str) -> Option<String> {
        let rule = &self.policy.task_of(unit)?.on_deploy;
        let most = usize::try_from(rule.max_interruptions?).unwrap_or(usize::MAX);
        let period = words::usec(rule.interruption_period);
        let since = clock::realtime().saturating_sub(period);
        let times = self.deployments.store.interruptions(unit, since);
        let latest = times.last().filter(|_| times.len() >= most)?;
        let first = times.get(times.len() - most)?;
        Some(format!(
            "protected since {} until {}: it was interrupted {} in {} (max-interruptions)",
            words::time_of_day(*latest),
            words::time_of_day(first + period),
            words::times(times.len()),
            words::duration(period),
        ))
    }

    /// What lists of units don't tell, once for each run.
    async fn learn_details(&mut self, pid1: &Pid1, states: &BTreeMap<String, UnitState>) {
        let unknown = states
            .iter()
            .filter(|(unit, state)| !state.is_down() && !self.deployments.fresh.contains(*unit));
        let asked = unknown.map(|(unit, _)| async move { (unit, pid1.details(unit).await) });
        for (unit, details) in join_all(asked).await {
            if let Ok(details) = details {
                self.deployments.fresh.insert(unit.clone());
                self.deployments.details.insert(unit.clone(), details);
            }
        }
        if self.deployments.details.len() > states.len() * 2 + 64 {
            self.deployments
                .details
                .retain(|unit, _| states.contains_key(unit));
        }
    }

    /// Units that are inside a transaction, with the reason not to touch them.
    async fn busy_units(
        &self,
        pid1: &Pid1,
        states: &BTreeMap<String, UnitState>,
    ) -> BTreeMap<String, String> {
        let is_settling = self.deployments.live().any(|d| d.stage <= Stage::Settle);
        if !is_settling || states.values().all(UnitState::is_down) {
            return BTreeMap::new();
        }
        let up = states.iter().filter(|(_, state)| !state.is_down());
        let groups = up.map(|(unit, _)| {
            let details = self.deployments.details.get(unit);
            let group = details.map(|details| details.control_group.clone());
            (unit.clone(), group.unwrap_or_default())
        });
        self.in_transactions(pid1, &groups.collect()).await
    }

    fn seen(&self, unit: &str, state: &UnitState, busy: Option<&String>) -> Seen {
        let rule = self.rule(unit);
        let none = Details::default();
        let details = self.deployments.details.get(unit).unwrap_or(&none);
        let service = state.service();
        let activity = Activity::from(service.doing);
        let is_down = activity == Activity::Down;
        let occupied = match rule.gated {
            true => self.arbiter.leases().contains_key(unit),
            false => {
                !details.control_group.is_empty()
                    && cgroup::is_populated(&details.control_group).unwrap_or(false)
            }
        };
        let frozen = !is_down && cgroup::is_frozen(&details.control_group).unwrap_or(false);
        Seen {
            activity,
            stop_queued: service.is_to_stop(),
            start_queued: service.is_to_start(),
            kept_waiting: self.arbiter.view(unit).is_some_and(|wait| {
                let mut hurdles = wait.hurdles.iter();
                self.is_held(unit) || hurdles.any(|hurdle| !matches!(hurdle, Hurdle::Held))
            }),
            is_up: activity == Activity::Running
                && (details.is_oneshot || matches!(state.active.as_str(), "active" | "reloading")),
            failed: state.active == "failed",
            // What RemainAfterExit= leaves behind is left on purpose.
            occupied: occupied && !state.has_exited(),
            frozen,
            busy: busy.cloned(),
            unfreezable: self.unfreezable(unit, details),
            invocation: details.invocation.clone(),
            rule,
        }
    }

    fn unfreezable(&self, unit: &str, details: &Details) -> Option<String> {
        if details.has_watchdog {
            return Some("WatchdogSec= is set, systemd would take it for dead".to_owned());
        }
        if let Some(why) = self.deployments.unfreezable.get(unit) {
            return Some(why.clone());
        }
        let is_known = !details.control_group.is_empty();
        (is_known && cgroup::freezer(&details.control_group).is_none())
            .then(|| "its control group has no cgroup.freeze (cgroup v2)".to_owned())
    }

    fn rule(&self, unit: &str) -> Rule {
        if let Some(action) = self.policy.action(unit) {
            // What repairs a task is waited for, whatever is done to the task itself.
            return Rule {
                task: action.task.clone(),
                gated: true,
                ..Rule::default()
            };
        }
        let Some(task) = self.policy.task_of(unit) else {
            // It has lost its policy meanwhile.
            let members = self.deployments.live().filter_map(|d| d.members.get(unit));
            let task = members.map(|member| member.task.clone()).next();
            return Rule {
                task: task.unwrap_or_default(),
                ..Rule::default()
            };
        };
        Rule {
            task: task.name.clone(),
            action: task.on_deploy.action,
            signal: task.on_deploy.signal.clone(),
            command: task.on_deploy.command.clone(),
            fallback: task.on_deploy.fallback,
            gated: task.gated,
            protected: None,
            usual: 0,
        }
    }

    /// The units that `interlock-stop-GROUP.service` stops.
    pub(super) fn stopped_as_group(&self, deployment: &Deployment) -> BTreeSet<String> {
        let tasks = self.group_tasks(deployment).into_iter();
        let stopped = tasks.filter(|task| {
            let action = task.on_deploy.action;
            matches!(action, DeployAction::Stop | DeployAction::Restart) && !task.is_template()
        });
        stopped.map(|task| task.unit.clone()).collect()
    }
}

fn pattern(task: &Task) -> String {
    let unit = leases::escape_pattern(&task.unit);
    match task.is_template() {
        true => unit.replacen('@', "@*", 1),
        false => unit,
    }
}

fn unloaded(unit: &str) -> UnitState {
    UnitState {
        name: unit.to_owned(),
        load: "not-found".to_owned(),
        active: "inactive".to_owned(),
        sub: "dead".to_owned(),
        job: None,
    }
}

fn hook_sight(hooks: &BTreeMap<String, UnitState>, id: &str, hook: Hook) -> HookSight {
    let name = hook_unit(id, hook);
    match one_hook_sight(hooks, &name) {
        HookSight::Absent if hook == Hook::AfterResume => {
            let first = hook_unit(id, Hook::BeforeSettle);
            match one_hook_sight(hooks, &first) {
                HookSight::Running => HookSight::Blocked,
                _ => HookSight::Absent,
            }
        }
        sight => sight,
    }
}

fn one_hook_sight(hooks: &BTreeMap<String, UnitState>, name: &str) -> HookSight {
    match hooks.get(name) {
        None => HookSight::Absent,
        Some(state) if state.has_exited() => HookSight::Succeeded,
        Some(state) if state.active == "failed" => {
            HookSight::Failed(format!("see journalctl -u {name}"))
        }
        Some(state) if state.is_down() && state.job.is_none() => HookSight::Absent,
        Some(_) => HookSight::Running,
    }
}
