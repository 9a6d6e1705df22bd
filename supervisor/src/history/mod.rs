//! What has been: runs, skips, failures and deadlocks, in one SQLite file. It informs; no gate ever waits for it.
//!
//! [`History`] is the engine's, who alone writes. Whoever only asks takes a [`Reader`], which has a connection of its
//! own, so that no question delays a gate. If the file can't be written, this is said ([`History::health`]) and tried
//! again with each run; a file that is damaged is put aside and a new one begun ([`damage`]).
//!
//! All times are microseconds of `CLOCK_REALTIME`, all spans microseconds.

pub mod causes;
mod checkpoint;
pub mod damage;
pub mod lengths;
mod monitored;
mod past;
pub mod reader;
pub mod risk;
pub mod runs;
mod salvage;
mod schema;
mod standings;
mod tallies;
mod tidy;
mod write;

use std::path::{Path, PathBuf};

use interlock_core::ending::End;

use checkpoint::Checkpoints;
use rusqlite::{Connection, ErrorCode, Transaction};

pub use past::Past;
pub use reader::{ReadError, Reader};
pub use standings::Standing;
pub use tallies::{HOUR, Sample, Tally, WAITED, skip_kind};

use crate::clock;
pub use interlock_core::signature::Class;

/// A file that couldn't be opened is tried again after this, microseconds.
const REOPEN: u64 = 5_000_000;

/// A run that has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    /// Task name.
    pub task: String,
    /// Its unit, or the instance.
    pub unit: String,
    /// The boot's id.
    pub boot: String,
    /// When its gate asked.
    pub asked: u64,
    /// When its lease was granted.
    pub granted: u64,
    /// The same, microseconds of `CLOCK_MONOTONIC` of its boot; 0 if unknown.
    pub granted_monotonic: u64,
    /// 1, or more if it is a retry.
    pub attempt: u32,
    /// The units that it waited for.
    pub waited_for: Vec<String>,
    /// Who or what wanted it: empty, `submitted by alice (uid 1000)`, `retry`.
    pub cause: String,
    /// It had a gate to wait at.
    pub gated: bool,
}

/// A run that isn't over yet, or whose failure nobody has examined yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its number.
    pub id: i64,
    /// Task name.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// The boot's id.
    pub boot: String,
    /// When its lease was granted.
    pub granted: u64,
    /// The same, microseconds of `CLOCK_MONOTONIC` of its boot; 0 if unknown.
    pub granted_monotonic: u64,
    /// 1, or more if it is a retry.
    pub attempt: u32,
    /// How it ended, if that is known: then its journal is to be read.
    pub end: Option<End>,
}

/// What is known of a signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// How many failures had it, this one included.
    pub count: u64,
    /// When it was first seen.
    pub first: u64,
    /// What an operator said of it.
    pub class: Option<Class>,
}

/// The state database, as the engine has it.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    database: Option<Connection>,
    trouble: Option<String>,
    /// When opening was last tried, microseconds of `CLOCK_MONOTONIC`.
    tried: u64,
    damaged: Option<PathBuf>,
    checkpoints: Checkpoints,
}

impl History {
    /// Opens or makes it. Puts a damaged one aside, so it must be called before anybody else opens the file.
    pub fn open(path: &Path) -> Self {
        damage::put_aside(path);
        let mut history = Self {
            path: path.to_owned(),
            database: None,
            trouble: None,
            tried: 0,
            damaged: damage::aside(path),
            checkpoints: Checkpoints::of(path),
        };
        history.reopen();
        history
    }

    /// What is wrong with it, in one line; `None` if nothing is.
    pub fn health(&self) -> Option<String> {
        let damaged = || {
            let aside = self.was_damaged()?.display();
            Some(format!(
                "a damaged state database was put aside, and what was whole of it kept; remove {aside} when it isn't wanted"
            ))
        };
        self.trouble.clone().or_else(damaged)
    }

    /// Where a damaged database was put, until somebody removes it from there.
    pub fn was_damaged(&self) -> Option<&Path> {
        self.damaged.as_deref().filter(|path| path.exists())
    }

    fn reopen(&mut self) {
        self.tried = clock::monotonic();
        match schema::connect(&self.path, self.checkpoints.are_made()) {
            Ok(database) => self.database = Some(database),
            Err(error) => self.complain(&error),
        }
    }

    /// Does something in one transaction. Says once that it fails, and once that it works again.
    fn change<T>(
        &mut self,
        what: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if self.database.is_none() && clock::monotonic().saturating_sub(self.tried) >= REOPEN {
            self.reopen();
        }
        let database = self.database.as_mut()?;
        let done = (|| {
            let transaction =
                database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let done = what(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })();
        match done {
            Ok(done) => {
                self.checkpoints.changed();
                if self.trouble.take().is_some() {
                    tracing::info!("the state database can be written again");
                }
                Some(done)
            }
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    fn complain(&mut self, error: &rusqlite::Error) {
        let trouble = match error.sqlite_error_code() {
            _ if damage::is_damage(error) => {
                damage::suspect(&self.path);
                format!(
                    "the state database {} is damaged ({error}); it is put aside when interlockd is restarted",
                    self.path.display()
                )
            }
            Some(ErrorCode::DiskFull) => format!(
                "the disk of {} is full; the history has a gap until there is room",
                self.path.display()
            ),
            _ => format!(
                "the state database {} can't be written ({error}); the history has a gap",
                self.path.display()
            ),
        };
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!("{trouble}");
            self.trouble = Some(trouble);
        }
    }
}

/// SQLite's integers are signed; our times fit until the year 294247.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Several names or sentences in one column, a line each.
fn joined<T: AsRef<str>>(lines: &[T]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.as_ref().replace('\n', " "))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
