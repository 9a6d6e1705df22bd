//! What the arbiter can tell about a waiter: the facts behind `why` and the gates' status texts.

use std::collections::BTreeMap;

use super::ledger::{self, Ledger};
use super::{Arbiter, Lock, Standing, Uses, Waiter, claim};

/// What a waiter waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitView {
    /// Place among those that want something of the same, from 1.
    pub position: usize,
    /// How many want something of the same, itself included.
    pub of: usize,
    /// What it waits for; empty if it is about to be granted.
    pub hurdles: Vec<Hurdle>,
}

/// One thing that a waiter waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hurdle {
    /// Not enough of a resource is left.
    Resource {
        /// Its name.
        name: String,
        /// Shares that it needs.
        needs: u32,
        /// Shares that there are.
        capacity: u32,
        /// Units that hold some.
        holders: Vec<String>,
        /// Units that come first and wait for it as well.
        ahead: Vec<String>,
    },
    /// Jobs of these units come first.
    Jobs(Vec<String>),
    /// Admission is closed for it: by a deployment, or by an operator.
    Held,
    /// Somebody outside the policy holds a resource's lock.
    Lock(Lock),
}

impl Arbiter {
    /// What `unit` waits for; `None` if it doesn't wait.
    pub fn view(&self, unit: &str) -> Option<WaitView> {
        let at = self.queue.iter().position(|w| w.unit == unit)?;
        let waiter = &self.queue[at];
        let rivals = |w: &&Waiter| claim::overlap(&w.claim.uses, &waiter.claim.uses);
        let ahead: Vec<&Waiter> = self.queue[..at].iter().filter(rivals).collect();
        let behind = self.queue[at + 1..].iter().filter(rivals).count();
        let hurdles = match &waiter.standing {
            _ if waiter.held.is_some() => vec![Hurdle::Held],
            Standing::Behind(units) => vec![Hurdle::Jobs(units.clone())],
            Standing::Locked(locks) => {
                let locks = locks.iter().cloned().map(Hurdle::Lock);
                let resources = self.resource_hurdles(waiter, &ahead);
                locks.chain(resources).collect()
            }
            _ => self.resource_hurdles(waiter, &ahead),
        };
        Some(WaitView {
            position: ahead.len() + 1,
            of: ahead.len() + 1 + behind,
            hurdles,
        })
    }

    /// Whether somebody who asks for this now would have to wait until `holder` gives its lease back, directly or
    /// because those wait for it who come first.
    pub fn would_wait_for(&self, holder: &str, uses: &Uses) -> bool {
        let Some((holder, lease)) = self.leases.get_key_value(holder) else {
            return false;
        };
        let only = BTreeMap::from([(holder.clone(), lease.clone())]);
        let mut ledger = Ledger::of(&self.capacities, &only);
        for waiter in self.queue.iter().filter(|waiter| waiter.reserves()) {
            if !ledger.fits(&waiter.claim.uses) {
                ledger.reserve(&waiter.claim.uses);
            }
        }
        !ledger.fits(uses)
    }

    fn resource_hurdles(&self, waiter: &Waiter, ahead: &[&Waiter]) -> Vec<Hurdle> {
        let mut hurdles = Vec::new();
        for (name, needs) in &waiter.claim.uses {
            let Some(capacity) = ledger::capacity(&self.capacities, name) else {
                continue;
            };
            let holders: Vec<(&String, u32)> = self
                .leases
                .iter()
                .filter_map(|(unit, lease)| Some((unit, *lease.uses.get(name)?)))
                .collect();
            let ahead: Vec<(&String, u32)> = ahead
                .iter()
                .filter(|w| w.reserves())
                .filter_map(|w| Some((&w.unit, *w.claim.uses.get(name)?)))
                .collect();
            let taken: u64 = holders
                .iter()
                .chain(&ahead)
                .map(|(_, n)| u64::from(*n))
                .sum();
            // An operator may have lowered it: then all of it is enough.
            let needs = (*needs).min(capacity);
            if taken + u64::from(needs) > u64::from(capacity) {
                let units =
                    |list: &[(&String, u32)]| list.iter().map(|(u, _)| (*u).clone()).collect();
                hurdles.push(Hurdle::Resource {
                    name: name.clone(),
                    needs,
                    capacity,
                    holders: units(&holders),
                    ahead: units(&ahead),
                });
            }
        }
        hurdles
    }
}
