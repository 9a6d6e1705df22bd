//! What must survive interlockd and the host: deployments, interruptions, stale runs, the queue, operators' words.
//! In the state database, each change on disk before it takes effect.

mod batches;
mod entry;
mod holds;
mod operator;
mod queue;
mod queue_desk;
mod unwritten;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use interlock_core::deploy::Deployment;
use rusqlite::{Connection, Transaction, params};

pub use batches::Batch;
pub use entry::{Counts, Entry, Filter, Kind, Next, Outcome, State};
pub use holds::{Hold, HoldKey, HoldKind, SkippedStart};
pub use operator::{Capacity, Paused};
pub use unwritten::{Backlog, Unwritten};

/// How many deployments are remembered that are over.
const REMEMBERED: i64 = 20;

/// A run that outlived a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Its invocation id.
    pub invocation: String,
    /// The deployment since which its code is old.
    pub deployment: String,
}

/// What one step changes.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// As they are now.
    pub deployments: Vec<&'a Deployment>,
    /// Unit, deployment: it is interrupted now.
    pub interruptions: Vec<(String, String)>,
    /// Unit, and the run that goes on with old code.
    pub stale: Vec<(String, Stale)>,
    /// Now, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
}

/// Why something couldn't be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was never opened.
    #[error("the state database could not be opened; see interlockd's journal")]
    Closed,
    /// SQLite's.
    #[error("the state database can't be written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A deployment that can't be written down.
    #[error("a deployment can't be written down: {0}")]
    Json(#[from] serde_json::Error),
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Store {
    database: Option<Connection>,
    trouble: Option<String>,
}

const NEXT_ID: &str = "INSERT INTO numbers (name, value) VALUES ('deployment', 1)
     ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value";

impl Store {
    /// Opens or makes it. Without it no deployment begins.
    pub fn open(path: &Path) -> Self {
        let (database, trouble) = match connect(path) {
            Ok(database) => (Some(database), None),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot open the state database; no deployment can begin");
                let trouble = format!(
                    "the state database {} can't be used ({error}): nothing can be deployed, submitted or held",
                    path.display()
                );
                (None, Some(trouble))
            }
        };
        Self { database, trouble }
    }

    /// Why nothing can be kept, in one line; `None` if it was opened.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// A name for a new deployment, never used before.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn next_id(&mut self, group: &str) -> Result<String, StoreError> {
        // The row comes before the statement's own commit, which may fail.
        let transaction = self.database()?.transaction()?;
        let number: i64 = transaction.query_row(NEXT_ID, [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(format!("{group}-{number}"))
    }

    /// Writes it down, all or nothing; it is on disk when this returns.
    ///
    /// # Errors
    /// If it can't be written down: then nothing of it is.
    pub fn save(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        let transaction = self.database()?.transaction()?;
        for deployment in &change.deployments {
            let body = serde_json::to_string(deployment)?;
            let sql = "INSERT OR REPLACE INTO deployments (id, since, live, body) VALUES (?1, ?2, ?3, ?4)";
            let values = params![
                deployment.id,
                signed(deployment.since),
                deployment.is_live(),
                body
            ];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        for (unit, deployment) in &change.interruptions {
            let sql =
                "INSERT OR IGNORE INTO interruptions (unit, deployment, at) VALUES (?1, ?2, ?3)";
            let values = params![unit, deployment, signed(change.at)];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        for (unit, stale) in &change.stale {
            let sql =
                "INSERT OR REPLACE INTO stale (unit, invocation, deployment) VALUES (?1, ?2, ?3)";
            let values = params![unit, stale.invocation, stale.deployment];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        if change.deployments.iter().any(|d| !d.is_live()) {
            forget_old(&transaction)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All deployments that are remembered, oldest first.
    pub fn deployments(&mut self) -> Vec<Deployment> {
        let Ok(database) = self.database() else {
            return Vec::new();
        };
        let read = |database: &Connection| -> rusqlite::Result<Vec<String>> {
            let mut statement = database.prepare("SELECT body FROM deployments ORDER BY since")?;
            let bodies = statement.query_map([], |row| row.get(0))?;
            bodies.collect()
        };
        let bodies = read(database).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the deployments from the state database");
            Vec::new()
        });
        let parsed = bodies
            .iter()
            .filter_map(|body| match serde_json::from_str(body) {
                Ok(deployment) => Some(deployment),
                Err(error) => {
                    tracing::error!(%error, "a deployment in the state database can't be read");
                    None
                }
            });
        parsed.collect()
    }

    /// When the unit was interrupted since then, oldest first, microseconds of `CLOCK_REALTIME`.
    pub fn interruptions(&mut self, unit: &str, since: u64) -> Vec<u64> {
        let sql = "SELECT at FROM interruptions WHERE unit = ?1 AND at > ?2 ORDER BY at";
        let read = |database: &Connection| -> rusqlite::Result<Vec<i64>> {
            let mut statement = database.prepare_cached(sql)?;
            let times = statement.query_map(params![unit, signed(since)], |row| row.get(0))?;
            times.collect()
        };
        let times = self
            .database()
            .ok()
            .and_then(|database| read(database).ok());
        let times = times.unwrap_or_default().into_iter();
        times.map(|at| u64::try_from(at).unwrap_or(0)).collect()
    }

    /// Runs that go on with old code, by unit.
    pub fn stale(&mut self) -> BTreeMap<String, Stale> {
        let read = |database: &Connection| -> rusqlite::Result<BTreeMap<String, Stale>> {
            let mut statement =
                database.prepare_cached("SELECT unit, invocation, deployment FROM stale")?;
            let rows = statement.query_map([], |row| {
                let stale = Stale {
                    invocation: row.get(1)?,
                    deployment: row.get(2)?,
                };
                Ok((row.get(0)?, stale))
            })?;
            rows.collect()
        };
        let rows = self
            .database()
            .ok()
            .and_then(|database| read(database).ok());
        rows.unwrap_or_default()
    }

    /// That run is over.
    pub fn forget_stale(&mut self, unit: &str) {
        if let Ok(database) = self.database()
            && let Err(error) = database.execute("DELETE FROM stale WHERE unit = ?1", [unit])
        {
            tracing::warn!(unit, %error, "cannot forget a stale run");
        }
    }

    fn database(&mut self) -> Result<&mut Connection, StoreError> {
        self.database.as_mut().ok_or(StoreError::Closed)
    }
}

/// Those that were over first: each was written for the last time when it was, as a new row.
fn forget_old(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM deployments WHERE NOT live AND id NOT IN
             (SELECT id FROM deployments WHERE NOT live ORDER BY rowid DESC LIMIT ?1)",
        [REMEMBERED],
    )?;
    // No policy counts interruptions over a longer period.
    let year = 366 * 24 * 3600 * 1_000_000_i64;
    transaction.execute(
        "DELETE FROM interruptions WHERE at < (SELECT max(at) FROM interruptions) - ?1",
        [year],
    )?;
    Ok(())
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(2))?;
    // Its sandbox has no directory for temporary files.
    database.pragma_update(None, "temp_store", "MEMORY")?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    // What was promised must survive a power loss (https://www.sqlite.org/pragma.html#pragma_synchronous).
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS deployments (
             id TEXT PRIMARY KEY, since INTEGER NOT NULL, live INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS interruptions (
             unit TEXT NOT NULL, deployment TEXT NOT NULL, at INTEGER NOT NULL,
             PRIMARY KEY (unit, deployment)) STRICT;
         CREATE TABLE IF NOT EXISTS stale (
             unit TEXT PRIMARY KEY, invocation TEXT NOT NULL, deployment TEXT NOT NULL) STRICT;",
    )?;
    batches::prepare(&database)?;
    queue::prepare(&mut database)?;
    operator::prepare(&database)?;
    holds::prepare(&database)?;
    // A table of the same name may be somebody else's: said now rather than when a deployment begins.
    database.prepare(NEXT_ID)?;
    database.prepare("INSERT INTO deployments (id, since, live, body) VALUES ('', 0, 0, '')")?;
    Ok(database)
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
    use interlock_core::deploy::{Begin, Stage};

    #[test]
    fn what_was_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut store = Store::open(&path);
        let id = store.next_id("web").unwrap();
        let deployment = Deployment::begin(id.clone(), "boot", Begin::default(), 7);
        let stale = Stale {
            invocation: "abc".to_owned(),
            deployment: id.clone(),
        };
        let change = Change {
            deployments: vec![&deployment],
            interruptions: vec![("a.service".to_owned(), id.clone())],
            stale: vec![("a.service".to_owned(), stale.clone())],
            at: 9,
        };
        store.save(&change).unwrap();
        // Written twice after a crash, it counts once.
        store.save(&change).unwrap();
        let mut again = Store::open(&path);
        assert_eq!(again.deployments(), [deployment]);
        assert_eq!(again.interruptions("a.service", 0), [9]);
        assert!(again.interruptions("a.service", 9).is_empty());
        assert_eq!(again.stale().get("a.service"), Some(&stale));
        assert_ne!(again.next_id("web").unwrap(), id);
    }

    #[test]
    fn who_was_over_last_is_remembered_however_early_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("state.db"));
        let mut save = |number: u64, stage| {
            let id = format!("web-{number}");
            let mut it = Deployment::begin(id, "boot", Begin::default(), number);
            it.stage = stage;
            let deployments = vec![&it];
            store
                .save(&Change {
                    deployments,
                    ..Change::default()
                })
                .unwrap();
        };
        save(1, Stage::Ready);
        (2..=30).for_each(|number| save(number, Stage::Over));
        save(1, Stage::Over);
        let left: Vec<String> = store.deployments().into_iter().map(|it| it.id).collect();
        assert!(left.contains(&"web-1".to_owned()), "{left:?}");
        assert!(!left.contains(&"web-11".to_owned()), "{left:?}");
        assert_eq!(left.len(), 20);
    }

    #[test]
    fn tables_of_somebody_else_are_told_at_once() {
        let foreign = [
            "CREATE TABLE numbers (id INTEGER)",
            "CREATE VIEW deployments AS SELECT 1 AS id",
            "CREATE TABLE queue (id INTEGER PRIMARY KEY)",
        ];
        for sql in foreign {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("state.db");
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            let mut store = Store::open(&path);
            assert!(store.trouble().unwrap().contains("can't be used"), "{sql}");
            assert!(store.next_id("web").is_err());
        }
    }

    #[test]
    fn without_a_database_nothing_can_be_promised() {
        let mut store = Store::open(Path::new("/nonexistent/state.db"));
        assert!(store.next_id("web").is_err());
        assert!(store.save(&Change::default()).is_err());
    }
}
