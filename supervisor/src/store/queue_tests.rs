//! What the queue keeps, and how it orders it.

use std::path::Path;

use super::*;
use crate::store::{Filter, Next};

fn store() -> Store {
    Store::open(Path::new(":memory:"))
}

fn entry(unit: &str) -> Entry {
    Entry {
        unit: unit.to_owned(),
        task: "import".to_owned(),
        attempt: 1,
        ..Entry::default()
    }
}

fn units(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|it| it.unit.as_str()).collect()
}

#[test]
fn a_unit_waits_once_and_anew_while_it_runs() {
    let mut store = store();
    let first = store.submit(&[entry("a"), entry("b")]).unwrap();
    assert_eq!(store.submit(&[entry("a")]).unwrap(), first[..1]);
    let running = store.begins("a", 5, 1, "boot").unwrap().unwrap();
    assert_eq!((running.id, running.granted), (first[0], 5));
    assert_eq!(running.granted_monotonic, 1);
    assert_eq!(store.begins("a", 6, 1, "boot").unwrap(), None);
    let next = store.submit(&[entry("a")]).unwrap();
    assert_ne!(next, first[..1]);
    assert_eq!(units(&store.running().unwrap()), ["a"]);
    store.over(first[0], Outcome::Done, 9).unwrap();
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["b", "a"]);
}

#[test]
fn higher_priorities_come_first_then_the_order_in_which_they_came() {
    let mut store = store();
    let urgent = Entry {
        priority: 5,
        ..entry("c")
    };
    let ids = store.submit(&[entry("a"), entry("b"), urgent]).unwrap();
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["c", "a", "b"]);
    assert_eq!(store.move_to(&[ids[1]], Next::First).unwrap(), 1);
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["c", "b", "a"]);
    store.move_to(&ids[..1], Next::Priority(9)).unwrap();
    assert_eq!(units(&store.heads("import", 2).unwrap()), ["a", "c"]);
    store.move_to(&ids[..2], Next::Last).unwrap();
    store.move_to(&ids, Next::Priority(0)).unwrap();
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["c", "a", "b"]);
}

#[test]
fn a_beginning_may_be_written_later() {
    let mut store = store();
    let ids = store.submit(&[entry("a")]).unwrap();
    let waiting = store.waiting("a").unwrap().unwrap();
    let begun = Entry {
        state: State::Running,
        granted: 7,
        boot: "boot".to_owned(),
        ..waiting
    };
    store.has_begun(&begun).unwrap();
    assert_eq!(store.running().unwrap(), [begun]);
    assert!(store.heads("import", 9).unwrap().is_empty());
    store.over(ids[0], Outcome::Done, 9).unwrap();
    assert!(store.running().unwrap().is_empty());
}

#[test]
fn what_is_to_run_again_is_never_lost_for_a_beginning_that_is_not_known() {
    let mut store = store();
    store.submit(&[entry("a")]).unwrap();
    let mut it = store.waiting("a").unwrap().unwrap();
    it.attempt = 2;
    store.again(&it).unwrap();
    assert_eq!(store.heads("import", 9).unwrap(), [it]);
}

/// Lets each commit after a change to `table` fail, as a full disk does.
fn refuse_commits(store: &mut Store, table: &str) {
    let database = store.database().unwrap();
    let sql = format!(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
         CREATE TABLE children (id INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED) STRICT;
         CREATE TRIGGER changed AFTER UPDATE ON {table} BEGIN INSERT INTO children VALUES (1); END;
         CREATE TRIGGER added AFTER INSERT ON {table} BEGIN INSERT INTO children VALUES (1); END;"
    );
    database.execute_batch(&sql).unwrap();
}

#[test]
fn a_beginning_that_is_not_written_is_not_claimed() {
    let mut store = store();
    store.submit(&[entry("a")]).unwrap();
    refuse_commits(&mut store, "queue");
    assert!(store.begins("a", 5, 1, "boot").is_err());
    assert!(store.running().unwrap().is_empty());
}

#[test]
fn a_number_that_is_not_written_is_not_given_out() {
    let mut store = store();
    refuse_commits(&mut store, "numbers");
    assert!(store.next_id("code").is_err());
}

#[test]
fn no_delay_is_longer_than_is_said() {
    let mut store = store();
    for (unit, not_before) in [("near", 50), ("far", 5000)] {
        store.submit(&[entry(unit)]).unwrap();
        let mut it = store.begins(unit, 5, 1, "boot").unwrap().unwrap();
        it.not_before = not_before;
        store.again(&it).unwrap();
    }
    assert_eq!(store.delayed().unwrap(), [("import".to_owned(), 1)]);
    store.delay_at_most("other", 1, 10).unwrap();
    store.delay_at_most("import", 2, 10).unwrap();
    store.delay_at_most("import", 1, 100).unwrap();
    assert_eq!(store.next_wake().unwrap(), Some(50));
    assert!(store.wake(99).unwrap().contains("import"));
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["near"]);
    store.wake(100).unwrap();
    assert_eq!(units(&store.heads("import", 9).unwrap()), ["near", "far"]);
}

#[test]
fn a_retry_sleeps_until_it_is_due_and_a_submission_wakes_it() {
    let mut store = store();
    store.submit(&[entry("a")]).unwrap();
    let mut it = store.begins("a", 5, 1, "boot").unwrap().unwrap();
    it.not_before = 100;
    it.attempt = 2;
    it.signatures = vec!["x".to_owned()];
    store.again(&it).unwrap();
    assert_eq!(store.next_wake().unwrap(), Some(100));
    assert!(store.wake(99).unwrap().is_empty());
    assert!(store.heads("import", 9).unwrap().is_empty());
    assert_eq!(store.wake(100).unwrap().len(), 1);
    let head = store.heads("import", 9).unwrap().pop().unwrap();
    assert_eq!((head.attempt, head.signatures), (2, vec!["x".to_owned()]));
    store.begins("a", 5, 1, "boot").unwrap().unwrap();
    store.again(&it).unwrap();
    store.submit(&[entry("a")]).unwrap();
    let head = store.heads("import", 9).unwrap().pop().unwrap();
    assert_eq!((head.attempt, head.signatures.len()), (1, 0));
}

#[test]
fn what_was_submitted_anew_while_it_ran_is_not_retried_as_well() {
    let mut store = store();
    store.submit(&[entry("a")]).unwrap();
    let it = store.begins("a", 5, 1, "boot").unwrap().unwrap();
    store.submit(&[entry("a")]).unwrap();
    store.again(&it).unwrap();
    store.retry(&entry("a")).unwrap();
    assert!(store.running().unwrap().is_empty());
    assert_eq!(store.heads("import", 9).unwrap().len(), 1);
}

#[test]
fn a_batch_counts_each_of_its_entries_once() {
    let mut store = store();
    let batch = store.new_batch("nightly", "alice", 1).unwrap();
    let of_batch = |unit: &str| Entry {
        batch: Some(batch),
        ..entry(unit)
    };
    store.submit(&[entry("a")]).unwrap();
    // "a" waits already, and isn't this batch's.
    let ids = store
        .submit(&[of_batch("a"), of_batch("b"), of_batch("c"), of_batch("d")])
        .unwrap();
    store.begins("b", 5, 1, "boot").unwrap();
    let it = &store.batches().unwrap()[0];
    assert_eq!((it.total, it.running, it.waiting()), (3, 1, 2));
    assert_eq!(store.over(ids[1], Outcome::Done, 7).unwrap(), None);
    assert_eq!(store.over(ids[1], Outcome::Done, 7).unwrap(), None);
    assert_eq!(store.cancel(&[ids[2], ids[2]], 8).unwrap(), (1, vec![]));
    let ended = store.over(ids[3], Outcome::Failed, 9).unwrap();
    assert_eq!(ended, Some(batch));
    let it = &store.batches().unwrap()[0];
    assert_eq!((it.done, it.failed, it.cancelled, it.ended), (1, 1, 1, 9));
}

#[test]
fn many_are_cancelled_at_once_but_those_that_run_or_are_spared() {
    let mut store = store();
    let batch = store.new_batch("", "alice", 1).unwrap();
    let mut entries = ["a", "b", "c", "d"].map(entry);
    for (it, by) in entries
        .iter_mut()
        .zip(["alice (uid 1), sh", "alice (uid 1), sh", "bob", "bob"])
    {
        it.batch = Some(batch);
        it.by = by.to_owned();
    }
    let ids = store.submit(&entries).unwrap();
    store.begins("a", 5, 1, "boot").unwrap();
    let of_batch = Filter {
        batch: Some(batch),
        ..Filter::default()
    };
    let foreign = store.foreign(&of_batch, "alice (uid 1)").unwrap();
    assert_eq!(foreign.unwrap().unit, "c");
    assert_eq!(store.foreign(&of_batch, "").unwrap(), None);
    assert_eq!(
        store.cancel_all(&of_batch, &ids[1..2], 7).unwrap(),
        (2, vec![])
    );
    store.over(ids[0], Outcome::Done, 8).unwrap();
    assert_eq!(
        store.cancel_all(&Filter::default(), &[], 9).unwrap(),
        (1, vec![batch])
    );
    let it = &store.batches().unwrap()[0];
    assert_eq!((it.done, it.cancelled, it.ended), (1, 3, 9));
}

#[test]
fn what_waits_for_something_is_queued_after_it() {
    let mut store = store();
    let behind = Entry {
        state: State::Behind,
        after_unit: "upcp.service".to_owned(),
        ..entry("a")
    };
    let ids = store.submit(&[behind.clone(), behind]).unwrap();
    assert_eq!(ids[0], ids[1]);
    // A run before that doesn't serve it.
    assert_eq!(store.begins("a", 5, 1, "boot").unwrap(), None);
    store.submit(&[entry("a")]).unwrap();
    store.nothing_before(ids[0]).unwrap();
    assert_eq!(store.counts().unwrap()["import"].queued, 1);
    assert!(store.behind().unwrap().is_empty());
}

#[test]
fn what_an_earlier_version_kept_is_still_to_be_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE submissions (
             id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL,
             after_unit TEXT NOT NULL, after_pid INTEGER NOT NULL, after_start INTEGER NOT NULL,
             boot TEXT NOT NULL, starting INTEGER NOT NULL,
             UNIQUE (unit, after_unit, after_pid, after_start, boot, starting)) STRICT;
         INSERT INTO submissions (unit, by, at, after_unit, after_pid, after_start, boot, starting)
             VALUES ('a.service', 'alice', 5, 'upcp.service', 0, 0, 'boot', 0),
                    ('b.service', 'alice', 5, '', 0, 0, 'boot', 1);",
    )
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let store = Store::open(&path);
        assert_eq!(units(&store.behind().unwrap()), ["a.service"]);
        assert_eq!(units(&store.running().unwrap()), ["b.service"]);
    }
}

#[test]
fn a_queue_of_an_earlier_version_gets_the_column_that_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut store = Store::open(&path);
    store.submit(&[entry("a")]).unwrap();
    drop(store);
    let old = Connection::open(&path).unwrap();
    old.execute_batch("ALTER TABLE queue DROP COLUMN granted_monotonic")
        .unwrap();
    drop(old);
    for _ in 0..2 {
        let mut store = Store::open(&path);
        assert_eq!(store.counts().unwrap()["import"].queued, 1);
    }
}
