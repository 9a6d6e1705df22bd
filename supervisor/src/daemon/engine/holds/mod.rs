//! Holds: operators' words about the starts of tasks. "Don't run this until …": starts wait at their gates; "skip the
//! next run": they are given up there. Kept in the state database; a hold that is over by the clock ends by itself.

mod desk;
mod restarts;
mod skip;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use interlock_core::arbiter::Event;
use interlock_generator::names;
use tokio::time::{Duration, Instant};

use super::super::Notice;
use super::Engine;
use super::policy::Policy;
use crate::clock;
use crate::failpoint::pass;
use crate::journal::message;
use crate::store::{Hold, HoldKey, HoldKind, SkippedStart, Store};

pub use desk::{HoldEnd, HoldError, HoldRequest, HoldView};

/// How soon is tried again what the database or PID 1 didn't take.
const PAUSE: Duration = Duration::from_secs(1);

/// What the engine knows of holds.
#[derive(Debug)]
pub(super) struct Holds {
    all: BTreeMap<HoldKey, Hold>,
    /// Whose starts wait now, for deployments as well, as the arbiter knows it.
    closed: BTreeSet<String>,
    /// Units whose start is to be skipped, which can't be written down just now: it waits.
    uncounted: BTreeSet<String>,
    /// When to try that again.
    retry: Option<Instant>,
    /// Starts that an earlier interlockd had counted as skipped.
    unfinished: Vec<SkippedStart>,
    /// Units of those that were given up before their gates had come back, with why.
    given_up: BTreeMap<String, String>,
    pub(super) restarts: restarts::Restarts,
    /// Units whose starts wait no longer for the end of a hold or a deployment, but perhaps for who is preempted now.
    let_go: Vec<String>,
}

impl Holds {
    pub(super) fn new(store: &mut Store) -> Self {
        Self {
            all: store.holds(),
            closed: BTreeSet::new(),
            uncounted: BTreeSet::new(),
            retry: None,
            unfinished: store.skipped_starts(),
            given_up: BTreeMap::new(),
            restarts: restarts::Restarts::default(),
            let_go: Vec::new(),
        }
    }

    /// When something is to be done even if nothing is heard.
    pub(super) fn due(&self) -> Option<Instant> {
        let ends = self.all.values().map(|hold| hold.until);
        let next = ends.filter(|until| *until > 0).min();
        let expiry = next.map(|until| {
            let left = until.saturating_sub(clock::realtime());
            Instant::now() + Duration::from_micros(left)
        });
        let at_once = (!self.let_go.is_empty()).then(Instant::now);
        let dues = [expiry, self.retry, at_once];
        dues.into_iter().flatten().min()
    }

    /// The holds of this kind that a start of a unit meets: its own, and that of all its template's instances.
    fn of<'h>(&'h self, unit: &str, kind: HoldKind) -> impl Iterator<Item = &'h Hold> {
        let template = names::template_of(unit);
        let keys = [Some(unit.to_owned()), template].into_iter().flatten();
        let holds = keys.filter_map(move |unit| self.all.get(&(unit, kind)));
        holds.filter(|hold| !is_over(hold))
    }

    /// Units, and templates, whose starts wait. A hold of what the policy no longer has stays, and holds nothing.
    fn closed(&self, policy: &Policy) -> impl Iterator<Item = &String> {
        let waiting = self.all.values().filter(|hold| {
            hold.kind == HoldKind::Wait && !is_over(hold) && policy.is_gated(&hold.unit)
        });
        waiting.map(|hold| &hold.unit).chain(&self.uncounted)
    }
}

fn is_over(hold: &Hold) -> bool {
    hold.until > 0 && hold.until <= clock::realtime()
}

impl Engine {
    /// Tells the arbiter whose starts wait: the tasks of deployments, and what operators hold. `anew`: even if that
    /// is as it was.
    pub(super) fn tell_admission(&mut self, anew: bool) {
        let mut closed = self.closed_by_deployments().clone();
        closed.extend(self.holds.closed(&self.policy).cloned());
        let is_news = closed != self.holds.closed;
        if !(is_news || anew) {
            return;
        }
        self.holds.closed.clone_from(&closed);
        let held = |engine: &Self| -> BTreeSet<String> {
            let held = engine.arbiter.queue().iter().filter(|w| w.held.is_some());
            held.map(|waiter| waiter.unit.clone()).collect()
        };
        let before = held(self);
        let now = clock::monotonic();
        self.feed(Event::Admission { closed, now });
        let left = held(self);
        let let_go = before.into_iter().filter(|unit| !left.contains(unit));
        self.holds.let_go.extend(let_go);
        if is_news {
            pass("admission");
            self.queue.wake();
            for unit in self.live_units().cloned().collect::<Vec<_>>() {
                self.notify(Notice::Changed(unit));
            }
        }
    }

    /// Whether an operator holds the starts of a unit.
    pub(super) fn is_held(&self, unit: &str) -> bool {
        self.holds.of(unit, HoldKind::Wait).next().is_some() || self.holds.uncounted.contains(unit)
    }

    /// Whether an operator holds all units of a task.
    pub(super) fn is_all_held(&self, task: &str) -> bool {
        let task = self.policy.settings().tasks().get(task);
        let hold = task.and_then(|task| self.holds.all.get(&(task.unit.clone(), HoldKind::Wait)));
        hold.is_some_and(|hold| !is_over(hold))
    }

    /// Units, and templates, that operators hold.
    pub(super) fn held_units(&self) -> impl Iterator<Item = &String> {
        self.holds.closed(&self.policy)
    }

    /// Ends what is over by the clock, and does what could not be done.
    pub(super) async fn work_on_holds(&mut self) {
        self.end_expired_holds();
        self.finish_skips().await;
        self.retry_skips().await;
        for unit in std::mem::take(&mut self.holds.let_go) {
            self.preempt_for(&unit).await;
        }
    }

    fn end_expired_holds(&mut self) {
        let over = self.holds.all.values().filter(|hold| is_over(hold));
        let over: Vec<Hold> = over.cloned().collect();
        if over.is_empty() {
            return;
        }
        let keys: Vec<HoldKey> = over.iter().map(Hold::key).collect();
        pass("before expiry");
        // What is over is over for whoever reads it later, too.
        if let Err(error) = self.store().release(&keys) {
            tracing::warn!(%error, "cannot forget a hold that has expired");
        }
        pass("after expiry");
        for hold in over {
            self.holds.all.remove(&hold.key());
            self.released(&hold, "it has expired");
        }
        self.tell_admission(false);
    }

    /// A hold is over: everybody is told.
    fn released(&self, hold: &Hold, why: &str) {
        let task = self.policy.task_name(&hold.unit).to_owned();
        tracing::info!(
            message_id = message::RELEASED,
            task,
            unit = hold.unit,
            object_systemd_unit = hold.unit,
            "{} of {} by {} is over: {why}",
            words::what(hold),
            hold.unit,
            hold.by
        );
        self.notify(Notice::Released {
            task,
            unit: hold.unit.clone(),
            reason: why.to_owned(),
        });
        self.notify(Notice::Changed(hold.unit.clone()));
    }
}
