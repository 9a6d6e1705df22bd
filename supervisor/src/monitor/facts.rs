//! What is known at one moment: of the engine ([`Live`]) and of the history ([`Past`]). All by task, never by
//! instance, so that six hundred instances of a template are one line of metrics.

use std::collections::BTreeMap;

use crate::history::WAITED;

/// Upper bounds of the histogram of waits, seconds. Waits are seconds among short tasks and hours behind an import.
pub const BUCKETS: [u64; WAITED.len()] = {
    let mut seconds = WAITED;
    let mut at = 0;
    while at < seconds.len() {
        seconds[at] /= 1_000_000;
        at += 1;
    }
    seconds
};

/// Everything. Times are microseconds, points in time of `CLOCK_REALTIME`.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// When.
    pub now: u64,
    /// Of the engine.
    pub live: Live,
    /// Of the history; or why it can't be read.
    pub past: Result<Past, String>,
}

/// What the engine knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// interlockd's version.
    pub version: String,
    /// When interlockd started.
    pub started: u64,
    /// `good`, `last-good` or `partial`.
    pub policy: String,
    /// One line for each error of the policy.
    pub policy_errors: Vec<String>,
    /// What is wrong with the database, if anything.
    pub database: Option<String>,
    /// By name.
    pub resources: BTreeMap<String, ResourceUse>,
    /// The policy's tasks, by name.
    pub tasks: BTreeMap<String, LiveTask>,
    /// What runs, waits, is held or frozen, or is blocked by a bad policy; each unit once.
    pub standings: Vec<Standing>,
    /// Deployments that are alive.
    pub deployments: Vec<Deployment>,
    /// What operators hold, or want skipped.
    pub holds: Vec<Hold>,
    /// The policy's groups, of which there may be a deployment.
    pub groups: Vec<String>,
    /// The chains of the deadlocks that are there now.
    pub deadlocks: Vec<String>,
    /// How many deadlocks have ever been found.
    pub deadlocks_found: u64,
    /// The queue of submitted starts, by task.
    pub queue: BTreeMap<String, QueueDepth>,
}

/// A resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceUse {
    /// Shares that there are.
    pub capacity: u32,
    /// Shares that are held; more than the capacity after that was lowered.
    pub used: u64,
}

/// A task of the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveTask {
    /// `expect-success`, microseconds.
    pub expect_success: Option<u64>,
}

/// What a unit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Has its lease.
    Running,
    /// At its gate, for resources.
    Waiting,
    /// At its gate, for a deployment, an operator or other jobs.
    Held,
    /// Stopped in the middle by a deployment.
    Frozen,
    /// Its policy has errors.
    Blocked,
}

impl State {
    /// In the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Waiting,
        Self::Held,
        Self::Frozen,
        Self::Blocked,
    ];

    /// As `interlockctl status` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Frozen => "frozen",
            Self::Blocked => "blocked",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A unit with something going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its task.
    pub task: String,
    /// The unit.
    pub unit: String,
    /// What it does.
    pub state: State,
    /// Since when; 0 if not known.
    pub since: u64,
    /// One line about it.
    pub detail: String,
    /// It runs code from before a deployment.
    pub is_stale: bool,
}

/// An operator's word about the starts of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its task.
    pub task: String,
    /// What is held.
    pub unit: String,
    /// Since when.
    pub since: u64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A deployment that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// `GROUP-NUMBER`.
    pub id: String,
    /// Its group.
    pub group: String,
    /// `settling`, `ready` or `ending`.
    pub state: String,
    /// Since when.
    pub since: u64,
    /// Whose it is.
    pub owner: String,
}

/// Of one task in the queue of submitted starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Ready to be started.
    pub queued: u64,
    /// Retries whose time hasn't come.
    pub delayed: u64,
    /// Behind the task or transaction that asked for them.
    pub behind: u64,
    /// Started by the queue.
    pub running: u64,
    /// Nothing of it is started.
    pub is_paused: bool,
}

impl QueueDepth {
    /// What is still to be started.
    pub fn waiting(&self) -> u64 {
        self.queued + self.delayed + self.behind
    }
}

/// What the history knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// Since when there is a history; 0 if it is empty.
    pub began: u64,
    /// By task; also of tasks that the policy no longer has.
    pub tasks: BTreeMap<String, PastTask>,
    /// The oldest first.
    pub samples: Vec<Sample>,
}

/// A task's past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastTask {
    /// Units whose last run failed for good.
    pub failed: u64,
    /// Some of them.
    pub failed_units: Vec<String>,
    /// When a run last succeeded; 0 if never.
    pub last_success: u64,
    /// When a run last ended; 0 if never.
    pub last_end: u64,
    /// How many starts in a row were skipped, up to now.
    pub skips_in_a_row: u64,
    /// Runs that failed within the last hour.
    pub failures_hour: u64,
    /// Runs that failed within the last day.
    pub failures_day: u64,
    /// Runs ever, by result.
    pub runs: BTreeMap<String, u64>,
    /// Skips ever, by reason in a word.
    pub skips: BTreeMap<String, u64>,
    /// Waits ever: how many were within each of [`BUCKETS`] but not the one before, and how many were longer.
    pub waits: [u64; BUCKETS.len() + 1],
    /// All waits together.
    pub waited: u64,
    /// All runs together.
    pub ran: u64,
}

impl PastTask {
    /// Adds another task's.
    pub fn add(&mut self, other: &Self) {
        self.failed += other.failed;
        self.failed_units.extend(other.failed_units.iter().cloned());
        self.last_success = self.last_success.max(other.last_success);
        self.last_end = self.last_end.max(other.last_end);
        self.skips_in_a_row = self.skips_in_a_row.max(other.skips_in_a_row);
        self.failures_hour += other.failures_hour;
        self.failures_day += other.failures_day;
        for (result, n) in &other.runs {
            *self.runs.entry(result.clone()).or_default() += n;
        }
        for (reason, n) in &other.skips {
            *self.skips.entry(reason.clone()).or_default() += n;
        }
        for (mine, others) in self.waits.iter_mut().zip(other.waits) {
            *mine += others;
        }
        self.waited += other.waited;
        self.ran += other.ran;
    }
}

/// How many units had failed for good at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: u64,
    /// By task; tasks without any may be missing.
    pub failed: BTreeMap<String, u64>,
}

const HOUR: u64 = 3600 * 1_000_000;
const WEEK: u64 = 7 * 24 * HOUR;
/// A mean of fewer says nothing about what is usual.
const ENOUGH: usize = 3;

impl Past {
    /// Tasks that the policy no longer has keep their counts of what was, and stand for nothing that is: nobody
    /// could ever mend them.
    #[must_use]
    pub fn of_policy(mut self, live: &Live) -> Self {
        let is_gone = |name: &String| !live.tasks.contains_key(name);
        for (_, task) in self.tasks.iter_mut().filter(|(name, _)| is_gone(name)) {
            task.failed = 0;
            task.failed_units.clear();
            task.skips_in_a_row = 0;
        }
        for sample in &mut self.samples {
            sample.failed.retain(|name, _| !is_gone(name));
        }
        self
    }

    /// All tasks together.
    pub fn total(&self) -> PastTask {
        let mut total = PastTask::default();
        for task in self.tasks.values() {
            total.add(task);
        }
        total
    }

    /// How many units have usually failed for good, of one task or of all: the mean of the last seven days
    /// without the last hour, which may be just what is to be noticed. `Err` with the number of samples that
    /// there are if they are too few.
    pub fn baseline(&self, task: Option<&str>, now: u64) -> Result<f64, usize> {
        let usual = now.saturating_sub(WEEK)..now.saturating_sub(HOUR);
        let samples = self.samples.iter().filter(|s| usual.contains(&s.at));
        let counts: Vec<u64> = samples
            .map(|sample| match task {
                Some(task) => sample.failed.get(task).copied().unwrap_or(0),
                None => sample.failed.values().sum(),
            })
            .collect();
        match counts.len() {
            few if few < ENOUGH => Err(few),
            // Counts of units are far below what an f64 holds exactly.
            enough => Ok(counts.iter().sum::<u64>() as f64 / enough as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_left_the_policy_raises_no_alarm() {
        let mut past = Past::default();
        let mut live = Live::default();
        for name in ["kept", "gone"] {
            let task = PastTask {
                failed: 2,
                failed_units: vec![format!("{name}.service")],
                skips_in_a_row: 5,
                runs: [("exit-code".to_owned(), 7)].into(),
                ..PastTask::default()
            };
            past.tasks.insert(name.to_owned(), task);
        }
        past.samples.push(Sample {
            at: 1,
            failed: [("kept".to_owned(), 2), ("gone".to_owned(), 9)].into(),
        });
        live.tasks.insert(
            "kept".to_owned(),
            LiveTask {
                expect_success: None,
            },
        );
        let past = past.of_policy(&live);
        let total = past.total();
        assert_eq!((total.failed, total.failed_units.len()), (2, 1));
        assert_eq!(past.tasks["gone"].skips_in_a_row, 0);
        assert_eq!(total.runs["exit-code"], 14);
        assert_eq!(past.samples[0].failed.len(), 1);
    }
}
