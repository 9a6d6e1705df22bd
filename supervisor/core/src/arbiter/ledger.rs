//! Accounts of how much of each resource is spoken for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Lease, Uses, unit_of_share};

/// What is left of each resource after leases and reservations.
pub struct Ledger<'a> {
    capacities: &'a BTreeMap<String, u32>,
    /// Wide, since adopted leases may exceed any capacity.
    taken: BTreeMap<Cow<'a, str>, u64>,
}

impl<'a> Ledger<'a> {
    /// What the leases have taken.
    pub fn of(capacities: &'a BTreeMap<String, u32>, leases: &'a BTreeMap<String, Lease>) -> Self {
        let mut taken = BTreeMap::new();
        for (resource, weight) in leases.values().flat_map(|lease| &lease.uses) {
            *taken.entry(Cow::from(resource.as_str())).or_default() += u64::from(*weight);
        }
        Self { capacities, taken }
    }

    /// How much of a resource is taken.
    pub fn taken(&self, resource: &str) -> u64 {
        self.taken.get(resource).copied().unwrap_or(0)
    }

    /// Whether one share set fits into what is left. A resource that nothing defines has no limit. Who needs more
    /// than there is (an operator has lowered the capacity) gets all of it.
    pub fn fits(&self, uses: &Uses) -> bool {
        uses.iter().all(|(resource, weight)| {
            capacity(self.capacities, resource).is_none_or(|capacity| {
                let weight = u64::from((*weight).min(capacity));
                self.taken(resource) + weight <= u64::from(capacity)
            })
        })
    }

    /// Reserves for a waiter what it needs. One that has to wait for a unit can't use anything before that has ended,
    /// and so reserves no more than its place behind it: else those who wait for one unit would keep all others out.
    pub fn reserve(&mut self, uses: &Uses) {
        let waits_for_unit = |name: &String| unit_of_share(name).is_some() && self.taken(name) > 0;
        if !uses.keys().any(waits_for_unit) {
            self.take(uses);
        }
    }

    /// Takes shares: for a lease, or reserved for a waiter.
    pub fn take(&mut self, uses: &Uses) {
        for (resource, weight) in uses {
            // Resources without a capacity are never compared.
            let name = match self.capacities.get_key_value(resource) {
                Some((name, _)) => Cow::from(name.as_str()),
                None if unit_of_share(resource).is_some() => Cow::from(resource.clone()),
                None => continue,
            };
            *self.taken.entry(name).or_default() += u64::from(*weight);
        }
    }
}

/// How much there is of a resource; `None` if nothing limits it.
pub fn capacity(capacities: &BTreeMap<String, u32>, resource: &str) -> Option<u32> {
    match unit_of_share(resource) {
        Some(_) => Some(1),
        None => capacities.get(resource).copied(),
    }
}
