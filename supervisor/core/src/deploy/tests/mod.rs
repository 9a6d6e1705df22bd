//! Deployments against a small world that keeps its own books.

mod answers;
mod properties;
mod reboots;
mod world;

use std::time::Duration;

use super::*;
use interlock_generator::policy::settings::DeployAction;
use world::{SECOND, Unit, World};

fn deployment(with_hooks: bool) -> Deployment {
    let hook = |name: &str| match with_hooks {
        true => vec![name.to_owned()],
        false => Vec::new(),
    };
    let begin = Begin {
        group: "g".to_owned(),
        max_wait: Some(Duration::from_secs(30)),
        before_settle: hook("/depool"),
        after_resume: hook("/pool"),
        ..Begin::default()
    };
    Deployment::begin("g-1".to_owned(), "boot", begin, 1)
}

/// Advances until nothing changes any more, or `until`. At each number in `crashes` interlockd is killed: before
/// its first step, or after so many of them; what it wrote down is all that is left.
fn run(
    world: &mut World,
    it: &mut Deployment,
    crashes: &[usize],
    until: impl Fn(&Deployment) -> bool,
) {
    let mut rounds = 0;
    let mut crashes = crashes.iter();
    while !until(it) {
        rounds += 1;
        assert!(rounds < 2000, "never comes to an end: {it:?}\n{world:?}");
        let sight = world.sight(it);
        let steps = it.advance(&sight);
        let written = serde_json::to_string(it).unwrap();
        let crash = crashes.next().filter(|at| **at <= steps.len());
        let count = crash.copied().unwrap_or(steps.len());
        for step in &steps[..count] {
            world.take(step);
        }
        if crash.is_some() {
            *it = serde_json::from_str(&written).unwrap();
            // The first thing that an interlockd does which finds something frozen.
            for (name, unit) in &mut world.units {
                let member = it.members.get(name).filter(|_| it.holds());
                unit.frozen &= member.is_some_and(Member::may_be_frozen);
            }
        } else {
            for step in &steps {
                if let Step::Signal(unit, _) | Step::Start(unit, _) = step {
                    it.answered(unit, Answer::Taken, 1);
                }
            }
        }
        world.tick(!it.closes_admission());
    }
}

fn is_ready(it: &Deployment) -> bool {
    it.stage >= Stage::Ready
}

fn is_over(it: &Deployment) -> bool {
    !it.is_live()
}

#[test]
fn each_action_does_what_it_says() {
    use DeployAction::{Checkpoint, Freeze, Ignore, Protect, Restart, Stop, Wait};
    let actions = [Wait, Freeze, Stop, Restart, Checkpoint, Protect, Ignore];
    let units = actions.map(|action| {
        let mut unit = Unit::new(action.name(), action);
        if matches!(action, Wait | Protect) {
            unit.ends_in = 5;
        }
        unit
    });
    let mut world = World::new(units.to_vec());
    let mut it = deployment(true);
    run(&mut world, &mut it, &[], is_ready);
    assert_eq!(it.state(), State::Ready);
    let phases: Vec<&str> = it.members.values().map(|m| m.phase.name()).collect();
    let expected = [
        "ended", "frozen", "stopped", "stopped", "stopped", "ended", "ignored",
    ];
    assert_eq!(phases, expected);
    it.end(None);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(it.state(), State::Ended);
    world.tick(true);
    let starts: Vec<u32> = world.units.values().map(|u| u.starts).collect();
    assert_eq!(starts, [0, 0, 0, 1, 1, 0, 0]);
    assert!(world.units.values().all(|u| !u.frozen && !u.failed));
    let stale: Vec<bool> = it.members.values().map(|m| m.stale).collect();
    assert_eq!(stale, [false, true, false, false, false, false, true]);
    assert_eq!(world.hooks.values().copied().collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn whoever_holds_a_lock_is_waited_for_and_then_the_deployment_is_refused_and_undone() {
    let mut transaction = Unit::new("dnf", DeployAction::Stop);
    transaction.busy = 500;
    let stopped = Unit::new("s", DeployAction::Stop);
    let mut world = World::new(vec![transaction, stopped]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(it.state(), State::Failed);
    assert!(it.refused);
    let why = it.failure.unwrap();
    assert!(
        why.contains("u0.service") && why.contains("dnf holds the lock"),
        "{why}"
    );
    world.tick(true);
    let starts: Vec<u32> = world.units.values().map(|u| u.starts).collect();
    assert_eq!(starts, [0, 1], "what was stopped for nothing runs again");
}

#[test]
fn a_fallback_is_taken_when_the_action_does_not_do() {
    let mut deaf = Unit::new("deaf", DeployAction::Checkpoint);
    deaf.checkpoint_takes = None;
    deaf.rule.fallback = Some(DeployAction::Stop);
    let mut slow = Unit::new("slow", DeployAction::Wait);
    slow.rule.fallback = Some(DeployAction::Freeze);
    let mut world = World::new(vec![deaf, slow]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    let members: Vec<(&str, &str, bool)> = it
        .members
        .values()
        .map(|m| (m.action.name(), m.phase.name(), m.resume))
        .collect();
    assert_eq!(
        members,
        [("stop", "stopped", false), ("freeze", "frozen", false)]
    );
}

#[test]
fn who_is_met_too_late_to_be_frozen_is_stopped_without() {
    let mut slow = Unit::new("slow", DeployAction::Wait);
    slow.rule.fallback = Some(DeployAction::Ignore);
    let mut late = Unit::new("late", DeployAction::Freeze);
    late.rule.fallback = Some(DeployAction::Stop);
    late.activity = Activity::Down;
    let mut world = World::new(vec![slow, late]);
    let mut it = deployment(false);
    it.advance(&world.sight(&it));
    // It had been let in just before, and starts when time is up.
    world.at("u1.service").activity = Activity::Running;
    world.now += 31 * SECOND;
    let steps = it.advance(&world.sight(&it));
    // Thaws are taken first, so that a freeze of the same sight would stay.
    assert!(
        !steps.contains(&Step::Freeze("u1.service".to_owned())),
        "{steps:?}"
    );
    assert!(
        steps.contains(&Step::Stop("u1.service".to_owned())),
        "{steps:?}"
    );
}

#[test]
fn what_cannot_be_frozen_falls_back_at_once_and_says_why() {
    let mut unit = Unit::new("watched", DeployAction::Freeze);
    unit.rule.fallback = Some(DeployAction::Stop);
    let world = World::new(vec![unit]);
    let mut it = deployment(false);
    let mut sight = world.sight(&it);
    for seen in sight.units.values_mut() {
        seen.unfreezable = Some("WatchdogSec= is set".to_owned());
    }
    let steps = it.advance(&sight);
    assert!(steps.contains(&Step::Stop("u0.service".to_owned())));
    let member = &it.members["u0.service"];
    assert!(member.detail.contains("WatchdogSec="), "{}", member.detail);
}

#[test]
fn a_lock_taken_just_before_it_stood_still_thaws_it_again() {
    let mut world = World::new(vec![Unit::new("dnf", DeployAction::Freeze)]);
    let mut it = deployment(false);
    let steps = it.advance(&world.sight(&it));
    assert!(steps.contains(&Step::Freeze("u0.service".to_owned())));
    steps.iter().for_each(|step| world.take(step));
    world.units.get_mut("u0.service").unwrap().busy = 3;
    let steps = it.advance(&world.sight(&it));
    assert_eq!(steps, [Step::Thaw("u0.service".to_owned())]);
    assert_eq!(it.members["u0.service"].phase, Phase::Waiting);
}

#[test]
fn an_operator_who_stops_a_frozen_task_wins_at_once() {
    let mut world = World::new(vec![Unit::new("f", DeployAction::Freeze)]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    world.units.get_mut("u0.service").unwrap().stop_queued = true;
    let steps = it.advance(&world.sight(&it));
    assert_eq!(steps, [Step::Thaw("u0.service".to_owned())]);
}

#[test]
fn what_an_operator_stops_meanwhile_stays_stopped() {
    let mut world = World::new(vec![Unit::new("r", DeployAction::Restart)]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    it.stopped_by_somebody("u0.service");
    it.end(None);
    run(&mut world, &mut it, &[], is_over);
    world.tick(true);
    assert_eq!(world.units["u0.service"].starts, 0);
}

#[test]
fn a_failed_hook_refuses_and_touches_nothing() {
    let mut world = World::new(vec![Unit::new("s", DeployAction::Stop)]);
    world.hook_fails = true;
    let mut it = deployment(true);
    run(&mut world, &mut it, &[], is_over);
    assert!(it.refused && it.members.is_empty());
    // It may have done half of its work.
    assert_eq!(world.hooks.get("after-resume"), Some(&1));
    assert_eq!(world.units["u0.service"].activity, Activity::Running);
}

#[test]
fn a_restart_that_fails_is_named_and_the_host_is_not_put_back() {
    let mut world = World::new(vec![Unit::new("r", DeployAction::Restart)]);
    let mut it = deployment(true);
    run(&mut world, &mut it, &[], is_ready);
    it.end(None);
    let steps = it.advance(&world.sight(&it));
    assert!(steps.contains(&Step::Start("u0.service".to_owned(), false)));
    let why = "Unit r.service is masked.".to_owned();
    it.answered("u0.service", Answer::Refused(why), 1);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(it.state(), State::Failed);
    assert!(it.failure.unwrap().contains("masked"));
    assert_eq!(world.hooks.get("after-resume"), None);
}

#[test]
fn the_last_of_two_deployments_resumes() {
    let mut world = World::new(vec![
        Unit::new("f", DeployAction::Freeze),
        Unit::new("r", DeployAction::Restart),
    ]);
    let mut first = deployment(false);
    run(&mut world, &mut first, &[], is_ready);
    let mut second = deployment(false);
    second.id = "g-2".to_owned();
    run(&mut world, &mut second, &[], is_ready);
    first.end(None);
    let mut sight = world.sight(&first);
    for unit in world.units.keys() {
        sight.held_by_others.insert(unit.clone(), second.id.clone());
    }
    for step in first.advance(&sight) {
        match step {
            Step::HandOver(unit, _, member) => second.take_over(&unit, *member),
            step => assert!(matches!(step, Step::Stale(_)), "{step:?}"),
        }
    }
    assert!(is_over(&first) && world.units["u0.service"].frozen);
    second.end(None);
    run(&mut world, &mut second, &[], is_over);
    world.tick(true);
    assert!(!world.units["u0.service"].frozen);
    assert_eq!(world.units["u1.service"].starts, 1);
}

#[test]
fn who_is_ready_to_wait_longer_than_time_lasts_is_not_refused_at_once() {
    let mut world = World::new(vec![Unit::new("w", DeployAction::Wait)]);
    let begin = Begin {
        grace: Duration::MAX,
        max_wait: Some(Duration::from_micros(u64::MAX)),
        ..Begin::default()
    };
    let mut it = Deployment::begin("g-1".to_owned(), "boot", begin, 1);
    for _ in 0..3 {
        let sight = world.sight(&it);
        it.advance(&sight);
        world.tick(false);
    }
    assert!(it.holds() && it.failure.is_none(), "{it:?}");
    it.rebooted("next boot", world.now, 1);
    it.end(None);
    run(&mut world, &mut it, &[], is_over);
}

#[test]
fn a_start_that_no_gate_holds_back_is_settled_before_it_is_ready() {
    let mut world = World::new(vec![Unit::new("r", DeployAction::Restart)]);
    world.at("u0.service").rule.gated = false;
    let mut it = deployment(false);
    world.take(&it.advance(&world.sight(&it))[1]);
    // Somebody restarts it while it is being stopped.
    world.at("u0.service").rest(true);
    world.at("u0.service").start_queued = true;
    it.advance(&world.sight(&it));
    assert!(!is_ready(&it));
    world.tick(false);
    run(&mut world, &mut it, &[], is_ready);
    assert_eq!(world.units["u0.service"].activity, Activity::Down);
}

#[test]
fn what_a_task_leaves_behind_that_is_killed_while_it_is_frozen_is_waited_for() {
    let mut world = World::new(vec![Unit::new("f", DeployAction::Freeze)]);
    let mut it = deployment(false);
    let steps = it.advance(&world.sight(&it));
    steps.iter().for_each(|step| world.take(step));
    world.at("u0.service").rest(true);
    let mut sight = world.sight(&it);
    let seen = sight.units.get_mut("u0.service").unwrap();
    seen.occupied = true;
    let thaw = Step::Thaw("u0.service".to_owned());
    assert_eq!(it.advance(&sight), [thaw]);
    assert!(!is_ready(&it));
    it.advance(&world.sight(&it));
    assert!(is_ready(&it));
}
