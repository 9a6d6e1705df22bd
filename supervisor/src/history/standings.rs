//! How each unit stands: its last run, and whether it fails, for how long and for good.

use interlock_core::ending::End;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::write::Ended;

use super::{signed, unsigned};

/// How a unit stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Task name.
    pub task: String,
    /// The unit.
    pub unit: String,
    /// Completed runs, also those whose rows are gone.
    pub runs: u64,
    /// Starts given up.
    pub skips: u64,
    /// When the last one was; 0 if none was.
    pub last_skip_at: u64,
    /// When its last run began; 0 if it never ran.
    pub started: u64,
    /// When its last run ended; 0 if none has.
    pub ended: u64,
    /// That run's result.
    pub result: String,
    /// When it last succeeded; 0 if it never has.
    pub succeeded: u64,
    /// Failures since then.
    pub failures: u64,
    /// It has failed and nothing will be tried any more.
    pub hard: bool,
    /// Why it failed last; empty if it doesn't fail.
    pub signature: String,
    /// What was made of that.
    pub verdict: String,
    /// Since when it fails, or since when it doesn't.
    pub since: u64,
}

/// The columns of [`Standing`], for [`standing`].
pub(super) const COLUMNS: &str =
    "task, unit, runs, skips, last_skip_at, started, ended, result, succeeded, failures,
     hard, signature, verdict, since";

pub(super) fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing {
        task: row.get(0)?,
        unit: row.get(1)?,
        runs: unsigned(row.get(2)?),
        skips: unsigned(row.get(3)?),
        last_skip_at: unsigned(row.get(4)?),
        started: unsigned(row.get(5)?),
        ended: unsigned(row.get(6)?),
        result: row.get(7)?,
        succeeded: unsigned(row.get(8)?),
        failures: unsigned(row.get(9)?),
        hard: row.get(10)?,
        signature: row.get(11)?,
        verdict: row.get(12)?,
        since: unsigned(row.get(13)?),
    })
}

/// A run has ended. What was stopped, interrupted or never executed says nothing of whether the unit works.
pub(super) fn ended(transaction: &Transaction<'_>, it: &Ended, end: &End) -> rusqlite::Result<()> {
    let sql = "SELECT signature FROM standings WHERE unit = ?1 AND failures > 0";
    let failed_before: Option<String> = transaction
        .prepare_cached(sql)?
        .query_row([&it.unit], |row| row.get(0))
        .optional()?;
    let sql = "INSERT INTO standings (unit, task, runs, run, granted, started, ended, result)
               VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (unit) DO UPDATE SET task = ?2, runs = runs + 1, run = ?3, granted = max(granted, ?4),
                   started = max(started, ?5), ended = ?6, result = ?7";
    let values = params![
        it.unit,
        it.task,
        it.run,
        signed(it.granted),
        signed(end.started),
        signed(end.ended),
        end.result
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    if end.is_failure() {
        let sql =
            "UPDATE standings SET failures = failures + 1, since = iif(failures = 0, ?2, since)
                   WHERE unit = ?1";
        transaction
            .prepare_cached(sql)?
            .execute(params![it.unit, signed(end.ended)])?;
    } else if end.result == "success" {
        let sql = "UPDATE standings SET succeeded = ?2, hard = 0, signature = '', verdict = '',
                       since = iif(failures > 0 OR since = 0, ?2, since), failures = 0
                   WHERE unit = ?1";
        transaction
            .prepare_cached(sql)?
            .execute(params![it.unit, signed(end.ended)])?;
        if let (Some(signature), true) = (failed_before, it.attempt > 1) {
            let sql = "UPDATE failures SET recovered = recovered + 1 WHERE signature = ?1";
            transaction.prepare_cached(sql)?.execute([signature])?;
        }
    }
    Ok(())
}

/// Why its last run failed is known. A run that isn't its last any more changes nothing.
pub(super) fn examined(
    transaction: &Transaction<'_>,
    run: i64,
    unit: &str,
    signature: &str,
    verdict: &str,
    hard: bool,
) -> rusqlite::Result<()> {
    let sql = "UPDATE standings SET signature = ?3, verdict = ?4, hard = ?5
               WHERE unit = ?1 AND run = ?2 AND failures > 0";
    transaction
        .prepare_cached(sql)?
        .execute(params![unit, run, signature, verdict, hard])?;
    Ok(())
}

/// A start was given up.
pub(super) fn skipped(
    transaction: &Transaction<'_>,
    task: &str,
    unit: &str,
    reason: &str,
    at: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO standings (unit, task, skips, last_skip, last_skip_at) VALUES (?1, ?2, 1, ?3, ?4)
               ON CONFLICT (unit) DO UPDATE SET task = ?2, skips = skips + 1, last_skip = ?3, last_skip_at = ?4";
    transaction
        .prepare_cached(sql)?
        .execute(params![unit, task, reason, signed(at)])?;
    Ok(())
}
