//! Facts made up, and what is made of them.

mod exposition;

use super::check::{Request, check};
use super::facts::*;
use super::verdict::{Status, Verdict};
use super::{Format, metrics};

const MINUTE: u64 = 60 * 1_000_000;
const HOUR: u64 = 60 * MINUTE;
const NOW: u64 = 1_772_330_596_000_000;

/// A host on which 500 of import's packages usually fail, sampled hourly for a week.
fn host(failed: u64) -> Facts {
    let mut past = Past {
        began: NOW - 200 * HOUR,
        ..Past::default()
    };
    let import = PastTask {
        failed,
        failed_units: vec!["import@a.service".to_owned(), "import@b.service".to_owned()],
        last_success: NOW - 2 * HOUR,
        last_end: NOW - MINUTE,
        failures_hour: 4,
        failures_day: 40,
        runs: [("success".to_owned(), 900), ("exit-code".to_owned(), 600)].into(),
        skips: [("busy".to_owned(), 7)].into(),
        skips_in_a_row: 2,
        waits: [5, 4, 0, 0, 0, 0, 0, 0, 0, 1],
        waited: 90_000_500_000,
        ran: HOUR,
    };
    past.tasks.insert("import".to_owned(), import);
    past.tasks.insert(
        "interlock-run-7.service".to_owned(),
        PastTask {
            runs: [("success".to_owned(), 1)].into(),
            ..PastTask::default()
        },
    );
    for hour in (1..=168).rev() {
        past.samples.push(Sample {
            at: NOW - hour * HOUR - MINUTE,
            failed: [("import".to_owned(), 500)].into(),
        });
    }
    let mut live = Live {
        version: "0.1.0".to_owned(),
        started: NOW - HOUR,
        policy: "good".to_owned(),
        ..Live::default()
    };
    let task = |expect_success| LiveTask { expect_success };
    live.tasks.insert("import".to_owned(), task(None));
    live.tasks
        .insert("backup".to_owned(), task(Some(300 * HOUR)));
    let resource = ResourceUse {
        capacity: 8,
        used: 1,
    };
    live.resources.insert("import-slots".to_owned(), resource);
    live.groups.push("web".to_owned());
    live.standings
        .push(standing("import@c.service", 10, State::Running));
    live.standings
        .push(standing("import@d.service", 35, State::Waiting));
    live.queue.insert(
        "import".to_owned(),
        QueueDepth {
            queued: 12,
            delayed: 3,
            ..QueueDepth::default()
        },
    );
    Facts {
        now: NOW,
        live,
        past: Ok(past),
    }
}

fn standing(unit: &str, minutes: u64, state: State) -> Standing {
    Standing {
        task: "import".to_owned(),
        unit: unit.to_owned(),
        state,
        since: NOW - minutes * MINUTE,
        detail: "Waiting for import-slots".to_owned(),
        is_stale: false,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn checked(facts: &Facts, warnings: &[&str], criticals: &[&str]) -> Verdict {
    let request = Request {
        warnings: words(warnings),
        criticals: words(criticals),
        ignored: Vec::new(),
    };
    check(facts, &request)
}

#[track_caller]
fn says(verdict: &Verdict, status: Status, begins: &str) {
    let text = verdict.render();
    assert!(text.starts_with(begins), "{text}");
    assert_eq!(verdict.status, status, "{text}");
}

#[test]
fn five_hundred_failing_is_normal_and_a_thousand_is_not() {
    for warning in [
        "failed=+50%",
        "failed:import=+50%",
        "failed=+250",
        "failed=750",
    ] {
        let usual = checked(&host(500), &[warning], &["failed=1000"]);
        says(
            &usual,
            Status::Ok,
            "INTERLOCK OK: 2 tasks, 1 running, 1 waiting, 500 failed for good |",
        );
        assert_eq!(checked(&host(749), &[warning], &[]).status, Status::Ok);
        assert_eq!(checked(&host(750), &[warning], &[]).status, Status::Warning);
    }
    let bad = checked(&host(1000), &["failed=+50%"], &["failed=+100%"]);
    says(
        &bad,
        Status::Critical,
        "INTERLOCK CRITICAL: 1000 units have failed for good (critical from 1000, 100% above the usual 500) | \
         'failed'=1000;750;1000;0 ",
    );
    assert!(
        bad.render()
            .contains("\n  import: 1000 (import@a.service, import@b.service and 998 more)\n"),
        "{}",
        bad.render()
    );
}

#[test]
fn what_is_usual_is_not_known_at_first_and_that_is_said() {
    let mut facts = host(500);
    if let Ok(past) = &mut facts.past {
        past.samples.drain(..166);
    }
    let verdict = checked(&facts, &["failed=+50%"], &[]);
    says(&verdict, Status::Ok, "INTERLOCK OK: ");
    let text = verdict.render();
    assert!(
        text.contains(
            "\nfailed=+50% counts as OK: what is usual isn't known yet, 2 hourly samples"
        ),
        "{text}"
    );
}

#[test]
fn the_last_hour_is_not_usual() {
    let mut facts = host(1000);
    if let Ok(past) = &mut facts.past {
        past.samples.clear();
        for minutes in [10, 20, 30, 40] {
            past.samples.push(Sample {
                at: NOW - minutes * MINUTE,
                failed: [("import".to_owned(), 1000)].into(),
            });
        }
        assert_eq!(past.baseline(None, NOW), Err(0));
    }
}

#[test]
fn where_none_usually_fails_the_first_is_noticed() {
    let mut facts = host(0);
    if let Ok(past) = &mut facts.past {
        for sample in &mut past.samples {
            sample.failed.clear();
        }
    }
    assert_eq!(checked(&facts, &["failed=+50%"], &[]).status, Status::Ok);
    if let Ok(past) = &mut facts.past {
        past.tasks.get_mut("import").unwrap().failed = 1;
    }
    says(
        &checked(&facts, &["failed=+50%"], &[]),
        Status::Warning,
        "INTERLOCK WARNING: 1 unit has failed for good (warning from 1, 50% above the usual 0) |",
    );
}

#[test]
fn each_measure_has_its_threshold_and_its_words() {
    let mut facts = host(3);
    facts
        .live
        .standings
        .push(standing("import@e.service", 90, State::Held));
    facts
        .live
        .standings
        .push(standing("import@f.service", 61, State::Frozen));
    facts.live.standings[0].is_stale = true;
    facts.live.deployments.push(Deployment {
        id: "web-7".to_owned(),
        group: "web".to_owned(),
        state: "ready".to_owned(),
        since: NOW - 3 * HOUR,
        owner: "alice (uid 1000)".to_owned(),
    });
    for (expression, text) in [
        (
            "failed:import=3",
            "3 units of import have failed for good (warning from 3)",
        ),
        (
            "failures-hour=4",
            "4 runs have failed within the last hour (warning from 4)",
        ),
        (
            "failures-day:import=40",
            "40 runs of import have failed within the last day (warning from 40)",
        ),
        (
            "wait=30min",
            "import@d.service has waited at its gate for 35min (warning from 30min)",
        ),
        (
            "held=1h 30min",
            "import@e.service has been held for 1h 30min (warning from 1h 30min)",
        ),
        (
            "frozen:import=3600",
            "import@f.service has been frozen for 1h 1min (warning from 1h)",
        ),
        (
            "deployment=3h",
            "deployment web-7 has been alive for 3h (warning from 3h)",
        ),
        ("queue=15", "15 starts queued (warning from 15)"),
        (
            "skips=2",
            "import was skipped 2 times in a row (warning from 2)",
        ),
        (
            "stale=1",
            "1 unit with code from before a deployment (warning from 1)",
        ),
        (
            "success:import=2h",
            "import has not succeeded for 2h (warning from 2h)",
        ),
        (
            "success:backup=8d",
            "backup has not succeeded for 8d 8h (warning from 8d)",
        ),
    ] {
        let verdict = checked(&facts, &[expression], &[]);
        says(
            &verdict,
            Status::Warning,
            &format!("INTERLOCK WARNING: {text} |"),
        );
    }
    for expression in [
        "failed=4",
        "wait=36min",
        "held=2h",
        "frozen=62min",
        "deployment=4h",
        "queue=16",
        "skips=3",
        "stale=2",
        "success:import=3h",
        "failures-hour=5",
        "failures-day=41",
        "queue:backup=1",
    ] {
        assert_eq!(
            checked(&facts, &[expression], &[]).status,
            Status::Ok,
            "{expression}"
        );
    }
}

#[test]
fn some_things_are_problems_by_default_and_can_be_set_otherwise() {
    let mut facts = host(0);
    facts
        .live
        .deadlocks
        .push("dnf waits for rpm; rpm waits for dnf".to_owned());
    says(
        &checked(&facts, &[], &[]),
        Status::Critical,
        "INTERLOCK CRITICAL: 1 deadlock (critical from 1) |",
    );
    assert_eq!(
        checked(&facts, &["deadlocks=1"], &[]).status,
        Status::Warning
    );

    let mut facts = host(0);
    facts.live.policy = "last-good".to_owned();
    facts
        .live
        .policy_errors
        .push("/etc/interlock/policy.d/a.toml:3:1: | no such key".to_owned());
    let verdict = checked(&facts, &[], &[]);
    says(
        &verdict,
        Status::Warning,
        "INTERLOCK WARNING: the policy has 1 error; the last good one is in effect |",
    );
    let text = verdict.render();
    assert!(
        text.contains("a.toml:3:1: / no such key"),
        "a bar in the text would be performance data: {text}"
    );
    assert_eq!(checked(&facts, &[], &["policy"]).status, Status::Critical);
    let ignore = |name: &str| Request {
        ignored: words(&[name]),
        ..Request::default()
    };
    assert_eq!(check(&facts, &ignore("policy")).status, Status::Ok);
    says(
        &check(&facts, &ignore("wait")),
        Status::Unknown,
        "INTERLOCK UNKNOWN: \"wait\" can't be ignored; what is looked at by default is deadlocks, hold, policy,",
    );

    let mut facts = host(0);
    facts.live.tasks.get_mut("backup").unwrap().expect_success = Some(26 * HOUR);
    says(
        &checked(&facts, &[], &[]),
        Status::Warning,
        "INTERLOCK WARNING: backup has never succeeded, expected within 1d 2h |",
    );
}

#[test]
fn a_history_that_cannot_be_read_is_told_and_what_needs_it_is_unknown() {
    let mut facts = host(0);
    facts.past = Err("the database is damaged".to_owned());
    let verdict = checked(&facts, &["failed=5"], &[]);
    says(
        &verdict,
        Status::Warning,
        "INTERLOCK WARNING: the history is degraded: the database is damaged; ",
    );
    assert!(
        verdict
            .render()
            .contains("failed can't be told: the database is damaged")
    );
    assert_eq!(checked(&facts, &["wait=30min"], &[]).problems.len(), 3);
    assert!(metrics(&facts, Format::Prometheus).contains("interlock_up 1\n"));
}

#[test]
fn what_is_no_threshold_is_unknown_and_what_to_write_instead_is_said() {
    for (expression, text) in [
        (
            "faild=5",
            "\"faild=5\" is no threshold: there is nothing called \"faild\"; did you mean failed?",
        ),
        (
            "zzz",
            "\"zzz\" is no threshold: there is nothing called \"zzz\"; what can be checked is failed, ",
        ),
        (
            "failed",
            "\"failed\" is no threshold: its limit is missing; write it as failed=1000, failed=+50% or failed=+20",
        ),
        (
            "failed=",
            "\"failed=\" is no threshold: its limit is missing; ",
        ),
        (
            "failed=0",
            "\"failed=0\" is no threshold: \"0\" is no number above zero; ",
        ),
        (
            "failed=many",
            "\"failed=many\" is no threshold: \"many\" is no number above zero; ",
        ),
        (
            "queue=+5%",
            "\"queue=+5%\" is no threshold: \"+5%\" is no number above zero; write it as queue=5",
        ),
        (
            "wait=soon",
            "\"wait=soon\" is no threshold: \"soon\" is no time span above zero; write it as wait=30min",
        ),
        (
            "policy=1",
            "\"policy=1\" is no threshold: policy has no limit; write it as policy",
        ),
        (
            "success=26h",
            "\"success=26h\" is no threshold: it needs a task; write it as success:TASK=26h",
        ),
        (
            "deadlocks:import=1",
            "\"deadlocks:import=1\" is no threshold: deadlocks isn't counted by task; ",
        ),
        (
            "failed:=1",
            "\"failed:=1\" is no threshold: the task's name is missing; ",
        ),
        (
            "failed:imprt=1",
            "the policy has no task \"imprt\" (failed:imprt=1); did you mean import?",
        ),
    ] {
        let verdict = checked(&host(0), &[], &[expression]);
        says(
            &verdict,
            Status::Unknown,
            &format!("INTERLOCK UNKNOWN: {text}"),
        );
        assert_eq!(verdict.status.code(), 3);
    }
}

#[test]
fn performance_data_is_as_the_guidelines_have_it() {
    let verdict = checked(
        &host(3),
        &["failed=5", "wait:import=1h"],
        &["failed=10", "failed=9"],
    );
    let text = verdict.render();
    let (line, _) = text.split_once('\n').unwrap();
    let (_, data) = line.split_once(" | ").unwrap();
    assert_eq!(
        data,
        "'failed'=3;5;9;0 'failures-hour'=4;;;0 'wait'=2100s;;;0 'held'=0s;;;0 'frozen'=0s;;;0 'queue'=15;;;0 \
         'skips'=2;;;0 'deadlocks'=0;;1;0 'wait:import'=2100s;3600;;0 'hold'=0s;604800;;0 'expect-success'=0;1;;0 'policy'=0;1;;0 \
         'database'=0;1;;0 'running'=1;;;0 'waiting'=1;;;0 'runs'=1501c;;;0"
    );
}
