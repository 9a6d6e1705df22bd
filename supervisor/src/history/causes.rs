//! Failures by cause, and what an operator says of a cause.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use rusqlite::{Connection, Row, params, params_from_iter};

use super::reader::{ReadError, Reader};
use super::runs::{Query, number};
use super::{Class, schema, signed, unsigned};

/// One cause of failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Its signature's key.
    pub signature: String,
    /// Task name.
    pub task: String,
    /// For people.
    pub text: String,
    /// How often it was.
    pub count: u64,
    /// How many units it met.
    pub units: u64,
    /// When it was first.
    pub first: u64,
    /// When it was last.
    pub last: u64,
    /// What it is taken for.
    pub class: Option<Class>,
    /// Who says so: an operator, or a rule of the policy.
    pub class_by: String,
    /// And why.
    pub class_reason: String,
    /// How often a later attempt succeeded.
    pub recovered: u64,
    /// How many units have failed for good with it, and not succeeded since.
    pub hard: u64,
    /// One of its units.
    pub example: String,
}

/// Why a cause wasn't classified.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// No failure has it.
    #[error("no failure has the signature {0}; see \"interlockctl failures\"")]
    NoSuchSignature(String),
    /// Several begin so.
    #[error("{0} signatures begin with {1}; more of it is needed")]
    Ambiguous(usize, String),
    /// SQLite's.
    #[error("the state database can't be written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// `permanent (rule not-found): …`: what it is taken for, by whom and why.
fn read_verdict(verdict: &str) -> Option<(Class, String, String)> {
    let end = verdict.find([' ', ':', '(']).unwrap_or(verdict.len());
    let class = Class::from_str(&verdict[..end]).ok()?;
    let rest = verdict[end..].trim_start();
    let (by, rest) = match rest.strip_prefix('(').and_then(|it| it.split_once(')')) {
        Some((by, rest)) => (by.strip_prefix("rule ").unwrap_or(by), rest),
        None => ("", rest),
    };
    // What follows something else than a colon is about that one run.
    let why = rest.strip_prefix(':').unwrap_or("").trim();
    Some((class, by.to_owned(), why.to_owned()))
}

impl Reader {
    /// Causes of failures that have been since then, the latest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn failures(
        &self,
        task: Option<&str>,
        since: Option<u64>,
    ) -> Result<Vec<Cause>, ReadError> {
        let units =
            self.by_signature("SELECT signature, count(*) FROM failing_units GROUP BY signature")?;
        let hard = self.by_signature(
            "SELECT signature, count(*) FROM standings WHERE hard GROUP BY signature",
        )?;
        let mut query = Query::new("true");
        match task {
            // A unit's: those that it has met.
            Some(unit) if unit.contains('.') => {
                let mut met = Query::new("true");
                met.of_task(Some(unit));
                query.conditions.push(format!(
                    "signature IN (SELECT signature FROM failing_units WHERE {})",
                    met.conditions.join(" AND ")
                ));
                query.values.extend(met.values);
            }
            task => query.of_task(task),
        }
        query.and("last >= ?", since.map(number));
        let sql = format!(
            "SELECT signature, task, text, count, first, last, recovered, example, verdict, class, class_by,
                 class_reason FROM failures WHERE {} ORDER BY last DESC",
            query.conditions.join(" AND ")
        );
        let mut statement = self.database.prepare(&sql)?;
        let causes = statement.query_map(params_from_iter(&query.values), cause)?;
        let mut causes = causes.collect::<rusqlite::Result<Vec<Cause>>>()?;
        for cause in &mut causes {
            cause.units = units.get(&cause.signature).copied().unwrap_or(0);
            cause.hard = hard.get(&cause.signature).copied().unwrap_or(0);
        }
        Ok(causes)
    }

    fn by_signature(&self, sql: &str) -> Result<BTreeMap<String, u64>, ReadError> {
        let mut statement = self.database.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn cause(row: &Row<'_>) -> rusqlite::Result<Cause> {
    let verdict: String = row.get(8)?;
    let said: Option<Class> = row.get::<_, String>(9)?.parse().ok();
    // An operator's word counts more than the policy's.
    let (class, class_by, class_reason) = match (said, read_verdict(&verdict)) {
        (Some(class), _) => (Some(class), row.get(10)?, row.get(11)?),
        (None, Some((class, by, why))) => (Some(class), by, why),
        (None, None) => (None, String::new(), String::new()),
    };
    Ok(Cause {
        signature: row.get(0)?,
        task: row.get(1)?,
        text: row.get(2)?,
        count: unsigned(row.get(3)?),
        units: 0,
        first: unsigned(row.get(4)?),
        last: unsigned(row.get(5)?),
        class,
        class_by,
        class_reason,
        recovered: unsigned(row.get(6)?),
        hard: 0,
        example: row.get(7)?,
    })
}

/// What an operator says of a cause: of its key, or of as much of its beginning as no other has. `None` takes it back.
/// Says which it is. The engine takes it from the file when it next asks.
///
/// # Errors
/// If there is no such cause, or the file can't be written.
pub fn classify(
    path: &Path,
    signature: &str,
    class: Option<Class>,
    by: &str,
    reason: &str,
    at: u64,
) -> Result<String, ClassifyError> {
    let database = schema::connect_writer(path)?;
    let key = find(&database, signature)?;
    let (class, by, reason, at) = match class {
        Some(class) => (class.to_string(), by, reason, at),
        None => (String::new(), "", "", 0),
    };
    // The last verdict may have been by what an operator said before.
    database.execute(
        "UPDATE failures SET class = ?2, class_by = ?3, class_reason = ?4, class_at = ?5,
             verdict = iif(verdict LIKE '%(an operator)%', '', verdict)
         WHERE signature = ?1",
        params![key, class, by, reason, signed(at)],
    )?;
    Ok(key)
}

fn find(database: &Connection, beginning: &str) -> Result<String, ClassifyError> {
    let unknown = || ClassifyError::NoSuchSignature(beginning.to_owned());
    let is_hex = beginning.chars().all(|c| c.is_ascii_hexdigit());
    if beginning.is_empty() || !is_hex {
        return Err(unknown());
    }
    let beginning = beginning.to_ascii_lowercase();
    let mut statement = database.prepare(
        "SELECT signature FROM failures WHERE signature >= ?1 AND signature < ?1 || 'g'",
    )?;
    let keys = statement.query_map([&beginning], |row| row.get(0))?;
    let mut keys = keys.collect::<rusqlite::Result<Vec<String>>>()?;
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (_, None) => Err(unknown()),
        (several, _) => Err(ClassifyError::Ambiguous(several, beginning)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_begins_with_its_class() {
        let read =
            |verdict| read_verdict(verdict).map(|(class, by, why)| (class.to_string(), by, why));
        let is = |class: &str, by: &str, why: &str| {
            Some((class.to_owned(), by.to_owned(), why.to_owned()))
        };
        assert_eq!(read("transient"), is("transient", "", ""));
        assert_eq!(
            read("permanent (rule not-found)"),
            is("permanent", "not-found", "")
        );
        assert_eq!(
            read("permanent: the same failure on each of 5 attempts"),
            is("permanent", "", "the same failure on each of 5 attempts")
        );
        assert_eq!(
            read("permanent (alice): why"),
            is("permanent", "alice", "why")
        );
        assert_eq!(
            read("transient (rule net); attempt 1 of 4; tried again in 1min"),
            is("transient", "net", "")
        );
        assert_eq!(read("retries are over"), None);
        assert_eq!(read(""), None);
    }
}
