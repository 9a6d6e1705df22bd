//! After the caller: all goes on that ran before, and nothing else.

use super::member::{Member, Phase};
use super::model::{Deployment, Stage, Usec};
use super::sight::{Activity, HookSight, Seen, Sight};
use super::step::{Hook, Step};

/// What is started again must have started within this time, if systemd doesn't give up earlier.
const START_TIME: Usec = 100_000_000;
/// A service that lives as long as this after its start has started well: `Type=simple` says nothing by itself.
const LIVES: Usec = 500_000;

/// A start that others keep waiting at its gate.
pub(super) const WAITS: &str = "it waits for its turn";
/// One that heard no call for a checkpoint as long as it was waited for is unlikely to do so after its fallback.
const LINGER: Usec = 10_000_000;

impl Deployment {
    pub(super) fn resume(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        let was_ready = self.was_ready();
        if self.deadline == 0 && !self.before_settle.is_empty() {
            // It was ended while this ran.
            steps.push(Step::EndHook(Hook::BeforeSettle));
        }
        // Thawing comes before everything else.
        for (unit, member) in &mut self.members {
            let seen = sight.units.get(unit);
            let other = sight.held_by_others.get(unit);
            if was_ready {
                mark_stale(unit, member, seen, steps);
            }
            match member.phase {
                Phase::Frozen | Phase::Freezing if other.is_some() => {
                    hand_over(unit, member, other, sight, steps);
                }
                Phase::Frozen | Phase::Freezing => {
                    steps.push(Step::Thaw(unit.clone()));
                    let phase = match member.checkpointed {
                        // Frozen on its way to a checkpoint.
                        true => Phase::Waiting,
                        false => Phase::Resumed,
                    };
                    member.enter(phase, "", sight.realtime);
                }
                _ => {}
            }
        }
        let mut all_asked = true;
        for (unit, member) in &mut self.members {
            let seen = sight.units.get(unit).cloned().unwrap_or_default();
            let other = sight.held_by_others.get(unit);
            let again = member.resume || (member.undo && !was_ready);
            match member.phase {
                Phase::Stopping | Phase::Stopped if !again => {}
                // Told to end at a checkpoint, and still at it: it goes on when it has ended.
                Phase::Waiting | Phase::Ignored if again && !was_acted_on(&seen) => {
                    member.enter(Phase::Checkpointing, "", sight.realtime);
                    member.asked = true;
                }
                // It ended after all, as it was told.
                Phase::Ignored | Phase::Ended if again && seen.is_at_rest() => {
                    member.enter(Phase::Starting, "", sight.realtime);
                    steps.push(Step::Start(unit.clone(), member.checkpointed));
                    all_asked = false;
                }
                Phase::Waiting if again => {
                    member.enter(Phase::Starting, "", sight.realtime);
                    steps.push(Step::Start(unit.clone(), member.checkpointed));
                    all_asked = false;
                }
                Phase::Stopping | Phase::Stopped if other.is_some() => {
                    member.resume = true;
                    hand_over(unit, member, other, sight, steps);
                }
                Phase::Stopping if !was_acted_on(&seen) => {
                    // The stop was never sent.
                    member.enter(Phase::Resumed, "", sight.realtime);
                }
                Phase::Stopping | Phase::Stopped => {
                    member.enter(Phase::Starting, "", sight.realtime);
                    steps.push(Step::Start(unit.clone(), member.checkpointed));
                    all_asked = false;
                }
                Phase::Starting if !is_under_way(member, &seen) => {
                    steps.push(Step::Start(unit.clone(), member.checkpointed));
                    all_asked = false;
                }
                Phase::Running | Phase::Waiting | Phase::Ignored => {
                    member.enter(Phase::Resumed, "", sight.realtime);
                }
                _ => {}
            }
        }
        if all_asked {
            self.stage = Stage::Watch;
            self.watch_from(sight.now);
        }
    }

    /// All must have been started again in time.
    pub(super) fn watch_from(&mut self, now: Usec) {
        self.watch_until = now.saturating_add(self.max_wait.max(START_TIME));
    }

    pub(super) fn watch(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        let is_late = sight.now >= self.watch_until;
        let mut is_done = true;
        for (unit, member) in &mut self.members {
            let seen = sight.units.get(unit).cloned().unwrap_or_default();
            let at = sight.realtime;
            match member.phase {
                // interlockd was killed before it could; or just after, and then it runs twice rather than never.
                Phase::Starting if !is_under_way(member, &seen) => {
                    steps.push(Step::Start(unit.clone(), member.checkpointed));
                    is_done = false;
                }
                Phase::Starting => match outcome(member, &seen, is_late, at) {
                    Some((phase, detail)) => member.enter(phase, detail, at),
                    None => is_done = false,
                },
                // It was told to end before the deployment was given up, and will: it goes on then.
                Phase::Checkpointing if seen.is_at_rest() && seen.activity == Activity::Down => {
                    member.enter(Phase::Starting, "", at);
                    steps.push(Step::Start(unit.clone(), true));
                    is_done = false;
                }
                // interlockd was killed before it could tell it to end, or just after: it is told, and goes on then.
                Phase::Checkpointing if !member.asked && seen.activity == Activity::Running => {
                    steps.push(ask_for_checkpoint(unit, &seen));
                    is_done = false;
                }
                Phase::Checkpointing
                    if is_late
                        || (member.fell_back && at.saturating_sub(member.since) > LINGER) =>
                {
                    member.enter(Phase::Resumed, "it never ended at a checkpoint", at);
                }
                Phase::Checkpointing => is_done = false,
                _ => {}
            }
        }
        if !is_done {
            return;
        }
        let failed = self.members.iter().find(|(_, m)| m.phase == Phase::Failed);
        if let Some((unit, member)) = failed
            && self.failure.is_none()
        {
            self.failure = Some(format!(
                "{unit} could not be started again: {}",
                member.detail
            ));
        }
        self.stage = Stage::Repool;
    }

    pub(super) fn repool(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        let is_broken = self.members.values().any(|m| m.phase == Phase::Failed);
        // What was never taken out needn't be put back.
        let is_out = self.before_settle.is_empty() || self.depooled;
        if !self.after_resume.is_empty() && !is_broken && is_out {
            match sight.of_hook(Hook::AfterResume) {
                HookSight::Absent => {
                    steps.push(Step::Hook(Hook::AfterResume));
                    return;
                }
                // interlockd was killed before it could end that, or PID 1 didn't answer.
                HookSight::Blocked => {
                    steps.push(Step::EndHook(Hook::BeforeSettle));
                    return;
                }
                HookSight::Running | HookSight::Unknown => return,
                HookSight::Succeeded => {}
                HookSight::Failed(how) => {
                    let why = format!("its after-resume hook failed: {how}");
                    self.failure.get_or_insert(why);
                }
            }
            steps.push(Step::EndHook(Hook::AfterResume));
        }
        self.stage = Stage::Over;
        self.ended = sight.realtime;
    }
}

/// What tells a unit to end at its next checkpoint.
pub(super) fn ask_for_checkpoint(unit: &str, seen: &Seen) -> Step {
    match &seen.rule.signal {
        Some(signal) => Step::Signal(unit.to_owned(), signal.clone()),
        None => Step::Command(unit.to_owned(), seen.rule.command.clone()),
    }
}

fn mark_stale(unit: &str, member: &mut Member, seen: Option<&Seen>, steps: &mut Vec<Step>) {
    let runs_on = seen.is_some_and(|seen| {
        seen.activity == Activity::Running
            && !seen.invocation.is_empty()
            && seen.invocation == member.invocation
    });
    if runs_on && !member.stale && matches!(member.phase, Phase::Frozen | Phase::Ignored) {
        member.stale = true;
        steps.push(Step::Stale(unit.to_owned()));
    }
}

fn hand_over(
    unit: &str,
    member: &mut Member,
    other: Option<&String>,
    sight: &Sight,
    steps: &mut Vec<Step>,
) {
    if let Some(other) = other {
        let step = Step::HandOver(unit.to_owned(), other.clone(), Box::new(member.clone()));
        steps.push(step);
        let detail = format!("deployment {other} goes on holding it");
        member.enter(Phase::Resumed, detail, sight.realtime);
    }
}

/// A stop has reached it.
fn was_acted_on(seen: &Seen) -> bool {
    seen.activity != Activity::Running || seen.stop_queued
}

/// Its start is queued, or has happened. While admission is closed a start that was queued is still seen.
fn is_under_way(member: &Member, seen: &Seen) -> bool {
    let runs_again = seen.activity == Activity::Running && !seen.stop_queued;
    member.asked || seen.start_queued || runs_again
}

/// What has become of a start; `None` while that isn't known.
fn outcome(
    member: &Member,
    seen: &Seen,
    is_late: bool,
    now: Usec,
) -> Option<(Phase, &'static str)> {
    let is_young = now.saturating_sub(member.since) < LIVES && now >= member.since;
    match seen.activity {
        Activity::Running if seen.is_up && !is_young => Some((Phase::Resumed, "")),
        // It will have its turn.
        Activity::Down if seen.start_queued && seen.kept_waiting => Some((Phase::Resumed, WAITS)),
        Activity::Down if seen.start_queued && !is_late => None,
        Activity::Down if seen.start_queued => Some((Phase::Failed, "it has not started in time")),
        Activity::Down if seen.failed => Some((Phase::Failed, "it failed at once")),
        Activity::Down => Some((Phase::Resumed, "it has run, or its start was cancelled")),
        _ if is_late => Some((Phase::Failed, "it has not started in time")),
        _ => None,
    }
}
