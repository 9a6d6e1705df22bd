//! What is kept for how long: by age, then by size. In small bites, since the engine waits meanwhile.

use interlock_generator::policy::settings::HistoryRules;
use rusqlite::{Connection, Transaction, params};

use super::{History, signed, tallies};
use crate::clock;

/// Rows of each table that one bite takes.
const BITE: i64 = 200;

/// Pages that one bite gives back to the disk.
const PAGES: i64 = 200;

/// A few free pages are soon used again.
const SPARE: i64 = 1000;

impl History {
    /// Forgets what is older than the policy says, or what makes the file larger than it says. Also writes down this
    /// hour's samples. Cheap if there is nothing to do; says whether there is more to be done soon.
    pub fn tidy(&mut self, rules: &HistoryRules) -> bool {
        self.tidy_at(rules, clock::realtime())
    }

    pub(super) fn tidy_at(&mut self, rules: &HistoryRules, now: u64) -> bool {
        let keep = u64::try_from(rules.keep.as_micros()).unwrap_or(u64::MAX);
        let before = signed(now.saturating_sub(keep));
        let most = i64::try_from(rules.max_size).unwrap_or(i64::MAX);
        let forgotten = self.change(|transaction| {
            tallies::sample(transaction, now)?;
            remember_deployments(transaction)?;
            let mut forgotten = forget(transaction, before)?;
            if forgotten == 0 && used(transaction)? > most {
                forgotten = forget_oldest(transaction)?;
            }
            Ok(forgotten)
        });
        let Some(forgotten) = forgotten else {
            return false;
        };
        if let Some(database) = &self.database
            && let Err(error) = give_back(database)
        {
            tracing::debug!(%error, "the state database keeps its size");
        }
        forgotten > 0
    }
}

/// All that ended before then.
fn forget(transaction: &Transaction<'_>, before: i64) -> rusqlite::Result<usize> {
    let bites = [
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
        "DELETE FROM skips WHERE id IN (SELECT id FROM skips WHERE at < ?1 ORDER BY at LIMIT ?2)",
        "DELETE FROM deadlocks WHERE id IN
             (SELECT id FROM deadlocks WHERE found < ?1 AND state <> 'stuck' ORDER BY found LIMIT ?2)",
        // What an operator has said of a cause stays said.
        "DELETE FROM failures WHERE signature IN
             (SELECT signature FROM failures WHERE last < ?1 AND class = '' LIMIT ?2)",
        "DELETE FROM failing_units WHERE (signature, unit) IN
             (SELECT signature, unit FROM failing_units WHERE last < ?1 LIMIT ?2)",
        // A unit that fails for good is not forgotten before it succeeds.
        "DELETE FROM standings WHERE unit IN
             (SELECT unit FROM standings WHERE max(ended, last_skip_at) < ?1 AND NOT hard LIMIT ?2)",
        "DELETE FROM tallies WHERE (hour, task, kind, name) IN
             (SELECT hour, task, kind, name FROM tallies WHERE hour > 0 AND hour < ?1 LIMIT ?2)",
        "DELETE FROM samples WHERE (hour, task) IN
             (SELECT hour, task FROM samples WHERE hour < ?1 LIMIT ?2)",
        "DELETE FROM deployments_begun WHERE id IN
             (SELECT id FROM deployments_begun WHERE since < ?1 LIMIT ?2)",
    ];
    let mut forgotten = 0;
    for sql in bites {
        forgotten += transaction
            .prepare_cached(sql)?
            .execute(params![before, BITE])?;
    }
    Ok(forgotten)
}

/// The oldest runs and skips, however young they are.
fn forget_oldest(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let sql = "SELECT max(ended) FROM
                   (SELECT ended FROM runs WHERE ended IS NOT NULL ORDER BY ended LIMIT ?1)";
    let until: Option<i64> = transaction
        .prepare_cached(sql)?
        .query_row([BITE], |row| row.get(0))?;
    let Some(until) = until else {
        return Ok(0);
    };
    let mut forgotten = 0;
    for sql in [
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE ended <= ?1 ORDER BY ended LIMIT ?2)",
        "DELETE FROM skips WHERE id IN (SELECT id FROM skips WHERE at <= ?1 ORDER BY at LIMIT ?2)",
    ] {
        forgotten += transaction
            .prepare_cached(sql)?
            .execute(params![until, BITE])?;
    }
    Ok(forgotten)
}

/// The store remembers only the last ones.
fn remember_deployments(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deployments')";
    let has_store: bool = transaction
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?;
    if has_store {
        let sql = "INSERT OR IGNORE INTO deployments_begun (id, of_group, since)
                   SELECT id, body ->> '$.group', since FROM deployments WHERE body ->> '$.group' IS NOT NULL";
        transaction.prepare_cached(sql)?.execute([])?;
    }
    Ok(())
}

/// Bytes that hold something.
fn used(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok(pages * number("page_size")?)
}

fn give_back(database: &Connection) -> rusqlite::Result<()> {
    let free: i64 = database.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free > SPARE {
        let mut statement = database.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}
