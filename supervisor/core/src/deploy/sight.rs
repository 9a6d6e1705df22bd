//! What a deployment sees of the world when it decides what is next.

use std::collections::BTreeMap;

use interlock_generator::policy::settings::DeployAction;

use super::model::Usec;
use super::step::Hook;
use crate::unit::Doing;

/// What is seen.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Now, microseconds of `CLOCK_MONOTONIC`.
    pub now: Usec,
    /// Now, microseconds of `CLOCK_REALTIME`.
    pub realtime: Usec,
    /// The group's units that are loaded, and all members.
    pub units: BTreeMap<String, Seen>,
    /// Units that another deployment goes on holding, with its id.
    pub held_by_others: BTreeMap<String, String>,
    /// The hook that was looked at, and what is seen of its unit.
    pub hook: Option<(Hook, HookSight)>,
}

impl Sight {
    /// What is seen of a hook's unit. One that wasn't looked at is seen next time.
    pub fn of_hook(&self, hook: Hook) -> HookSight {
        match &self.hook {
            Some((seen, sight)) if *seen == hook => sight.clone(),
            _ => HookSight::Unknown,
        }
    }
}

/// What is seen of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// What the policy says about it.
    pub rule: Rule,
    /// What it does.
    pub activity: Activity,
    /// PID 1 has a stop or restart of it queued.
    pub stop_queued: bool,
    /// PID 1 has a start of it queued that hasn't begun.
    pub start_queued: bool,
    /// Others keep it waiting at its gate: a resource, a lock, a job that comes first.
    pub kept_waiting: bool,
    /// It is up for good: active, or a oneshot at work.
    pub is_up: bool,
    /// Its last run failed.
    pub failed: bool,
    /// It holds a lease, or processes are left in its control group.
    pub occupied: bool,
    /// All its processes are frozen.
    pub frozen: bool,
    /// Why it may not be touched now: it holds a lock, or an inhibitor.
    pub busy: Option<String>,
    /// Why it can't be frozen.
    pub unfreezable: Option<String>,
    /// Its invocation id (systemd.exec(5)), empty if not known.
    pub invocation: String,
}

/// What a unit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    /// Nothing.
    #[default]
    Down,
    /// It runs.
    Running,
    /// Between two attempts (`Restart=`): the next one waits at its gate, if it has one.
    Pausing,
    /// It is being stopped.
    Leaving,
}

impl From<Doing> for Activity {
    fn from(doing: Doing) -> Self {
        match doing {
            Doing::Down | Doing::Exited => Self::Down,
            Doing::Starting | Doing::Up => Self::Running,
            Doing::Pausing => Self::Pausing,
            Doing::Leaving => Self::Leaving,
        }
    }
}

/// What the policy says about a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Its task's name.
    pub task: String,
    /// What is to be done to it.
    pub action: DeployAction,
    /// For a checkpoint.
    pub signal: Option<String>,
    /// For a checkpoint, instead of a signal.
    pub command: Vec<String>,
    /// When the action doesn't do.
    pub fallback: Option<DeployAction>,
    /// Whether its starts wait at a gate.
    pub gated: bool,
    /// It has been interrupted too often: why it is protected.
    pub protected: Option<String>,
    /// How long its runs usually take; 0 if not known.
    pub usual: Usec,
}

/// What is seen of a hook's unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HookSight {
    /// It wasn't looked at.
    #[default]
    Unknown,
    /// It doesn't exist.
    Absent,
    /// It runs.
    Running,
    /// It has ended well.
    Succeeded,
    /// It has failed: how.
    Failed(String),
    /// It doesn't exist, and that of the hook before it still runs.
    Blocked,
}

impl Seen {
    /// Nothing runs, nothing is left, and nothing will run but through a gate.
    pub fn is_at_rest(&self) -> bool {
        match self.activity {
            // Without a gate nothing holds a start back that is queued.
            Activity::Down => !self.occupied && (self.rule.gated || !self.start_queued),
            // The next attempt asks for a new lease.
            Activity::Pausing => self.rule.gated,
            Activity::Running | Activity::Leaving => false,
        }
    }
}
