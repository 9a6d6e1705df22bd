//! What a measure reads from the facts.

use super::facts::{Facts, Past, PastTask, State};
use super::metrics::age;
use super::threshold::Measure;
use crate::daemon::words::{duration, time_of_day};

/// How many units or chains are named.
const NAMED: usize = 5;

/// A number, and what it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// A number of things, or microseconds.
    pub(super) value: u64,
    /// The unit or task that has the value, if it is one's.
    pub(super) who: String,
    /// Lines for the long output.
    pub(super) details: Vec<String>,
}

impl Reading {
    fn of(value: u64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    fn listing(details: Vec<String>) -> Self {
        Self {
            value: details.len() as u64,
            who: String::new(),
            details,
        }
    }
}

/// What it is now, of one task or of all. `Err` if the history is needed and can't be read: why.
pub(super) fn read(facts: &Facts, measure: Measure, task: Option<&str>) -> Result<Reading, String> {
    let past = || facts.past.as_ref().map_err(Clone::clone);
    Ok(match measure {
        Measure::Failed => failed(past()?, task),
        Measure::FailuresHour => Reading::of(of(past()?, task).failures_hour),
        Measure::FailuresDay => Reading::of(of(past()?, task).failures_day),
        Measure::Wait => longest(facts, State::Waiting, task),
        Measure::Held => longest(facts, State::Held, task),
        Measure::Hold => oldest_hold(facts, task),
        Measure::Frozen => longest(facts, State::Frozen, task),
        Measure::Deployment => oldest_deployment(facts),
        Measure::Queue => queue(facts, task),
        Measure::Skips => skips(past()?, task),
        Measure::Stale => stale(facts, task),
        Measure::Success => match task {
            Some(task) => success(facts, past()?, task),
            None => Reading::default(),
        },
        Measure::ExpectSuccess => expected(facts, past()?, task),
        Measure::Deadlocks => Reading::listing(facts.live.deadlocks.clone()),
        Measure::Policy => policy(facts),
        Measure::Database => database(facts),
    })
}

fn of(past: &Past, task: Option<&str>) -> PastTask {
    match task {
        Some(task) => past.tasks.get(task).cloned().unwrap_or_default(),
        None => past.total(),
    }
}

fn is_of(wanted: Option<&str>, task: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == task)
}

fn failed(past: &Past, task: Option<&str>) -> Reading {
    let tasks = past.tasks.iter().filter(|(name, _)| is_of(task, name));
    let details = tasks
        .filter(|(_, task)| task.failed > 0)
        .map(|(name, task)| {
            let named: Vec<&str> = task.failed_units.iter().map(String::as_str).collect();
            let named = &named[..named.len().min(NAMED)];
            let more = match task.failed.saturating_sub(named.len() as u64) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{name}: {} ({}{more})", task.failed, named.join(", "))
        });
    Reading {
        value: of(past, task).failed,
        who: String::new(),
        details: details.collect(),
    }
}

/// What has stood longest: how long, whose it is, and the oldest few in words.
fn oldest<T>(
    facts: &Facts,
    mut all: Vec<&T>,
    since: impl Fn(&T) -> u64,
    who: impl Fn(&T) -> &str,
    words: impl Fn(&T) -> String,
) -> Reading {
    all.sort_by_key(|it| since(it));
    let Some(first) = all.first() else {
        return Reading::default();
    };
    Reading {
        value: age(facts.now, since(first)),
        who: who(first).to_owned(),
        details: all.iter().take(NAMED).map(|it| words(it)).collect(),
    }
}

fn longest(facts: &Facts, state: State, task: Option<&str>) -> Reading {
    let standings = facts.live.standings.iter();
    let all = standings.filter(|it| it.state == state && is_of(task, &it.task));
    oldest(
        facts,
        all.collect(),
        |it| it.since,
        |it| &it.unit,
        |it| {
            let for_so_long = duration(age(facts.now, it.since));
            format!("{} ({for_so_long}): {}", it.unit, it.detail)
        },
    )
}

fn oldest_hold(facts: &Facts, task: Option<&str>) -> Reading {
    let holds = facts.live.holds.iter();
    let all = holds.filter(|it| is_of(task, &it.task));
    oldest(
        facts,
        all.collect(),
        |it| it.since,
        |it| &it.unit,
        |it| {
            let since = time_of_day(it.since);
            format!("{} since {since}, by {}: {}", it.unit, it.by, it.reason)
        },
    )
}

fn oldest_deployment(facts: &Facts) -> Reading {
    let all = facts.live.deployments.iter();
    oldest(
        facts,
        all.collect(),
        |it| it.since,
        |it| &it.id,
        |it| {
            let since = time_of_day(it.since);
            format!("{} is {} since {since}, of {}", it.id, it.state, it.owner)
        },
    )
}

fn queue(facts: &Facts, task: Option<&str>) -> Reading {
    let tasks = facts.live.queue.iter();
    let mut reading = Reading::default();
    for (name, depth) in tasks.filter(|(name, _)| is_of(task, name)) {
        reading.value += depth.waiting();
        if depth.waiting() > 0 {
            let paused = if depth.is_paused { ", paused" } else { "" };
            let (waiting, running) = (depth.waiting(), depth.running);
            reading.details.push(format!(
                "{name}: {waiting} queued, {running} running{paused}"
            ));
        }
    }
    reading
}

fn skips(past: &Past, task: Option<&str>) -> Reading {
    let tasks = past.tasks.iter().filter(|(name, _)| is_of(task, name));
    let most = tasks.max_by_key(|(_, task)| task.skips_in_a_row);
    most.map_or_else(Reading::default, |(name, task)| Reading {
        value: task.skips_in_a_row,
        who: name.clone(),
        details: Vec::new(),
    })
}

fn stale(facts: &Facts, task: Option<&str>) -> Reading {
    let standings = facts.live.standings.iter();
    let stale = standings.filter(|it| it.is_stale && is_of(task, &it.task));
    Reading::listing(
        stale
            .map(|it| format!("{}: {}", it.unit, it.detail))
            .collect(),
    )
}

/// For how long the task hasn't succeeded; one that never has, since there is a history.
fn success(facts: &Facts, past: &Past, task: &str) -> Reading {
    let last = of(past, Some(task)).last_success;
    let (since, detail) = match last {
        0 => (past.began, format!("{task} has never succeeded")),
        last => {
            let when = time_of_day(last);
            (last, format!("{task} last succeeded at {when}"))
        }
    };
    Reading {
        value: age(facts.now, since),
        who: task.to_owned(),
        details: vec![detail],
    }
}

/// Whether the task didn't succeed within the time that its policy expects it in.
pub(super) fn is_overdue(facts: &Facts, past: &Past, task: &str) -> bool {
    let period = facts.live.tasks.get(task).and_then(|it| it.expect_success);
    period.is_some_and(|period| success(facts, past, task).value >= period)
}

fn expected(facts: &Facts, past: &Past, task: Option<&str>) -> Reading {
    let tasks = facts
        .live
        .tasks
        .iter()
        .filter(|(name, _)| is_of(task, name));
    let late = tasks.filter_map(|(name, task)| {
        let period = task.expect_success?;
        is_overdue(facts, past, name).then(|| {
            let reading = success(facts, past, name);
            let period = duration(period);
            format!("{}, expected within {period}", reading.details.join(" "))
        })
    });
    Reading::listing(late.collect())
}

fn policy(facts: &Facts) -> Reading {
    let live = &facts.live;
    if live.policy == "good" {
        return Reading::default();
    }
    Reading {
        value: (live.policy_errors.len() as u64).max(1),
        who: live.policy.clone(),
        details: live.policy_errors.iter().take(NAMED).cloned().collect(),
    }
}

fn database(facts: &Facts) -> Reading {
    let wrong = facts.live.database.iter().cloned();
    let unreadable = facts.past.as_ref().err().cloned();
    let mut all: Vec<String> = wrong.chain(unreadable).collect();
    all.dedup();
    Reading::listing(all)
}
