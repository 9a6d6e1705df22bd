//! What monitoring is told of holds.

use super::facts::*;
use super::{Format, Request, Status, Verdict, check, metrics};

const HOUR: u64 = 60 * 60 * 1_000_000;
const NOW: u64 = 1_772_330_596_000_000;

fn host() -> Facts {
    let task = |name: &str| (name.to_owned(), LiveTask::default());
    Facts {
        now: NOW,
        live: Live {
            policy: "good".to_owned(),
            tasks: [task("import"), task("backup")].into(),
            ..Live::default()
        },
        past: Ok(Past::default()),
    }
}

fn checked(facts: &Facts, criticals: &[&str]) -> Verdict {
    let criticals = criticals.iter().map(|it| (*it).to_owned());
    let request = Request {
        criticals: criticals.collect(),
        ..Request::default()
    };
    check(facts, &request)
}

#[test]
fn what_an_operator_has_held_for_a_week_is_worth_a_word_and_counted_by_task() {
    let mut facts = host();
    let hold = |unit: &str, hours: u64| Hold {
        task: "import".to_owned(),
        unit: unit.to_owned(),
        since: NOW - hours * HOUR,
        by: "alice (uid 1000)".to_owned(),
        reason: "the mirror is down".to_owned(),
    };
    facts.live.holds = vec![
        hold("import@a.service", 7 * 24 - 1),
        hold("import@b.service", 3),
    ];
    assert_eq!(checked(&facts, &[]).status, Status::Ok);
    facts.live.holds[0] = hold("import@a.service", 8 * 24);
    let verdict = checked(&facts, &[]);
    let text = verdict.render();
    assert_eq!(verdict.status, Status::Warning, "{text}");
    assert!(
        text.starts_with("INTERLOCK WARNING: an operator has held import@a.service for 8d"),
        "{text}"
    );
    assert!(
        text.contains("alice (uid 1000): the mirror is down"),
        "{text}"
    );
    let critical = checked(&facts, &["hold:import=2h"]);
    assert_eq!(critical.status, Status::Critical);
    let ignored = Request {
        ignored: vec!["hold".to_owned()],
        ..Request::default()
    };
    assert_eq!(check(&facts, &ignored).status, Status::Ok);
    let text = metrics(&facts, Format::Prometheus);
    for line in [
        "interlock_task_holds{task=\"import\"} 2",
        "interlock_task_holds{task=\"backup\"} 0",
        "interlock_task_hold_longest_seconds{task=\"import\"} 691200",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
