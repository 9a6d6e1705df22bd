//! Before the caller may work: the first hook, and bringing tasks to rest.

use interlock_generator::policy::settings::DeployAction;

use super::member::{Member, Phase};
use super::model::{Deployment, Stage};
use super::resume::ask_for_checkpoint;
use super::sight::{Activity, HookSight, Seen, Sight};
use super::step::{Hook, Step};

impl Deployment {
    pub(super) fn depool(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        if !self.before_settle.is_empty() {
            match sight.of_hook(Hook::BeforeSettle) {
                HookSight::Absent => {
                    self.depooled = true;
                    steps.push(Step::Hook(Hook::BeforeSettle));
                    return;
                }
                HookSight::Running | HookSight::Unknown | HookSight::Blocked => return,
                HookSight::Succeeded => steps.push(Step::EndHook(Hook::BeforeSettle)),
                HookSight::Failed(how) => {
                    steps.push(Step::EndHook(Hook::BeforeSettle));
                    self.refuse(format!("its before-settle hook failed: {how}"));
                    return;
                }
            }
        }
        self.stage = Stage::Settle;
        // Any span may be asked for, also one that is longer than time.
        self.grace_until = sight.now.saturating_add(self.grace);
        self.deadline = sight.now.saturating_add(self.max_wait);
    }

    pub(super) fn settle(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        self.meet(sight);
        let in_grace = sight.now < self.grace_until;
        let last = self.last_deadline();
        let mut stuck = None;
        let before = self.members.clone();
        let mut news = Vec::new();
        for (unit, seen) in &sight.units {
            let Some(member) = self.members.get_mut(unit) else {
                continue;
            };
            let mut hand = Hand {
                unit,
                member,
                seen,
                sight,
                steps: &mut news,
            };
            hand.notice_rest();
            if hand.member.phase.is_settled() || (in_grace && hand.member.phase == Phase::Running) {
                continue;
            }
            hand.go_on();
            if hand.member.phase.is_settled() {
                continue;
            }
            let is_late = match hand.member.fell_back {
                true => sight.now >= last,
                false => sight.now >= self.deadline,
            };
            if is_late && !hand.fall_back() {
                stuck.get_or_insert_with(|| hand.why_stuck());
            }
        }
        if let Some(why) = stuck {
            // Nothing more is begun: what was to be done now to others isn't.
            self.members = before;
            self.refuse(why);
            return;
        }
        steps.append(&mut news);
        if self.all_rest(sight) {
            self.stage = Stage::Ready;
            self.ready_since = sight.realtime;
        }
    }

    /// What runs, and hasn't been met yet or runs again, becomes a member.
    fn meet(&mut self, sight: &Sight) {
        for (unit, seen) in &sight.units {
            let is_up = seen.activity != Activity::Down || seen.occupied;
            match self.members.get_mut(unit) {
                None if is_up && !seen.is_at_rest() => {
                    let rule = &seen.rule;
                    let mut member = Member::new(
                        &rule.task,
                        rule.action,
                        &seen.invocation,
                        rule.usual,
                        sight.realtime,
                    );
                    if let Some(why) = rule.protected.as_ref().filter(|_| interrupts(rule.action)) {
                        member.action = DeployAction::Protect;
                        member.detail.clone_from(why);
                    }
                    self.members.insert(unit.clone(), member);
                }
                // Started again: on a gate that was still open, or because it has none.
                Some(member)
                    if matches!(member.phase, Phase::Ended | Phase::Stopped)
                        && seen.activity == Activity::Running =>
                {
                    member.resume = false;
                    member.undo = false;
                    member.enter(Phase::Running, "", sight.realtime);
                    member.invocation.clone_from(&seen.invocation);
                }
                Some(member) if member.invocation.is_empty() => {
                    member.invocation.clone_from(&seen.invocation);
                }
                _ => {}
            }
        }
    }

    fn all_rest(&self, sight: &Sight) -> bool {
        let member_rests = |m: &Member| m.phase.is_settled();
        let unit_rests = |(unit, seen): (&String, &Seen)| {
            self.members.get(unit).is_some_and(member_rests) || seen.is_at_rest()
        };
        self.members.values().all(member_rests) && sight.units.iter().all(unit_rests)
    }

    /// Whatever else goes on: a frozen task that is being stopped, or has ended, is thawed at once; what was
    /// stopped hasn't failed.
    pub(super) fn watch_rest(&mut self, sight: &Sight, steps: &mut Vec<Step>) {
        let is_ready = self.stage == Stage::Ready;
        let is_closed = self.closes_admission();
        for (unit, seen) in &sight.units {
            let Some(member) = self.members.get_mut(unit) else {
                continue;
            };
            if member.phase == Phase::Stopped && member.resume && seen.activity == Activity::Running
            {
                // Somebody started it, and it has no gate: it is as it should be.
                member.resume = false;
            }
            let has_failed = seen.failed && seen.activity == Activity::Down;
            if is_closed && has_failed && member.phase == Phase::Stopped {
                // It didn't fail: we stopped it.
                steps.push(Step::Reset(unit.clone()));
            }
            if !member.may_be_frozen() {
                continue;
            }
            let at = sight.realtime;
            if seen.activity == Activity::Down {
                steps.push(Step::Thaw(unit.clone()));
                // What it has left behind goes on, and is waited for.
                match seen.occupied && !is_ready {
                    true => member.enter(Phase::Waiting, "its last processes", at),
                    false => member.enter(Phase::Ended, "it ended while it was frozen", at),
                }
            } else if seen.activity == Activity::Leaving || seen.stop_queued {
                steps.push(Step::Thaw(unit.clone()));
                let phase = if is_ready {
                    Phase::Ended
                } else {
                    Phase::Waiting
                };
                member.enter(phase, "somebody stops it", at);
            } else if member.phase == Phase::Frozen && !seen.frozen && self.stage < Stage::Resume {
                // Thawed while interlockd was stopped.
                steps.push(Step::Freeze(unit.clone()));
            }
        }
    }
}

/// One member at one sight.
struct Hand<'a> {
    unit: &'a str,
    member: &'a mut Member,
    seen: &'a Seen,
    sight: &'a Sight,
    steps: &'a mut Vec<Step>,
}

impl Hand<'_> {
    fn enter(&mut self, phase: Phase, detail: impl Into<String>) {
        self.member.enter(phase, detail, self.sight.realtime);
    }

    /// It has come to rest, by itself or by what was done.
    fn notice_rest(&mut self) {
        if !self.seen.is_at_rest() {
            return;
        }
        match self.member.phase {
            // It was told to end, and was on its way.
            Phase::Running | Phase::Waiting if self.member.resume || self.member.undo => {
                self.enter(Phase::Stopped, "");
            }
            Phase::Running | Phase::Waiting => self.enter(Phase::Ended, "it ended by itself"),
            Phase::Stopping => {
                // Why the fallback was taken stays.
                let detail = self.member.detail.clone();
                self.enter(Phase::Stopped, detail);
            }
            Phase::Checkpointing => self.enter(Phase::Stopped, "it ended at its checkpoint"),
            _ => {}
        }
    }

    /// The next thing to do to it.
    fn go_on(&mut self) {
        match self.member.phase {
            Phase::Running | Phase::Waiting => self.treat(),
            Phase::Freezing => self.freezing(),
            Phase::Stopping => {
                let is_untouched =
                    self.seen.activity == Activity::Running && !self.seen.stop_queued;
                match &self.seen.busy {
                    // Nothing has been done yet, and now it may not be done.
                    Some(why) if is_untouched => self.enter(Phase::Waiting, why.clone()),
                    _ if is_untouched => self.steps.push(Step::Stop(self.unit.to_owned())),
                    _ => {}
                }
            }
            Phase::Checkpointing => self.checkpointing(),
            _ => {}
        }
    }

    fn treat(&mut self) {
        let is_going = self.seen.activity == Activity::Leaving || self.seen.stop_queued;
        if is_going {
            return self.enter(Phase::Waiting, "it is being stopped");
        }
        if self.seen.activity == Activity::Down {
            return self.enter(
                Phase::Waiting,
                "its last processes, or a start that was granted",
            );
        }
        match self.member.action {
            DeployAction::Ignore => self.enter(Phase::Ignored, ""),
            DeployAction::Wait | DeployAction::Protect => {
                // Why it is protected stays.
                let detail = self.member.detail.clone();
                self.enter(Phase::Waiting, detail);
            }
            _ if self.seen.busy.is_some() => {
                let why = self.seen.busy.clone().unwrap_or_default();
                self.enter(Phase::Waiting, why);
            }
            DeployAction::Freeze => match self.seen.unfreezable.clone() {
                Some(why) => {
                    let why = format!("it can't be frozen: {why}");
                    self.enter(Phase::Waiting, why.clone());
                    if self.fall_back() {
                        self.member.detail = why;
                    }
                }
                None => {
                    // Another deployment may have frozen it already.
                    if !self.seen.frozen {
                        self.interrupt();
                    }
                    self.enter(Phase::Freezing, "");
                    self.steps.push(Step::Freeze(self.unit.to_owned()));
                }
            },
            action @ (DeployAction::Stop | DeployAction::Restart) => {
                self.interrupt();
                self.member.resume = action == DeployAction::Restart;
                self.member.undo = true;
                self.enter(Phase::Stopping, "");
                self.steps.push(Step::Stop(self.unit.to_owned()));
            }
            DeployAction::Checkpoint => {
                self.interrupt();
                self.member.resume = true;
                self.member.undo = true;
                self.member.checkpointed = true;
                self.enter(Phase::Checkpointing, "");
                self.ask_for_checkpoint();
            }
        }
    }

    fn freezing(&mut self) {
        if let Some(why) = self.seen.unfreezable.clone() {
            self.steps.push(Step::Thaw(self.unit.to_owned()));
            self.enter(Phase::Waiting, why);
            self.treat();
        } else if !self.seen.frozen {
            self.steps.push(Step::Freeze(self.unit.to_owned()));
        } else if let Some(why) = self.seen.busy.clone() {
            // It took a lock just before it stood still.
            self.steps.push(Step::Thaw(self.unit.to_owned()));
            self.enter(Phase::Waiting, why);
        } else {
            self.enter(Phase::Frozen, "");
        }
    }

    fn checkpointing(&mut self) {
        if !self.member.asked {
            self.ask_for_checkpoint();
        } else if !self.seen.rule.gated
            && self.seen.activity == Activity::Running
            && !self.seen.invocation.is_empty()
            && self.seen.invocation != self.member.invocation
        {
            // It ended at its checkpoint, and something started it again at once (`Restart=`).
            self.enter(Phase::Stopping, "it started again by itself");
            self.steps.push(Step::Stop(self.unit.to_owned()));
        }
    }

    fn ask_for_checkpoint(&mut self) {
        self.steps.push(ask_for_checkpoint(self.unit, self.seen));
    }

    /// Does the fallback; `false` if there is none, or it was done before, or may not be done.
    fn fall_back(&mut self) -> bool {
        let Some(fallback) = self.seen.rule.fallback else {
            return false;
        };
        if self.member.fell_back
            || self.seen.busy.is_some()
            || self.member.action == DeployAction::Protect
            || self.member.phase == Phase::Stopping
            || fallback == DeployAction::Protect
        {
            return false;
        }
        if self.member.phase == Phase::Freezing {
            // Thawing comes before everything else: what is begun at this very sight would outlast it.
            let freeze = Step::Freeze(self.unit.to_owned());
            self.steps.retain(|step| *step != freeze);
            self.steps.push(Step::Thaw(self.unit.to_owned()));
        }
        let was = self.member.action;
        let resumed = self.member.checkpointed;
        self.member.fell_back = true;
        self.member.action = fallback;
        self.enter(Phase::Waiting, "");
        self.treat();
        // Left to itself, one that was told to end at a checkpoint may still do so. A stop is a stop.
        if matches!(fallback, DeployAction::Freeze | DeployAction::Ignore) {
            self.member.resume |= resumed;
        } else {
            // There is no checkpoint to go on from.
            self.member.checkpointed = false;
        }
        if self.member.detail.is_empty() {
            self.member.detail = format!("{} didn't bring it to rest in time", was.name());
        }
        true
    }

    fn interrupt(&mut self) {
        self.steps.push(Step::Interrupted(self.unit.to_owned()));
    }

    fn why_stuck(&self) -> String {
        let unit = self.unit;
        match (&self.seen.busy, self.member.detail.as_str()) {
            (Some(busy), _) => format!("{unit} could not be brought to rest in time: {busy}"),
            (None, "") => format!("{unit} has not come to rest in time"),
            (None, detail) => format!("{unit} has not come to rest in time ({detail})"),
        }
    }
}

/// Whether a run notices it.
fn interrupts(action: DeployAction) -> bool {
    use DeployAction::{Checkpoint, Freeze, Restart, Stop};
    matches!(action, Freeze | Stop | Restart | Checkpoint)
}
