//! Arguments of D-Bus calls, as far as they are understood without the daemon.

use std::collections::HashMap;
use std::time::Duration;

use arbitrary::Unstructured;
use interlock_core::deploy::{Begin, Deployment, Sight};
use interlock_supervisor::bus::caller::{self, Options};
use interlock_supervisor::instance;
use interlock_supervisor::monitor::{Format, Threshold};
use zbus::{OwnedVariant, Variant};

use crate::hostile;
use crate::input::{below, number, one_of};
use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "dbus",
    run,
    words: &[
        "max-wait",
        "expires",
        "priority",
        "batch",
        "10min",
        "99999999999999999999s",
        "18446744073709551615",
        "1us",
        "infinity",
        "import@a",
        "@",
        "failed:1:2",
        "task.x=",
        "~:5",
        "prometheus",
    ],
};

const NAMES: [&str; 8] = [
    "max-wait", "expires", "priority", "batch", "failed", "since", "limit", "ignore",
];

fn run(bytes: &[u8]) {
    let text = input::lossy(bytes);
    // Names of tasks and instances, thresholds, formats: text.
    if let Some((task, instance)) = instance::split(&text) {
        if let Some(unit) = instance::of_template("t@.service", instance) {
            assert!(!unit.contains(['/', '\0', ' ', '%']), "{unit:?}");
        }
        assert!(text.contains(task));
    }
    let _ = text.parse::<Threshold>();
    let _ = Format::named(&text);
    // Options, of any type.
    let mut input = Unstructured::new(bytes);
    let mut given = HashMap::new();
    for _ in 0..below(&mut input, 4) {
        let plain = *one_of(&mut input, &NAMES);
        let name = hostile::instead_of(&mut input, plain);
        let value = value(&mut input, 0);
        if let Ok(value) = OwnedVariant::try_from(value) {
            if let Ok(span) = caller::span(&name, &value) {
                begin(span);
            }
            given.insert(name, value);
        }
    }
    let Ok(mut options) = Options::new(given, &NAMES) else {
        return;
    };
    for name in NAMES {
        let asked = below(&mut input, 6);
        let _ = match asked {
            0 => options.flag(name).map(drop),
            1 => options.text(name).map(drop),
            2 => options.number(name).map(drop),
            3 => options.integer(name).map(drop),
            4 => options.words(name).map(drop),
            _ => options.microseconds(name).map(drop),
        };
    }
}

/// A deployment with such a span, an hour after boot in 2026.
fn begin(span: Duration) {
    assert!(!span.is_zero());
    let (now, realtime) = (3_600_000_000, 1_795_000_000_000_000);
    let begin = Begin {
        max_wait: Some(span),
        ..Begin::default()
    };
    let mut deployment = Deployment::begin("g-1".to_owned(), "boot", begin, realtime);
    let sight = Sight {
        now,
        realtime,
        ..Sight::default()
    };
    for _ in 0..3 {
        deployment.advance(&sight);
    }
    assert!(deployment.deadline > now, "{span:?} is over at once");
}

fn value(input: &mut Unstructured<'_>, depth: usize) -> Variant<'static> {
    match below(input, if depth < 3 { 10 } else { 8 }) {
        0 => Variant::from(number(input)),
        1 => Variant::from(number(input) as u32),
        2 => Variant::from(number(input) as i32),
        3 => Variant::from(number(input).cast_signed()),
        4 => Variant::from(input.arbitrary::<bool>().unwrap_or(false)),
        5 => Variant::from(f64::from_bits(number(input))),
        6 => Variant::from(input.arbitrary::<u32>().unwrap_or(0).to_string() + "s"),
        7 => Variant::from(hostile::text(input).replace('\0', "")),
        8 => Variant::from(vec![hostile::text(input).replace('\0', "")]),
        _ => Variant::Variant(Box::new(value(input, depth + 1))),
    }
}
