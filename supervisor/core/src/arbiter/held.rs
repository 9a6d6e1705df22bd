//! What is held: leases that were found rather than granted, and those that are in somebody's way.

use super::{Action, Arbiter, Lease, Uses, add_uses, claim};

impl Arbiter {
    pub(super) fn looked_behind_lease(
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

    pub(super) fn adopt(&mut self, unit: String, uses: Uses, since: u64, presumed: bool) {
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

    pub(super) fn sweep(&mut self, actions: &mut Vec<Action>) {
        /// Enough to get around a long queue in time without a burst of calls to PID 1.
        const AT_ONCE: usize = 32;
        if self.swept >= self.queue.len() {
            self.swept = 0;
        }
        let (before, after) = self.queue.split_at_mut(self.swept);
        let all = after.iter_mut().chain(before);
        for waiter in all.take(AT_ONCE).filter(|w| !w.looking) {
            waiter.looking = true;
            actions.push(Action::Look {
                unit: waiter.unit.clone(),
            });
        }
        // A short queue is looked at from its head each time.
        self.swept = match self.queue.len() > AT_ONCE {
            true => self.swept + AT_ONCE,
            false => 0,
        };
        self.look_behind_leases(actions);
    }

    pub(super) fn look_behind_leases(&self, actions: &mut Vec<Action>) {
        for (unit, lease) in &self.leases {
            if lease.may_wait_for_others() {
                actions.push(Action::LookBehindLease { unit: unit.clone() });
            }
        }
    }
}
