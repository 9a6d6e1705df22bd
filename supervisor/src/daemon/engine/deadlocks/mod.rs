//! The deadlock watch: when to look, what was found and told, and what became of it.

mod breaking;
mod cases;
mod sight;

use std::sync::Arc;
use std::time::Duration;

use interlock_core::deadlock::Deadlock;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

pub use cases::DeadlockView;

use super::super::Input;
use super::Engine;
use crate::lookout::{self, Look, Memory, Terms};
use cases::Cases;

/// How often leases are looked at in which nobody waits; with a short grace more often.
const IDLE: Duration = Duration::from_secs(3);
/// How often those are looked at who wait, but not for their grace yet.
const YOUNG: Duration = Duration::from_secs(1);
/// A deadlock counts when it was found twice in a row: a look isn't of one moment.
const AGAIN: Duration = Duration::from_millis(150);
/// A look may take one part in so many of the time.
const SHARE: u32 = 20;

/// What the engine knows of deadlocks.
pub(super) struct Deadlocks {
    inputs: UnboundedSender<Input>,
    pub(super) cases: Cases,
    /// What the policy says; made anew when that has changed.
    terms: Option<Arc<Terms>>,
    memory: Memory,
    is_looking: bool,
    due: Option<Instant>,
    /// Found by the last look for the first time.
    suspects: Vec<Deadlock>,
}

impl Deadlocks {
    pub(super) fn new(inputs: UnboundedSender<Input>, cases: Vec<DeadlockView>) -> Self {
        Self {
            inputs,
            cases: Cases::new(cases),
            terms: None,
            memory: Memory::default(),
            is_looking: false,
            due: None,
            suspects: Vec::new(),
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_looking)
    }

    /// The policy has changed.
    pub(super) fn forget_terms(&mut self) {
        self.terms = None;
    }
}

impl Engine {
    /// Looks, if it is time; without leases there is nothing to look at.
    pub(super) fn look_for_deadlocks(&mut self) {
        if self.deadlocks.is_looking {
            return;
        }
        if self.pid1.is_none() {
            // Who has a lease isn't known.
            self.deadlocks.due = Some(Instant::now() + YOUNG);
            return;
        }
        if self.arbiter.leases().is_empty() && self.outside_holders().is_empty() {
            self.deadlocks.due = None;
            self.deadlocks.suspects.clear();
            self.resolve_all_deadlocks();
            return;
        }
        let now = Instant::now();
        let due = *self.deadlocks.due.get_or_insert(now + AGAIN);
        if due > now {
            return;
        }
        let settings = self.policy.settings();
        let terms = self.deadlocks.terms.take();
        let terms = terms.unwrap_or_else(|| Arc::new(Terms::of(settings)));
        self.deadlocks.terms = Some(terms.clone());
        let request = self.request_look(terms);
        let memory = std::mem::take(&mut self.deadlocks.memory);
        let pid1 = self.pid1.clone();
        let inputs = self.deadlocks.inputs.clone();
        self.deadlocks.is_looking = true;
        tokio::spawn(async move {
            // A look that fails in any way must be told, or it would be the last.
            let look = tokio::spawn(lookout::look(request, memory, pid1)).await;
            let _ = inputs.send(Input::DeadlockLook(Box::new(look.unwrap_or_default())));
        });
    }

    /// A look has ended.
    pub(super) fn looked_for_deadlocks(&mut self, look: Look) {
        self.deadlocks.is_looking = false;
        self.deadlocks.memory = look.memory;
        tracing::debug!(
            "looked at {} in {} us",
            if look.somebody_waits {
                "everything"
            } else {
                "leases"
            },
            look.took.as_micros()
        );
        let mut pause = self.usual_pause();
        if let Some(next) = look.next {
            pause = pause.min(YOUNG).min(next);
        }
        if let Some(found) = look.found {
            let is_open = self.take_deadlocks(found);
            if !self.deadlocks.suspects.is_empty() {
                pause = AGAIN;
            } else if is_open {
                pause = pause.min(YOUNG);
            }
        }
        let least = (look.took * SHARE).max(AGAIN).min(IDLE * SHARE);
        self.deadlocks.due = Some(Instant::now() + pause.max(least));
    }

    fn usual_pause(&self) -> Duration {
        let terms = self.deadlocks.terms.as_ref();
        let grace = terms.map_or(IDLE, |terms| terms.shortest_grace());
        (grace / 2).clamp(Duration::from_millis(500), IDLE)
    }

    /// Says whether one is being ended, or may be gone.
    fn take_deadlocks(&mut self, found: Vec<Deadlock>) -> bool {
        let mut is_open = false;
        for case in self.deadlocks.cases.stuck() {
            let same = found
                .iter()
                .find(|deadlock| self.deadlocks.cases.is(case, deadlock));
            match same {
                Some(deadlock) => {
                    self.deadlocks.cases.seen(case, deadlock);
                    is_open |= self.end_waiter(case, deadlock);
                }
                None if self.deadlocks.cases.missed(case) => self.resolve_deadlock(case),
                None => is_open = true,
            }
        }
        let mut suspects = Vec::new();
        for deadlock in found {
            if self.deadlocks.cases.of(&deadlock).is_some() {
                continue;
            }
            if self
                .deadlocks
                .suspects
                .iter()
                .any(|it| deadlock.is_same(it))
            {
                let case = self.report_deadlock(&deadlock);
                is_open |= self.end_waiter(case, &deadlock);
            } else {
                suspects.push(deadlock);
            }
        }
        self.deadlocks.suspects = suspects;
        is_open
    }
}
