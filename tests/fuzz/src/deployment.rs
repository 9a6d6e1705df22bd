//! A deployment out of the state database, as JSON, and what becomes of it.

use arbitrary::Unstructured;
use interlock_core::deploy::{Activity, Begin, Deployment, Hook, HookSight, Seen, Sight, Stage};
use interlock_generator::policy::settings::DeployAction;

use crate::input::{below, number, once_in};
use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "deployment",
    run,
    words: &[
        "\"stage\":\"settle\"",
        "\"stage\":\"watch\"",
        "\"phase\":\"frozen\"",
        "\"phase\":\"checkpointing\"",
        "\"action\":\"freeze\"",
        "\"max_wait\":18446744073709551615",
        "\"deadline\":18446744073709551615",
        "\"expires\":9223372036854775807",
        "null",
        "true",
        "false",
        "-1",
        "1e99",
        "\"\\u0000\"",
    ],
};

/// So often is looked.
const LOOKS: usize = 12;

fn run(bytes: &[u8]) {
    let (json, rest) = input::halves(bytes);
    let mut input = Unstructured::new(rest);
    let text = input::lossy(json);
    let mut deployment = match serde_json::from_str::<Deployment>(&text) {
        Ok(it) => it,
        // Not one that could have been written: then one as D-Bus might begin it.
        Err(_) => begun(&mut Unstructured::new(bytes)),
    };
    let written = serde_json::to_string(&deployment).expect("it can be written down");
    let again: Deployment = serde_json::from_str(&written).expect("and read again");
    assert_eq!(again, deployment);
    let mut sight = Sight {
        now: number(&mut input) / 2,
        realtime: number(&mut input) / 2,
        ..Sight::default()
    };
    if once_in(&mut input, 2) {
        deployment.rebooted("another", sight.now, sight.realtime);
    }
    for _ in 0..LOOKS {
        let units: Vec<String> = deployment.members.keys().cloned().collect();
        for unit in units.into_iter().chain(["new.service".to_owned()]) {
            let seen = seen(&mut input);
            sight.units.insert(unit, seen);
        }
        let hook = match below(&mut input, 5) {
            0 => HookSight::Absent,
            1 => HookSight::Running,
            2 => HookSight::Succeeded,
            3 => HookSight::Failed("why".to_owned()),
            _ => HookSight::Unknown,
        };
        let of = match deployment.stage {
            Stage::Repool => Hook::AfterResume,
            _ => Hook::BeforeSettle,
        };
        sight.hook = Some((of, hook));
        let was = deployment.stage;
        deployment.advance(&sight);
        assert!(was != Stage::Over || deployment.stage == Stage::Over);
        deployment.next_time(sight.now);
        deployment.state();
        if once_in(&mut input, 4) {
            deployment.refuse("no");
        }
        sight.now += number(&mut input) / 64;
        sight.realtime += number(&mut input) / 64;
    }
}

fn begun(input: &mut Unstructured<'_>) -> Deployment {
    let mut span = || std::time::Duration::from_micros(number(input));
    let begin = Begin {
        group: "g".to_owned(),
        grace: span(),
        max_wait: Some(span()),
        hook_timeout: span(),
        ..Begin::default()
    };
    Deployment::begin("g-1".to_owned(), "boot", begin, number(input) / 2)
}

fn seen(input: &mut Unstructured<'_>) -> Seen {
    let mut seen = Seen {
        activity: match below(input, 4) {
            0 => Activity::Down,
            1 => Activity::Running,
            2 => Activity::Pausing,
            _ => Activity::Leaving,
        },
        stop_queued: once_in(input, 3),
        start_queued: once_in(input, 3),
        kept_waiting: once_in(input, 3),
        is_up: once_in(input, 2),
        failed: once_in(input, 3),
        occupied: once_in(input, 3),
        frozen: once_in(input, 3),
        busy: once_in(input, 5).then(|| "busy".to_owned()),
        unfreezable: once_in(input, 5).then(|| "no".to_owned()),
        invocation: if once_in(input, 2) { "i" } else { "" }.to_owned(),
        ..Seen::default()
    };
    seen.rule.gated = once_in(input, 2);
    seen.rule.usual = number(input);
    seen.rule.action = match below(input, 7) {
        0 => DeployAction::Freeze,
        1 => DeployAction::Stop,
        2 => DeployAction::Restart,
        3 => DeployAction::Checkpoint,
        4 => DeployAction::Protect,
        5 => DeployAction::Ignore,
        _ => DeployAction::Wait,
    };
    seen.rule.signal = once_in(input, 2).then(|| "SIGUSR1".to_owned());
    seen
}
