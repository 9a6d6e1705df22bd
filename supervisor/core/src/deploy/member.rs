//! A unit in a deployment.

use interlock_generator::policy::settings::DeployAction;
use serde::{Deserialize, Serialize};

use super::model::Usec;

/// A unit that ran when a deployment began, or while it settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Member {
    /// Its task's name in the policy.
    pub task: String,
    /// What is done to it: the policy's action, `protect` if it was interrupted too often, or the fallback.
    pub action: DeployAction,
    /// How far that is.
    pub phase: Phase,
    /// One line for people, may be empty.
    pub detail: String,
    /// Since when it is in this phase, microseconds of `CLOCK_REALTIME`.
    pub since: Usec,
    /// How long its runs usually take, microseconds; 0 if not known.
    pub usual: Usec,
    /// The run that was met.
    pub invocation: String,
    /// It is started again at the end.
    pub resume: bool,
    /// It is started again if the deployment is refused: it was stopped.
    pub undo: bool,
    /// It has been told to end at a checkpoint: its next run is a resumed one.
    pub checkpointed: bool,
    /// The fallback has been taken.
    pub fell_back: bool,
    /// The phase's step has been taken.
    pub asked: bool,
    /// It outlived the deployment with this run.
    pub stale: bool,
}

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing has been done to it yet.
    Running,
    /// It is waited for.
    Waiting,
    /// It is being frozen.
    Freezing,
    /// It is frozen.
    Frozen,
    /// It is being stopped.
    Stopping,
    /// It was stopped.
    Stopped,
    /// It was told to end at its next checkpoint.
    Checkpointing,
    /// It ended by itself.
    Ended,
    /// It is left alone.
    Ignored,
    /// It is being started again.
    Starting,
    /// It goes on, or has been started again.
    Resumed,
    /// It could not be started again.
    Failed,
}

impl Phase {
    /// As in D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Checkpointing => "checkpointing",
            Self::Ended => "ended",
            Self::Ignored => "ignored",
            Self::Starting => "starting",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }

    /// Nothing more is to be done to it before the end.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Frozen | Self::Stopped | Self::Ended | Self::Ignored
        )
    }
}

impl Member {
    /// One that nothing has been done to.
    pub fn new(task: &str, action: DeployAction, invocation: &str, usual: Usec, now: Usec) -> Self {
        Self {
            task: task.to_owned(),
            action,
            phase: Phase::Running,
            detail: String::new(),
            since: now,
            usual,
            invocation: invocation.to_owned(),
            resume: false,
            undo: false,
            checkpointed: false,
            fell_back: false,
            asked: false,
            stale: false,
        }
    }

    /// Goes on to another phase, at a time in microseconds of `CLOCK_REALTIME`.
    pub fn enter(&mut self, phase: Phase, detail: impl Into<String>, at: Usec) {
        let detail = detail.into();
        if self.phase != phase {
            self.since = at;
            self.asked = false;
            self.phase = phase;
        }
        self.detail = detail;
    }

    /// Whether interlock may have frozen it.
    pub fn may_be_frozen(&self) -> bool {
        matches!(self.phase, Phase::Freezing | Phase::Frozen)
    }
}
