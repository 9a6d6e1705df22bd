//! What readers are told, and that they see what the engine has written.

use super::*;
use crate::history::causes::{ClassifyError, classify};
use crate::history::runs::{RunFilter, RunRow};

struct Files {
    _dir: tempfile::TempDir,
    path: PathBuf,
    history: History,
    reader: Reader,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let history = History::open(&path);
    let reader = Reader::open(&path).unwrap();
    Files {
        _dir: dir,
        path,
        history,
        reader,
    }
}

fn all() -> RunFilter {
    RunFilter {
        limit: 1000,
        ..RunFilter::default()
    }
}

fn units(rows: &[RunRow]) -> Vec<&str> {
    rows.iter().map(|row| row.unit.as_str()).collect()
}

#[test]
fn runs_are_told_with_all_that_is_known_of_them() {
    let mut it = files();
    let run = ran(&mut it.history, "t@a.service", 10, 5, "exit-code");
    it.history.interrupted(run, "deployment web-3: freeze");
    it.history.interrupted(run, "preempted by u");
    it.history
        .examined(run, &cause("abc"), 1, "transient", false);
    let rows = it.reader.runs(&all()).unwrap();
    let expected = RunRow {
        id: u64::try_from(run).unwrap(),
        task: "t".to_owned(),
        unit: "t@a.service".to_owned(),
        asked: 10,
        granted: 15,
        started: 15,
        ended: 20,
        result: "exit-code".to_owned(),
        exit_status: Some(1),
        signal: None,
        invocation: "abc".to_owned(),
        waited_for: vec!["x.service".to_owned(), "y.service".to_owned()],
        interruptions: vec![
            "deployment web-3: freeze".to_owned(),
            "preempted by u".to_owned(),
        ],
        attempt: 1,
        cause: "submitted by alice (uid 1000)".to_owned(),
        signature: "abc".to_owned(),
        verdict: "transient".to_owned(),
        reason: String::new(),
    };
    assert_eq!(rows, [expected]);
}

#[test]
fn filters_leave_what_was_asked_for() {
    let mut it = files();
    ran(&mut it.history, "t@a.service", 10, 5, "success");
    ran(&mut it.history, "t@b.service", 100, 50, "exit-code");
    it.history.skipped("t", "t@c.service", "busy", 200);
    it.history.began(&begun("t@d.service", 290, 300)).unwrap();
    let ask = |filter: RunFilter| {
        let rows = it.reader.runs(&filter).unwrap();
        units(&rows).join(" ")
    };
    let [a, b, c, d] = ["t@a.service", "t@b.service", "t@c.service", "t@d.service"];
    assert_eq!(ask(all()), [d, c, b, a].join(" "));
    assert_eq!(ask(RunFilter { limit: 2, ..all() }), [d, c].join(" "));
    assert_eq!(
        ask(RunFilter {
            failed: true,
            ..all()
        }),
        b
    );
    assert_eq!(
        ask(RunFilter {
            slower_than: Some(5),
            until: Some(1000),
            ..all()
        }),
        [d, b].join(" ")
    );
    assert_eq!(
        ask(RunFilter {
            since: Some(100),
            until: Some(250),
            ..all()
        }),
        [c, b].join(" ")
    );
    let of = |task: &str| {
        ask(RunFilter {
            task: Some(task.to_owned()),
            ..all()
        })
    };
    assert_eq!(of("t@c.service"), c);
    assert_eq!(of("t@.service"), [d, c, b, a].join(" "));
    assert_eq!(of("t"), [d, c, b, a].join(" "));
    assert_eq!(of("other"), "");
}

#[test]
fn lengths_are_told_by_task() {
    let mut it = files();
    for (at, length) in [(10, 10), (100, 20), (200, 3000)] {
        ran(&mut it.history, "t@a.service", at, length, "success");
    }
    let tasks = it.reader.exceeding(20, None, None).unwrap();
    let t = &tasks["t"];
    assert_eq!((t.runs, t.exceeding, t.p50, t.longest), (3, 1, 20, 3000));
    let tasks = it.reader.exceeding(20, Some("t"), Some(150)).unwrap();
    assert_eq!(tasks["t"].runs, 1);
    assert!(
        it.reader
            .exceeding(20, Some("other"), None)
            .unwrap()
            .is_empty()
    );
    // What goes on counts as well: since 1970, here.
    it.history.began(&begun("t@b.service", 290, 300)).unwrap();
    assert_eq!(
        it.reader.exceeding(3000, None, None).unwrap()["t"].exceeding,
        1
    );
}

#[test]
fn failures_are_told_by_cause() {
    let mut it = files();
    for (unit, key, at) in [
        ("t@a.service", "aa01", 10),
        ("t@b.service", "aa01", 20),
        ("t@c.service", "bb02", 30),
    ] {
        let run = ran(&mut it.history, unit, at, 5, "exit-code");
        let verdict = "permanent (rule broken): see its description";
        it.history
            .examined(run, &cause(key), 1, verdict, unit == "t@b.service");
    }
    let mut retry = begun("t@a.service", 50, 50);
    retry.attempt = 2;
    let run = it.history.began(&retry).unwrap();
    it.history.ended(run, &end(50, 60, "success"));

    let failures = it.reader.failures(None, None).unwrap();
    let keys: Vec<&str> = failures.iter().map(|it| it.signature.as_str()).collect();
    assert_eq!(keys, ["bb02", "aa01"]);
    let first = &failures[1];
    assert_eq!(
        (first.count, first.units, first.hard, first.recovered),
        (2, 2, 1, 1)
    );
    assert_eq!((first.first, first.last), (20, 30));
    assert_eq!(first.class, Some(Class::Permanent));
    assert_eq!(
        (first.class_by.as_str(), first.class_reason.as_str()),
        ("broken", "see its description")
    );
    assert_eq!(it.reader.failures(Some("t"), Some(35)).unwrap().len(), 1);
    assert_eq!(
        it.reader.failures(Some("t@c.service"), None).unwrap().len(),
        1
    );
    assert!(it.reader.failures(Some("other"), None).unwrap().is_empty());
}

#[test]
fn an_operators_word_counts_most_and_can_be_taken_back() {
    let mut it = files();
    for (unit, key) in [("a.service", "aa01"), ("b.service", "aa02")] {
        let run = ran(&mut it.history, unit, 10, 5, "exit-code");
        it.history.examined(run, &cause(key), 1, "transient", false);
    }
    let say = |key: &str, class| classify(&it.path, key, class, "alice", "known", 7);
    assert!(matches!(
        say("aa", Some(Class::Permanent)),
        Err(ClassifyError::Ambiguous(2, _))
    ));
    assert!(matches!(
        say("cc", Some(Class::Permanent)),
        Err(ClassifyError::NoSuchSignature(_))
    ));
    assert!(matches!(
        say("", None),
        Err(ClassifyError::NoSuchSignature(_))
    ));
    assert_eq!(say("AA01", Some(Class::Permanent)).unwrap(), "aa01");
    assert_eq!(it.history.class_of("aa01"), Some(Class::Permanent));
    assert_eq!(it.history.class_of("aa02"), None);
    let told = |reader: &Reader| {
        let failures = reader.failures(Some("a.service"), None).unwrap();
        (
            failures[0].class,
            failures[0].class_by.clone(),
            failures[0].class_reason.clone(),
        )
    };
    assert_eq!(
        told(&it.reader),
        (
            Some(Class::Permanent),
            "alice".to_owned(),
            "known".to_owned()
        )
    );
    assert_eq!(say("aa01", None).unwrap(), "aa01");
    assert_eq!(it.history.class_of("aa01"), None);
    assert_eq!(
        told(&it.reader),
        (Some(Class::Transient), String::new(), String::new())
    );
}

#[test]
fn a_unit_stands_as_its_last_runs_say() {
    let mut it = files();
    let unit = "t.service";
    let stands = |reader: &Reader| reader.standings(Some("t")).unwrap().remove(0);
    ran(&mut it.history, unit, 10, 5, "success");
    let run = ran(&mut it.history, unit, 20, 5, "exit-code");
    it.history.examined(run, &cause("a"), 1, "transient", false);
    let run = ran(&mut it.history, unit, 30, 5, "signal");
    it.history.examined(run, &cause("b"), 2, "permanent", true);
    let now = stands(&it.reader);
    assert_eq!((now.runs, now.failures, now.hard), (3, 2, true));
    assert_eq!(
        (now.succeeded, now.started, now.ended, now.since),
        (20, 35, 40, 30)
    );
    assert_eq!(
        (now.signature.as_str(), now.result.as_str()),
        ("b", "signal")
    );
    // Neither says that it works.
    ran(&mut it.history, unit, 40, 5, "stopped");
    it.history.skipped("t", unit, "busy", 60);
    let now = stands(&it.reader);
    assert_eq!(
        (now.hard, now.failures, now.skips, now.last_skip_at),
        (true, 2, 1, 60)
    );
    ran(&mut it.history, unit, 70, 5, "success");
    let now = stands(&it.reader);
    assert_eq!(
        (now.hard, now.failures, now.since, now.signature.as_str()),
        (false, 0, 80, "")
    );
}

#[test]
fn a_late_look_at_an_older_failure_does_not_make_a_unit_fail() {
    let mut it = files();
    let failed = ran(&mut it.history, "t.service", 10, 5, "exit-code");
    ran(&mut it.history, "t.service", 20, 5, "success");
    it.history
        .examined(failed, &cause("a"), 1, "permanent", true);
    assert!(!it.reader.standings(None).unwrap()[0].hard);
}

#[test]
fn numbers_are_counted_by_hour_and_for_ever() {
    let mut it = files();
    ran(&mut it.history, "t.service", HOUR, 5, "success");
    ran(&mut it.history, "t.service", 2 * HOUR + 10, 5, "success");
    ran(&mut it.history, "t.service", 2 * HOUR + 20, 5, "timeout");
    it.history.skipped(
        "t",
        "t.service",
        "it waited longer than max-wait = 1s",
        2 * HOUR + 30,
    );
    let mut slow = begun("u.service", HOUR, HOUR + 2_000_000);
    slow.task = "u".to_owned();
    let run = it.history.began(&slow).unwrap();
    it.history
        .ended(run, &end(HOUR + 2_000_000, HOUR + 3_000_000, "success"));

    let totals = it.reader.totals().unwrap();
    let t = &totals["t"];
    assert_eq!(
        t.runs,
        [("success".to_owned(), 2), ("timeout".to_owned(), 1)].into()
    );
    assert_eq!(t.skips, [("max-wait".to_owned(), 1)].into());
    assert_eq!((t.waited[0], t.waited_sum, t.held_sum), (3, 15, 15));
    let u = &totals["u"];
    assert_eq!(
        (u.waited[0], u.waited[1], u.waited_sum, u.held_sum),
        (0, 1, 2_000_000, 1_000_000)
    );
    let hours = it.reader.hourly(2 * HOUR).unwrap();
    assert_eq!(hours.keys().copied().collect::<Vec<_>>(), [2 * HOUR]);
    assert_eq!(hours[&(2 * HOUR)]["t"].runs["success"], 1);
}

#[test]
fn what_is_old_is_forgotten_but_not_the_sums() {
    let mut it = files();
    let day = 24 * HOUR;
    let now = 1000 * day;
    let old = ran(&mut it.history, "old.service", day, 5, "exit-code");
    it.history.examined(old, &cause("aa01"), 1, "", false);
    let hard = ran(&mut it.history, "hard.service", day, 5, "exit-code");
    it.history.examined(hard, &cause("aa02"), 1, "", true);
    classify(&it.path, "aa02", Some(Class::Transient), "alice", "", 7).unwrap();
    it.history.skipped("t", "old.service", "busy", day);
    ran(&mut it.history, "new.service", now - 10 * day, 5, "success");
    let open = it.history.began(&begun("open.service", 1, 2)).unwrap();
    let rules = interlock_generator::policy::settings::HistoryRules {
        keep: std::time::Duration::from_secs(365 * 24 * 3600),
        max_size: 1 << 30,
    };
    assert!(it.history.tidy_at(&rules, now));
    assert!(!it.history.tidy_at(&rules, now));
    assert_eq!(
        units(&it.reader.runs(&all()).unwrap()),
        ["open.service", "new.service"]
    );
    let standings = it.reader.standings(None).unwrap();
    let kept: Vec<&str> = standings.iter().map(|it| it.unit.as_str()).collect();
    assert_eq!(kept, ["hard.service", "new.service"]);
    assert_eq!(it.reader.failures(None, None).unwrap().len(), 1);
    let totals = it.reader.totals().unwrap();
    assert_eq!(totals["t"].runs["exit-code"], 2);
    let samples = it.reader.samples(0).unwrap();
    assert_eq!(
        (samples[0].units, samples[0].failing, samples[0].hard),
        (2, 1, 1)
    );
    it.history.ended(open, &end(3, now, "success"));
    assert_eq!(it.history.health(), None);
}

#[test]
fn what_is_too_large_loses_its_oldest_runs() {
    let mut it = files();
    for at in 1..3000 {
        ran(
            &mut it.history,
            &format!("t@{at}.service"),
            at * 10,
            5,
            "success",
        );
    }
    let rules = interlock_generator::policy::settings::HistoryRules {
        keep: std::time::Duration::from_secs(365 * 24 * 3600),
        max_size: 600 << 10,
    };
    let mut bites = 0;
    while it.history.tidy_at(&rules, 50_000) {
        bites += 1;
        assert!(bites < 100);
    }
    let rows = it
        .reader
        .runs(&RunFilter {
            limit: u32::MAX,
            ..all()
        })
        .unwrap();
    assert!(!rows.is_empty() && rows.len() < 2500, "{}", rows.len());
    assert_eq!(rows[0].asked, 29_990);
}

#[test]
fn what_deployments_cut_off_is_no_usual_length() {
    use crate::history::risk::Exposed;
    use interlock_generator::policy::settings::DeployAction;
    let mut it = files();
    let hour = HOUR;
    for at in 1..4 {
        let run = ran(
            &mut it.history,
            "t.service",
            at * 10 * hour,
            hour,
            "stopped",
        );
        it.history.interrupted(run, "deployment web-1: stop");
    }
    // An operator's stop says nothing.
    ran(&mut it.history, "t.service", 50 * hour, 9 * hour, "stopped");
    let exposed = Exposed {
        task: "t".to_owned(),
        action: DeployAction::Stop,
        fallback: None,
        groups: vec!["web".to_owned()],
        spared: 0,
        max_interruptions: None,
    };
    let risks = it.reader.at_risk(&[exposed], None).unwrap();
    assert_eq!(risks[0].usual, hour);
    assert!(
        risks[0]
            .text
            .starts_with("none of its runs went to its end, 3 were cut off")
    );
}
