//! What the engine itself asks: what is usual for a unit, what was open when it ended.

use interlock_core::ending::End;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Class, History, OpenRun, damage, unsigned};
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
    /// Median time that a lease was held by runs that went to their end, microseconds.
    pub usual_duration: Option<u64>,
    /// Median time at the gate, microseconds.
    pub usual_wait: Option<u64>,
}

impl History {
    /// What is known of a unit's past.
    pub fn past(&self, unit: &str) -> Past {
        let query = |database: &Connection| -> rusqlite::Result<Past> {
            let sql = "SELECT runs, skips, last_skip FROM standings WHERE unit = ?1";
            let counts = database
                .prepare_cached(sql)?
                .query_row([unit], |row| {
                    Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), row.get(2)?))
                })
                .optional()?;
            let (runs, skips, last_skip) = counts.unwrap_or_default();
            Ok(Past {
                runs,
                skips,
                last_skip,
                usual_duration: median(database, "ended - granted", unit)?,
                usual_wait: median(database, "granted - asked", unit)?,
            })
        };
        self.ask(query).unwrap_or_default()
    }

    /// When the unit's latest completed lease was granted, microseconds of `CLOCK_REALTIME`.
    pub fn last_start(&self, unit: &str) -> Option<u64> {
        let sql = "SELECT granted FROM standings WHERE unit = ?1 AND granted > 0";
        self.ask(|database| {
            let mut statement = database.prepare_cached(sql)?;
            statement.query_row([unit], |row| row.get(0)).optional()
        })
        .flatten()
        .map(unsigned)
    }

    /// How many starts of the unit were given up since its latest lease.
    pub fn skips_in_a_row(&self, unit: &str) -> u64 {
        let since = i64::try_from(self.last_start(unit).unwrap_or(0)).unwrap_or(i64::MAX);
        let sql = "SELECT count(*) FROM skips WHERE unit = ?1 AND at > ?2";
        self.ask(|database| {
            let mut statement = database.prepare_cached(sql)?;
            statement.query_row(rusqlite::params![unit, since], |row| row.get(0))
        })
        .map_or(0, unsigned)
    }

    /// Whether the unit's last run failed.
    pub fn has_failed(&self, unit: &str) -> bool {
        let sql = "SELECT failures > 0 FROM standings WHERE unit = ?1";
        let failed = self.ask(|database| {
            let mut statement = database.prepare_cached(sql)?;
            statement.query_row([unit], |row| row.get(0)).optional()
        });
        failed.flatten().unwrap_or(false)
    }

    /// Whether the unit's last run failed and nothing more is tried.
    pub fn is_hard(&self, unit: &str) -> bool {
        let sql = "SELECT hard FROM standings WHERE unit = ?1";
        let hard = self.ask(|database| {
            let mut statement = database.prepare_cached(sql)?;
            statement.query_row([unit], |row| row.get(0)).optional()
        });
        hard.flatten().unwrap_or(false)
    }

    /// Why the unit's last run failed, if it did, and what was made of it; one line.
    pub fn last_failure(&self, unit: &str) -> Option<String> {
        let sql = "SELECT coalesce(text, result), standings.verdict FROM standings
                   LEFT JOIN failures ON failures.signature = standings.signature
                   WHERE unit = ?1 AND standings.failures > 0";
        let (text, verdict): (String, String) = self
            .ask(|database| {
                let mut statement = database.prepare_cached(sql)?;
                statement
                    .query_row([unit], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .flatten()?;
        let line = match verdict.as_str() {
            "" => text,
            verdict => format!("{text} ({verdict})"),
        };
        Some(line.replace('\n', "; "))
    }

    /// Runs that aren't over, or whose failure hasn't been examined, the oldest first: interlockd was killed.
    pub fn open_runs(&mut self) -> Vec<OpenRun> {
        self.close_superseded();
        let sql = "SELECT id, task, unit, boot, granted, attempt, started, ended, result, exit_status, signal,
                   invocation, granted_monotonic FROM runs WHERE pending ORDER BY id";
        self.ask(|database| {
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([], open_run)?;
            rows.collect()
        })
        .unwrap_or_default()
    }

    /// Runs whose end the disk had no room for, and which were followed by another of their unit: what was to follow
    /// from them did.
    fn close_superseded(&mut self) {
        self.change(|transaction| {
            transaction.execute(
                "UPDATE runs SET pending = 0, ended = coalesce(ended, granted),
                     result = iif(result = '', 'unknown', result)
                 WHERE pending AND (
                     EXISTS (SELECT 1 FROM runs AS newer
                             WHERE newer.unit = runs.unit AND newer.ended IS NOT NULL AND newer.id > runs.id)
                     OR EXISTS (SELECT 1 FROM runs AS newer
                                WHERE newer.pending AND newer.unit = runs.unit AND newer.id > runs.id))",
                [],
            )
        });
    }

    /// What an operator said of a signature.
    pub fn class_of(&self, signature: &str) -> Option<Class> {
        self.ask(|database| class_of(database, signature)).flatten()
    }

    /// The last deadlocks, the oldest first.
    pub fn deadlocks(&self) -> Vec<DeadlockView> {
        let sql = "SELECT id, found, kind, unit, resource, state, text, waiters FROM deadlocks
                   ORDER BY id DESC LIMIT ?1";
        let deadlocks = self.ask(|database| {
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([DEADLOCKS], deadlock)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut deadlocks = deadlocks.unwrap_or_default();
        deadlocks.reverse();
        deadlocks
    }

    fn ask<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        match query(self.database.as_ref()?) {
            Ok(answer) => Some(answer),
            Err(error) => {
                if damage::is_damage(&error) {
                    damage::suspect(&self.path);
                }
                tracing::warn!(%error, "the state database can't be read");
                None
            }
        }
    }
}

pub(super) fn class_of(database: &Connection, signature: &str) -> rusqlite::Result<Option<Class>> {
    let mut statement =
        database.prepare_cached("SELECT class FROM failures WHERE signature = ?1")?;
    let class: Option<String> = statement
        .query_row([signature], |row| row.get(0))
        .optional()?;
    Ok(class.and_then(|class| class.parse().ok()))
}

fn open_run(row: &Row<'_>) -> rusqlite::Result<OpenRun> {
    let ended: Option<i64> = row.get(7)?;
    let end = match ended {
        None => None,
        Some(ended) => Some(End {
            started: unsigned(row.get(6)?),
            ended: unsigned(ended),
            result: row.get(8)?,
            exit_status: row.get(9)?,
            signal: row.get(10)?,
            invocation: row.get(11)?,
        }),
    };
    Ok(OpenRun {
        id: row.get(0)?,
        task: row.get(1)?,
        unit: row.get(2)?,
        boot: row.get(3)?,
        granted: unsigned(row.get(4)?),
        granted_monotonic: unsigned(row.get(12)?),
        attempt: row.get(5)?,
        end,
    })
}

fn deadlock(row: &Row<'_>) -> rusqlite::Result<DeadlockView> {
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
}

/// Of runs that went to their end: what was cut off would make "usually" too short.
fn median(database: &Connection, what: &str, unit: &str) -> rusqlite::Result<Option<u64>> {
    let sql = format!(
        "SELECT {what} FROM runs WHERE unit = ?1 AND ended IS NOT NULL
           AND result NOT IN ('interrupted', 'stopped', 'not-started', 'exec-condition')
         ORDER BY ended DESC LIMIT ?2"
    );
    let mut statement = database.prepare_cached(&sql)?;
    let values = statement.query_map(params![unit, USUAL], |row| row.get::<_, i64>(0))?;
    let mut values = values.collect::<rusqlite::Result<Vec<i64>>>()?;
    values.sort_unstable();
    Ok(values.get(values.len() / 2).copied().map(unsigned))
}
