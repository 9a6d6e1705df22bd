//! Questions to the history that don't go through the engine: each on a connection of its own, so that no gate waits.
//!
//! A [`Reader`] blocks; on tokio it belongs on the blocking pool ([`ask`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use tokio::sync::Semaphore;

use super::standings::{self, Standing};
use super::tallies::{EVER, Sample, Tally};
use super::{schema, signed, unsigned};

/// Why a question wasn't answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite's.
    #[error("the state database can't be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Asked for something that doesn't exist.
    #[error("{0}")]
    NoSuch(String),
    /// The pool is gone.
    #[error("interlockd is ending")]
    Ending,
}

/// Reads the history.
#[derive(Debug)]
pub struct Reader {
    pub(super) database: Connection,
}

/// Questions that are answered at a time, each on a thread and with a connection of its own. Whoever asks for metrics
/// ten thousand times at once would otherwise have 512 of both, on which starts wait for seconds.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Asks on the blocking pool.
///
/// # Errors
/// The question's own, or if the file can't be opened.
pub async fn ask<T: Send + 'static>(
    path: PathBuf,
    question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    // It is never closed.
    let _turn = AT_ONCE.acquire().await;
    let asked = tokio::task::spawn_blocking(move || question(&Reader::open(&path)?));
    asked.await.map_err(|_| ReadError::Ending)?
}

impl Reader {
    /// Opens the state database, for reading only.
    ///
    /// # Errors
    /// SQLite's.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let database = schema::connect_reader(path)?;
        Ok(Self { database })
    }

    /// How each unit stands, of one task or of all.
    ///
    /// # Errors
    /// SQLite's.
    pub fn standings(&self, task: Option<&str>) -> Result<Vec<Standing>, ReadError> {
        let sql = format!(
            "SELECT {} FROM standings WHERE ?1 IS NULL OR task = ?1 ORDER BY unit",
            standings::COLUMNS
        );
        let mut statement = self.database.prepare(&sql)?;
        let rows = statement.query_map([task], standings::standing)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Each task's numbers since ever; they never shrink.
    ///
    /// # Errors
    /// SQLite's.
    pub fn totals(&self) -> Result<BTreeMap<String, Tally>, ReadError> {
        let mut hours = self.tallies(EVER, EVER)?;
        Ok(hours.remove(&EVER).unwrap_or_default())
    }

    /// Each task's numbers of each hour (its beginning) that began at or after `since`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn hourly(&self, since: u64) -> Result<BTreeMap<u64, BTreeMap<String, Tally>>, ReadError> {
        self.tallies(since.max(EVER + 1), u64::MAX)
    }

    /// How many units failed in each hour that began at or after `since`, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn samples(&self, since: u64) -> Result<Vec<Sample>, ReadError> {
        let sql = "SELECT hour, task, units, failing, hard FROM samples WHERE hour >= ?1 ORDER BY hour, task";
        let mut statement = self.database.prepare(sql)?;
        let rows = statement.query_map([signed(since)], |row| {
            Ok(Sample {
                hour: unsigned(row.get(0)?),
                task: row.get(1)?,
                units: unsigned(row.get(2)?),
                failing: unsigned(row.get(3)?),
                hard: unsigned(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How many units fail now, by task; `hour` is 0.
    ///
    /// # Errors
    /// SQLite's.
    pub fn failing_now(&self) -> Result<Vec<Sample>, ReadError> {
        let sql =
            "SELECT task, count(*), sum(failures > 0), sum(hard) FROM standings GROUP BY task";
        let mut statement = self.database.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Sample {
                hour: 0,
                task: row.get(0)?,
                units: unsigned(row.get(1)?),
                failing: unsigned(row.get(2)?),
                hard: unsigned(row.get(3)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn tallies(
        &self,
        from: u64,
        to: u64,
    ) -> Result<BTreeMap<u64, BTreeMap<String, Tally>>, ReadError> {
        let sql = "SELECT hour, task, kind, name, value FROM tallies WHERE hour BETWEEN ?1 AND ?2";
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query(params![signed(from), signed(to)])?;
        let mut hours: BTreeMap<u64, BTreeMap<String, Tally>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let tasks = hours.entry(unsigned(row.get(0)?)).or_default();
            let tally = tasks.entry(row.get(1)?).or_default();
            let (kind, name): (String, String) = (row.get(2)?, row.get(3)?);
            tally.add(&kind, &name, unsigned(row.get(4)?));
        }
        Ok(hours)
    }
}
