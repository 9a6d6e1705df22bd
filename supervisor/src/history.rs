//! What has been: runs and skips, in one SQLite file. It informs; nothing that guards depends on it.
//!
//! If it can't be opened or written, interlockd says so once and goes on without.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::daemon::engine::DeadlockView;

/// How many of the latest runs "usually" is taken from.
const USUAL: u32 = 25;

/// How many of the latest deadlocks are told.
const DEADLOCKS: u32 = 50;

/// What is known of a task's past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// Completed leases.
    pub runs: u64,
    /// Starts given up.
    pub skips: u64,
    /// Why the last was.
    pub last_skip: Option<String>,
    /// Median time that a lease was held, microseconds.
    pub usual_duration: Option<u64>,
    /// Median time at the gate, microseconds.
    pub usual_wait: Option<u64>,
}

/// The state database.
#[derive(Debug)]
pub struct History {
    database: Option<Connection>,
    complained: bool,
}

impl History {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Self {
        let database = match connect(path) {
            Ok(database) => Some(database),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot open the state database; going on without history");
                None
            }
        };
        Self {
            database,
            complained: false,
        }
    }

    /// A lease that is over. Times in microseconds of `CLOCK_REALTIME`.
    pub fn ran(&mut self, task: &str, unit: &str, asked: u64, granted: u64, ended: u64) {
        self.write(
            "INSERT INTO runs (task, unit, asked, granted, ended) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![task, unit, signed(asked), signed(granted), signed(ended)],
        );
    }

    /// A start that was given up.
    pub fn skipped(&mut self, task: &str, unit: &str, reason: &str, at: u64) {
        self.write(
            "INSERT INTO skips (task, unit, reason, at) VALUES (?1, ?2, ?3, ?4)",
            params![task, unit, reason, signed(at)],
        );
    }

    /// A deadlock, as it is now.
    pub fn deadlock(&mut self, it: &DeadlockView) {
        let waiters: Vec<String> = it
            .waiters
            .iter()
            .map(|(pid, start)| format!("{pid}:{start}"))
            .collect();
        self.write(
            "INSERT OR REPLACE INTO deadlocks (id, found, kind, unit, resource, state, text, waiters)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                signed(it.id),
                signed(it.found),
                it.kind,
                it.unit,
                it.resource,
                it.state,
                it.text,
                waiters.join(" ")
            ],
        );
    }

    /// The last deadlocks, the oldest first.
    pub fn deadlocks(&self) -> Vec<DeadlockView> {
        let query = |database: &Connection| -> rusqlite::Result<Vec<DeadlockView>> {
            let sql = "SELECT id, found, kind, unit, resource, state, text, waiters FROM deadlocks
                       ORDER BY id DESC LIMIT ?1";
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([DEADLOCKS], |row| {
                Ok(DeadlockView {
                    id: unsigned(row.get(0)?),
                    found: unsigned(row.get(1)?),
                    kind: row.get(2)?,
                    unit: row.get(3)?,
                    resource: row.get(4)?,
                    state: row.get(5)?,
                    text: row.get(6)?,
                    waiters: row
                        .get::<_, String>(7)?
                        .split(' ')
                        .filter_map(|waiter| {
                            let (pid, start) = waiter.split_once(':')?;
                            Some((pid.parse().ok()?, start.parse().ok()?))
                        })
                        .collect(),
                })
            })?;
            rows.collect()
        };
        let mut deadlocks = match self.database.as_ref().map(query) {
            Some(Ok(deadlocks)) => deadlocks,
            Some(Err(_)) | None => Vec::new(),
        };
        deadlocks.reverse();
        deadlocks
    }

    /// What is known of a unit's past.
    pub fn past(&self, unit: &str) -> Past {
        let query = |database: &Connection| -> rusqlite::Result<Past> {
            let count = |sql: &str| database.query_row(sql, [unit], |row| row.get::<_, i64>(0));
            let last = "SELECT reason FROM skips WHERE unit = ?1 ORDER BY at DESC LIMIT 1";
            Ok(Past {
                runs: unsigned(count("SELECT count(*) FROM runs WHERE unit = ?1")?),
                skips: unsigned(count("SELECT count(*) FROM skips WHERE unit = ?1")?),
                last_skip: database
                    .query_row(last, [unit], |row| row.get(0))
                    .optional()?,
                usual_duration: median(database, "ended - granted", unit)?,
                usual_wait: median(database, "granted - asked", unit)?,
            })
        };
        match self.database.as_ref().map(query) {
            Some(Ok(past)) => past,
            Some(Err(_)) | None => Past::default(),
        }
    }

    /// When the unit's latest completed lease was granted, microseconds of `CLOCK_REALTIME`.
    pub fn last_start(&self, unit: &str) -> Option<u64> {
        let sql = "SELECT max(granted) FROM runs WHERE unit = ?1";
        let database = self.database.as_ref()?;
        let latest = database.query_row(sql, [unit], |row| row.get::<_, Option<i64>>(0));
        latest.ok().flatten().map(unsigned)
    }

    fn write(&mut self, sql: &str, values: &[&dyn rusqlite::ToSql]) {
        let Some(database) = &self.database else {
            return;
        };
        let done = database
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(values));
        match done {
            Ok(_) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::error!(%error, "cannot write to the state database; history has a gap");
            }
            Err(_) => {}
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_millis(200))?;
    // A power loss may cost the last runs' history, never the file (https://www.sqlite.org/wal.html).
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS runs (
             id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
             asked INTEGER NOT NULL, granted INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;
         CREATE INDEX IF NOT EXISTS runs_of_unit ON runs (unit, ended);
         CREATE TABLE IF NOT EXISTS skips (
             id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
             reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
         CREATE INDEX IF NOT EXISTS skips_of_unit ON skips (unit, at);
         CREATE TABLE IF NOT EXISTS deadlocks (
             id INTEGER PRIMARY KEY, found INTEGER NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
             resource TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, waiters TEXT NOT NULL) STRICT;
         CREATE INDEX IF NOT EXISTS deadlocks_of_unit ON deadlocks (unit, found);
         PRAGMA user_version = 1;",
    )?;
    Ok(database)
}

fn median(database: &Connection, what: &str, unit: &str) -> rusqlite::Result<Option<u64>> {
    let sql = format!("SELECT {what} FROM runs WHERE unit = ?1 ORDER BY ended DESC LIMIT ?2");
    let mut statement = database.prepare_cached(&sql)?;
    let values = statement.query_map(params![unit, USUAL], |row| row.get::<_, i64>(0))?;
    let mut values = values.collect::<rusqlite::Result<Vec<i64>>>()?;
    values.sort_unstable();
    Ok(values.get(values.len() / 2).copied().map(unsigned))
}

/// SQLite's integers are signed; our times fit until the year 294247.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_is_the_median_of_what_was() {
        let mut history = History::open(Path::new(":memory:"));
        for (at, length) in [(0, 10), (100, 1000), (2000, 20)] {
            history.ran("t", "t.service", at, at + 5, at + 5 + length);
        }
        history.skipped("t", "t.service", "busy", 7);
        let past = history.past("t.service");
        assert_eq!((past.runs, past.skips), (3, 1));
        assert_eq!(past.usual_duration, Some(20));
        assert_eq!(past.usual_wait, Some(5));
        assert_eq!(past.last_skip.as_deref(), Some("busy"));
    }

    #[test]
    fn a_deadlock_is_kept_as_it_became() {
        let mut history = History::open(Path::new(":memory:"));
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
    fn goes_on_without_a_database() {
        let mut history = History::open(Path::new("/nonexistent/state.db"));
        history.ran("t", "t.service", 1, 2, 3);
        assert_eq!(history.past("t.service"), Past::default());
    }
}
