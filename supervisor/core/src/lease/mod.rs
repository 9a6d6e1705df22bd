//! How a lease stays true: what PID 1 says of a gate and its task, and what follows from that.
//!
//! The caller asks PID 1 and does what is said here; an answer that it didn't get says nothing, and is never taken for
//! a state. Everywhere `lease` is the unit's in the arbiter, if it has one.

#[cfg(test)]
mod tests;

use crate::arbiter::Lease;
use crate::unit::{Doing, Job, Service};

/// What is done about a gate's process that has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// Its task ran before it came under policy: there is nothing to hold back. The lease is adopted, the gate opened.
    Adopt,
    /// It asks for its lease, after this was done about the one that it has.
    Ask(Earlier),
    /// What its lease stands for can't be known without PID 1: it is heard again.
    Later,
}

/// What becomes of the lease that a unit has whose gate asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// There is none, or the arbiter knows what it is: one that was presumed hadn't been granted, one that was taken
    /// back keeps its place, one whose last run left something behind goes on.
    Keep,
    /// It had been granted by an earlier interlockd, and what its run left behind uses the resources.
    Adopt,
    /// It ended so quickly that its end wasn't seen.
    Release,
}

/// Whether [`hello`] needs to know what the last run has left behind.
pub fn asks_for_leftovers(lease: Option<&Lease>) -> bool {
    lease.is_some_and(|lease| lease.revoked.is_none())
}

/// A gate's process has connected. `task` is what PID 1 says of the task, `left` whether processes are left in its
/// control group; `None` if there was no answer.
pub fn hello(lease: Option<&Lease>, task: Option<Doing>, left: Option<bool>) -> Hello {
    let lease = lease.filter(|lease| lease.revoked.is_none());
    match (lease.map(|lease| lease.presumed), task, left) {
        (_, Some(task), _) if task.is_running() => Hello::Adopt,
        // It would lose a lease that something may use, or be let in on one that is over.
        (Some(_), None, _) | (Some(true), _, None) => Hello::Later,
        (Some(true), Some(_), Some(true)) => Hello::Ask(Earlier::Adopt),
        (Some(false), Some(_), Some(false)) => Hello::Ask(Earlier::Release),
        _ => Hello::Ask(Earlier::Keep),
    }
}

/// What is done about a unit that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is as it should be, or somebody will tell what becomes of it.
    Nothing,
    /// Its gate is closed, or its task has exited: the lease is over when nothing runs in its name, see [`is_over`].
    End,
    /// It runs, and its gate is closed: it ran before it came under policy. Adopted; starting its gate doesn't touch it.
    Unguarded,
    /// Its gate is open.
    Open {
        /// The lease wasn't granted here: it is adopted.
        adopt: bool,
        /// A start on the lease of the run before: jobs that came meanwhile may stand before it.
        may_be_behind: bool,
        /// Nobody needs it, and PID 1 should have closed it.
        is_orphan: bool,
    },
}

/// What follows from a look at a unit. `waits`: the arbiter has it in its queue.
pub fn judge(
    lease: Option<&Lease>,
    waits: bool,
    is_gated: bool,
    task: Service,
    gate: Service,
) -> Verdict {
    let holds = lease.is_some();
    match gate.doing {
        // RemainAfterExit=: it stays active for as long as it likes, and uses nothing any more.
        open if open.is_active() && task.doing.has_exited() => match holds {
            true => Verdict::End,
            false => Verdict::Nothing,
        },
        open if open.is_active() => {
            let is_idle = task.doing.is_down() && task.job == Job::None;
            Verdict::Open {
                adopt: lease.is_none_or(|lease| lease.presumed),
                may_be_behind: holds && task.doing.is_down() && !is_idle,
                is_orphan: is_idle && gate.job == Job::None,
            }
        }
        Doing::Down if holds => Verdict::End,
        Doing::Down if task.doing.is_running() && is_gated => Verdict::Unguarded,
        // Its task's next start is held while what the last one left behind still runs.
        Doing::Starting if holds && waits => Verdict::End,
        // On its way up: the gate itself will come. On its way down: its job's end will be told.
        _ => Verdict::Nothing,
    }
}

/// Whether a lease is over whose gate is closed or whose task has exited. `is_populated`: processes are in the task's
/// control group, or may be. They outlive it with `KillMode=process`, and use the resources as it did; those of one that
/// has exited were left on purpose.
pub fn is_over(task: Option<Doing>, is_populated: bool) -> bool {
    task.is_some_and(|task| task.has_exited() || !(task.is_running() || is_populated))
}

/// What a unit that was found in PID 1 alone stands for, after a restart of interlockd or under another policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing that isn't known.
    Nothing,
    /// Its gate waited for an earlier interlockd, which may have told it to open a moment ago.
    Presumed,
    /// A lease.
    Held,
    /// A lease, if its last run has left processes behind.
    HeldIfPopulated,
}

/// What a unit stands for that was found. `is_connected`: its gate's process is; what PID 1 hasn't loaded is `None`.
pub fn found(
    lease: Option<&Lease>,
    is_connected: bool,
    task: Option<Doing>,
    gate: Option<Doing>,
) -> Found {
    if lease.is_some() {
        return Found::Nothing;
    }
    match gate.unwrap_or_default() {
        Doing::Down if task.is_some_and(Doing::is_down) => Found::HeldIfPopulated,
        Doing::Down => Found::Nothing,
        _ if is_connected => Found::Nothing,
        Doing::Starting => Found::Presumed,
        _ if task.is_some_and(Doing::has_exited) => Found::Nothing,
        _ => Found::Held,
    }
}

/// Whether a unit is to be looked at that a sweep has found: signals about it may have been lost.
pub fn is_news(lease: Option<&Lease>, task: Option<Doing>, gate: Option<Doing>) -> bool {
    let gate = gate.unwrap_or_default();
    let works = task.is_some_and(Doing::is_running);
    match lease {
        Some(_) => !(gate.is_active() && works),
        None => gate.is_active() || (works && gate.is_down()),
    }
}

/// How a lease is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoking {
    /// Its gate is restarted.
    Restart,
    /// Nothing stands before its task any more, or it has started: restarting its gate would kill it. The arbiter is told.
    Spare,
    /// It isn't to be taken back any more.
    Forget,
    /// PID 1 hasn't answered: it is asked again.
    AskAgain,
}

/// What is done about a lease that the arbiter takes back. `is_behind`: whether jobs still stand before its task's
/// waiting start; `None` if there was no answer. Once more if the restart itself wasn't answered.
pub fn revoke(lease: Option<&Lease>, is_behind: Option<bool>) -> Revoking {
    match (
        lease.is_some_and(|lease| lease.revoked.is_some()),
        is_behind,
    ) {
        (false, _) => Revoking::Forget,
        (true, None) => Revoking::AskAgain,
        (true, Some(false)) => Revoking::Spare,
        (true, Some(true)) => Revoking::Restart,
    }
}
