//! The state database: damaged, cut off, foreign, or with values that nobody wrote.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Unstructured;
use interlock_core::deploy::{Begin, Deployment};
use interlock_core::ending::End;
use interlock_core::signature::Class;
use interlock_generator::policy::settings::HistoryRules;
use interlock_supervisor::history::runs::RunFilter;
use interlock_supervisor::history::{Begun, History, Reader, causes};
use interlock_supervisor::store::{
    Capacity, Change, Entry, Filter, Next, Outcome, Paused, Store, StoreError,
};
use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

use crate::input::{below, number, once_in};
use crate::{Target, hostile};

pub const TARGET: Target = Target {
    name: "database",
    run,
    words: &[
        "SQLite format 3\0",
        "\u{1}",
        "\u{2}",
        "\u{3}",
        "CREATE TABLE runs (a)",
        "\u{7f}\u{7f}",
    ],
};

/// A point in time, microseconds.
const NOW: u64 = 1_795_000_000_000_000;
const HOUR: u64 = 3_600_000_000;

/// The first byte says how the file comes to be.
fn run(bytes: &[u8]) {
    let (how, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let dir = directory();
    let path = dir.path().join("state.db");
    match how % 4 {
        0 => write(&path, rest),
        1 => write(&path, &damaged(rest)),
        2 => foreign(&path, &mut Unstructured::new(rest)),
        _ => edited(&path, &mut Unstructured::new(rest)),
    }
    // As interlockd does: the history first, which puts a damaged file aside.
    let mut history = History::open(&path);
    let mut store = Store::open(&path);
    works_or_says_so(&mut history, &mut store);
    read(&mut history, &path);
    look(&mut store);
    change(&mut history, &mut store, &path);
    drop((history, store));
    // What it wrote itself it can read, or it says that it can't.
    let mut history = History::open(&path);
    let mut store = Store::open(&path);
    works_or_says_so(&mut history, &mut store);
}

/// In memory, if there is such a place.
fn directory() -> TempDir {
    let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    memory.expect("a directory")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
}

/// A database as interlockd leaves it, of a few pages.
static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = directory();
    let path = dir.path().join("state.db");
    let mut history = History::open(&path);
    let mut store = Store::open(&path);
    for _ in 0..4 {
        change(&mut history, &mut store, &path);
    }
    drop((history, store));
    let database = Connection::open(&path).expect("a database");
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    database
        .query_row(checkpoint, [], |_| Ok(()))
        .expect("a checkpoint");
    drop(database);
    fs::read(&path).expect("a file")
});

/// Bytes of it changed, or its end missing: three bytes for a place, one for what is to stand there.
fn damaged(changes: &[u8]) -> Vec<u8> {
    let mut file = BASE.clone();
    for change in changes.chunks_exact(4) {
        let place =
            usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        let place = place % file.len();
        match change[3] {
            // Rarely: then all others are for nothing.
            0xfd if file.len() > 100 => file.truncate(place),
            0xfe => file[place..]
                .iter_mut()
                .take(4096)
                .for_each(|byte| *byte = 0),
            byte => file[place] = byte,
        }
        if file.is_empty() {
            break;
        }
    }
    file
}

/// Somebody else's tables of the same names.
fn foreign(path: &Path, input: &mut Unstructured<'_>) {
    const TABLES: [&str; 12] = [
        "runs",
        "skips",
        "standings",
        "failures",
        "tallies",
        "samples",
        "numbers",
        "deployments",
        "queue",
        "batches",
        "paused",
        "capacities",
    ];
    let database = Connection::open(path).expect("a database");
    for table in TABLES {
        if once_in(input, 4) {
            let what = ["TABLE", "VIEW"][below(input, 2)];
            let body = match (what, below(input, 3)) {
                ("VIEW", _) => "AS SELECT 1 AS id",
                (_, 0) => "(id INTEGER PRIMARY KEY)",
                (_, 1) => "(id, task, unit, at, value)",
                _ => "(task TEXT NOT NULL, unit TEXT NOT NULL, x INTEGER NOT NULL)",
            };
            let _ = database.execute_batch(&format!("CREATE {what} {table} {body}"));
        }
    }
    let version = [-1, 0, 1, 2, 3][below(input, 5)];
    let _ = database.pragma_update(None, "user_version", version);
}

/// Our tables, with other values in their cells.
fn edited(path: &Path, input: &mut Unstructured<'_>) {
    write(path, &BASE);
    let database = Connection::open(path).expect("a database");
    let columns = columns(&database);
    for _ in 0..=below(input, 12) {
        let (table, column) = &columns[below(input, columns.len())];
        let value = match below(input, 4) {
            0 => Value::Text(hostile::text(input)),
            1 => Value::Integer(-1),
            2 => Value::Null,
            _ => Value::Integer(number(input).cast_signed()),
        };
        let one = if once_in(input, 2) { "" } else { " LIMIT 1" };
        // As text it may be what is no UTF-8.
        let cast = if once_in(input, 5) {
            "CAST(x'fffe41' AS TEXT)"
        } else {
            "?1"
        };
        let key = if has_rowid(table) { "rowid" } else { "unit" };
        let sql = format!(
            "UPDATE OR REPLACE {table} SET \"{column}\" = {cast} WHERE {key} IN (SELECT {key} FROM {table}{one})"
        );
        let _ = match cast {
            "?1" => database.execute(&sql, [value]),
            _ => database.execute(&sql, []),
        };
    }
}

fn has_rowid(table: &str) -> bool {
    table != "standings"
}

fn columns(database: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' ORDER BY t.name, c.cid";
    let mut columns = database.prepare(sql).expect("a schema");
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let columns = columns
        .expect("its columns")
        .collect::<rusqlite::Result<_>>();
    columns.expect("their names")
}

/// What can't be written down is told by monitoring; who asks for it is told by the error.
fn works_or_says_so(history: &mut History, store: &mut Store) {
    let begun = history.began(&Begun {
        task: "t".to_owned(),
        unit: "t.service".to_owned(),
        asked: NOW,
        granted: NOW,
        attempt: 1,
        ..Begun::default()
    });
    assert!(
        begun.is_some() || history.health().is_some(),
        "a gap in the history that nobody is told of"
    );
    let results = [
        store.next_id("g").map(drop),
        store.submit(&[entry("t@x.service")]).map(drop),
    ];
    let is_closed = results
        .iter()
        .any(|it| matches!(it, Err(StoreError::Closed)));
    assert!(
        !is_closed || store.trouble().is_some(),
        "a closed store that nobody is told of"
    );
}

fn entry(unit: &str) -> Entry {
    Entry {
        unit: unit.to_owned(),
        task: "t".to_owned(),
        at: NOW,
        attempt: 1,
        ..Entry::default()
    }
}

fn read(history: &mut History, path: &Path) {
    for unit in ["t.service", "", "u@1.service"] {
        history.past(unit);
        history.last_start(unit);
        history.skips_in_a_row(unit);
        history.has_failed(unit);
        history.is_hard(unit);
        history.last_failure(unit);
        history.class_of(unit);
    }
    history.open_runs();
    history.deadlocks();
    let Ok(reader) = Reader::open(path) else {
        return;
    };
    let _ = reader.standings(None);
    let _ = reader.totals();
    let _ = reader.hourly(0);
    let _ = reader.samples(0);
    let _ = reader.failing_now();
    let _ = reader.exceeding(0, None, None);
    let _ = reader.exceeding(u64::MAX, Some("t"), Some(u64::MAX));
    let _ = reader.failures(None, None);
    let _ = reader.at_risk(&[], None);
    let _ = reader.monitored(NOW);
    for failed in [false, true] {
        let _ = reader.runs(&RunFilter {
            failed,
            limit: 100,
            ..RunFilter::default()
        });
    }
}

fn look(store: &mut Store) {
    let all = Filter {
        limit: 1000,
        ..Filter::default()
    };
    store.deployments();
    store.interruptions("t.service", 0);
    store.stale();
    store.paused();
    store.capacities();
    store.holds();
    store.skipped_starts();
    let _ = store
        .batches()
        .map(|batches| batches.iter().map(|it| it.waiting()).max());
    let _ = store.list(&all);
    let _ = store.counts();
    let _ = store.behind();
    let _ = store.running();
    let _ = store.heads("t", usize::MAX);
    let _ = store.next_wake();
    let _ = store.foreign(&all, "alice");
}

/// Some of everything that interlockd writes.
fn change(history: &mut History, store: &mut Store, path: &Path) {
    for (at, result) in (NOW..)
        .step_by(1_000_000)
        .zip(["success", "exit-code", "signal"])
    {
        let run = history.began(&Begun {
            task: "t".to_owned(),
            unit: "t.service".to_owned(),
            boot: "boot".to_owned(),
            asked: at,
            granted: at + 10,
            attempt: 2,
            waited_for: vec!["u.service".to_owned()],
            cause: "retry".to_owned(),
            gated: true,
            ..Begun::default()
        });
        let end = End {
            started: at + 20,
            ended: at + HOUR,
            result: result.to_owned(),
            exit_status: Some(1),
            ..End::default()
        };
        if let Some(run) = run {
            history.interrupted(run, "a deployment");
            history.ended(run, &end);
        }
    }
    history.skipped("t", "t.service", "it waited longer than max-wait = 1h", NOW);
    let rules = HistoryRules {
        keep: Duration::from_secs(3600),
        max_size: 1 << 20,
    };
    history.tidy(&rules);
    let _ = causes::classify(path, "0", Some(Class::Permanent), "alice", "why", NOW);
    let mut deployment = Deployment::begin("g-1".to_owned(), "boot", Begin::default(), NOW);
    deployment.refuse("no");
    let _ = store.save(&Change {
        deployments: vec![&deployment],
        interruptions: vec![("t.service".to_owned(), "g-1".to_owned())],
        at: NOW,
        ..Change::default()
    });
    let paused = Paused {
        task: "t".to_owned(),
        reason: "why".to_owned(),
        by: "alice".to_owned(),
        since: NOW,
    };
    let _ = store.pause(&paused);
    let capacity = Capacity {
        capacity: 2,
        reason: "why".to_owned(),
        by: "alice".to_owned(),
        since: NOW,
    };
    let _ = store.set_capacity("r", Some(&capacity));
    let batch = store.new_batch("b", "alice", NOW).ok();
    let mut entries = ["t@1.service", "t@2.service", "t@3.service"].map(entry);
    entries[0].batch = batch;
    entries[1].state = interlock_supervisor::store::State::Delayed;
    entries[1].not_before = NOW + HOUR;
    let ids = store.submit(&entries).unwrap_or_default();
    let _ = store.wake(NOW);
    let _ = store.begins("t@3.service", NOW, NOW, "boot");
    if let [first, second, ..] = ids[..] {
        let _ = store.move_to(&[first], Next::First);
        let _ = store.move_to(&[second, first], Next::Last);
        let _ = store.move_to(&[second], Next::Priority(i32::MAX));
        let _ = store.over(first, Outcome::Done, NOW);
        let _ = store.cancel(&[second], NOW);
    }
}
