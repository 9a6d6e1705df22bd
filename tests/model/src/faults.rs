//! What may never be.
//!
//! Looked at from outside: by what PID 1 and the tasks do, not by the arbiter's own accounts.

use interlock_core::arbiter::{Standing, Waiter};
use interlock_core::deploy::{Deployment, Phase, Stage};

use crate::daemon::daemon_policy;
use crate::deploying::may_go_on;
use crate::setup::{
    GROUP, GROUPS, RESOURCE, RESOURCES, Set, Setup, TASK, TASKS, has, members, unit,
};
use crate::world::{Gate, Run, Unit, World};

/// What a deployment has on its conscience that stopped a run: to have it run again at its end in any case, or only
/// if it is refused.
pub fn debt(group: usize, resumes: bool) -> Set {
    match resumes {
        true => 1 << group,
        false => 1 << (GROUPS + group),
    }
}

/// Of a resource, what a task may be using by any policy since it was let in.
fn most_used(setup: &Setup, it: &Unit, task: usize, resource: usize) -> u32 {
    let policies = members(it.used).filter_map(|at| setup.policies.get(at));
    let used = policies.map(|policy| policy.uses[task][resource]);
    used.max().unwrap_or(0)
}

/// A task that runs, or may start without asking any more.
fn is_in(it: &Unit) -> bool {
    it.works() || it.go || it.gate == Gate::Open
}

/// A gate is told to open.
pub fn check_grant(world: &mut World, setup: &Setup, unit: usize) {
    if let Some(fault) = grant_fault(world, setup, unit) {
        world.fault.get_or_insert(fault.into());
    }
}

fn grant_fault(world: &World, setup: &Setup, at: usize) -> Option<String> {
    let name = TASK[at];
    let policy = daemon_policy(setup, world);
    let daemon = world.daemon.as_ref()?;
    let it = &world.units[at];
    if has(daemon.closed | world.held, at) {
        return Some(format!("{name} is let in while its starts are held"));
    }
    if it.works() {
        // What an earlier run left behind holds it all already.
        return None;
    }
    for (resource, name_of_it) in RESOURCE.iter().enumerate() {
        let capacity = policy.capacities[resource];
        let others = (0..TASKS).filter(|other| *other != at);
        let others = others.filter(|other| is_in(&world.units[*other]));
        let taken: u32 = others
            .map(|other| most_used(setup, &world.units[other], other, resource))
            .sum();
        let needs = policy.uses[at][resource].min(capacity);
        if needs > 0 && taken + needs > capacity {
            return Some(format!(
                "{name} is let in with {needs} of {name_of_it}, of which {taken} of {capacity} are in use"
            ));
        }
    }
    if !setup.is_fine && world.locked & policy.used(at) != 0 {
        return Some(format!("{name} is let in while somebody has the lock"));
    }
    let lease = daemon.arbiter.leases().get(name)?;
    if lease.uses != policy.uses(at) {
        return Some(format!("{name} is let in with {:?} only", lease.uses));
    }
    let overtaken = daemon.arbiter.queue().iter().find(|other| {
        // One whose gate has ended, or has begun anew, doesn't wait, whatever the daemon knows.
        let is_there = world.units[unit(&other.unit)].heard > 0;
        let is_before = is_there
            && order(world, policy.priority, unit(&other.unit)) < order(world, policy.priority, at);
        let overlap = other.claim.uses.keys().any(|r| lease.uses.contains_key(r));
        is_before && overlap && waits_for_resources(other)
    });
    overtaken.map(|other| format!("{name} is let in before {}, which came first", other.unit))
}

fn order(world: &World, priority: [i32; TASKS], at: usize) -> (i32, u64) {
    (-priority[at], world.units[at].heard)
}

fn waits_for_resources(waiter: &Waiter) -> bool {
    let is_clear = !matches!(waiter.standing, Standing::Behind(_) | Standing::Jobless);
    waiter.held.is_none() && is_clear
}

/// A deployment stops a unit: what is frozen hears nothing of it.
pub fn check_stop(world: &mut World, unit: usize) {
    check_touch(world, unit);
    if world.units[unit].frozen {
        let fault = format!("{} is stopped while it is frozen", TASK[unit]);
        world.fault.get_or_insert(fault.into());
    }
}

/// A deployment looked: what it gives up to have started again has failed, or its time is over.
pub fn check_failures(world: &mut World, group: usize, before: &Deployment, after: &Deployment) {
    let is_late = world.clocks[group] > 0;
    for (name, member) in &after.members {
        let known = before.members.get(name).map(|it| it.phase);
        let it = &mut world.units[unit(name)];
        if member.phase == Phase::Resumed && it.run == Run::Running {
            // It goes on: it was never stopped, or hasn't heard in all that time that it was to end.
            it.owed &= !(debt(group, true) | debt(group, false));
        }
        if member.phase == Phase::Failed
            && known != Some(Phase::Failed)
            && !(is_late || it.failed || it.refused)
        {
            let fault = format!("{name} is given up, though nothing is wrong with it");
            world.fault.get_or_insert(fault.into());
        }
    }
}

/// A deployment stops a run or tells it to end.
pub fn check_touch(world: &mut World, unit: usize) {
    if !world.units[unit].busy {
        return;
    }
    let fault = format!("{} is stopped within a transaction", TASK[unit]);
    world.fault.get_or_insert(fault.into());
}

/// A round is decided: what those that are over leave behind.
pub fn check_ends(world: &mut World, setup: &Setup) {
    let Some(daemon) = &world.daemon else {
        return;
    };
    let deployments = daemon.deployments.clone();
    let policy = daemon_policy(setup, world);
    for (group, it) in deployments.iter().enumerate() {
        let Some(it) = it.as_ref().filter(|it| !it.is_live()) else {
            continue;
        };
        for (at, name) in TASK.iter().enumerate() {
            let unit = &mut world.units[at];
            let must = debt(group, true)
                | if it.was_ready() {
                    0
                } else {
                    debt(group, false)
                };
            let is_owed = unit.owed & must != 0;
            unit.owed &= !(debt(group, true) | debt(group, false));
            if !is_owed || unit.job || unit.run == Run::Running || unit.refused {
                continue;
            }
            let other = (0..GROUPS).find(|other| {
                let live = deployments[*other].as_ref();
                live.is_some_and(|it| it.is_live()) && has(policy.groups[*other], at)
            });
            match other {
                Some(other) => unit.owed |= debt(other, true),
                None => {
                    let fault = format!(
                        "deployment {} is over, and {name}, which it stopped, isn't started again",
                        GROUP[group]
                    );
                    world.fault.get_or_insert(fault.into());
                }
            }
        }
    }
}

/// What is wrong in a state.
pub fn fault(setup: &Setup, world: &World) -> Option<String> {
    if let Some(fault) = &world.fault {
        return Some(fault.to_string());
    }
    let overlap = setup.policies.len() == 1 && setup.budget.reloads == 0;
    overlap
        .then(|| over_capacity(setup, world))
        .flatten()
        .or_else(|| runs_though_ready(setup, world))
        .or_else(|| frozen_for_nobody(world))
        .or_else(|| runs_without_lease(setup, world))
}

/// What has a gate and runs has a lease, as soon as the daemon has heard of all there is.
fn runs_without_lease(setup: &Setup, world: &World) -> Option<String> {
    let daemon = world.daemon.as_ref()?;
    let is_settled = daemon.is_idle() && daemon.unanswered.is_empty();
    if !is_settled || daemon.policy != world.policy {
        return None;
    }
    let policy = daemon_policy(setup, world);
    let is_missed = |at: &usize| {
        let it = &world.units[*at];
        let is_news = it.dirty || it.hello || it.closed || it.job_gone;
        it.is_running() && policy.is_gated(*at) && !is_news && !world.holds(*at)
    };
    let missed = (0..TASKS).find(is_missed)?;
    Some(format!("{} runs without a lease", TASK[missed]))
}

fn over_capacity(setup: &Setup, world: &World) -> Option<String> {
    let policy = &setup.policies[0];
    (0..RESOURCES).find_map(|resource| {
        let users =
            (0..TASKS).filter(|at| world.units[*at].works() && policy.uses[*at][resource] > 0);
        let users: Vec<usize> = users.collect();
        let used: u32 = users.iter().map(|at| policy.uses[*at][resource]).sum();
        (used > policy.capacities[resource]).then(|| {
            let names: Vec<&str> = users.iter().map(|at| TASK[*at]).collect();
            let names = names.join(" and ");
            format!("{names} use {used} of {} at once", RESOURCE[resource])
        })
    })
}

fn runs_though_ready(setup: &Setup, world: &World) -> Option<String> {
    let memory = world.daemon.iter().flat_map(|it| it.deployments.iter());
    let all = world.stored.iter().enumerate().chain(memory.enumerate());
    let ready = all.filter_map(|(group, it)| Some((group, it.as_ref()?)));
    let mut ready = ready.filter(|(_, it)| it.stage == Stage::Ready);
    ready.find_map(|(group, it)| {
        // Whoever came into the group later wasn't brought to rest.
        let tasks = setup.policies.iter();
        let tasks = tasks.fold(Set::MAX, |set, policy| set & policy.groups[group]);
        let runs = members(tasks).find(|at| goes_on(world, it, *at))?;
        Some(format!(
            "{} runs though deployment {} is ready",
            TASK[runs], GROUP[group]
        ))
    })
}

fn goes_on(world: &World, deployment: &Deployment, at: usize) -> bool {
    let it = &world.units[at];
    let runs = match it.run {
        Run::Running => !it.frozen,
        Run::Leftovers => true,
        Run::Down | Run::Leaving => false,
    };
    runs && !it.own_will && !may_go_on(deployment, TASK[at])
}

fn frozen_for_nobody(world: &World) -> Option<String> {
    let daemon = world.daemon.as_ref().filter(|it| it.is_idle())?;
    let is_frozen = |at: &usize| {
        let live = daemon.deployments.iter().flatten();
        let mut live = live.filter(|it| it.is_live());
        world.units[*at].frozen && !live.any(|it| it.members.contains_key(TASK[*at]))
    };
    let frozen = (0..TASKS).find(is_frozen)?;
    Some(format!("{} is frozen without a deployment", TASK[frozen]))
}
