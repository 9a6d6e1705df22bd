//! What a deployment may want to be done, and what PID 1 says to it.

use super::member::{Member, Phase};
use super::model::{Deployment, Usec};

/// A group's hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before anything is done to tasks.
    BeforeSettle,
    /// After all have resumed.
    AfterResume,
}

impl Hook {
    /// As in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeSettle => "before-settle",
            Self::AfterResume => "after-resume",
        }
    }
}

/// What is to be done next. Each may be done twice without harm, except where it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Run a hook as a unit.
    Hook(Hook),
    /// Stop and forget a hook's unit.
    EndHook(Hook),
    /// Freeze the unit's processes.
    Freeze(String),
    /// Thaw them.
    Thaw(String),
    /// Stop the unit.
    Stop(String),
    /// Send the unit's processes a signal. A second one is only sent if the daemon was killed meanwhile.
    Signal(String, String),
    /// Run a checkpoint's command.
    Command(String, Vec<String>),
    /// Queue a start of the unit; `true` if it goes on from a checkpoint.
    Start(String, bool),
    /// Forget that the unit failed: we stopped it.
    Reset(String),
    /// The other deployment resumes this unit: unit, deployment, and how it was met here.
    HandOver(String, String, Box<Member>),
    /// Count an interruption of the unit.
    Interrupted(String),
    /// The unit goes on with old code.
    Stale(String),
}

/// What PID 1 says to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Taken,
    /// It can't be taken: why.
    Refused(String),
    /// Nothing: it may have been taken or not.
    Unknown,
}

impl Deployment {
    /// A step of this unit was asked of PID 1, which is what came of it. Without an answer nobody knows, and what is seen
    /// next says what is still to be done.
    pub fn answered(&mut self, unit: &str, answer: Answer, realtime: Usec) {
        let Some(member) = self.members.get_mut(unit) else {
            return;
        };
        match answer {
            Answer::Taken => {}
            Answer::Refused(why) if member.phase == Phase::Starting => {
                member.enter(Phase::Failed, why, realtime);
            }
            Answer::Refused(why) => member.detail = why,
            Answer::Unknown => return,
        }
        member.asked = true;
    }
}
