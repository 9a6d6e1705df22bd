//! Other rules for those who hold and wait: another policy, and whose starts are held.

use std::collections::{BTreeMap, BTreeSet};

use interlock_generator::names;

use super::{Arbiter, Claim, Refusal, Standing, Waiter, add_uses};

impl Arbiter {
    pub(super) fn new_policy(
        &mut self,
        capacities: BTreeMap<String, u32>,
        claims: &BTreeMap<String, Claim>,
    ) {
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
    pub(super) fn admit(&mut self, now: u64) {
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
}

/// Whether a start of this unit is held.
pub(super) fn is_closed(closed: &BTreeSet<String>, unit: &str, claim: &Claim) -> bool {
    closed.contains(&claim.task)
        || closed.contains(unit)
        || names::template_of(unit).is_some_and(|template| closed.contains(&template))
}
