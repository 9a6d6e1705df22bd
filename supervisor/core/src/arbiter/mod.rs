//! The arbiter: who gets which resources next. Pure: `(state, event) -> (state, actions)`, no I/O, no clock.
//!
//! All resources of a task are granted at once or none, so there is no hold-and-wait among gates and
//! so no deadlock. Waiters are served by priority, then first come, first served; one that waits for a
//! resource reserves all that it needs, so that younger ones can't starve it.
//!
//! What stands between a task's gate and its start besides resources (jobs that PID 1 runs first) only
//! PID 1 knows. The arbiter asks for it with [`Action::Look`] whenever it could grant, and grants only
//! on the answer: a lease never waits for another task's job.

mod claim;
mod event;
mod held;
mod ledger;
#[cfg(feature = "model")]
mod moments;
mod queue;
mod rules;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use claim::{
    Claim, Lock, Refusal, Standing, Uses, add_uses, resources, share_of_unit, unit_of_share,
};
pub use event::{Action, Event};
use ledger::Ledger;
use rules::is_closed;
pub use view::{Hurdle, WaitView};

/// What a task holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Shares by resource.
    pub uses: Uses,
    /// See [`Event::Adopt`].
    pub presumed: bool,
    /// Its gate is being restarted, with the place in the queue that it had.
    pub revoked: Option<u64>,
    /// Whether its task is known to have left PID 1's queue.
    started: bool,
    /// When it had asked.
    asked: u64,
}

impl Lease {
    /// Granted here, and its task not known to have started since.
    fn may_wait_for_others(&self) -> bool {
        !self.started && !self.presumed && self.revoked.is_none()
    }
}

/// A task at its gate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Waiter {
    /// The task's unit.
    pub unit: String,
    /// What it asks for.
    pub claim: Claim,
    /// When it began to wait, microseconds of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// What stood before it when last looked at.
    pub standing: Standing,
    /// Since when admission is closed for it, microseconds of `CLOCK_MONOTONIC`.
    pub held: Option<u64>,
    seq: u64,
    looking: bool,
}

impl Waiter {
    fn rank(&self) -> (i64, u64, u64) {
        (-i64::from(self.claim.priority), self.since, self.seq)
    }

    /// When it is given up. The time for which admission is closed isn't counted against its patience; its window's
    /// end stays.
    fn deadline(&self) -> Option<u64> {
        let is_patience = self.claim.at_deadline == Refusal::WaitedTooLong;
        self.claim
            .deadline
            .filter(|_| self.held.is_none() || !is_patience)
    }

    /// Whether younger ones may not have what it needs.
    fn reserves(&self) -> bool {
        self.held.is_none() && (self.standing.reserves() || self.looking)
    }
}

/// The state. See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Arbiter {
    capacities: BTreeMap<String, u32>,
    leases: BTreeMap<String, Lease>,
    /// See [`Event::Admission`].
    closed: BTreeSet<String>,
    /// Always sorted by [`Waiter::rank`].
    queue: Vec<Waiter>,
    next_seq: u64,
    /// How far in a long queue sweeps have come.
    swept: usize,
}

impl Arbiter {
    /// No leases, no waiters.
    pub fn new(capacities: BTreeMap<String, u32>) -> Self {
        Self {
            capacities,
            ..Self::default()
        }
    }

    /// The next state, and what is to be done. Events about unknown units are no error: the world moves on
    /// while an event is under way.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Request {
                unit,
                claim,
                since,
                standing,
                now,
            } => {
                let held = is_closed(&self.closed, &unit, &claim).then_some(now);
                let waiter = Waiter {
                    unit,
                    claim,
                    since,
                    standing,
                    held,
                    seq: self.next_seq,
                    looking: false,
                };
                self.request(waiter, now, &mut actions);
            }
            Event::Cancelled { unit } => {
                self.forget_waiter(&unit);
                self.settle(None, &mut actions);
            }
            Event::Looked { unit, standing } => {
                if let Some(waiter) = self.queue.iter_mut().find(|w| w.unit == unit) {
                    waiter.standing = standing;
                    waiter.looking = false;
                    self.settle(Some(&unit), &mut actions);
                }
            }
            Event::LookedBehindLease { unit, behind } => {
                self.looked_behind_lease(&unit, behind.as_deref(), &mut actions);
            }
            Event::JobGone { unit } => {
                let mut moved = false;
                for waiter in self
                    .queue
                    .iter_mut()
                    .filter(|w| w.standing.is_behind(&unit))
                {
                    waiter.standing = Standing::Unknown;
                    moved = true;
                }
                // Most jobs that end are nobody's concern here.
                if moved {
                    self.settle(None, &mut actions);
                }
            }
            Event::LocksChanged => {
                for waiter in &mut self.queue {
                    if matches!(waiter.standing, Standing::Locked(_)) {
                        waiter.standing = Standing::Unknown;
                    }
                }
                self.settle(None, &mut actions);
            }
            Event::Adopt {
                unit,
                uses,
                since,
                presumed,
            } => self.adopt(unit, uses, since, presumed),
            Event::Released { unit } => {
                self.leases.remove(&unit);
                self.settle(None, &mut actions);
            }
            Event::Capacities(capacities) => {
                self.capacities = capacities;
                self.settle(None, &mut actions);
            }
            Event::Policy { capacities, claims } => {
                self.new_policy(capacities, &claims);
                self.settle(None, &mut actions);
            }
            Event::Admission { closed, now } => {
                self.closed = closed;
                self.admit(now);
                self.settle(None, &mut actions);
                // One that was granted just before may wait for one that is held now.
                self.look_behind_leases(&mut actions);
            }
            Event::Tick { now } => self.give_up_overdue(now, &mut actions),
            Event::Sweep => self.sweep(&mut actions),
        }
        actions
    }

    /// All leases, by unit.
    pub fn leases(&self) -> &BTreeMap<String, Lease> {
        &self.leases
    }

    /// All waiters, in the order in which they are served.
    pub fn queue(&self) -> &[Waiter] {
        &self.queue
    }

    /// Capacities, by resource.
    pub fn capacities(&self) -> &BTreeMap<String, u32> {
        &self.capacities
    }

    /// When the next waiter's patience ends: the time for the next [`Event::Tick`], microseconds of `CLOCK_MONOTONIC`.
    pub fn next_deadline(&self) -> Option<u64> {
        self.queue.iter().filter_map(Waiter::deadline).min()
    }
}
