//! What monitoring is told of the past, by task: read from sums, not from runs, so that it takes as long with a
//! million runs as with a few.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{HOUR, ReadError, Reader, signed, unsigned};
use crate::monitor::{self, PastTask};

/// How many units of a task are named that failed for good.
const NAMED: u32 = 5;
/// As far back as what is usual is taken from, and a bit more.
const SAMPLED: u64 = 8 * 24 * HOUR;

impl Reader {
    /// The past as of `now`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn monitored(&self, now: u64) -> Result<monitor::Past, ReadError> {
        let mut past = monitor::Past {
            began: self.began()?,
            ..monitor::Past::default()
        };
        for (name, tally) in self.totals()? {
            let task = past.tasks.entry(name).or_default();
            task.runs = tally.runs;
            task.skips = tally.skips;
            task.waits = tally.waited;
            task.waited = tally.waited_sum;
            task.ran = tally.held_sum;
        }
        self.add_standings(&mut past.tasks)?;
        self.add_failed_units(&mut past.tasks)?;
        self.add_skips_in_a_row(&mut past.tasks)?;
        for (name, n) in self.failures_since(now.saturating_sub(HOUR))? {
            past.tasks.entry(name).or_default().failures_hour = n;
        }
        for (name, n) in self.failures_since(now.saturating_sub(24 * HOUR))? {
            past.tasks.entry(name).or_default().failures_day = n;
        }
        let mut samples: BTreeMap<u64, monitor::Sample> = BTreeMap::new();
        for sample in self.samples(now.saturating_sub(SAMPLED))? {
            // Within its hour it is taken again and again: it is as of the hour's end.
            let at = sample.hour + HOUR;
            let of_hour = samples.entry(at).or_default();
            of_hour.at = at;
            of_hour.failed.insert(sample.task, sample.hard);
        }
        past.samples = samples.into_values().collect();
        Ok(past)
    }

    /// 0 if nothing has happened yet.
    fn began(&self) -> Result<u64, ReadError> {
        let sql = "SELECT min(hour) FROM
                   (SELECT min(hour) AS hour FROM tallies WHERE hour > 0 UNION ALL SELECT min(hour) FROM samples)";
        let first: Option<i64> = self.database.query_row(sql, [], |row| row.get(0))?;
        Ok(first.map_or(0, unsigned))
    }

    fn add_standings(&self, tasks: &mut BTreeMap<String, PastTask>) -> Result<(), ReadError> {
        let sql = "SELECT task, sum(hard), max(succeeded), max(ended) FROM standings GROUP BY task";
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let task = tasks.entry(row.get(0)?).or_default();
            task.failed = unsigned(row.get(1)?);
            task.last_success = unsigned(row.get(2)?);
            task.last_end = unsigned(row.get(3)?);
        }
        Ok(())
    }

    fn add_failed_units(&self, tasks: &mut BTreeMap<String, PastTask>) -> Result<(), ReadError> {
        let sql = "SELECT unit FROM standings WHERE hard AND task = ?1 ORDER BY unit LIMIT ?2";
        let mut statement = self.database.prepare(sql)?;
        for (name, task) in tasks.iter_mut().filter(|(_, task)| task.failed > 0) {
            let units = statement.query_map(params![name, NAMED], |row| row.get(0))?;
            task.failed_units = units.collect::<rusqlite::Result<_>>()?;
        }
        Ok(())
    }

    /// Of the unit of each task that has been skipped most often since its last run.
    fn add_skips_in_a_row(&self, tasks: &mut BTreeMap<String, PastTask>) -> Result<(), ReadError> {
        let sql = "SELECT task, max(n) FROM (
                       SELECT it.task AS task, count(*) AS n FROM standings AS it
                       JOIN skips ON skips.unit = it.unit AND skips.at > it.granted
                       WHERE it.last_skip_at > it.granted GROUP BY it.unit)
                   GROUP BY task";
        let mut statement = self.database.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            tasks.entry(row.get(0)?).or_default().skips_in_a_row = unsigned(row.get(1)?);
        }
        Ok(())
    }

    fn failures_since(&self, since: u64) -> Result<BTreeMap<String, u64>, ReadError> {
        let sql = "SELECT task, count(*) FROM runs
                   WHERE failed AND ended IS NOT NULL AND ended > ?1 GROUP BY task";
        let mut statement = self.database.prepare(sql)?;
        let rows = statement.query_map([signed(since)], |row| {
            Ok((row.get(0)?, unsigned(row.get(1)?)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use interlock_generator::policy::settings::HistoryRules;

    use super::super::*;
    use super::*;
    use interlock_core::signature::Signature;

    const NOW: u64 = 1_772_330_596_000_000;

    fn run(history: &mut History, unit: &str, at: u64, result: &str) {
        let begun = Begun {
            task: "import".to_owned(),
            unit: unit.to_owned(),
            asked: at,
            granted: at + 2_000_000,
            gated: true,
            attempt: 1,
            ..Begun::default()
        };
        let run = history.began(&begun).unwrap();
        let end = End {
            started: at + 2_000_000,
            ended: at + 12_000_000,
            result: result.to_owned(),
            ..End::default()
        };
        history.ended(run, &end);
        if end.is_failure() {
            let signature = Signature {
                key: "abc".to_owned(),
                text: "exit status 1".to_owned(),
            };
            history.examined(run, &signature, 1, "permanent", true);
        }
    }

    fn read(path: &Path) -> monitor::Past {
        Reader::open(path).unwrap().monitored(NOW).unwrap()
    }

    #[test]
    fn the_past_is_told_by_task() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut history = History::open(&path);
        assert_eq!(read(&path), monitor::Past::default());
        run(
            &mut history,
            "import@a.service",
            NOW - 30 * HOUR,
            "exit-code",
        );
        run(&mut history, "import@b.service", NOW - 2 * HOUR, "success");
        run(
            &mut history,
            "import@c.service",
            NOW - HOUR / 2,
            "exit-code",
        );
        history.skipped(
            "import",
            "import@b.service",
            "max-wait is over",
            NOW - 3 * HOUR,
        );
        history.skipped("import", "import@b.service", "max-wait is over", NOW - HOUR);
        history.skipped("import", "import@b.service", "max-wait is over", NOW - 60);
        history.skipped("import", "import@d.service", "who knows", NOW - 60);
        let past = read(&path);
        assert_eq!(past.began, (NOW - 30 * HOUR) / HOUR * HOUR);
        let import = &past.tasks["import"];
        assert_eq!(import.failed, 2);
        assert_eq!(
            import.failed_units,
            ["import@a.service", "import@c.service"]
        );
        assert_eq!((import.failures_hour, import.failures_day), (1, 1));
        assert_eq!(import.last_success, NOW - 2 * HOUR + 12_000_000);
        assert_eq!(
            import.skips_in_a_row, 2,
            "the first was before its last run"
        );
        assert_eq!(import.runs["exit-code"], 2);
        assert_eq!(import.skips["max-wait"], 3);
        assert_eq!(import.skips["other"], 1);
        assert_eq!((import.waits[1], import.waited), (3, 6_000_000));
        assert_eq!(import.ran, 30_000_000);
    }

    #[test]
    fn an_hour_is_usual_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut history = History::open(&path);
        run(
            &mut history,
            "import@a.service",
            NOW - 30 * HOUR,
            "exit-code",
        );
        for hours in (0..4).rev() {
            history.tidy_at(&HistoryRules::default(), NOW - hours * HOUR);
        }
        let past = read(&path);
        assert_eq!(past.samples.len(), 4);
        // The present hour is to end yet, and the one before has ended less than an hour ago.
        assert_eq!(past.baseline(None, NOW), Err(2));
        assert_eq!(past.baseline(Some("import"), NOW + HOUR), Ok(1.0));
    }
}
