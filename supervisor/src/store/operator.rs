//! What operators have said that stays said over restarts: pauses of the queue, capacities other than the policy's.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{Store, StoreError, signed, unsigned};

/// The queue, or a task's part of it, is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// The task; empty for all.
    pub task: String,
    /// Why.
    pub reason: String,
    /// Who said so, for people.
    pub by: String,
    /// Since when, microseconds of `CLOCK_REALTIME`.
    pub since: u64,
}

/// A capacity other than the policy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// How many shares there are now.
    pub capacity: u32,
    /// Why.
    pub reason: String,
    /// Who said so, for people.
    pub by: String,
    /// Since when, microseconds of `CLOCK_REALTIME`.
    pub since: u64,
}

pub(super) fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS paused (
             task TEXT PRIMARY KEY, reason TEXT NOT NULL, by TEXT NOT NULL, since INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS capacities (
             resource TEXT PRIMARY KEY, capacity INTEGER NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
             since INTEGER NOT NULL) STRICT;",
    )
}

impl Store {
    /// Pauses a task's part of the queue, or (empty) all of it.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn pause(&mut self, it: &Paused) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO paused (task, reason, by, since) VALUES (?1, ?2, ?3, ?4)";
        let values = params![it.task, it.reason, it.by, signed(it.since)];
        self.database()?.execute(sql, values)?;
        Ok(())
    }

    /// The end of a pause. Says whether there was one.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn resume(&mut self, task: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM paused WHERE task = ?1";
        Ok(self.database()?.execute(sql, [task])? > 0)
    }

    /// All pauses, by task.
    pub fn paused(&mut self) -> BTreeMap<String, Paused> {
        let read = |database: &Connection| -> rusqlite::Result<BTreeMap<String, Paused>> {
            let mut statement = database.prepare("SELECT task, reason, by, since FROM paused")?;
            let rows = statement.query_map([], |row| {
                let it = Paused {
                    task: row.get(0)?,
                    reason: row.get(1)?,
                    by: row.get(2)?,
                    since: unsigned(row.get(3)?),
                };
                Ok((it.task.clone(), it))
            })?;
            rows.collect()
        };
        let paused = self.database().ok().map(|database| read(database));
        paused.and_then(Result::ok).unwrap_or_default()
    }

    /// Another capacity than the policy's from now on, or (`None`) the policy's again.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn set_capacity(
        &mut self,
        resource: &str,
        it: Option<&Capacity>,
    ) -> Result<(), StoreError> {
        let database = self.database()?;
        match it {
            None => database.execute("DELETE FROM capacities WHERE resource = ?1", [resource])?,
            Some(it) => database.execute(
                "INSERT OR REPLACE INTO capacities (resource, capacity, reason, by, since)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![resource, it.capacity, it.reason, it.by, signed(it.since)],
            )?,
        };
        Ok(())
    }

    /// Capacities other than the policy's, by resource.
    pub fn capacities(&mut self) -> BTreeMap<String, Capacity> {
        let read = |database: &Connection| -> rusqlite::Result<BTreeMap<String, Capacity>> {
            let sql = "SELECT resource, capacity, reason, by, since FROM capacities";
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let it = Capacity {
                    capacity: row.get(1)?,
                    reason: row.get(2)?,
                    by: row.get(3)?,
                    since: unsigned(row.get(4)?),
                };
                Ok((row.get(0)?, it))
            })?;
            rows.collect()
        };
        let capacities = self.database().ok().map(|database| read(database));
        capacities.and_then(Result::ok).unwrap_or_default()
    }
}
