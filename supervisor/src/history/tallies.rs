//! Numbers by task and hour, and their sums since ever, for monitoring.

use std::collections::BTreeMap;

use interlock_core::ending::End;
use rusqlite::{Transaction, params};

use super::write::Ended;

use super::signed;

/// Length of an hour.
pub const HOUR: u64 = 3_600_000_000;

/// The hour that stands for all of them.
pub(super) const EVER: u64 = 0;

/// Upper bounds of the buckets that waits are sorted into; there is one more, without a bound.
pub const WAITED: [u64; 9] = [
    1_000_000,
    5_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
];

/// A task's numbers, of an hour or since ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that ended, by result.
    pub runs: BTreeMap<String, u64>,
    /// Starts given up, by kind of reason.
    pub skips: BTreeMap<String, u64>,
    /// Waits at the gate, by bucket: not cumulative, the last has no bound.
    pub waited: [u64; WAITED.len() + 1],
    /// All these waits together.
    pub waited_sum: u64,
    /// How long its leases were held, together.
    pub held_sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, kind: &str, name: &str, value: u64) {
        match kind {
            "runs" => *self.runs.entry(name.to_owned()).or_default() += value,
            "skips" => *self.skips.entry(name.to_owned()).or_default() += value,
            "waited" => {
                let bucket = name
                    .parse()
                    .ok()
                    .and_then(|at: usize| self.waited.get_mut(at));
                if let Some(bucket) = bucket {
                    *bucket += value;
                }
            }
            "waited-sum" => self.waited_sum += value,
            "held-sum" => self.held_sum += value,
            _ => {}
        }
    }
}

/// What kind of reason interlockd's sentence gives; few, so that they can be a metric's label.
pub fn skip_kind(reason: &str) -> &'static str {
    let kinds = [
        // First: what an operator gives as a reason may have any of the other words in it.
        ("wanted it skipped: ", "operator"),
        ("when-busy = \"skip\"", "busy"),
        ("when-busy = \"fail\"", "busy"),
        ("max-wait", "max-wait"),
        ("its window", "window-over"),
        ("systemd refused", "refused-by-systemd"),
        ("cancelled", "cancelled"),
    ];
    let found = kinds.iter().find(|(words, _)| reason.contains(words));
    found.map_or("other", |(_, kind)| kind)
}

/// A run has ended.
pub(super) fn ran(transaction: &Transaction<'_>, it: &Ended, end: &End) -> rusqlite::Result<()> {
    let count =
        |kind, name: &str, value| count(transaction, &it.task, end.ended, kind, name, value);
    count("runs", &end.result, 1)?;
    if it.gated {
        let waited = it.granted.saturating_sub(it.asked);
        let bucket = WAITED.iter().position(|bound| waited <= *bound);
        count("waited", &bucket.unwrap_or(WAITED.len()).to_string(), 1)?;
        count("waited-sum", "", waited)?;
    }
    count("held-sum", "", end.ended.saturating_sub(it.granted))
}

/// A start was given up.
pub(super) fn skipped(
    transaction: &Transaction<'_>,
    task: &str,
    kind: &str,
    at: u64,
) -> rusqlite::Result<()> {
    count(transaction, task, at, "skips", kind, 1)
}

fn count(
    transaction: &Transaction<'_>,
    task: &str,
    at: u64,
    kind: &str,
    name: &str,
    value: u64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tallies (hour, task, kind, name, value) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (hour, task, kind, name) DO UPDATE SET value = value + ?5";
    let mut statement = transaction.prepare_cached(sql)?;
    for hour in [EVER, at - at % HOUR] {
        statement.execute(params![signed(hour), task, kind, name, signed(value)])?;
    }
    Ok(())
}

/// How many units of a task failed in an hour, as of the last look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// When the hour began.
    pub hour: u64,
    /// Task name.
    pub task: String,
    /// Units that have ever run or been skipped.
    pub units: u64,
    /// Units whose last run failed.
    pub failing: u64,
    /// Those among them for which nothing will be tried any more.
    pub hard: u64,
}

/// Counts the units that fail now, for this hour.
pub(super) fn sample(transaction: &Transaction<'_>, now: u64) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO samples (hour, task, units, failing, hard)
               SELECT ?1, task, units, coalesce(failing, 0), coalesce(hard, 0)
               FROM (SELECT task, count(*) AS units FROM standings GROUP BY task)
               LEFT JOIN (SELECT task, count(*) AS failing FROM standings WHERE failures > 0 GROUP BY task) USING (task)
               LEFT JOIN (SELECT task, count(*) AS hard FROM standings WHERE hard GROUP BY task) USING (task)";
    transaction
        .prepare_cached(sql)?
        .execute([signed(now - now % HOUR)])?;
    Ok(())
}
