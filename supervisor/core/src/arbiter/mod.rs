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
#[cfg(test)]
mod examples;
#[cfg(test)]
mod hold_tests;
mod ledger;
#[cfg(feature = "model")]
mod moments;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unit_share_tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use claim::{
    Claim, Lock, Refusal, Standing, Uses, add_uses, resources, share_of_unit, unit_of_share,
};
pub use event::{Action, Event};
use interlock_generator::names;
use ledger::Ledger;
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

    fn request(&mut self, mut waiter: Waiter, now: u64, actions: &mut Vec<Action>) {
        let unit = waiter.unit.clone();
        self.forget_waiter(&unit);
        match self.leases.get(&unit) {
            // It hadn't been granted after all.
            Some(lease) if lease.presumed => {
                self.leases.remove(&unit);
            }
            Some(Lease {
                revoked: Some(place),
                ..
            }) => {
                waiter.since = waiter.since.min(*place);
                self.leases.remove(&unit);
            }
            // The gate starts anew while what an earlier run left behind still holds the resources: they
            // are this task's already. Waiting for itself would never end.
            // Closed admission holds it all the same.
            Some(_) if waiter.held.is_none() => {
                actions.push(Action::Grant { unit });
                return;
            }
            Some(_) | None => {}
        }
        if waiter.deadline().is_some_and(|deadline| deadline <= now) {
            let why = waiter.claim.at_deadline;
            actions.push(Action::Refuse { unit, why });
            self.settle(None, actions);
            return;
        }
        self.next_seq += 1;
        let at = self.queue.partition_point(|w| w.rank() <= waiter.rank());
        self.queue.insert(at, waiter);
        self.settle(Some(&unit), actions);
        self.look_at_what_blocks(&unit, actions);
    }

    /// A newcomer that doesn't get in may be the very task for which a lease, or an older waiter that
    /// reserves, has to wait: PID 1 knows.
    fn look_at_what_blocks(&mut self, unit: &str, actions: &mut Vec<Action>) {
        let Some(newcomer) = self.queue.iter().find(|w| w.unit == unit) else {
            return;
        };
        let (uses, rank) = (newcomer.claim.uses.clone(), newcomer.rank());
        for (holder, lease) in &self.leases {
            if lease.may_wait_for_others() && claim::overlap(&lease.uses, &uses) {
                actions.push(Action::LookBehindLease {
                    unit: holder.clone(),
                });
            }
        }
        if !Ledger::of(&self.capacities, &self.leases).fits(&uses) {
            return;
        }
        let reserving = self
            .queue
            .iter_mut()
            .find(|w| w.rank() < rank && w.reserves() && claim::overlap(&w.claim.uses, &uses));
        if let Some(older) = reserving.filter(|w| !w.looking) {
            older.looking = true;
            actions.push(Action::Look {
                unit: older.unit.clone(),
            });
        }
    }

    /// Grants, in order, all that can be granted. `fresh` has just been looked at; any other is looked at first.
    fn settle(&mut self, fresh: Option<&str>, actions: &mut Vec<Action>) {
        let mut ledger = Ledger::of(&self.capacities, &self.leases);
        let mut granted = Vec::new();
        let mut refused = Vec::new();
        for waiter in &mut self.queue {
            let is_fresh = fresh == Some(waiter.unit.as_str());
            if waiter.held.is_some() || matches!(waiter.standing, Standing::Behind(_)) {
                continue;
            }
            if matches!(waiter.standing, Standing::Locked(_)) {
                if is_fresh && waiter.claim.refuse_if_busy.is_some() {
                    refused.push(waiter.unit.clone());
                } else {
                    ledger.reserve(&waiter.claim.uses);
                }
                continue;
            }
            let is_own = self.leases.contains_key(&waiter.unit);
            // Who is only presumed to hold may be waiting: nothing is given up for it.
            let is_busy = waiter.claim.refuse_if_busy.is_some()
                && !self
                    .leases
                    .values()
                    .any(|lease| lease.presumed && claim::overlap(&lease.uses, &waiter.claim.uses));
            let fits = is_own || ledger.fits(&waiter.claim.uses);
            if fits && is_fresh && waiter.standing != Standing::Unknown {
                ledger.take(&waiter.claim.uses);
                granted.push(waiter.unit.clone());
            } else if !fits && is_fresh && is_busy {
                refused.push(waiter.unit.clone());
            } else {
                if fits && !waiter.looking {
                    waiter.looking = true;
                    actions.push(Action::Look {
                        unit: waiter.unit.clone(),
                    });
                }
                // While it is being looked at, nobody may slip in before it.
                if waiter.reserves() {
                    ledger.reserve(&waiter.claim.uses);
                }
            }
        }
        for unit in granted {
            self.grant(unit, actions);
        }
        for unit in refused {
            let waiter = self.forget_waiter(&unit);
            if let Some(why) = waiter.and_then(|w| w.claim.refuse_if_busy) {
                actions.push(Action::Refuse { unit, why });
            }
        }
    }

    fn grant(&mut self, unit: String, actions: &mut Vec<Action>) {
        let Some(waiter) = self.forget_waiter(&unit) else {
            return;
        };
        let lease = Lease {
            uses: waiter.claim.uses,
            presumed: false,
            revoked: None,
            started: waiter.standing == Standing::Jobless,
            asked: waiter.since,
        };
        self.leases.insert(unit.clone(), lease);
        actions.push(Action::Grant { unit });
    }

    fn looked_behind_lease(
        &mut self,
        unit: &str,
        behind: Option<&[String]>,
        actions: &mut Vec<Action>,
    ) {
        let Some(lease) = self.leases.get_mut(unit) else {
            return;
        };
        let behind = behind.unwrap_or_else(|| {
            lease.started = true;
            &[]
        });
        if behind.is_empty() {
            // Until it has started, a job may still come before it.
            lease.revoked = None;
            return;
        }
        let uses = lease.uses.clone();
        let waits_for_it = self.queue.iter().any(|w| {
            let is_stuck = w.held.is_some() || claim::overlap(&w.claim.uses, &uses);
            behind.contains(&w.unit) && w.unit != unit && is_stuck
        });
        if waits_for_it && lease.revoked.is_none() {
            lease.revoked = Some(lease.asked);
            actions.push(Action::Revoke {
                unit: unit.to_owned(),
            });
        }
    }

    fn adopt(&mut self, unit: String, uses: Uses, since: u64, presumed: bool) {
        if presumed && (self.leases.contains_key(&unit) || self.is_waiting(&unit)) {
            return;
        }
        self.forget_waiter(&unit);
        let mut uses = uses;
        // It may have been let in by an earlier policy.
        if let Some(lease) = self.leases.get(&unit) {
            add_uses(&mut uses, &lease.uses);
        }
        let lease = Lease {
            uses,
            presumed,
            revoked: None,
            started: !presumed,
            asked: since,
        };
        self.leases.insert(unit, lease);
    }

    fn new_policy(&mut self, capacities: BTreeMap<String, u32>, claims: &BTreeMap<String, Claim>) {
        self.capacities = capacities;
        for (unit, lease) in &mut self.leases {
            // What runs goes on using what it had, and others expect it to hold what the policy says now.
            if let Some(claim) = claims.get(unit) {
                add_uses(&mut lease.uses, &claim.uses);
            }
        }
        for waiter in &mut self.queue {
            // A waiter that lost its policy has nothing to wait for.
            waiter.claim = claims.get(&waiter.unit).cloned().unwrap_or_default();
        }
        self.queue.sort_by_key(Waiter::rank);
    }

    /// Holds and lets go by what is closed now.
    fn admit(&mut self, now: u64) {
        for waiter in &mut self.queue {
            let is_closed = is_closed(&self.closed, &waiter.unit, &waiter.claim);
            match waiter.held {
                None if is_closed => waiter.held = Some(now),
                Some(since) if !is_closed => {
                    waiter.held = None;
                    // What stood before it may have changed meanwhile.
                    waiter.standing = Standing::Unknown;
                    if waiter.claim.at_deadline == Refusal::WaitedTooLong {
                        let held = now.saturating_sub(since);
                        waiter.claim.deadline = waiter.claim.deadline.map(|at| at + held);
                    }
                }
                _ => {}
            }
        }
    }

    fn give_up_overdue(&mut self, now: u64, actions: &mut Vec<Action>) {
        let overdue: Vec<String> = self
            .queue
            .iter()
            .filter(|w| w.deadline().is_some_and(|deadline| deadline <= now))
            .map(|w| w.unit.clone())
            .collect();
        if overdue.is_empty() {
            return;
        }
        for unit in overdue {
            if let Some(waiter) = self.forget_waiter(&unit) {
                let why = waiter.claim.at_deadline;
                actions.push(Action::Refuse { unit, why });
            }
        }
        self.settle(None, actions);
    }

    fn sweep(&mut self, actions: &mut Vec<Action>) {
        /// Enough to get around a long queue in time without a burst of calls to PID 1.
        const AT_ONCE: usize = 32;
        let stale = self.queue.iter_mut().filter(|w| !w.looking);
        for waiter in stale.take(AT_ONCE) {
            waiter.looking = true;
            actions.push(Action::Look {
                unit: waiter.unit.clone(),
            });
        }
        self.look_behind_leases(actions);
    }

    fn look_behind_leases(&self, actions: &mut Vec<Action>) {
        for (unit, lease) in &self.leases {
            if lease.may_wait_for_others() {
                actions.push(Action::LookBehindLease { unit: unit.clone() });
            }
        }
    }

    fn is_waiting(&self, unit: &str) -> bool {
        self.queue.iter().any(|w| w.unit == unit)
    }

    fn forget_waiter(&mut self, unit: &str) -> Option<Waiter> {
        let at = self.queue.iter().position(|w| w.unit == unit)?;
        Some(self.queue.remove(at))
    }
}

/// Whether a start of this unit is held.
fn is_closed(closed: &BTreeSet<String>, unit: &str, claim: &Claim) -> bool {
    closed.contains(&claim.task)
        || closed.contains(unit)
        || names::template_of(unit).is_some_and(|template| closed.contains(&template))
}
