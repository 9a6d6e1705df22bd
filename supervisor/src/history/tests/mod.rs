//! The history over real files: what was written comes back, whatever happens to the file.

mod damaged;
mod reading;

use std::path::Path;

use interlock_core::ending::COMMANDS;
use interlock_core::signature::Signature;

use super::*;
use crate::daemon::engine::DeadlockView;

fn memory() -> History {
    History::open(Path::new(":memory:"))
}

fn begun(unit: &str, asked: u64, granted: u64) -> Begun {
    Begun {
        granted_monotonic: 0,
        task: "t".to_owned(),
        unit: unit.to_owned(),
        boot: "b".to_owned(),
        asked,
        granted,
        attempt: 1,
        waited_for: vec!["x.service".to_owned(), "y.service".to_owned()],
        cause: "submitted by alice (uid 1000)".to_owned(),
        gated: true,
    }
}

fn end(started: u64, ended: u64, result: &str) -> End {
    End {
        started,
        ended,
        result: result.to_owned(),
        exit_status: Some(i32::from(result != "success")),
        signal: None,
        invocation: "abc".to_owned(),
    }
}

fn ran(history: &mut History, unit: &str, at: u64, length: u64, result: &str) -> i64 {
    let run = history.began(&begun(unit, at, at + 5)).unwrap();
    history.ended(run, &end(at + 5, at + 5 + length, result));
    run
}

fn cause(key: &str) -> Signature {
    Signature {
        key: key.to_owned(),
        text: "exit status 1".to_owned(),
    }
}

#[test]
fn a_run_that_was_followed_by_another_is_not_open() {
    let mut history = memory();
    // Its end found no room on the disk.
    history.began(&begun("a", 1, 2)).unwrap();
    let other = history.began(&begun("b", 1, 2)).unwrap();
    ran(&mut history, "a", 10, 5, "success");
    let open: Vec<i64> = history.open_runs().iter().map(|run| run.id).collect();
    assert_eq!(open, [other]);
}

#[test]
fn usual_is_the_median_of_what_went_to_its_end() {
    let mut history = memory();
    for (at, length) in [(10, 10), (100, 1000), (2000, 20)] {
        ran(&mut history, "t.service", at, length, "success");
    }
    ran(&mut history, "t.service", 3000, 1, "interrupted");
    history.skipped("t", "t.service", "busy", 7);
    let past = history.past("t.service");
    assert_eq!((past.runs, past.skips), (4, 1));
    assert_eq!(past.usual_duration, Some(20));
    assert_eq!(past.usual_wait, Some(5));
    assert_eq!(past.last_skip.as_deref(), Some("busy"));
    assert_eq!(history.last_start("t.service"), Some(3005));
    assert_eq!(history.last_start("other.service"), None);
}

#[test]
fn what_was_open_is_found_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut history = History::open(&path);
    let open = history.began(&begun("open.service", 1, 2)).unwrap();
    ran(&mut history, "good.service", 10, 5, "success");
    let failed = ran(&mut history, "failed.service", 10, 5, "exit-code");
    drop(history);
    let mut history = History::open(&path);
    let found = history.open_runs();
    let numbers: Vec<i64> = found.iter().map(|run| run.id).collect();
    assert_eq!(numbers, [open, failed]);
    assert_eq!(found[0].end, None);
    assert_eq!(found[1].end, Some(end(15, 20, "exit-code")));
    history.ended(open, &end(2, 3, "interrupted"));
    history.examined(failed, &cause("a"), 1, "transient", false);
    assert!(history.open_runs().is_empty());
    // No number is given twice.
    assert!(history.began(&begun("open.service", 1, 2)).unwrap() > failed);
}

#[test]
fn an_end_counts_once_however_often_it_is_told() {
    let mut history = memory();
    let run = ran(&mut history, "t.service", 10, 5, "exit-code");
    history.ended(run, &end(15, 30, "success"));
    assert_eq!(history.past("t.service").runs, 1);
    let first = history.examined(run, &cause("a"), 1, "transient", false);
    let second = history.examined(run, &cause("a"), 1, "transient", false);
    assert_eq!((first.count, first.first), (1, 20));
    assert_eq!(second, first);
    assert_eq!(first.class, None);
}

#[test]
fn a_deadlock_is_kept_as_it_became() {
    let mut history = memory();
    let mut deadlock = DeadlockView {
        id: 3,
        found: 5,
        unit: "t.service".to_owned(),
        state: "stuck".to_owned(),
        text: "a\nb".to_owned(),
        waiters: [(7, 70), (8, 80)].into(),
        ..DeadlockView::default()
    };
    history.deadlock(&deadlock);
    deadlock.state = "ended".to_owned();
    history.deadlock(&deadlock);
    assert_eq!(history.deadlocks(), [deadlock]);
}

#[test]
fn goes_on_without_a_database_and_says_so() {
    let mut history = History::open(Path::new("/nonexistent/state.db"));
    assert_eq!(history.began(&begun("t.service", 1, 2)), None);
    assert_eq!(history.past("t.service"), Past::default());
    assert!(history.health().unwrap().contains("/nonexistent/state.db"));
}

#[test]
fn reasons_of_skips_are_few() {
    for (reason, kind) in [
        ("it waited longer than max-wait = 1h", "max-wait"),
        (
            "its window nightly was over before it could start",
            "window-over",
        ),
        (
            "rpm-db is held by dnf, and its policy says when-busy = \"skip\"",
            "busy",
        ),
        ("something new", "other"),
    ] {
        assert_eq!(skip_kind(reason), kind);
    }
}

#[test]
fn commands_are_one_task_and_stand_in_no_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut history = History::open(&path);
    for n in 0..3 {
        let unit = format!("interlock-run-{n}.service");
        let mut begun = begun(&unit, HOUR, HOUR);
        begun.task.clone_from(&unit);
        let run = history.began(&begun).unwrap();
        let end = end(HOUR, HOUR + 20, "exit-code");
        history.ended(run, &end);
        let cause = interlock_core::signature::of(&unit, &unit, &end, &[]);
        history.examined(run, &cause, 1, "", true);
    }
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.totals().unwrap()[COMMANDS].runs["exit-code"], 3);
    assert!(reader.standings(None).unwrap().is_empty());
    let failures = reader.failures(None, None).unwrap();
    assert_eq!((failures.len(), failures[0].count), (1, 3));
}

#[test]
fn what_the_log_of_changes_holds_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut history = History::open(&path);
    for at in 1..3000 {
        let unit = format!("t{at}.service");
        history.began(&begun(&unit, at, at)).unwrap();
    }
    drop(history);
    assert_eq!(History::open(&path).open_runs().len(), 2999);
}
