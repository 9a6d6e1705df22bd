//! Holds of tasks: starts that operators want to wait, or to be skipped.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError, signed, unsigned};

/// What is held, and how: an operator's word to wait and one to skip stand beside each other.
pub type HoldKey = (String, HoldKind);

/// What becomes of a start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldKind {
    /// It waits at its gate.
    #[default]
    Wait,
    /// It is given up.
    Skip,
}

/// An operator's word about the starts of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// The task's unit, its template for all its instances, or one instance.
    pub unit: String,
    /// What becomes of a start.
    pub kind: HoldKind,
    /// The task's name when it was said.
    pub task: String,
    /// Why.
    pub reason: String,
    /// Who said so, for people.
    pub by: String,
    /// Since when, microseconds of `CLOCK_REALTIME`.
    pub since: u64,
    /// When it ends by itself, microseconds of `CLOCK_REALTIME`; 0 for never.
    pub until: u64,
    /// How many starts are still to be skipped; 0 if they wait.
    pub skips: u32,
}

impl Hold {
    /// Under which it is kept.
    pub fn key(&self) -> HoldKey {
        (self.unit.clone(), self.kind)
    }
}

/// A start that is given up because an operator wants it skipped: counted, and perhaps not yet carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SkippedStart {
    /// The unit.
    pub unit: String,
    /// Its task.
    pub task: String,
    /// The boot in which it was to start.
    pub boot: String,
    /// The job of PID 1 that was its start.
    pub job: u32,
    /// One line.
    pub reason: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
}

pub(super) fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS holds (
             unit TEXT NOT NULL, skip INTEGER NOT NULL, task TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
             since INTEGER NOT NULL, until INTEGER NOT NULL, skips INTEGER NOT NULL,
             PRIMARY KEY (unit, skip)) STRICT;
         CREATE TABLE IF NOT EXISTS skipped_starts (
             unit TEXT PRIMARY KEY, task TEXT NOT NULL, boot TEXT NOT NULL, job INTEGER NOT NULL,
             reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;",
    )
}

impl Store {
    /// Holds, instead of an earlier hold of the same kind.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn hold(&mut self, it: &Hold) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO holds (unit, skip, task, reason, by, since, until, skips)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![
            it.unit,
            it.kind == HoldKind::Skip,
            it.task,
            it.reason,
            it.by,
            signed(it.since),
            signed(it.until),
            it.skips
        ];
        self.database()?.execute(sql, values)?;
        Ok(())
    }

    /// The end of holds, all of them or none.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn release(&mut self, keys: &[HoldKey]) -> Result<(), StoreError> {
        let transaction = self.database()?.transaction()?;
        for (unit, kind) in keys {
            let sql = "DELETE FROM holds WHERE unit = ?1 AND skip = ?2";
            transaction.execute(sql, params![unit, *kind == HoldKind::Skip])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All of them.
    pub fn holds(&mut self) -> BTreeMap<HoldKey, Hold> {
        let read = |database: &Connection| -> rusqlite::Result<BTreeMap<HoldKey, Hold>> {
            let sql = "SELECT unit, skip, task, reason, by, since, until, skips FROM holds";
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([], |row| hold(row).map(|it| (it.key(), it)))?;
            rows.collect()
        };
        let holds = self.database().ok().map(|database| read(database));
        holds.unwrap_or(Ok(BTreeMap::new())).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read from the state database which tasks are held; none is");
            BTreeMap::new()
        })
    }

    /// One start fewer is to be skipped by this hold, because that one is; the last one ends it. Both or nothing.
    ///
    /// # Errors
    /// If it can't be written down.
    pub fn skip(&mut self, hold: &Hold, start: &SkippedStart) -> Result<(), StoreError> {
        let transaction = self.database()?.transaction()?;
        transaction.execute(
            "UPDATE holds SET skips = skips - 1 WHERE unit = ?1 AND skip",
            [&hold.unit],
        )?;
        transaction.execute("DELETE FROM holds WHERE skip AND skips <= 0", [])?;
        transaction.execute(
            "INSERT OR REPLACE INTO skipped_starts (unit, task, boot, job, reason, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                start.unit,
                start.task,
                start.boot,
                start.job,
                start.reason,
                signed(start.at)
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Starts that were counted as skipped, and of which it isn't known whether that was carried out.
    pub fn skipped_starts(&mut self) -> Vec<SkippedStart> {
        let read = |database: &Connection| -> rusqlite::Result<Vec<SkippedStart>> {
            let sql = "SELECT unit, task, boot, job, reason, at FROM skipped_starts";
            let mut statement = database.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(SkippedStart {
                    unit: row.get(0)?,
                    task: row.get(1)?,
                    boot: row.get(2)?,
                    job: row.get(3)?,
                    reason: row.get(4)?,
                    at: unsigned(row.get(5)?),
                })
            })?;
            rows.collect()
        };
        let starts = self.database().ok().map(|database| read(database));
        starts.and_then(Result::ok).unwrap_or_default()
    }

    /// The last skipped start of this unit was given up, and is in the history.
    pub fn start_was_skipped(&mut self, unit: &str) {
        let sql = "DELETE FROM skipped_starts WHERE unit = ?1";
        if let Ok(database) = self.database()
            && let Err(error) = database.execute(sql, [unit])
        {
            tracing::warn!(unit, %error, "cannot forget a skipped start");
        }
    }
}

fn hold(row: &Row<'_>) -> rusqlite::Result<Hold> {
    Ok(Hold {
        unit: row.get(0)?,
        kind: match row.get(1)? {
            true => HoldKind::Skip,
            false => HoldKind::Wait,
        },
        task: row.get(2)?,
        reason: row.get(3)?,
        by: row.get(4)?,
        since: unsigned(row.get(5)?),
        until: unsigned(row.get(6)?),
        skips: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(unit: &str, skips: u32) -> Hold {
        Hold {
            unit: unit.to_owned(),
            kind: HoldKind::Skip,
            reason: "wait for the disk".to_owned(),
            skips,
            ..Hold::default()
        }
    }

    #[test]
    fn a_hold_and_a_skip_of_one_unit_stand_beside_each_other_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut store = Store::open(&path);
        let wait = Hold {
            kind: HoldKind::Wait,
            skips: 0,
            until: 9,
            ..skip("a.service", 0)
        };
        store.hold(&wait).unwrap();
        store.hold(&skip("a.service", 2)).unwrap();
        let mut again = Store::open(&path);
        let kept: Vec<Hold> = again.holds().into_values().collect();
        assert_eq!(kept, [wait.clone(), skip("a.service", 2)]);
        again.release(&[wait.key()]).unwrap();
        assert_eq!(
            store.holds().into_values().collect::<Vec<_>>(),
            [skip("a.service", 2)]
        );
    }

    #[test]
    fn a_skip_is_counted_down_with_the_start_it_concerns_and_ends_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("state.db"));
        let (hold, other) = (skip("imp@.service", 2), skip("b.service", 1));
        store.hold(&hold).unwrap();
        store.hold(&other).unwrap();
        let start = SkippedStart {
            unit: "imp@a.service".to_owned(),
            boot: "boot".to_owned(),
            job: 7,
            at: 5,
            ..SkippedStart::default()
        };
        store.skip(&hold, &start).unwrap();
        assert_eq!(store.holds()[&hold.key()].skips, 1);
        assert_eq!(store.skipped_starts()[0], start);
        store.skip(&hold, &start).unwrap();
        assert_eq!(store.holds().into_values().collect::<Vec<_>>(), [other]);
        store.start_was_skipped("imp@a.service");
        assert_eq!(store.skipped_starts(), []);
    }
}
