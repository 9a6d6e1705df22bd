//! Deployments of any tasks, with interlockd killed at any step.

use interlock_generator::policy::settings::DeployAction;
use proptest::prelude::*;

use super::world::{SECOND, Unit, World};
use super::*;

fn any_action() -> impl Strategy<Value = DeployAction> {
    use DeployAction::{Checkpoint, Freeze, Ignore, Protect, Restart, Stop, Wait};
    prop::sample::select(vec![
        Wait, Freeze, Stop, Restart, Checkpoint, Protect, Ignore,
    ])
}

fn any_unit() -> impl Strategy<Value = Unit> {
    let fallback = prop::sample::select(vec![
        None,
        Some(DeployAction::Stop),
        Some(DeployAction::Freeze),
        Some(DeployAction::Ignore),
    ]);
    let checkpoint = prop::option::of(1_u32..5);
    (
        any_action(),
        fallback,
        0_u32..60,
        1_u32..60,
        1_u32..5,
        checkpoint,
    )
        .prop_map(
            |(action, fallback, busy, ends_in, stop_takes, checkpoint_takes)| {
                let mut unit = Unit::new(action.name(), action);
                unit.rule.fallback = fallback;
                unit.busy = busy.saturating_sub(30);
                unit.ends_in = ends_in * 20;
                unit.stop_takes = stop_takes;
                unit.checkpoint_takes = checkpoint_takes;
                unit
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However often interlockd is killed: at ready nothing of the group runs but what its policy lets run, and at
    /// the end nothing is frozen, nothing is lost and nothing has run twice.
    #[test]
    fn whatever_happens_nothing_is_frozen_lost_or_run_twice(
        units in prop::collection::vec(any_unit(), 1..6),
        crashes in prop::collection::vec(0_usize..6, 0..12),
        ends_early in any::<bool>(),
    ) {
        let mut world = World::new(units);
        let mut it = deployment(true);
        if ends_early {
            let patience = world.now + 3 * SECOND;
            let mut steps = 0;
            while world.now < patience && !is_ready(&it) {
                let sight = world.sight(&it);
                for step in it.advance(&sight) {
                    world.take(&step);
                    if let Step::Signal(unit, _) = &step {
                        it.answered(unit, Answer::Taken, 1);
                    }
                    steps += 1;
                }
                world.tick(!it.closes_admission());
            }
            prop_assert!(steps < 100);
        } else {
            run(&mut world, &mut it, &crashes, is_ready);
        }
        if it.state() == State::Ready {
            for (name, unit) in &world.units {
                let rests = unit.activity == Activity::Down || unit.frozen;
                let ignored = it.members.get(name).is_some_and(|m| m.phase == Phase::Ignored);
                prop_assert!(rests || ignored, "{name} runs at ready: {unit:?}");
            }
        }
        it.end(None);
        run(&mut world, &mut it, &crashes, is_over);
        for _ in 0..5 {
            world.tick(true);
        }
        for (name, unit) in &world.units {
            prop_assert!(!unit.frozen, "{name} is still frozen");
            prop_assert!(unit.starts <= 1, "{name} ran twice: {unit:?}");
            let member = it.members.get(name);
            // One that never heard the call for a checkpoint ended by itself later.
            let heard = unit.checkpoint_takes.is_some() || unit.rule.action != DeployAction::Checkpoint;
            if let Some(member) = member.filter(|m| heard && m.phase == Phase::Resumed && m.resume) {
                prop_assert!(
                    unit.starts == 1 || unit.activity == Activity::Running,
                    "{name} was lost: {unit:?} {member:?}"
                );
            }
        }
    }
}
