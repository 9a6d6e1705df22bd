//! Which tasks would hardly ever finish, since deployments come more often than their runs take. Pure, but for reading.
//!
//! Deployments are taken to come at random, at the rate at which they came: a run isn't met by one in a time t with
//! the probability e^(-t/mean).

use interlock_generator::policy::settings::{DeployAction, Settings};
use rusqlite::params;

use super::lengths::percentile;
use super::reader::{ReadError, Reader};
use super::{signed, unsigned};
use crate::daemon::words;

/// So many of the latest runs are looked at, of each task.
const LATEST: u32 = 10_000;

/// Below this chance a task hardly ever finishes.
const HARDLY: f64 = 0.1;

/// A task that deployments concern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// Its name.
    pub task: String,
    /// What is done to it.
    pub action: DeployAction,
    /// What is done if that doesn't settle it in time.
    pub fallback: Option<DeployAction>,
    /// Its groups.
    pub groups: Vec<String>,
    /// What ends by itself so soon after a deployment's beginning isn't cut off, microseconds.
    pub spared: u64,
    /// After so many interruptions it is protected.
    pub max_interruptions: Option<u32>,
}

/// What was of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Lengths of runs that went to their end, microseconds.
    pub lengths: Vec<u64>,
    /// Lengths of runs that were cut off.
    pub cut_off: Vec<u64>,
    /// When deployments of its groups began, in order.
    pub deployments: Vec<u64>,
}

/// How likely a task finishes.
#[derive(Debug, Clone, PartialEq)]
pub struct Risk {
    /// Task name.
    pub task: String,
    /// What a deployment does to it.
    pub action: &'static str,
    /// How long a run usually takes; what was reached at most if none ever finished.
    pub usual: u64,
    /// 95 of 100 take no longer.
    pub p95: u64,
    /// How many deployments there were.
    pub deployments: u64,
    /// Mean time between two; 0 if there weren't two.
    pub every: u64,
    /// That a run of usual length isn't cut off, 0 to 1.
    pub chance: f64,
    /// One line.
    pub text: String,
}

/// All that are in a group.
pub fn exposed(settings: &Settings) -> Vec<Exposed> {
    let usec = |duration| words::usec(duration);
    let exposed = settings.tasks().iter().filter_map(|(name, task)| {
        let groups = settings.groups().iter();
        let groups: Vec<_> = groups
            .filter(|(_, group)| group.tasks.contains(name))
            .collect();
        let spared = groups.iter().map(|(_, group)| match task.on_deploy.action {
            DeployAction::Wait => group.max_wait.map_or(usec(DEFAULT_MAX_WAIT), usec),
            _ => usec(group.grace),
        });
        let spared = spared.min()?;
        Some(Exposed {
            task: name.clone(),
            action: task.on_deploy.action,
            fallback: task.on_deploy.fallback,
            groups: groups.iter().map(|(name, _)| (*name).clone()).collect(),
            spared,
            max_interruptions: task.on_deploy.max_interruptions,
        })
    });
    exposed.collect()
}

/// A group's `max-wait` if it has none.
const DEFAULT_MAX_WAIT: std::time::Duration = std::time::Duration::from_secs(600);

/// What deployments make of a task's runs.
pub fn risk(it: &Exposed, seen: Seen) -> Risk {
    let Seen {
        mut lengths,
        mut cut_off,
        deployments,
    } = seen;
    lengths.sort_unstable();
    cut_off.sort_unstable();
    let never_finished = lengths.is_empty() && !cut_off.is_empty();
    let (usual, p95) = match never_finished {
        // Nobody knows how long it would take: longer than this.
        true => {
            let longest = percentile(&cut_off, 100);
            (longest, longest)
        }
        false => (percentile(&lengths, 50), percentile(&lengths, 95)),
    };
    let every = mean_distance(&deployments);
    let cuts = cuts_off(it);
    let chance = match (cuts, every) {
        (false, _) | (_, 0) => 1.0,
        #[allow(clippy::cast_precision_loss)]
        (true, every) => (-(usual.saturating_sub(it.spared) as f64) / every as f64).exp(),
    };
    let mut risk = Risk {
        task: it.task.clone(),
        action: it.action.name(),
        usual,
        p95,
        deployments: u64::try_from(deployments.len()).unwrap_or(u64::MAX),
        every,
        chance,
        text: String::new(),
    };
    risk.text = text(it, &risk, never_finished, cut_off.len());
    risk
}

/// Whether a deployment ends its runs.
fn cuts_off(it: &Exposed) -> bool {
    let ends = |action| {
        matches!(
            action,
            DeployAction::Stop | DeployAction::Restart | DeployAction::Checkpoint
        )
    };
    ends(it.action) || it.action == DeployAction::Wait && it.fallback.is_some_and(ends)
}

fn mean_distance(times: &[u64]) -> u64 {
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return 0;
    };
    let distances = u64::try_from(times.len() - 1).unwrap_or(u64::MAX);
    last.saturating_sub(*first)
        .checked_div(distances)
        .unwrap_or(0)
}

fn text(it: &Exposed, risk: &Risk, never_finished: bool, cut_off: usize) -> String {
    let action = risk.action;
    if !cuts_off(it) {
        return format!("its runs go to their end: on-deploy is {action:?}");
    }
    if risk.usual == 0 {
        return "nothing is known of how long its runs take".to_owned();
    }
    let usual = words::duration(risk.usual);
    let takes = match never_finished {
        true => {
            format!("none of its runs went to its end, {cut_off} were cut off after up to {usual}")
        }
        false => format!("a run usually takes {usual}"),
    };
    if risk.every == 0 {
        return format!("{takes}; deployments are too few to say how often they come");
    }
    let comes = format!("a deployment comes every {}", words::duration(risk.every));
    let percent = (risk.chance * 100.0).round();
    let verdict = if risk.chance < HARDLY {
        format!("it hardly ever finishes ({percent} %)")
    } else {
        format!("{percent} % of its runs finish")
    };
    let but = match (it.max_interruptions, it.action) {
        (Some(most), _) => format!(", but after {most} interruptions it is protected"),
        (None, DeployAction::Checkpoint) => ", but goes on from its checkpoint".to_owned(),
        _ => String::new(),
    };
    format!("{takes}, {comes}: {verdict} under {action:?}{but}")
}

impl Reader {
    /// Which of these tasks would hardly ever finish, by what was since then; those with the worst chance first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn at_risk(&self, tasks: &[Exposed], since: Option<u64>) -> Result<Vec<Risk>, ReadError> {
        let since = since.unwrap_or(0);
        let begun = self.deployments(since)?;
        let mut risks = Vec::new();
        for it in tasks {
            let deployments = begun.iter().filter(|(group, _)| it.groups.contains(group));
            let (lengths, cut_off) = self.lengths_of(&it.task, since)?;
            let seen = Seen {
                lengths,
                cut_off,
                deployments: deployments.map(|(_, at)| *at).collect(),
            };
            risks.push(risk(it, seen));
        }
        risks.sort_by(|a, b| a.chance.total_cmp(&b.chance));
        Ok(risks)
    }

    fn lengths_of(&self, task: &str, since: u64) -> Result<(Vec<u64>, Vec<u64>), ReadError> {
        let sql = "SELECT ended - started, result, interruptions <> '' FROM runs
                   WHERE task = ?1 AND ended >= ?2 AND ended IS NOT NULL AND started > 0
                   ORDER BY ended DESC LIMIT ?3";
        let mut statement = self.database.prepare_cached(sql)?;
        let mut rows = statement.query(params![task, signed(since), LATEST])?;
        let (mut lengths, mut cut_off) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let length = unsigned(row.get(0)?);
            let was_met: bool = row.get(2)?;
            match row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)? {
                // Stopped for good by a deployment (action = "stop"), or to go on later.
                "stopped" if was_met => cut_off.push(length),
                "interrupted" => cut_off.push(length),
                "stopped" | "not-started" | "exec-condition" => {}
                _ => lengths.push(length),
            }
        }
        Ok((lengths, cut_off))
    }

    /// Group and beginning of each deployment, in order.
    fn deployments(&self, since: u64) -> Result<Vec<(String, u64)>, ReadError> {
        let has_store: bool = self.database.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deployments')",
            [],
            |row| row.get(0),
        )?;
        let mut sql = "SELECT id, of_group, since FROM deployments_begun".to_owned();
        if has_store {
            // Those of the last hour.
            sql.push_str(
                " UNION SELECT id, body ->> '$.group', since FROM deployments WHERE body ->> '$.group' IS NOT NULL",
            );
        }
        let sql = format!("SELECT of_group, since FROM ({sql}) WHERE since >= ?1 ORDER BY since");
        let mut statement = self.database.prepare(&sql)?;
        let rows = statement.query_map([signed(since)], |row| {
            Ok((row.get(0)?, unsigned(row.get(1)?)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;

    fn stopped() -> Exposed {
        Exposed {
            task: "t".to_owned(),
            action: DeployAction::Stop,
            fallback: None,
            groups: vec!["web".to_owned()],
            spared: 0,
            max_interruptions: None,
        }
    }

    fn seen(length: u64, every: u64) -> Seen {
        Seen {
            lengths: vec![length; 5],
            cut_off: Vec::new(),
            deployments: (0..10).map(|n| n * every).collect(),
        }
    }

    #[test]
    fn who_takes_longer_than_deployments_come_hardly_ever_finishes() {
        let it = risk(&stopped(), seen(300 * MINUTE, 60 * MINUTE));
        assert!(it.chance < 0.01);
        assert_eq!(
            it.text,
            "a run usually takes 5h, a deployment comes every 1h: it hardly ever finishes (1 %) under \"stop\""
        );
        let it = risk(&stopped(), seen(MINUTE, 600 * MINUTE));
        assert!(it.chance > 0.99);
    }

    #[test]
    fn who_is_only_waited_for_finishes() {
        let mut waits = stopped();
        waits.action = DeployAction::Wait;
        assert_eq!(risk(&waits, seen(300 * MINUTE, MINUTE)).chance, 1.0);
        waits.fallback = Some(DeployAction::Stop);
        assert!(risk(&waits, seen(300 * MINUTE, MINUTE)).chance < 0.01);
        waits.spared = 300 * MINUTE;
        assert_eq!(risk(&waits, seen(300 * MINUTE, MINUTE)).chance, 1.0);
    }

    #[test]
    fn who_never_finished_is_judged_by_how_far_it_came() {
        let mut never = seen(0, 60 * MINUTE);
        never.cut_off = std::mem::take(&mut never.lengths);
        never.cut_off.push(120 * MINUTE);
        let it = risk(&stopped(), never);
        assert_eq!(it.usual, 120 * MINUTE);
        assert!(
            it.text
                .starts_with("none of its runs went to its end, 6 were cut off after up to 2h")
        );
    }

    #[test]
    fn without_deployments_nobody_is_at_risk() {
        let mut none = seen(MINUTE, MINUTE);
        none.deployments.truncate(1);
        let it = risk(&stopped(), none);
        assert_eq!((it.chance, it.every, it.deployments), (1.0, 0, 1));
        assert!(it.text.contains("too few"));
        assert!(
            risk(&stopped(), Seen::default())
                .text
                .contains("nothing is known")
        );
    }
}
