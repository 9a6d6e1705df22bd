//! The tables of the history, and how those of older versions become them.
//!
//! `user_version` counts the history's versions. Other tables in the file are [`crate::store`]'s, who makes them itself.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};

/// What this program writes.
pub(super) const VERSION: i64 = 3;

/// The engine waits no longer for another writer (an operator who classifies a failure), then there is a gap.
const BUSY: Duration = Duration::from_millis(200);

/// A reader may wait: it isn't the engine's time.
const READER_BUSY: Duration = Duration::from_secs(5);

/// The log of changes (https://www.sqlite.org/wal.html) shrinks to this again, bytes.
const LOG_SIZE: i64 = 8 << 20;

/// If nobody has emptied it before, whoever writes does so at this size, in pages of 4 KiB.
const LOG_PAGES: i64 = 8000;

const V3: &str = "
    -- When its lease was granted by CLOCK_MONOTONIC of its boot; 0 if it was found granted.
    ALTER TABLE runs ADD COLUMN granted_monotonic INTEGER NOT NULL DEFAULT 0;
";

const V2: &str = "
    -- The first version knew no deadlocks at first.
    CREATE TABLE IF NOT EXISTS deadlocks (
        id INTEGER PRIMARY KEY, found INTEGER NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
        resource TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, waiters TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS deadlocks_of_unit ON deadlocks (unit, found);

    CREATE TABLE runs_2 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task TEXT NOT NULL, unit TEXT NOT NULL, boot TEXT NOT NULL,
        asked INTEGER NOT NULL, granted INTEGER NOT NULL,
        started INTEGER NOT NULL DEFAULT 0,
        ended INTEGER,
        result TEXT NOT NULL DEFAULT '',
        failed INTEGER NOT NULL DEFAULT 0,
        exit_status INTEGER, signal INTEGER,
        invocation TEXT NOT NULL DEFAULT '',
        waited_for TEXT NOT NULL DEFAULT '', interruptions TEXT NOT NULL DEFAULT '',
        attempt INTEGER NOT NULL DEFAULT 1, cause TEXT NOT NULL DEFAULT '', gated INTEGER NOT NULL DEFAULT 1,
        signature TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL DEFAULT '',
        -- Its end is to come, or somebody is to look why it failed.
        pending INTEGER NOT NULL DEFAULT 1) STRICT;
    INSERT INTO runs_2 (id, task, unit, boot, asked, granted, started, ended, result, pending)
        SELECT id, task, unit, '', asked, granted, granted, ended, 'unknown', 0 FROM runs;
    DROP TABLE runs;
    ALTER TABLE runs_2 RENAME TO runs;
    CREATE INDEX runs_of_task ON runs (task, ended, started) WHERE ended IS NOT NULL;
    CREATE INDEX runs_of_unit ON runs (unit, ended) WHERE ended IS NOT NULL;
    CREATE INDEX runs_by_end ON runs (ended, started) WHERE ended IS NOT NULL;
    CREATE INDEX runs_failed ON runs (ended) WHERE failed AND ended IS NOT NULL;
    CREATE INDEX runs_failed_of_task ON runs (task, ended) WHERE failed AND ended IS NOT NULL;
    CREATE INDEX runs_pending ON runs (id) WHERE pending;

    ALTER TABLE skips ADD COLUMN kind TEXT NOT NULL DEFAULT 'other';
    CREATE INDEX skips_of_task ON skips (task, at);
    CREATE INDEX skips_by_time ON skips (at);

    -- One row a unit: how it stands now. Outlives its runs' rows.
    CREATE TABLE standings (
        unit TEXT PRIMARY KEY, task TEXT NOT NULL,
        runs INTEGER NOT NULL DEFAULT 0, skips INTEGER NOT NULL DEFAULT 0,
        last_skip TEXT, last_skip_at INTEGER NOT NULL DEFAULT 0,
        run INTEGER NOT NULL DEFAULT 0,
        granted INTEGER NOT NULL DEFAULT 0, started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,
        result TEXT NOT NULL DEFAULT '', succeeded INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, hard INTEGER NOT NULL DEFAULT 0,
        signature TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL DEFAULT '',
        since INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
    CREATE INDEX standings_of_task ON standings (task);
    CREATE INDEX standings_hard ON standings (task, signature) WHERE hard;
    CREATE INDEX standings_failing ON standings (task) WHERE failures > 0;
    INSERT INTO standings (unit, task, runs, granted, started, ended, result)
        SELECT unit, max(task), count(*), max(granted), max(granted), max(ended), 'unknown' FROM runs GROUP BY unit;
    INSERT INTO standings (unit, task, skips, last_skip, last_skip_at)
        SELECT unit, task, count(*), reason, max(at) FROM skips WHERE true GROUP BY unit
        ON CONFLICT (unit) DO UPDATE SET
            skips = excluded.skips, last_skip = excluded.last_skip, last_skip_at = excluded.last_skip_at;

    -- Causes of failures, one row a signature.
    CREATE TABLE failures (
        signature TEXT PRIMARY KEY, task TEXT NOT NULL, text TEXT NOT NULL,
        count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        recovered INTEGER NOT NULL DEFAULT 0, example TEXT NOT NULL, verdict TEXT NOT NULL,
        class TEXT NOT NULL DEFAULT '', class_by TEXT NOT NULL DEFAULT '',
        class_reason TEXT NOT NULL DEFAULT '', class_at INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
    CREATE INDEX failures_of_task ON failures (task, last);
    CREATE TABLE failing_units (
        signature TEXT NOT NULL, unit TEXT NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (signature, unit)) STRICT, WITHOUT ROWID;

    -- Numbers by hour; hour 0 has the sums of all hours, which never shrink.
    CREATE TABLE tallies (
        hour INTEGER NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        value INTEGER NOT NULL, PRIMARY KEY (hour, task, kind, name)) STRICT, WITHOUT ROWID;
    CREATE TABLE samples (
        hour INTEGER NOT NULL, task TEXT NOT NULL, units INTEGER NOT NULL, failing INTEGER NOT NULL,
        hard INTEGER NOT NULL, PRIMARY KEY (hour, task)) STRICT, WITHOUT ROWID;

    -- When deployments began; the store forgets them after a while.
    CREATE TABLE deployments_begun (
        id TEXT PRIMARY KEY, of_group TEXT NOT NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

const V1: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
        asked INTEGER NOT NULL, granted INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS skips (
        id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
        reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS skips_of_unit ON skips (unit, at);
";

/// From each version to the next.
const STEPS: [&str; VERSION as usize] = [V1, V2, V3];

/// Opens for writing, and brings the tables up to date.
/// `has_checkpoints`: somebody else empties its log of changes.
pub(super) fn connect(path: &Path, has_checkpoints: bool) -> rusqlite::Result<Connection> {
    let mut database = Connection::open(path)?;
    database.busy_timeout(BUSY)?;
    // Its sandbox has no directory for temporary files.
    database.pragma_update(None, "temp_store", "MEMORY")?;
    if version(&database)? == 0 {
        // Only ever taken by a file without tables: what is deleted gives its room back to the disk.
        database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // A power loss may cost the last runs' history, never the file (https://www.sqlite.org/wal.html).
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.pragma_update(None, "journal_size_limit", LOG_SIZE)?;
    if has_checkpoints {
        database.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    }
    database.set_prepared_statement_cache_capacity(64);
    migrate(&mut database)?;
    Ok(database)
}

/// Opens for reading, for whoever isn't the engine.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(READER_BUSY)?;
    database.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(database)
}

/// Opens for one change, for whoever isn't the engine.
pub(super) fn connect_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(READER_BUSY)?;
    Ok(database)
}

fn version(database: &Connection) -> rusqlite::Result<i64> {
    database.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(database: &mut Connection) -> rusqlite::Result<()> {
    let found = version(database)?;
    if found == VERSION {
        return Ok(());
    }
    let Some(steps) = usize::try_from(found).ok().and_then(|v| STEPS.get(v..)) else {
        return Err(newer(found));
    };
    // All or nothing: a kill amid it leaves the old tables.
    let transaction =
        database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    name_skips(&transaction)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Version 1 had only the sentence.
fn name_skips(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut reasons = transaction.prepare("SELECT DISTINCT reason FROM skips")?;
    let reasons = reasons.query_map([], |row| row.get::<_, String>(0))?;
    for reason in reasons.collect::<rusqlite::Result<Vec<_>>>()? {
        let kind = super::skip_kind(&reason);
        transaction.execute(
            "UPDATE skips SET kind = ?1 WHERE reason = ?2",
            [kind, &reason],
        )?;
    }
    Ok(())
}

/// A downgraded interlock must not touch what it doesn't know.
fn newer(found: i64) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA),
        Some(format!(
            "it is of version {found}, from a newer interlock; this one knows versions up to {VERSION}"
        )),
    )
}
