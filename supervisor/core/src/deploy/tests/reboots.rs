//! A deployment that was under way when the host was rebooted.

use interlock_generator::policy::settings::DeployAction;

use super::world::{SECOND, Unit, World};
use super::*;

#[test]
fn after_a_reboot_what_was_stopped_is_started_and_nothing_else() {
    let mut world = World::new(vec![
        Unit::new("f", DeployAction::Freeze),
        Unit::new("r", DeployAction::Restart),
        Unit::new("s", DeployAction::Stop),
    ]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    for unit in world.units.values_mut() {
        unit.rest(false);
    }
    it.rebooted("another boot", world.now, world.now);
    it.fail("its caller is gone");
    run(&mut world, &mut it, &[], is_over);
    world.tick(true);
    let starts: Vec<u32> = world.units.values().map(|u| u.starts).collect();
    assert_eq!(starts, [0, 1, 0]);
}

/// One that is watched: its member has been started again.
fn watched(world: &mut World) -> Deployment {
    let mut it = deployment(true);
    run(world, &mut it, &[], is_ready);
    it.end(None);
    run(world, &mut it, &[], |it| it.stage == Stage::Watch);
    it
}

fn reboot(world: &mut World, it: &mut Deployment) {
    for unit in world.units.values_mut() {
        unit.rest(false);
        unit.start_queued = false;
    }
    world.hooks.clear();
    // Another clock.
    world.now = SECOND;
    it.rebooted("next boot", world.now, world.now);
}

#[test]
fn who_is_watched_over_a_reboot_has_its_time_to_start_again() {
    let mut world = World::new(vec![Unit::new("r", DeployAction::Restart)]);
    let mut it = watched(&mut world);
    reboot(&mut world, &mut it);
    assert!(it.watch_until > world.now, "by {}", it.watch_until);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(it.state(), State::Ended, "{:?}", it.failure);
    assert_eq!(world.hooks.get("after-resume"), Some(&1));
}

#[test]
fn whose_start_still_waited_is_started_after_a_reboot() {
    let mut world = World::new(vec![
        Unit::new("r", DeployAction::Restart),
        Unit::new("s", DeployAction::Restart),
    ]);
    let mut it = watched(&mut world);
    // What it needs is in use.
    let mut sight = world.sight(&it);
    for seen in sight.units.values_mut() {
        seen.activity = Activity::Down;
        seen.start_queued = true;
    }
    if let Some(seen) = sight.units.get_mut("u0.service") {
        seen.kept_waiting = true;
    }
    it.advance(&sight);
    let phase = |it: &Deployment| it.members["u0.service"].phase;
    assert_eq!(phase(&it), Phase::Resumed);
    assert_eq!(it.stage, Stage::Watch);
    let mut later = it.clone();
    reboot(&mut world, &mut it);
    assert_eq!(phase(&it), Phase::Starting);
    // Also when all others have started, and the host is about to be put back.
    later.stage = Stage::Repool;
    reboot(&mut world, &mut later);
    assert_eq!(
        (later.stage, phase(&later)),
        (Stage::Watch, Phase::Starting)
    );
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(world.units["u0.service"].activity, Activity::Running);
}

#[test]
fn who_was_on_its_way_to_a_checkpoint_when_the_host_went_down_goes_on_after_the_boot() {
    let mut world = World::new(vec![Unit::new("c", DeployAction::Checkpoint)]);
    world.at("u0.service").checkpoint_takes = None;
    world.at("u0.service").rule.fallback = Some(DeployAction::Ignore);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    it.end(None);
    run(&mut world, &mut it, &[], |it| it.stage == Stage::Watch);
    assert_eq!(it.members["u0.service"].phase, Phase::Checkpointing);
    reboot(&mut world, &mut it);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(world.units["u0.service"].activity, Activity::Running);
}

#[test]
fn a_hook_that_runs_anew_after_a_reboot_is_ended_with_its_deployment() {
    let mut world = World::new(vec![Unit::new("w", DeployAction::Wait)]);
    let mut it = deployment(true);
    assert_eq!(
        it.advance(&world.sight(&it)),
        [Step::Hook(Hook::BeforeSettle)]
    );
    it.rebooted("next boot", SECOND, SECOND);
    assert_eq!(
        it.advance(&world.sight(&it)),
        [Step::Hook(Hook::BeforeSettle)]
    );
    it.end(Some("root".to_owned()));
    world.now = SECOND;
    let steps = it.advance(&world.sight(&it));
    assert!(
        steps.contains(&Step::EndHook(Hook::BeforeSettle)),
        "{steps:?}"
    );
}
