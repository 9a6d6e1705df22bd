//! How long runs take: percentiles, and who has exceeded a limit. Pure, but for reading the lengths.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;

use super::reader::{ReadError, Reader};
use super::runs::{Query, number};
use crate::clock;

/// How long a task's runs took, microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Runs, those that go on included.
    pub runs: u64,
    /// How many of them took longer than the limit.
    pub exceeding: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 95 of 100 took no longer.
    pub p95: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// The longest.
    pub longest: u64,
}

impl Lengths {
    /// Of these lengths, in any order.
    pub fn of(mut lengths: Vec<u64>, limit: u64) -> Self {
        lengths.sort_unstable();
        let within = lengths.partition_point(|length| *length <= limit);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            runs: count(lengths.len()),
            exceeding: count(lengths.len() - within),
            p50: percentile(&lengths, 50),
            p95: percentile(&lengths, 95),
            p99: percentile(&lengths, 99),
            longest: lengths.last().copied().unwrap_or(0),
        }
    }
}

/// The smallest value that so many of a hundred don't exceed (nearest rank); 0 of none. They must be in order.
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    let at = rank.max(1) - 1;
    sorted.get(at).copied().unwrap_or(0)
}

impl Reader {
    /// How long the runs took that ended at or after `since` or go on, and how many longer than `limit`; by task.
    ///
    /// # Errors
    /// SQLite's.
    pub fn exceeding(
        &self,
        limit: u64,
        task: Option<&str>,
        since: Option<u64>,
    ) -> Result<BTreeMap<String, Lengths>, ReadError> {
        let mut lengths: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        // Task by task, so that each is one stretch of one index.
        let tasks = match task {
            Some(task) => vec![task.to_owned()],
            None => self.tasks()?,
        };
        for task in &tasks {
            let mut query = Query::new("ended IS NOT NULL AND started > 0");
            query.of_task(Some(task));
            query.and("ended >= ?", since.map(number));
            self.lengths("ended - started", &query, &mut lengths)?;
        }
        let mut query = Query::new("pending AND ended IS NULL");
        query.of_task(task);
        let now = clock::realtime();
        let so_far = format!("max({now} - granted, 0)");
        self.lengths(&so_far, &query, &mut lengths)?;
        let lengths = lengths.into_iter();
        Ok(lengths
            .map(|(task, lengths)| (task, Lengths::of(lengths, limit)))
            .collect())
    }

    fn lengths(
        &self,
        what: &str,
        query: &Query,
        to: &mut BTreeMap<String, Vec<u64>>,
    ) -> Result<(), ReadError> {
        let sql = format!(
            "SELECT task, {what} FROM runs WHERE {}",
            query.conditions.join(" AND ")
        );
        let mut statement = self.database.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&query.values))?;
        while let Some(row) = rows.next()? {
            let task = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let length = super::unsigned(row.get(1)?);
            match to.get_mut(task) {
                Some(lengths) => lengths.push(length),
                None => drop(to.insert(task.to_owned(), vec![length])),
            }
        }
        Ok(())
    }

    /// All that have runs, skipping from one to the next in the index.
    pub(super) fn tasks(&self) -> Result<Vec<String>, ReadError> {
        let sql = "WITH RECURSIVE it(task) AS (
                       SELECT min(task) FROM runs WHERE ended IS NOT NULL
                       UNION ALL
                       SELECT (SELECT min(task) FROM runs WHERE ended IS NOT NULL AND task > it.task)
                       FROM it WHERE it.task IS NOT NULL)
                   SELECT task FROM it WHERE task IS NOT NULL";
        let mut statement = self.database.prepare_cached(sql)?;
        let tasks = statement.query_map([], |row| row.get(0))?;
        Ok(tasks.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_values_that_were() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 95), 95);
        assert_eq!(percentile(&hundred, 100), 100);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[7, 9], 50), 7);
        assert_eq!(percentile(&[], 95), 0);
    }

    #[test]
    fn a_limit_is_exceeded_by_what_is_longer() {
        let it = Lengths::of(vec![10, 5, 20, 10], 10);
        assert_eq!((it.runs, it.exceeding, it.longest), (4, 1, 20));
        assert_eq!(Lengths::of(Vec::new(), 10), Lengths::default());
    }

    proptest! {
        #[test]
        fn percentiles_are_in_order(lengths in prop::collection::vec(0_u64..1000, 1..200), limit in 0_u64..1000) {
            let it = Lengths::of(lengths.clone(), limit);
            prop_assert!(it.p50 <= it.p95 && it.p95 <= it.p99 && it.p99 <= it.longest);
            let longer = lengths.iter().filter(|length| **length > limit).count();
            prop_assert_eq!(it.exceeding, u64::try_from(longer).unwrap());
            // No fewer than half are within the median.
            prop_assert!(lengths.iter().filter(|length| **length <= it.p50).count() * 2 >= lengths.len());
        }
    }
}
