//! Steps that PID 1 refuses, or says nothing to.

use interlock_generator::policy::settings::DeployAction;

use super::world::{Unit, World};
use super::*;

/// A deployment that has just asked for its only member's start or checkpoint.
fn asked(action: DeployAction) -> (World, Deployment) {
    let mut world = World::new(vec![Unit::new("t", action)]);
    let mut it = deployment(false);
    if action == DeployAction::Restart {
        run(&mut world, &mut it, &[], is_ready);
        it.end(None);
    }
    let steps = it.advance(&world.sight(&it));
    let is_asked = |step: &Step| matches!(step, Step::Start(..) | Step::Signal(..));
    assert!(steps.iter().any(is_asked), "{steps:?}");
    (world, it)
}

#[test]
fn a_start_without_an_answer_is_no_failure_and_is_made_again_until_it_is_seen() {
    let (mut world, mut it) = asked(DeployAction::Restart);
    let start = Step::Start("u0.service".to_owned(), false);
    for _ in 0..3 {
        it.answered("u0.service", Answer::Unknown, 1);
        assert_eq!(it.advance(&world.sight(&it)), std::slice::from_ref(&start));
    }
    // It had reached PID 1.
    it.answered("u0.service", Answer::Unknown, 1);
    world.take(&start);
    assert_eq!(it.advance(&world.sight(&it)), []);
    run(&mut world, &mut it, &[], is_over);
    assert_eq!(it.state(), State::Ended);
    assert_eq!(world.units["u0.service"].starts, 1);
}

#[test]
fn a_call_for_a_checkpoint_without_an_answer_is_made_again() {
    let (world, mut it) = asked(DeployAction::Checkpoint);
    it.answered("u0.service", Answer::Unknown, 1);
    let signal = Step::Signal("u0.service".to_owned(), "SIGUSR1".to_owned());
    assert_eq!(it.advance(&world.sight(&it)), [signal]);
    it.answered(
        "u0.service",
        Answer::Refused("no such process".to_owned()),
        1,
    );
    assert_eq!(it.advance(&world.sight(&it)), []);
    assert_eq!(it.members["u0.service"].detail, "no such process");
}

#[test]
fn nothing_ends_while_the_host_shuts_down_but_what_is_frozen_is_thawed() {
    let mut world = World::new(vec![
        Unit::new("r", DeployAction::Restart),
        Unit::new("f", DeployAction::Freeze),
    ]);
    let mut it = deployment(false);
    run(&mut world, &mut it, &[], is_ready);
    assert_eq!(it.look(&world.sight(&it), true), (Vec::new(), false));
    it.end(None);
    let before = it.clone();
    let thaw = Step::Thaw("u1.service".to_owned());
    assert_eq!(it.look(&world.sight(&it), true), (vec![thaw], true));
    assert_eq!(it, before);
    let (steps, _) = it.look(&world.sight(&it), false);
    assert!(steps.contains(&Step::Start("u0.service".to_owned(), false)));
}

#[test]
fn the_host_is_put_back_only_when_it_is_no_longer_being_taken_out() {
    let world = World::new(Vec::new());
    let mut it = deployment(true);
    let end = Step::EndHook(Hook::BeforeSettle);
    it.advance(&world.sight(&it));
    it.fail("its caller is gone");
    assert_eq!(it.advance(&world.sight(&it)), std::slice::from_ref(&end));
    // That step was never taken.
    let mut sight = world.sight(&it);
    sight.hook = Some((Hook::AfterResume, HookSight::Blocked));
    assert_eq!(it.advance(&sight), [end]);
    sight.hook = Some((Hook::AfterResume, HookSight::Absent));
    assert_eq!(it.advance(&sight), [Step::Hook(Hook::AfterResume)]);
}
