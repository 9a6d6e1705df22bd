//! Files of older versions, of newer ones, and files that are none.

use std::fs;

use rusqlite::Connection;

use super::*;
use crate::store::Store;

/// As the first release wrote it.
const FIRST: &str = "
    CREATE TABLE runs (id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
        asked INTEGER NOT NULL, granted INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;
    CREATE INDEX runs_of_unit ON runs (unit, ended);
    CREATE TABLE skips (id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
        reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE INDEX skips_of_unit ON skips (unit, at);
    CREATE TABLE deadlocks (id INTEGER PRIMARY KEY, found INTEGER NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
        resource TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, waiters TEXT NOT NULL) STRICT;
    CREATE INDEX deadlocks_of_unit ON deadlocks (unit, found);
    INSERT INTO runs VALUES (7, 't', 't.service', 10, 20, 50), (9, 't', 't.service', 110, 120, 150);
    INSERT INTO skips VALUES (1, 't', 't.service', 'it waited longer than max-wait = 1h', 60);
    INSERT INTO skips VALUES (2, 't', 'u.service', 'why', 61);
    PRAGMA user_version = 1;
";

#[test]
fn what_the_first_release_wrote_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(FIRST)
        .unwrap();
    Store::open(&path).next_id("web").unwrap();
    let mut history = History::open(&path);
    assert_eq!(history.health(), None);
    let past = history.past("t.service");
    assert_eq!((past.runs, past.skips), (2, 1));
    assert_eq!((past.usual_duration, past.usual_wait), (Some(30), Some(10)));
    assert_eq!(history.past("u.service").last_skip.as_deref(), Some("why"));
    assert_eq!(history.last_start("t.service"), Some(120));
    assert!(history.open_runs().is_empty());
    assert!(history.began(&begun("t.service", 1, 2)).unwrap() > 9);
    // The rest of the file is as it was.
    assert_eq!(Store::open(&path).next_id("web").unwrap(), "web-2");
    drop(history);
    let mut again = History::open(&path);
    assert_eq!(again.open_runs().len(), 1);
}

#[test]
fn what_a_newer_release_wrote_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(History::open(&path));
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let mut history = History::open(&path);
    assert!(history.health().unwrap().contains("newer interlock"));
    assert_eq!(history.began(&begun("t.service", 1, 2)), None);
    assert_eq!(history.was_damaged(), None);
}

/// A file of a few pages.
fn filled(path: &Path) -> Vec<u8> {
    let mut history = History::open(path);
    for at in 1..400 {
        ran(&mut history, &format!("t@{at}.service"), at, 5, "success");
    }
    Store::open(path).next_id("web").unwrap();
    drop(history);
    let database = Connection::open(path).unwrap();
    database
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(database);
    fs::read(path).unwrap()
}

#[test]
fn a_damaged_file_is_put_aside_and_all_goes_on() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("no database", |_| {
            b"this is no database, but some text\n".repeat(200)
        }),
        ("header", |mut file| {
            file[..16].fill(0);
            file
        }),
        ("cut off", |file| file[..file.len() / 2].to_vec()),
        ("a page", |mut file| {
            let middle = file.len() / 8192 * 4096;
            file[middle..middle + 4096].fill(0xaa);
            file
        }),
        ("short", |file| file[..100].to_vec()),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let file = damage(filled(&path));
        fs::write(&path, &file).unwrap();
        let mut history = History::open(&path);
        let aside = history.was_damaged().map(Path::to_owned);
        let aside = aside.unwrap_or_else(|| panic!("{name}: not put aside"));
        assert_eq!(fs::read(&aside).unwrap(), file, "{name}");
        assert!(history.health().unwrap().contains("put aside"), "{name}");
        ran(&mut history, "t.service", 1, 2, "success");
        assert_eq!(history.past("t.service").runs, 1, "{name}");
        assert!(Store::open(&path).next_id("web").is_ok(), "{name}");
        drop(history);
        // It is told until somebody has taken it away.
        let again = History::open(&path);
        assert_eq!(again.was_damaged(), Some(aside.as_path()), "{name}");
        assert_eq!(again.past("t.service").runs, 1, "{name}");
        fs::remove_file(&aside).unwrap();
        assert_eq!(again.was_damaged(), None, "{name}");
        assert_eq!(again.health(), None, "{name}");
    }
}

#[test]
fn an_empty_file_is_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "").unwrap();
    let mut history = History::open(&path);
    assert_eq!(history.was_damaged(), None);
    ran(&mut history, "t.service", 1, 2, "success");
    assert_eq!(history.past("t.service").runs, 1);
}

#[test]
fn a_good_file_with_a_log_of_changes_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut history = History::open(&path);
    ran(&mut history, "t.service", 1, 2, "success");
    // As after a kill: the log is still there.
    let copy = tempfile::tempdir().unwrap();
    for part in ["state.db", "state.db-wal"] {
        fs::copy(dir.path().join(part), copy.path().join(part)).unwrap();
    }
    let copied = History::open(&copy.path().join("state.db"));
    assert_eq!(copied.was_damaged(), None);
    assert_eq!(copied.past("t.service").runs, 1);
}

#[test]
fn a_full_disk_makes_a_gap_that_is_told_and_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(&dir.path().join("state.db"));
    ran(&mut history, "t.service", 10, 5, "success");
    // SQLite's own limit gives the same error as a full disk does.
    let limit = |history: &History, pages: i64| {
        let database = history.database.as_ref().unwrap();
        let set = format!("PRAGMA max_page_count = {pages}");
        database.query_row(&set, [], |_| Ok(())).unwrap();
    };
    limit(&history, 1);
    let mut run = Some(0);
    for at in 1..2000 {
        run = history.began(&begun("t.service", at, at));
        if run.is_none() {
            break;
        }
    }
    assert_eq!(run, None);
    assert!(history.health().unwrap().contains("is full"));
    assert!(history.past("t.service").runs == 1);
    limit(&history, 1 << 20);
    ran(&mut history, "t.service", 3000, 5, "success");
    assert_eq!(history.health(), None);
    assert_eq!(history.past("t.service").runs, 2);
}

#[test]
fn damage_that_is_met_later_is_put_aside_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut file = filled(&path);
    let mut history = History::open(&path);
    // Under its hands: all but the first page, which is in memory.
    file[4096..].fill(0x55);
    fs::write(&path, &file).unwrap();
    for at in 1..50 {
        history.began(&begun(&format!("u@{at}.service"), at, at));
    }
    assert!(history.health().unwrap().contains("damaged"));
    drop(history);
    let history = History::open(&path);
    assert!(history.was_damaged().is_some());
}

#[test]
fn what_is_whole_of_a_damaged_file_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut file = filled(&path);
    let database = Connection::open(&path).unwrap();
    let root: i64 = database
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'runs'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(database);
    let at = usize::try_from(root - 1).unwrap() * 4096;
    file[at..at + 4096].fill(0xaa);
    fs::write(&path, &file).unwrap();
    let mut history = History::open(&path);
    let aside = history.was_damaged().unwrap().to_owned();
    assert_eq!(fs::read(&aside).unwrap(), file);
    // Its runs are gone; the standings, which count them, and the store's tables are not.
    assert_eq!(history.past("t@7.service").runs, 1);
    assert!(
        Reader::open(&path)
            .unwrap()
            .exceeding(0, None, None)
            .unwrap()
            .is_empty()
    );
    assert_eq!(Store::open(&path).next_id("web").unwrap(), "web-2");
    ran(&mut history, "t@7.service", 1000, 5, "success");
    assert_eq!(history.past("t@7.service").runs, 2);
}
