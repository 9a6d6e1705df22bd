//! Runs and skips one by one, as `interlockctl history` shows them.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use super::reader::{ReadError, Reader};
use super::{signed, unsigned};
use crate::clock;

/// Which runs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// A task's name, its unit, or an instance of it.
    pub task: Option<String>,
    /// That ended at or after this, or go on.
    pub since: Option<u64>,
    /// That ended before this.
    pub until: Option<u64>,
    /// Only failures.
    pub failed: bool,
    /// That took longer than this, from start to end.
    pub slower_than: Option<u64>,
    /// As many at most.
    pub limit: u32,
}

/// One run, or one start that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunRow {
    /// Its number; 0 if it is a skip.
    pub id: u64,
    /// Task name.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// When its gate asked.
    pub asked: u64,
    /// When its lease was granted.
    pub granted: u64,
    /// When it began; 0 if it never did.
    pub started: u64,
    /// When it ended, or was given up; 0 if it goes on.
    pub ended: u64,
    /// As in [`interlock_core::ending::End`]; `skipped` if it was given up, empty if it goes on.
    pub result: String,
    /// Of its main process, if it exited.
    pub exit_status: Option<i32>,
    /// That ended its main process.
    pub signal: Option<i32>,
    /// Its invocation id.
    pub invocation: String,
    /// The units that it waited for.
    pub waited_for: Vec<String>,
    /// What came in its way.
    pub interruptions: Vec<String>,
    /// 1, or more if it was a retry.
    pub attempt: u32,
    /// Who or what wanted it.
    pub cause: String,
    /// Of its failure.
    pub signature: String,
    /// What was made of its failure.
    pub verdict: String,
    /// Why it was skipped.
    pub reason: String,
}

const COLUMNS: &str =
    "id, task, unit, asked, granted, started, ended, result, exit_status, signal, invocation,
     waited_for, interruptions, attempt, cause, signature, verdict";

impl Reader {
    /// The newest first; those that go on before those that ended.
    ///
    /// # Errors
    /// SQLite's.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, ReadError> {
        let mut rows = self.open_rows(filter)?;
        let mut ended = self.ended_rows(filter)?;
        ended.extend(self.skipped_rows(filter)?);
        ended.sort_by_key(|row| std::cmp::Reverse(row.ended));
        rows.extend(ended);
        rows.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    fn open_rows(&self, filter: &RunFilter) -> Result<Vec<RunRow>, ReadError> {
        if filter.failed {
            return Ok(Vec::new());
        }
        let mut query = Query::new("pending AND ended IS NULL");
        query.of_task(filter.task.as_deref());
        query.and("granted < ?", filter.until.map(number));
        if let Some(limit) = filter.slower_than {
            let before = clock::realtime().saturating_sub(limit);
            query.and("granted < ?", Some(number(before)));
        }
        self.rows(&query, "runs", COLUMNS, "granted DESC", filter.limit, run)
    }

    fn ended_rows(&self, filter: &RunFilter) -> Result<Vec<RunRow>, ReadError> {
        let mut query = Query::new("ended IS NOT NULL");
        query.of_task(filter.task.as_deref());
        query.and("ended >= ?", filter.since.map(number));
        query.and("ended < ?", filter.until.map(number));
        if filter.failed {
            query.conditions.push("failed".to_owned());
        }
        query.and(
            "started > 0 AND ended - started > ?",
            filter.slower_than.map(number),
        );
        self.rows(&query, "runs", COLUMNS, "ended DESC", filter.limit, run)
    }

    fn skipped_rows(&self, filter: &RunFilter) -> Result<Vec<RunRow>, ReadError> {
        if filter.failed || filter.slower_than.is_some() {
            return Ok(Vec::new());
        }
        let mut query = Query::new("true");
        query.of_task(filter.task.as_deref());
        query.and("at >= ?", filter.since.map(number));
        query.and("at < ?", filter.until.map(number));
        let columns = "task, unit, at, reason";
        self.rows(&query, "skips", columns, "at DESC", filter.limit, skip)
    }

    fn rows(
        &self,
        query: &Query,
        table: &str,
        columns: &str,
        order: &str,
        limit: u32,
        row: fn(&Row<'_>) -> rusqlite::Result<RunRow>,
    ) -> Result<Vec<RunRow>, ReadError> {
        let sql = format!(
            "SELECT {columns} FROM {table} WHERE {} ORDER BY {order} LIMIT {limit}",
            query.conditions.join(" AND ")
        );
        let mut statement = self.database.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(&query.values), row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Conditions, and the values of their `?`.
pub(super) struct Query {
    pub(super) conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Query {
    pub(super) fn new(condition: &str) -> Self {
        Self {
            conditions: vec![condition.to_owned()],
            values: Vec::new(),
        }
    }

    pub(super) fn and(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.conditions.push(condition.to_owned());
            self.values.push(value);
        }
    }

    /// A name with a dot is a unit's (tasks have none); a template's is the beginning of its instances'.
    pub(super) fn of_task(&mut self, task: Option<&str>) {
        let Some(task) = task else { return };
        match task.split_once("@.") {
            Some((prefix, _)) => {
                // '@' and the character after it: so that the index is used.
                self.and("unit >= ?", Some(Value::Text(format!("{prefix}@"))));
                self.and("unit < ?", Some(Value::Text(format!("{prefix}A"))));
            }
            None if task.contains('.') => self.and("unit = ?", Some(Value::Text(task.to_owned()))),
            None => self.and("task = ?", Some(Value::Text(task.to_owned()))),
        }
    }
}

pub(super) fn number(value: u64) -> Value {
    Value::Integer(signed(value))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: unsigned(row.get(0)?),
        task: row.get(1)?,
        unit: row.get(2)?,
        asked: unsigned(row.get(3)?),
        granted: unsigned(row.get(4)?),
        started: unsigned(row.get(5)?),
        ended: unsigned(row.get::<_, Option<i64>>(6)?.unwrap_or(0)),
        result: row.get(7)?,
        exit_status: row.get(8)?,
        signal: row.get(9)?,
        invocation: row.get(10)?,
        waited_for: lines(&row.get::<_, String>(11)?),
        interruptions: lines(&row.get::<_, String>(12)?),
        attempt: row.get(13)?,
        cause: row.get(14)?,
        signature: row.get(15)?,
        verdict: row.get(16)?,
        reason: String::new(),
    })
}

fn skip(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        task: row.get(0)?,
        unit: row.get(1)?,
        ended: unsigned(row.get(2)?),
        result: "skipped".to_owned(),
        reason: row.get(3)?,
        ..RunRow::default()
    })
}
