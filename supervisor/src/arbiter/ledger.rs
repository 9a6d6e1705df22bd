//! Accounts of how much of each resource is spoken for.

use std::collections::BTreeMap;

use super::{Lease, Uses};

/// What is left of each resource after leases and reservations.
pub struct Ledger<'a> {
    capacities: &'a BTreeMap<String, u32>,
    /// Wide, since adopted leases may exceed any capacity.
    taken: BTreeMap<&'a str, u64>,
}

impl<'a> Ledger<'a> {
    /// What the leases have taken.
    pub fn of(capacities: &'a BTreeMap<String, u32>, leases: &'a BTreeMap<String, Lease>) -> Self {
        let mut taken = BTreeMap::new();
        for (resource, weight) in leases.values().flat_map(|lease| &lease.uses) {
            *taken.entry(resource.as_str()).or_default() += u64::from(*weight);
        }
        Self { capacities, taken }
    }

    /// How much of a resource is taken.
    pub fn taken(&self, resource: &str) -> u64 {
        self.taken.get(resource).copied().unwrap_or(0)
    }

    /// Whether one share set fits into what is left. A resource that nothing defines has no limit.
    pub fn fits(&self, uses: &Uses) -> bool {
        uses.iter().all(|(resource, weight)| {
            self.capacities.get(resource).is_none_or(|capacity| {
                self.taken(resource) + u64::from(*weight) <= u64::from(*capacity)
            })
        })
    }

    /// Takes shares: for a lease, or reserved for a waiter.
    pub fn take(&mut self, uses: &Uses) {
        for (resource, weight) in uses {
            // Resources without a capacity are never compared.
            if let Some((name, _)) = self.capacities.get_key_value(resource) {
                *self.taken.entry(name).or_default() += u64::from(*weight);
            }
        }
    }
}
