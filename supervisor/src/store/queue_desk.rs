//! The queue as operators see and change it.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::entry::{Counts, Entry, Filter, Next, Outcome, State};
use super::queue::{COLUMNS, remove};
use super::{Store, StoreError, batches, signed, unsigned};

/// What a [`Filter`] selects: task or unit, batch, state.
const FILTERED: &str = "(?1 IS NULL OR task = ?1 OR unit = ?1) AND (?2 IS NULL OR batch = ?2) AND (?3 IS NULL OR state = ?3)";

impl Store {
    /// Entries, in the order in which they are started, those that run first; and how many there are.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn list(&mut self, filter: &Filter) -> Result<(u64, Vec<Entry>), StoreError> {
        let batch = filter.batch.map(signed);
        let state = filter.state.map(State::number);
        let values = params![filter.task, batch, state];
        let sql = format!("SELECT count(*) FROM queue WHERE {FILTERED}");
        let total: i64 = self.database()?.query_row(&sql, values, |row| row.get(0))?;
        let sql = format!(
            "SELECT {COLUMNS} FROM queue WHERE {FILTERED}
             ORDER BY state = 3 DESC, state, CASE state WHEN 1 THEN not_before END, priority DESC, position LIMIT ?4"
        );
        let values = params![filter.task, batch, state, filter.limit];
        Ok((unsigned(total), self.entries(&sql, values)?))
    }

    /// Numbers of entries by task.
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn counts(&mut self) -> Result<BTreeMap<String, Counts>, StoreError> {
        let sql = "SELECT task, state, count(*) FROM queue GROUP BY state, task";
        let mut statement = self.database()?.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let state = State::of(row.get(1)?);
            Ok((row.get::<_, String>(0)?, state, unsigned(row.get(2)?)))
        })?;
        let mut counts = BTreeMap::<String, Counts>::new();
        for row in rows {
            let (task, state, number) = row?;
            let count = counts.entry(task).or_default();
            match state {
                State::Queued => count.queued = number,
                State::Delayed => count.delayed = number,
                State::Behind => count.behind = number,
                State::Running => count.running = number,
            }
        }
        Ok(counts)
    }

    /// The first of these that somebody else than this user has submitted; who did is what comes first in
    /// [`Entry::by`].
    ///
    /// # Errors
    /// If the database can't be read.
    pub fn foreign(&self, filter: &Filter, user: &str) -> Result<Option<Entry>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM queue WHERE {FILTERED} AND state <> 3 AND substr(by, 1, length(?4)) <> ?4 LIMIT 1"
        );
        let batch = filter.batch.map(signed);
        let state = filter.state.map(State::number);
        Ok(self
            .entries(&sql, params![filter.task, batch, state, user])?
            .pop())
    }

    /// Takes all of these out that don't run yet, but those that are `spared`. Says how many, and which batches that
    /// ended.
    ///
    /// # Errors
    /// If it can't be written down: then none is.
    pub fn cancel_all(
        &mut self,
        filter: &Filter,
        spared: &[u64],
        now: u64,
    ) -> Result<(u64, Vec<u64>), StoreError> {
        let transaction = self.database()?.transaction()?;
        let spared: Vec<String> = spared.iter().map(u64::to_string).collect();
        let sql = format!(
            "DELETE FROM queue WHERE {FILTERED} AND state <> 3 AND id NOT IN ({}) RETURNING batch",
            spared.join(", ")
        );
        let (mut cancelled, mut of_batch) = (0, BTreeMap::<i64, u64>::new());
        {
            let mut statement = transaction.prepare(&sql)?;
            let batch = filter.batch.map(signed);
            let state = filter.state.map(State::number);
            let mut rows = statement.query(params![filter.task, batch, state])?;
            while let Some(row) = rows.next()? {
                cancelled += 1;
                if let Some(batch) = row.get::<_, Option<i64>>(0)? {
                    *of_batch.entry(batch).or_default() += 1;
                }
            }
        }
        let mut ended = Vec::new();
        for (batch, number) in of_batch {
            let batch = unsigned(batch);
            ended.extend(batches::count(
                &transaction,
                batch,
                Outcome::Cancelled,
                number,
                now,
            )?);
        }
        transaction.commit()?;
        Ok((cancelled, ended))
    }

    /// Takes those out that don't run yet; their batches count them. Says how many, and which batches that ended.
    ///
    /// # Errors
    /// If it can't be written down: then none is.
    pub fn cancel(&mut self, ids: &[u64], now: u64) -> Result<(u64, Vec<u64>), StoreError> {
        let transaction = self.database()?.transaction()?;
        let (mut cancelled, mut ended) = (0, Vec::new());
        for id in ids {
            let sql = "SELECT id FROM queue WHERE id = ?1 AND state <> 3";
            let waits = transaction
                .prepare_cached(sql)?
                .query_row([signed(*id)], |row| row.get::<_, i64>(0))
                .optional()?;
            if waits.is_some() {
                cancelled += 1;
                ended.extend(remove(&transaction, *id, Outcome::Cancelled, now)?);
            }
        }
        transaction.commit()?;
        Ok((cancelled, ended))
    }

    /// Puts entries elsewhere, keeping their order. Says how many.
    ///
    /// # Errors
    /// If it can't be written down: then none is.
    pub fn move_to(&mut self, ids: &[u64], place: Next) -> Result<u64, StoreError> {
        let transaction = self.database()?.transaction()?;
        let mut moved = 0;
        let ends = "SELECT coalesce(min(position), 0), coalesce(max(position), 0) FROM queue";
        let (first, last): (i64, i64) =
            transaction.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let number = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        for (id, at) in ids.iter().zip(0_i64..) {
            let set = match place {
                Next::First => ("position", first - number + at),
                Next::Last => ("position", last + 1 + at),
                Next::Priority(priority) => ("priority", i64::from(priority)),
            };
            let sql = format!(
                "UPDATE queue SET {} = ?2 WHERE id = ?1 AND state <> 3",
                set.0
            );
            let values = params![signed(*id), set.1];
            moved += transaction.prepare_cached(&sql)?.execute(values)?;
        }
        transaction.commit()?;
        Ok(moved as u64)
    }
}
