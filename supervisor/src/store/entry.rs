//! What the queue is made of.

use serde::{Deserialize, Serialize};

/// Where an entry stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// To be started when there is room.
    #[default]
    Queued,
    /// Queued from [`Entry::not_before`] on.
    Delayed,
    /// Queued when the task's run or the transaction from inside which it was asked for is over.
    Behind,
    /// Its lease was granted; what became of it isn't known yet.
    Running,
}

impl State {
    /// As on D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delayed => "delayed",
            Self::Behind => "behind",
            Self::Running => "running",
        }
    }

    pub(super) fn number(self) -> i64 {
        match self {
            Self::Queued => 0,
            Self::Delayed => 1,
            Self::Behind => 2,
            Self::Running => 3,
        }
    }

    pub(super) fn of(number: i64) -> Self {
        match number {
            1 => Self::Delayed,
            2 => Self::Behind,
            3 => Self::Running,
            _ => Self::Queued,
        }
    }

    /// By its name on D-Bus.
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Delayed, Self::Behind, Self::Running];
        all.into_iter().find(|state| state.name() == name)
    }
}

/// Why an entry is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Somebody asked for it.
    #[default]
    Submitted,
    /// A run of the unit has failed that nobody had submitted.
    Retry,
}

/// A start that is to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// The unit to be started.
    pub unit: String,
    /// Its task's name.
    pub task: String,
    /// Where it stands.
    pub state: State,
    /// Why it is there.
    pub kind: Kind,
    /// Higher is started first; added to the task's.
    pub priority: i32,
    /// Lower is started first, among equals.
    pub position: i64,
    /// The batch that it belongs to.
    pub batch: Option<u64>,
    /// Who asked, for people.
    pub by: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
    /// Earliest start, microseconds of `CLOCK_REALTIME`.
    pub not_before: u64,
    /// Latest start (its window's end), microseconds of `CLOCK_REALTIME`; 0 if none.
    pub not_after: u64,
    /// Which run of its streak the next one is, from 1.
    pub attempt: u32,
    /// Signatures of the streak's failures.
    pub signatures: Vec<String>,
    /// The task whose run has to end first; empty if none.
    pub after_unit: String,
    /// The process whose transaction has to end first; 0 if none.
    pub after_pid: i32,
    /// When that process started, clock ticks since boot.
    pub after_start: u64,
    /// The boot of these, or of its run.
    pub boot: String,
    /// When its run's lease was granted, microseconds of `CLOCK_REALTIME`; 0 if it doesn't run.
    pub granted: u64,
    /// The same, microseconds of `CLOCK_MONOTONIC`; 0 if it isn't known.
    pub granted_monotonic: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its run has succeeded.
    Done,
    /// Its last run has failed.
    Failed,
    /// It isn't wanted any more.
    Cancelled,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this task, or this unit.
    pub task: Option<String>,
    /// Of this batch.
    pub batch: Option<u64>,
    /// In this state.
    pub state: Option<State>,
    /// At most so many.
    pub limit: u32,
}

/// Numbers of a task's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be started when there is room.
    pub queued: u64,
    /// Queued later.
    pub delayed: u64,
    /// Queued after something.
    pub behind: u64,
    /// Running, or just ended.
    pub running: u64,
}

/// Where to put entries among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Before all others of equal priority.
    First,
    /// After them.
    Last,
    /// This priority.
    Priority(i32),
}
