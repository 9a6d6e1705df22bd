//! Batches: what was submitted together, and how far it is.

use rusqlite::{Connection, Transaction, params};

use super::entry::Outcome;
use super::{Store, StoreError, signed, unsigned};

/// How many batches are remembered that are over.
const REMEMBERED: i64 = 100;

/// What was submitted together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: u64,
    /// What whoever submitted it calls it.
    pub name: String,
    /// Who, for people.
    pub by: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
    /// How many entries it has had.
    pub total: u64,
    /// How many have succeeded.
    pub done: u64,
    /// How many have failed for good.
    pub failed: u64,
    /// How many were taken back.
    pub cancelled: u64,
    /// How many run.
    pub running: u64,
    /// Since when nothing is left of it, microseconds of `CLOCK_REALTIME`; 0 if something is.
    pub ended: u64,
}

impl Batch {
    /// How many are still to be started.
    pub fn waiting(&self) -> u64 {
        let gone = self.done + self.failed + self.cancelled + self.running;
        self.total.saturating_sub(gone)
    }
}

pub(super) fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS batches (
             id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL,
             total INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL,
             ended INTEGER NOT NULL) STRICT;",
    )
}

impl Store {
    /// A new batch, without entries.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn new_batch(&mut self, name: &str, by: &str, at: u64) -> Result<u64, StoreError> {
        let transaction = self.database()?.transaction()?;
        transaction.execute(
            "DELETE FROM batches WHERE ended > 0 AND id NOT IN
                 (SELECT id FROM batches WHERE ended > 0 ORDER BY id DESC LIMIT ?1)",
            [REMEMBERED],
        )?;
        transaction.execute(
            "INSERT INTO batches (name, by, at, total, done, failed, cancelled, ended)
             VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0)",
            params![name, by, signed(at)],
        )?;
        let id = transaction.last_insert_rowid();
        transaction.commit()?;
        Ok(unsigned(id))
    }

    /// All that are remembered, the oldest first.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn batches(&mut self) -> Result<Vec<Batch>, StoreError> {
        let sql = "SELECT id, name, by, at, total, done, failed, cancelled, ended,
                 (SELECT count(*) FROM queue WHERE queue.batch = batches.id AND state = 3)
             FROM batches ORDER BY id";
        let mut statement = self.database()?.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let number = |at| row.get::<_, i64>(at).map(unsigned);
            Ok(Batch {
                id: number(0)?,
                name: row.get(1)?,
                by: row.get(2)?,
                at: number(3)?,
                total: number(4)?,
                done: number(5)?,
                failed: number(6)?,
                cancelled: number(7)?,
                ended: number(8)?,
                running: number(9)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}

/// It has more entries.
pub(super) fn grow(transaction: &Transaction<'_>, id: u64, more: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE batches SET total = total + ?2, ended = 0 WHERE id = ?1";
    transaction.execute(sql, params![signed(id), signed(more)])?;
    Ok(())
}

/// So many of its entries are over. Says its number if those were the last.
pub(super) fn count(
    transaction: &Transaction<'_>,
    id: u64,
    how: Outcome,
    number: u64,
    now: u64,
) -> rusqlite::Result<Option<u64>> {
    let column = match how {
        Outcome::Done => "done",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    };
    let sql = format!("UPDATE batches SET {column} = {column} + ?2 WHERE id = ?1");
    transaction
        .prepare_cached(&sql)?
        .execute(params![signed(id), signed(number)])?;
    let sql = "UPDATE batches SET ended = ?2 WHERE id = ?1 AND done + failed + cancelled >= total";
    let ended = transaction
        .prepare_cached(sql)?
        .execute(params![signed(id), signed(now)])?;
    Ok((ended > 0).then_some(id))
}
