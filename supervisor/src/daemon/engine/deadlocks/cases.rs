//! The deadlocks that were told: those that are, and the last ones that have been.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_core::deadlock::{Deadlock, Kind};
use tokio::time::Instant;

use crate::lookout::Proc;

/// How many are remembered.
pub(super) const REMEMBERED: usize = 50;
/// How long one from before a restart may be missed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Looks that don't find it any more, before it counts as gone.
const MISSES: u32 = 2;

/// A deadlock, for D-Bus and the state database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadlockView {
    /// Number, never used twice.
    pub id: u64,
    /// When it was found, microseconds of `CLOCK_REALTIME`.
    pub found: u64,
    /// `nested-client`, `blocking-start` or `between-tasks`.
    pub kind: String,
    /// The task's unit; empty if no lease is in it.
    pub unit: String,
    /// What is waited for; empty if that is no resource.
    pub resource: String,
    /// `stuck`, `ended` (by us) or `gone`.
    pub state: String,
    /// The chain, a link a line.
    pub text: String,
    /// Who waits in it, by pid and start time.
    pub waiters: BTreeSet<(i32, u64)>,
}

/// A process that is being ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) pid: i32,
    pub(super) start_time: u64,
    /// When a signal was last tried.
    pub(super) tried: Instant,
    /// SIGTERM was sent.
    pub(super) asked: bool,
    /// SIGKILL was sent.
    pub(super) killed: bool,
}

/// What is known of a deadlock besides.
#[derive(Debug, Default)]
struct Case {
    view: DeadlockView,
    misses: u32,
    /// Until then it may be missed: who has just begun to look doesn't know yet how long others have been waiting.
    patience: Option<Instant>,
    ending: Option<Ending>,
    /// Somebody was ended for it.
    ended: bool,
}

/// By their ids, the oldest first.
#[derive(Debug)]
pub(in super::super) struct Cases(Vec<Case>);

impl Cases {
    pub(super) fn new(views: Vec<DeadlockView>) -> Self {
        let patience = Some(Instant::now() + PATIENCE);
        let case = |view| Case {
            view,
            patience,
            ..Case::default()
        };
        Self(views.into_iter().map(case).collect())
    }

    pub(in super::super) fn views(&self) -> impl Iterator<Item = &DeadlockView> {
        self.0.iter().map(|case| &case.view)
    }

    /// The ids of those that are.
    pub(super) fn stuck(&self) -> Vec<u64> {
        let stuck = self.views().filter(|view| view.state == "stuck");
        stuck.map(|view| view.id).collect()
    }

    pub(super) fn add(&mut self, mut view: DeadlockView) -> u64 {
        let id = self.views().map(|view| view.id).max().unwrap_or(0) + 1;
        view.id = id;
        self.0.push(Case {
            view,
            ..Case::default()
        });
        if self.0.len() > REMEMBERED
            && let Some(old) = self.0.iter().position(|it| it.view.state != "stuck")
        {
            self.0.remove(old);
        }
        id
    }

    /// The one that this is, if it was told already. As [`Deadlock::is_same`], but also over a restart.
    pub(super) fn of(&self, deadlock: &Deadlock) -> Option<u64> {
        self.stuck().into_iter().find(|id| self.is(*id, deadlock))
    }

    pub(super) fn is(&self, id: u64, deadlock: &Deadlock) -> bool {
        let ours = |case: &Case| !case.view.waiters.is_disjoint(&waiters(deadlock));
        self.get(id).is_some_and(ours)
    }

    /// It was found again, maybe with others in it.
    pub(super) fn seen(&mut self, id: u64, deadlock: &Deadlock) {
        if let Some(case) = self.get_mut(id) {
            case.misses = 0;
            case.patience = None;
            case.view.waiters = waiters(deadlock);
        }
    }

    /// It wasn't found; says whether it counts as gone.
    pub(super) fn missed(&mut self, id: u64) -> bool {
        let proc = Proc::of_host();
        self.get_mut(id).is_none_or(|case| {
            let mut waiters = case.view.waiters.iter();
            if !waiters.any(|(pid, start_time)| proc.lives(*pid, *start_time)) {
                return true;
            }
            if case.patience.is_some_and(|until| Instant::now() < until) {
                return false;
            }
            case.misses += 1;
            case.misses >= MISSES
        })
    }

    pub(super) fn view(&self, id: u64) -> Option<&DeadlockView> {
        self.get(id).map(|case| &case.view)
    }

    pub(super) fn ending(&self, id: u64) -> Option<Ending> {
        self.get(id)?.ending
    }

    pub(super) fn set_ending(&mut self, id: u64, ending: Ending) {
        if let Some(case) = self.get_mut(id) {
            case.ending = Some(ending);
        }
    }

    /// A signal was sent for it.
    pub(super) fn was_broken(&mut self, id: u64, kill: bool) {
        if let Some(case) = self.get_mut(id) {
            case.ended = true;
            if let Some(ending) = &mut case.ending {
                ending.asked = true;
                ending.killed |= kill;
            }
        }
    }

    /// It is over.
    pub(super) fn resolve(&mut self, id: u64) -> Option<&DeadlockView> {
        let case = self.get_mut(id)?;
        case.view.state = if case.ended { "ended" } else { "gone" }.to_owned();
        Some(&case.view)
    }

    fn get(&self, id: u64) -> Option<&Case> {
        self.0.iter().find(|case| case.view.id == id)
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Case> {
        self.0.iter_mut().find(|case| case.view.id == id)
    }
}

/// Who waits in it.
pub(super) fn waiters(deadlock: &Deadlock) -> BTreeSet<(i32, u64)> {
    let waiters = deadlock.waiters.iter().map(|waiter| &waiter.process);
    waiters.map(|it| (it.pid, it.start_time)).collect()
}

/// A kind's name.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Nested => "nested-client",
        Kind::Start => "blocking-start",
        Kind::Crossed => "between-tasks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that lives for as long as the test.
    fn me() -> (i32, u64) {
        let pid = i32::try_from(std::process::id()).unwrap();
        (pid, Proc::of_host().stat(pid).unwrap().start_time)
    }

    fn stuck(waiter: i32) -> DeadlockView {
        DeadlockView {
            state: "stuck".to_owned(),
            waiters: BTreeSet::from([(waiter, 1)]),
            ..DeadlockView::default()
        }
    }

    #[test]
    fn one_miss_is_no_end() {
        let mut cases = Cases::new(Vec::new());
        let mut deadlock = stuck(7);
        deadlock.waiters = BTreeSet::from([me()]);
        let id = cases.add(deadlock);
        assert!(!cases.missed(id));
        assert!(cases.missed(id));
        assert_eq!(cases.resolve(id).map(|it| it.state.as_str()), Some("gone"));
        assert!(cases.stuck().is_empty());
    }

    #[test]
    fn after_a_restart_it_may_be_missed_for_longer_unless_its_processes_are_gone() {
        let mut deadlock = stuck(7);
        deadlock.waiters = BTreeSet::from([me()]);
        let mut cases = Cases::new(vec![deadlock]);
        assert!(!cases.missed(0) && !cases.missed(0) && !cases.missed(0));
        deadlock = stuck(7);
        deadlock.waiters = BTreeSet::from([(me().0, 1)]);
        assert!(Cases::new(vec![deadlock]).missed(0));
    }

    #[test]
    fn who_ended_somebody_says_so() {
        let mut cases = Cases::new(vec![stuck(7)]);
        cases.was_broken(0, false);
        assert_eq!(cases.resolve(0).map(|it| it.state.as_str()), Some("ended"));
    }

    #[test]
    fn numbers_are_never_used_twice_and_the_stuck_are_never_forgotten() {
        let mut cases = Cases::new(Vec::new());
        let first = cases.add(stuck(1));
        for waiter in 2..200 {
            let id = cases.add(stuck(waiter));
            cases.resolve(id);
        }
        assert_eq!(cases.stuck(), [first]);
        let ids: BTreeSet<u64> = cases.views().map(|view| view.id).collect();
        assert_eq!(ids.len(), REMEMBERED);
        assert_eq!(ids.last(), Some(&199));
    }
}
