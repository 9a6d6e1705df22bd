//! The queue of starts: what was submitted, and retries. An entry is on disk before anybody is told that it is queued,
//! and is gone in the same transaction in which its batch counts it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::entry::{Entry, Kind, Outcome, State};
use super::{Store, StoreError, batches, signed, unsigned};

pub(super) const COLUMNS: &str = "id, unit, task, state, kind, priority, position, batch, by, at, not_before, not_after, attempt,
     signatures, after_unit, after_pid, after_start, boot, granted, granted_monotonic";

pub(super) fn prepare(database: &mut Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS queue (
             id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, task TEXT NOT NULL,
             state INTEGER NOT NULL, kind INTEGER NOT NULL, priority INTEGER NOT NULL, position INTEGER NOT NULL,
             batch INTEGER, by TEXT NOT NULL, at INTEGER NOT NULL,
             not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
             attempt INTEGER NOT NULL, signatures TEXT NOT NULL,
             after_unit TEXT NOT NULL, after_pid INTEGER NOT NULL, after_start INTEGER NOT NULL,
             boot TEXT NOT NULL, granted INTEGER NOT NULL,
             granted_monotonic INTEGER NOT NULL DEFAULT 0) STRICT;
         CREATE INDEX IF NOT EXISTS queue_next ON queue (state, task, priority DESC, position);
         CREATE INDEX IF NOT EXISTS queue_due ON queue (state, not_before);
         CREATE INDEX IF NOT EXISTS queue_position ON queue (position);
         CREATE INDEX IF NOT EXISTS queue_batch ON queue (batch, state) WHERE batch IS NOT NULL;
         -- A unit waits once; whoever asks again is served by the same run.
         CREATE UNIQUE INDEX IF NOT EXISTS queue_waiting ON queue (unit) WHERE state < 2;
         CREATE UNIQUE INDEX IF NOT EXISTS queue_behind ON queue (unit, after_unit, after_pid, after_start, boot)
             WHERE state = 2;
         CREATE INDEX IF NOT EXISTS queue_running ON queue (unit) WHERE state = 3;",
    )?;
    add_monotonic(database)?;
    take_over_submissions(database)
}

/// What an earlier version made had no such column.
fn add_monotonic(database: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT count(*) FROM pragma_table_info('queue') WHERE name = 'granted_monotonic'";
    if database.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        database.execute_batch(
            "ALTER TABLE queue ADD COLUMN granted_monotonic INTEGER NOT NULL DEFAULT 0;",
        )?;
    }
    Ok(())
}

/// What an earlier version kept: all of it waited for something, or was about to be started.
fn take_over_submissions(database: &mut Connection) -> rusqlite::Result<()> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'submissions'";
    if database.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(());
    }
    let transaction = database.transaction()?;
    transaction.execute_batch(
        "INSERT OR IGNORE INTO queue (unit, task, state, kind, priority, position, by, at, not_before, not_after,
             attempt, signatures, after_unit, after_pid, after_start, boot, granted)
         SELECT unit, unit, CASE starting WHEN 1 THEN 3 ELSE 2 END, 0, 0, id, by, at, 0, 0, 1, '',
             after_unit, after_pid, after_start, boot, CASE starting WHEN 1 THEN at ELSE 0 END
         FROM submissions ORDER BY id;
         DROP TABLE submissions;",
    )?;
    transaction.commit()
}

impl Store {
    /// Keeps starts for later, all or none. A unit that waits already isn't queued twice: the number is that
    /// one's, and a delayed retry is due at once.
    ///
    /// # Errors
    /// If they can't be written down.
    pub fn submit(&mut self, entries: &[Entry]) -> Result<Vec<u64>, StoreError> {
        let transaction = self.database()?.transaction()?;
        let mut position: i64 =
            transaction.query_row("SELECT coalesce(max(position), 0) FROM queue", [], |row| {
                row.get(0)
            })?;
        let mut ids = Vec::with_capacity(entries.len());
        let mut fresh = BTreeMap::<u64, u64>::new();
        for it in entries {
            if let Some(id) = waits_already(&transaction, it)? {
                ids.push(unsigned(id));
                continue;
            }
            position += 1;
            ids.push(insert(&transaction, it, position)?);
            if let Some(batch) = it.batch {
                *fresh.entry(batch).or_default() += 1;
            }
        }
        for (batch, more) in fresh {
            batches::grow(&transaction, batch, more)?;
        }
        transaction.commit()?;
        Ok(ids)
    }

    /// The first of a task's entries that are to be started when there is room.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn heads(&self, task: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM queue WHERE state = 0 AND task = ?1 ORDER BY priority DESC, position LIMIT ?2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.entries(&sql, params![task, limit])
    }

    /// The entry of this unit that is queued or delayed.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn waiting(&self, unit: &str) -> Result<Option<Entry>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM queue WHERE unit = ?1 AND state < 2");
        Ok(self.entries(&sql, params![unit])?.pop())
    }

    /// All that wait for a task's run or for a transaction.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn behind(&self) -> Result<Vec<Entry>, StoreError> {
        self.entries(
            &format!("SELECT {COLUMNS} FROM queue WHERE state = 2 ORDER BY id"),
            &[],
        )
    }

    /// All that run, as far as is known.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn running(&self) -> Result<Vec<Entry>, StoreError> {
        self.entries(
            &format!("SELECT {COLUMNS} FROM queue WHERE state = 3 ORDER BY id"),
            &[],
        )
    }

    /// One entry.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn entry(&self, id: u64) -> Result<Option<Entry>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM queue WHERE id = ?1");
        Ok(self.entries(&sql, params![signed(id)])?.pop())
    }

    /// What it waited for is over.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn nothing_before(&mut self, id: u64) -> Result<(), StoreError> {
        let database = self.database()?;
        let sql = "UPDATE OR IGNORE queue SET state = 0 WHERE id = ?1 AND state = 2";
        database.execute(sql, [signed(id)])?;
        // The same unit waits already: one run serves both.
        database.execute(
            "DELETE FROM queue WHERE id = ?1 AND state = 2",
            [signed(id)],
        )?;
        Ok(())
    }

    /// Queues what is delayed no longer. Says of which tasks that was.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn wake(&mut self, now: u64) -> Result<BTreeSet<String>, StoreError> {
        let sql = "UPDATE queue SET state = 0 WHERE state = 1 AND not_before <= ?1 RETURNING task";
        let mut statement = self.database()?.prepare_cached(sql)?;
        let tasks = statement.query_map([signed(now)], |row| row.get(0))?;
        Ok(tasks.collect::<rusqlite::Result<_>>()?)
    }

    /// It isn't started before then, though it was queued.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn put_off(&mut self, id: u64, not_before: u64) -> Result<(), StoreError> {
        let sql = "UPDATE queue SET state = 1, not_before = ?2 WHERE id = ?1 AND state = 0";
        let values = params![signed(id), signed(not_before)];
        self.database()?.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// When the next delayed entry is due, microseconds of `CLOCK_REALTIME`.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn next_wake(&mut self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT min(not_before) FROM queue WHERE state = 1";
        let mut statement = self.database()?.prepare_cached(sql)?;
        let next: Option<i64> = statement.query_row([], |row| row.get(0))?;
        Ok(next.map(unsigned))
    }

    /// The tasks of which an entry is delayed, with the attempts that these are.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn delayed(&mut self) -> Result<Vec<(String, u32)>, StoreError> {
        let sql = "SELECT DISTINCT task, attempt FROM queue WHERE state = 1";
        let mut statement = self.database()?.prepare_cached(sql)?;
        let tasks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(tasks.collect::<rusqlite::Result<_>>()?)
    }

    /// No such attempt of the task is delayed for longer than until then, microseconds of `CLOCK_REALTIME`.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn delay_at_most(
        &mut self,
        task: &str,
        attempt: u32,
        until: u64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE queue SET not_before = ?3
                   WHERE state = 1 AND task = ?1 AND attempt = ?2 AND not_before > ?3";
        let values = params![task, attempt, signed(until)];
        self.database()?.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// A run of the unit begins: it serves the entry that waits, if one does.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn begins(
        &mut self,
        unit: &str,
        at: u64,
        monotonic: u64,
        boot: &str,
    ) -> Result<Option<Entry>, StoreError> {
        let sql = format!(
            "UPDATE queue SET state = 3, granted = ?2, granted_monotonic = ?3, boot = ?4
             WHERE unit = ?1 AND state < 2 RETURNING {COLUMNS}"
        );
        let values = params![unit, signed(at), signed(monotonic), boot];
        // In a transaction of its own: the first row comes before the statement's commit, whose failure (a full disk)
        // nobody would hear of.
        let transaction = self.database()?.transaction()?;
        let entry = transaction.prepare_cached(&sql)?.query_row(values, read);
        let entry = entry.optional()?;
        transaction.commit()?;
        Ok(entry)
    }

    /// The run of this entry began, as is said in it.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn has_begun(&mut self, it: &Entry) -> Result<(), StoreError> {
        let sql = "UPDATE queue SET state = 3, granted = ?2, granted_monotonic = ?3, boot = ?4
                   WHERE id = ?1 AND state < 2";
        let (granted, monotonic) = (signed(it.granted), signed(it.granted_monotonic));
        let values = params![signed(it.id), granted, monotonic, it.boot];
        self.database()?.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// It is over, and its batch counts it. Says which batch that ended.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn over(&mut self, id: u64, how: Outcome, now: u64) -> Result<Option<u64>, StoreError> {
        let transaction = self.database()?.transaction()?;
        let ended = remove(&transaction, id, how, now)?;
        transaction.commit()?;
        Ok(ended)
    }

    /// It is to run again, from `not_before` on; `attempt`, `signatures` and `not_after` as they are in it.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn again(&mut self, it: &Entry) -> Result<(), StoreError> {
        let transaction = self.database()?.transaction()?;
        let state = match it.not_before {
            0 => State::Queued,
            _ => State::Delayed,
        };
        let sql = "UPDATE OR IGNORE queue SET state = ?2, not_before = ?3, not_after = ?4, attempt = ?5, signatures = ?6,
                   granted = 0, granted_monotonic = 0 WHERE id = ?1 AND state <> 2";
        let values = params![
            signed(it.id),
            state.number(),
            signed(it.not_before),
            signed(it.not_after),
            it.attempt,
            it.signatures.join(" "),
        ];
        if transaction.prepare_cached(sql)?.execute(values)? == 0 {
            // It was submitted anew while it ran: that run is the next.
            remove(&transaction, it.id, Outcome::Cancelled, it.at)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// A retry of a run that nobody had submitted. If the unit waits already, that run is the retry.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn retry(&mut self, it: &Entry) -> Result<(), StoreError> {
        let transaction = self.database()?.transaction()?;
        let sql = "SELECT coalesce(max(position), 0) + 1 FROM queue";
        let position = transaction.query_row(sql, [], |row| row.get(0))?;
        let sql = "SELECT id FROM queue WHERE unit = ?1 AND state < 2";
        let waits = transaction.query_row(sql, [&it.unit], |row| row.get::<_, i64>(0));
        if waits.optional()?.is_none() {
            insert(&transaction, it, position)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The policy calls the task otherwise now.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn rename_task(&mut self, old: &str, new: &str) -> Result<(), StoreError> {
        let sql = "UPDATE queue SET task = ?2 WHERE task = ?1";
        self.database()?.execute(sql, params![old, new])?;
        Ok(())
    }

    pub(super) fn entries(
        &self,
        sql: &str,
        values: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Entry>, StoreError> {
        let database = self.database.as_ref().ok_or(StoreError::Closed)?;
        let mut statement = database.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}

fn waits_already(transaction: &Transaction<'_>, it: &Entry) -> rusqlite::Result<Option<i64>> {
    if it.state == State::Behind {
        let sql = "SELECT id FROM queue WHERE state = 2 AND unit = ?1 AND after_unit = ?2 AND after_pid = ?3
                   AND after_start = ?4 AND boot = ?5";
        let values = params![
            it.unit,
            it.after_unit,
            it.after_pid,
            signed(it.after_start),
            it.boot
        ];
        let mut statement = transaction.prepare_cached(sql)?;
        return statement.query_row(values, |row| row.get(0)).optional();
    }
    let sql = "SELECT id, state FROM queue WHERE unit = ?1 AND state < 2";
    let found = transaction
        .prepare_cached(sql)?
        .query_row([&it.unit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, state)) = found else {
        return Ok(None);
    };
    let sql = match State::of(state) {
        // Whoever asks anew doesn't want to wait for what was before.
        State::Delayed => {
            "UPDATE queue SET state = 0, not_before = 0, not_after = 0, attempt = 1, signatures = '',
                 priority = max(priority, ?2) WHERE id = ?1"
        }
        _ => "UPDATE queue SET priority = max(priority, ?2) WHERE id = ?1",
    };
    transaction
        .prepare_cached(sql)?
        .execute(params![id, it.priority])?;
    Ok(Some(id))
}

fn insert(transaction: &Transaction<'_>, it: &Entry, position: i64) -> rusqlite::Result<u64> {
    let sql = "INSERT INTO queue (unit, task, state, kind, priority, position, batch, by, at, not_before, not_after,
             attempt, signatures, after_unit, after_pid, after_start, boot, granted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 0)";
    let values = params![
        it.unit,
        it.task,
        it.state.number(),
        i64::from(it.kind == Kind::Retry),
        it.priority,
        position,
        it.batch.map(signed),
        it.by,
        signed(it.at),
        signed(it.not_before),
        signed(it.not_after),
        it.attempt.max(1),
        it.signatures.join(" "),
        it.after_unit,
        it.after_pid,
        signed(it.after_start),
        it.boot,
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(unsigned(transaction.last_insert_rowid()))
}

pub(super) fn remove(
    transaction: &Transaction<'_>,
    id: u64,
    how: Outcome,
    now: u64,
) -> rusqlite::Result<Option<u64>> {
    let sql = "DELETE FROM queue WHERE id = ?1 RETURNING batch";
    let batch = transaction
        .prepare_cached(sql)?
        .query_row([signed(id)], |row| row.get::<_, Option<i64>>(0))
        .optional()?
        .flatten();
    match batch {
        Some(batch) => batches::count(transaction, unsigned(batch), how, 1, now),
        None => Ok(None),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |at| row.get::<_, i64>(at).map(unsigned);
    let signatures: String = row.get(13)?;
    Ok(Entry {
        id: number(0)?,
        unit: row.get(1)?,
        task: row.get(2)?,
        state: State::of(row.get(3)?),
        kind: match row.get::<_, i64>(4)? {
            1 => Kind::Retry,
            _ => Kind::Submitted,
        },
        priority: row.get(5)?,
        position: row.get(6)?,
        batch: row.get::<_, Option<i64>>(7)?.map(unsigned),
        by: row.get(8)?,
        at: number(9)?,
        not_before: number(10)?,
        not_after: number(11)?,
        attempt: row.get(12)?,
        signatures: signatures.split_whitespace().map(str::to_owned).collect(),
        after_unit: row.get(14)?,
        after_pid: row.get(15)?,
        after_start: number(16)?,
        boot: row.get(17)?,
        granted: number(18)?,
        granted_monotonic: number(19)?,
    })
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
