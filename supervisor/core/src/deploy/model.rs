//! A deployment: what is written down of it, and how it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::{Member, Phase};
use super::resume::WAITS;
use super::sight::Sight;
use super::step::{Hook, Step};

/// Microseconds.
pub type Usec = u64;

/// Settling may take so long unless the policy or the caller says otherwise.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// What a deployment says that can't come to its end since the host shuts down.
pub const PUT_OFF: &str =
    "the host shuts down: what is to be started again is started after the next boot";

/// Who opened a deployment, or took it over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Owner {
    /// For people: `alice (uid 1000), deploy.sh (pid 123)`.
    pub name: String,
    /// User id.
    pub uid: u32,
}

/// What a deployment begins with.
#[derive(Debug, Clone, Default)]
pub struct Begin {
    /// The group.
    pub group: String,
    /// For people.
    pub reason: String,
    /// Who.
    pub owner: Owner,
    /// The group's `grace`.
    pub grace: Duration,
    /// How long settling may take, the caller's word before the group's.
    pub max_wait: Option<Duration>,
    /// When it ends if nobody holds it, microseconds of `CLOCK_REALTIME`.
    pub expires: Option<Usec>,
    /// The group's hook.
    pub before_settle: Vec<String>,
    /// The group's hook.
    pub after_resume: Vec<String>,
    /// How long each may run.
    pub hook_timeout: Duration,
}

/// A deployment, as it is written down before each step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Deployment {
    /// `GROUP-NUMBER`.
    pub id: String,
    /// The group.
    pub group: String,
    /// For people.
    pub reason: String,
    /// Who holds it.
    pub owner: Owner,
    /// How far it is.
    pub stage: Stage,
    /// Why it fails or has failed.
    pub failure: Option<String>,
    /// `before-settle` was begun.
    pub depooled: bool,
    /// It fails because it could not be settled.
    pub refused: bool,
    /// Who ended it, if it wasn't its holder.
    pub ended_by: Option<String>,
    /// When it began, microseconds of `CLOCK_REALTIME`.
    pub since: Usec,
    /// When it was ready; 0 if it never was.
    pub ready_since: Usec,
    /// When it was over; 0 if it isn't.
    pub ended: Usec,
    /// When it ends if nobody holds it, microseconds of `CLOCK_REALTIME`; 0 if it lives as long as its holder.
    pub expires: Usec,
    /// The group's `grace`, microseconds.
    pub grace: Usec,
    /// How long settling may take, microseconds.
    pub max_wait: Usec,
    /// The boot that the next three belong to.
    pub boot: String,
    /// When grace is over, microseconds of `CLOCK_MONOTONIC`.
    pub grace_until: Usec,
    /// When it must have settled, microseconds of `CLOCK_MONOTONIC`; 0 before it begins to.
    pub deadline: Usec,
    /// When all must have been started again, microseconds of `CLOCK_MONOTONIC`.
    pub watch_until: Usec,
    /// The hook before settling.
    pub before_settle: Vec<String>,
    /// The hook after resuming.
    pub after_resume: Vec<String>,
    /// How long each may run, microseconds.
    pub hook_timeout: Usec,
    /// The units that it met, by name.
    pub members: BTreeMap<String, Member>,
}

/// How far a deployment is, finely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// `before-settle` runs.
    Depool,
    /// Tasks are brought to rest.
    Settle,
    /// All rest; the caller works.
    Ready,
    /// Tasks are thawed, and starts queued.
    Resume,
    /// Admission is open; what was started again is watched.
    Watch,
    /// `after-resume` runs.
    Repool,
    /// Nothing is left to do.
    Over,
}

/// How far a deployment is, as callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Tasks are brought to rest.
    Settling,
    /// All rest.
    Ready,
    /// Tasks go on.
    Ending,
    /// Over, all well.
    Ended,
    /// Over: refused, abandoned, or something could not be started again.
    Failed,
}

impl State {
    /// As in D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Ready => "ready",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

impl Deployment {
    /// A new one. Admission is closed from now on.
    pub fn begin(id: String, boot: &str, it: Begin, realtime: Usec) -> Self {
        let max_wait = it.max_wait.unwrap_or(MAX_WAIT);
        Self {
            id,
            group: it.group,
            reason: it.reason,
            owner: it.owner,
            stage: Stage::Depool,
            failure: None,
            depooled: false,
            refused: false,
            ended_by: None,
            since: realtime,
            ready_since: 0,
            ended: 0,
            expires: it.expires.unwrap_or(0),
            grace: usec(it.grace),
            max_wait: usec(max_wait),
            boot: boot.to_owned(),
            grace_until: 0,
            deadline: 0,
            watch_until: 0,
            before_settle: it.before_settle,
            after_resume: it.after_resume,
            hook_timeout: usec(it.hook_timeout),
            members: BTreeMap::new(),
        }
    }

    /// As callers see it.
    pub fn state(&self) -> State {
        match self.stage {
            Stage::Depool | Stage::Settle => State::Settling,
            Stage::Ready => State::Ready,
            Stage::Resume | Stage::Watch | Stage::Repool => State::Ending,
            Stage::Over if self.failure.is_some() => State::Failed,
            Stage::Over => State::Ended,
        }
    }

    /// Whether the group's starts wait at their gates.
    pub fn closes_admission(&self) -> bool {
        matches!(
            self.stage,
            Stage::Depool | Stage::Settle | Stage::Ready | Stage::Resume
        )
    }

    /// Whether it still holds tasks at rest, and so goes on doing so for another that ends.
    pub fn holds(&self) -> bool {
        matches!(self.stage, Stage::Depool | Stage::Settle | Stage::Ready)
    }

    /// Whether anything is left to do.
    pub fn is_live(&self) -> bool {
        self.stage != Stage::Over
    }

    /// Whether it was ready once.
    pub fn was_ready(&self) -> bool {
        self.ready_since > 0
    }

    /// The hook that the stage is about.
    pub fn hook(&self) -> Option<Hook> {
        match self.stage {
            Stage::Depool => Some(Hook::BeforeSettle),
            Stage::Repool => Some(Hook::AfterResume),
            _ => None,
        }
    }

    /// Somebody ends it; `by` says who and why if it isn't its owner.
    pub fn end(&mut self, by: Option<String>) {
        if !self.holds() {
            return;
        }
        if self.stage != Stage::Ready {
            let whom = by.as_deref().map(|by| format!(" by {by}"));
            let whom = whom.unwrap_or_default();
            self.failure = Some(format!("it was ended{whom} before it was ready"));
        }
        self.ended_by = by;
        self.stage = Stage::Resume;
    }

    /// It can't go on: all resumes, and it ends as failed.
    pub fn fail(&mut self, why: impl Into<String>) {
        if self.holds() {
            self.failure = Some(why.into());
            self.stage = Stage::Resume;
        }
    }

    /// It can't be settled: all is undone.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.refused = self.holds();
        self.fail(why);
    }

    /// After a reboot nothing is frozen, nothing of the group runs that was met, and the old clock says nothing.
    pub fn rebooted(&mut self, boot: &str, now: Usec, realtime: Usec) {
        if self.boot == boot {
            return;
        }
        self.boot = boot.to_owned();
        // What hasn't begun has no end yet.
        if self.deadline > 0 {
            self.grace_until = now;
            self.deadline = now.saturating_add(self.max_wait);
        }
        if self.watch_until > 0 {
            self.watch_from(now);
        }
        let is_watched = self.stage == Stage::Watch;
        for member in self.members.values_mut() {
            match member.phase {
                // It was to go on when it had come to its checkpoint.
                Phase::Checkpointing if is_watched => member.enter(Phase::Starting, "", realtime),
                Phase::Stopping | Phase::Checkpointing => {
                    member.enter(Phase::Stopped, "stopped by a reboot", realtime);
                }
                Phase::Starting => member.asked = false,
                // Its start was still queued.
                Phase::Resumed if member.detail == WAITS => {
                    member.enter(Phase::Starting, "", realtime);
                }
                Phase::Stopped | Phase::Resumed | Phase::Failed => {}
                _ => member.enter(Phase::Ended, "ended by a reboot", realtime),
            }
        }
        let mut members = self.members.values();
        if self.stage == Stage::Repool && members.any(|it| it.phase == Phase::Starting) {
            self.stage = Stage::Watch;
            self.watch_from(now);
        }
    }

    /// One look: [`Deployment::advance`], but nothing comes to its end while the host shuts down, since nothing is started
    /// any more. What is to be started again is started after the next boot then. Says whether its end was put off so.
    pub fn look(&mut self, sight: &Sight, is_stopping: bool) -> (Vec<Step>, bool) {
        let before = self.clone();
        let mut steps = self.advance(sight);
        let is_put_off = is_stopping && !before.holds();
        if is_put_off {
            *self = before;
            steps.retain(|step| matches!(step, Step::Thaw(_)));
        }
        (steps, is_put_off)
    }

    /// What is next, by what is seen. To be written down before the steps are taken.
    pub fn advance(&mut self, sight: &Sight) -> Vec<Step> {
        let mut steps = Vec::new();
        // Several stages may be over at one sight; each but the last adds its steps.
        loop {
            let before = self.stage;
            self.watch_rest(sight, &mut steps);
            match self.stage {
                Stage::Depool => self.depool(sight, &mut steps),
                Stage::Settle => self.settle(sight, &mut steps),
                Stage::Ready | Stage::Over => {}
                Stage::Resume => self.resume(sight, &mut steps),
                Stage::Watch => self.watch(sight, &mut steps),
                Stage::Repool => self.repool(sight, &mut steps),
            }
            if self.stage == before {
                return steps;
            }
        }
    }

    /// Whether it has stopped the unit, to start it again.
    pub fn is_stopped(&self, unit: &str) -> bool {
        let member = self.members.get(unit);
        self.holds() && member.is_some_and(|m| m.phase == Phase::Stopped && (m.resume || m.undo))
    }

    /// Somebody stopped a unit that is at rest already: it is to stay so.
    pub fn stopped_by_somebody(&mut self, unit: &str) {
        let is_stopped = self.is_stopped(unit);
        if let Some(member) = self.members.get_mut(unit).filter(|_| is_stopped) {
            member.resume = false;
            member.undo = false;
            member.detail = "somebody stopped it meanwhile: it stays so".to_owned();
        }
    }

    /// Another deployment that has ended leaves this unit to this one.
    pub fn take_over(&mut self, unit: &str, member: Member) {
        let known = self.members.get(unit);
        let holds_it_frozen = known.is_some_and(Member::may_be_frozen) && member.may_be_frozen();
        if !holds_it_frozen {
            self.members.insert(unit.to_owned(), member);
        }
    }

    /// When time alone changes something, microseconds of `CLOCK_MONOTONIC`.
    pub fn next_time(&self, now: Usec) -> Option<Usec> {
        let times = match self.stage {
            Stage::Settle => vec![self.grace_until, self.deadline, self.last_deadline()],
            Stage::Watch => vec![self.watch_until],
            _ => Vec::new(),
        };
        times.into_iter().filter(|at| *at > now).min()
    }

    /// By when those must rest that the fallback is done to.
    pub(super) fn last_deadline(&self) -> Usec {
        self.deadline
            .saturating_add(self.max_wait.max(FALLBACK_TIME))
    }
}

/// A fallback gets as long as settling got, and no less than systemd's default stop timeout with its SIGKILL.
pub(super) const FALLBACK_TIME: Usec = 100_000_000;

fn usec(duration: Duration) -> Usec {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}
