//! What the engine writes down: beginnings, ends, causes, skips, deadlocks. Each call is one transaction.

use interlock_core::ending::{COMMANDS, End};
use interlock_core::signature::Signature;
use interlock_generator::names;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Begun, History, Known, joined, past, signed, standings, tallies, unsigned};
use crate::daemon::engine::DeadlockView;

impl History {
    /// A run has begun. Its number, unless it can't be written down.
    pub fn began(&mut self, run: &Begun) -> Option<i64> {
        self.change(|transaction| {
            let sql =
                "INSERT INTO runs (task, unit, boot, asked, granted, attempt, waited_for, cause, gated,
                     granted_monotonic)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            transaction.prepare_cached(sql)?.insert(params![
                task_of(&run.task, &run.unit),
                run.unit,
                run.boot,
                signed(run.asked),
                signed(run.granted),
                run.attempt,
                joined(&run.waited_for),
                run.cause,
                run.gated,
                signed(run.granted_monotonic)
            ])
        })
    }

    /// A run is over. Told twice, it counts once.
    pub fn ended(&mut self, run: i64, end: &End) {
        self.change(|transaction| {
            let sql = "UPDATE runs SET started = ?2, ended = ?3, result = ?4, failed = ?5, exit_status = ?6,
                           signal = ?7, invocation = ?8, pending = ?5
                       WHERE id = ?1 AND ended IS NULL
                       RETURNING task, unit, asked, granted, attempt, gated";
            let values = params![
                run,
                signed(end.started),
                signed(end.ended),
                end.result,
                end.is_failure(),
                end.exit_status,
                end.signal,
                end.invocation
            ];
            let ended = transaction
                .prepare_cached(sql)?
                .query_row(values, |row| {
                    Ok(Ended {
                        run,
                        task: row.get(0)?,
                        unit: row.get(1)?,
                        asked: unsigned(row.get(2)?),
                        granted: unsigned(row.get(3)?),
                        attempt: row.get(4)?,
                        gated: row.get(5)?,
                    })
                })
                .optional()?;
            let Some(ended) = ended else {
                return Ok(());
            };
            tallies::ran(transaction, &ended, end)?;
            if names::is_run(&ended.unit) {
                return Ok(());
            }
            standings::ended(transaction, &ended, end)
        });
    }

    /// Why a run failed, after its journal was read, and what is made of it. Told twice, it counts once.
    ///
    /// `verdict` begins with its class, if it has one, and then who says so: `permanent (rule not-found)`. `hard`
    /// says that nothing will be tried any more.
    pub fn examined(
        &mut self,
        run: i64,
        signature: &Signature,
        attempt: u32,
        verdict: &str,
        hard: bool,
    ) -> Known {
        let known = self.change(|transaction| {
            let sql = "UPDATE runs SET signature = ?2, verdict = ?3, attempt = ?4, pending = 0
                       WHERE id = ?1 AND pending AND ended IS NOT NULL RETURNING task, unit, ended";
            let failed: Option<(String, String, i64)> = transaction
                .prepare_cached(sql)?
                .query_row(params![run, signature.key, verdict, attempt], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            if let Some((task, unit, ended)) = failed {
                let sql = "INSERT INTO failures (signature, task, text, count, first, last, example, verdict)
                           VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6)
                           ON CONFLICT (signature) DO UPDATE SET count = count + 1, first = min(first, ?4),
                               last = max(last, ?4), text = ?3, example = ?5, verdict = ?6";
                let values = params![signature.key, task, signature.text, ended, unit, verdict];
                transaction.prepare_cached(sql)?.execute(values)?;
                let sql = "INSERT INTO failing_units (signature, unit, count, last) VALUES (?1, ?2, 1, ?3)
                           ON CONFLICT (signature, unit) DO UPDATE SET count = count + 1, last = max(last, ?3)";
                transaction
                    .prepare_cached(sql)?
                    .execute(params![signature.key, unit, ended])?;
                standings::examined(transaction, run, &unit, &signature.key, verdict, hard)?;
            }
            known(transaction, &signature.key)
        });
        known.unwrap_or_default()
    }

    /// Something came in a run's way: `deployment web-3: stop`, `preempted by upcp`.
    pub fn interrupted(&mut self, run: i64, by: &str) {
        self.change(|transaction| {
            let sql = "UPDATE runs SET interruptions = trim(interruptions || char(10) || ?2, char(10)) WHERE id = ?1";
            transaction
                .prepare_cached(sql)?
                .execute(params![run, joined(&[by])])
        });
    }

    /// Whether the history has it that a start was given up just then.
    pub fn has_skip(&self, unit: &str, at: u64) -> bool {
        let sql = "SELECT EXISTS (SELECT 1 FROM skips WHERE unit = ?1 AND at = ?2)";
        self.database.as_ref().is_some_and(|database| {
            let found = database.query_row(sql, params![unit, signed(at)], |row| row.get(0));
            found.unwrap_or(false)
        })
    }

    /// A start that was given up.
    pub fn skipped(&mut self, task: &str, unit: &str, reason: &str, at: u64) {
        self.change(|transaction| {
            let kind = tallies::skip_kind(reason);
            let task = task_of(task, unit);
            let sql =
                "INSERT INTO skips (task, unit, reason, at, kind) VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![task, unit, reason, signed(at), kind];
            transaction.prepare_cached(sql)?.execute(values)?;
            tallies::skipped(transaction, task, kind, at)?;
            if names::is_run(unit) {
                return Ok(());
            }
            standings::skipped(transaction, task, unit, reason, at)
        });
    }

    /// A deadlock, as it is now.
    pub fn deadlock(&mut self, it: &DeadlockView) {
        let waiters: Vec<String> = it
            .waiters
            .iter()
            .map(|(pid, start)| format!("{pid}:{start}"))
            .collect();
        self.change(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO deadlocks (id, found, kind, unit, resource, state, text, waiters)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    signed(it.id),
                    signed(it.found),
                    it.kind,
                    it.unit,
                    it.resource,
                    it.state,
                    it.text,
                    waiters.join(" ")
                ],
            )
        });
    }
}

/// Commands behind a gate of their own (`interlockctl run`) are no task's, and no two have the same unit: all are
/// told, counted and classified as one, and none of them stands in any way.
fn task_of<'a>(task: &'a str, unit: &str) -> &'a str {
    if names::is_run(unit) { COMMANDS } else { task }
}

/// A run that has just ended.
pub(super) struct Ended {
    pub(super) run: i64,
    pub(super) task: String,
    pub(super) unit: String,
    pub(super) asked: u64,
    pub(super) granted: u64,
    pub(super) attempt: u32,
    pub(super) gated: bool,
}

fn known(transaction: &Transaction<'_>, signature: &str) -> rusqlite::Result<Known> {
    let sql = "SELECT count, first FROM failures WHERE signature = ?1";
    let known = transaction
        .prepare_cached(sql)?
        .query_row([signature], |row| {
            Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
        })
        .optional()?;
    let (count, first) = known.unwrap_or_default();
    Ok(Known {
        count,
        first,
        class: past::class_of(transaction, signature)?,
    })
}
