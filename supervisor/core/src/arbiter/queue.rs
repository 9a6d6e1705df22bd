//! Who waits, and who is let in next.

use super::{Action, Arbiter, Lease, Ledger, Standing, Waiter, add_uses, claim};

impl Arbiter {
    pub(super) fn request(&mut self, mut waiter: Waiter, now: u64, actions: &mut Vec<Action>) {
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
    pub(super) fn look_at_what_blocks(&mut self, unit: &str, actions: &mut Vec<Action>) {
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
    pub(super) fn settle(&mut self, fresh: Option<&str>, actions: &mut Vec<Action>) {
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

    pub(super) fn grant(&mut self, unit: String, actions: &mut Vec<Action>) {
        let Some(waiter) = self.forget_waiter(&unit) else {
            return;
        };
        let mut uses = waiter.claim.uses;
        // What its last run has left behind goes on using what that was let in with.
        if let Some(lease) = self.leases.get(&unit) {
            add_uses(&mut uses, &lease.uses);
        }
        let lease = Lease {
            uses,
            presumed: false,
            revoked: None,
            started: waiter.standing == Standing::Jobless,
            asked: waiter.since,
        };
        self.leases.insert(unit.clone(), lease);
        actions.push(Action::Grant { unit });
    }

    pub(super) fn give_up_overdue(&mut self, now: u64, actions: &mut Vec<Action>) {
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

    pub(super) fn is_waiting(&self, unit: &str) -> bool {
        self.queue.iter().any(|w| w.unit == unit)
    }

    pub(super) fn forget_waiter(&mut self, unit: &str) -> Option<Waiter> {
        let at = self.queue.iter().position(|w| w.unit == unit)?;
        Some(self.queue.remove(at))
    }
}
