//! Capacities that operators have set while all goes on.

use std::collections::BTreeMap;

use interlock_core::arbiter::Event;

use super::super::Engine;
use super::super::policy::Policy;
use super::{Queue, QueueError};
use crate::clock;
use crate::journal::message;
use crate::store::Capacity;

/// A resource's capacity, for D-Bus.
#[derive(Debug, Clone)]
pub struct CapacityView {
    /// The resource.
    pub resource: String,
    /// How many shares there are now.
    pub capacity: u32,
    /// How many the policy says.
    pub policy: u32,
    /// How many are held.
    pub used: u32,
    /// Who said otherwise than the policy, why, and when.
    pub changed: Option<Capacity>,
}

impl Queue {
    /// The policy's, but where an operator has said otherwise.
    pub(in super::super) fn capacities(&self, policy: &Policy) -> BTreeMap<String, u32> {
        let mut capacities = policy.capacities();
        for (resource, change) in &self.capacities {
            if let Some(capacity) = capacities.get_mut(resource) {
                *capacity = change.capacity;
            }
        }
        capacities
    }
}

impl Engine {
    /// Another capacity than the policy's, until it is taken back (0). Lowering ends nothing: nothing more is
    /// granted until it fits.
    pub(in super::super) fn set_capacity(
        &mut self,
        resource: &str,
        capacity: u32,
        reason: &str,
        by: &str,
    ) -> Result<(), QueueError> {
        self.known_resource(resource)?;
        let change = (capacity > 0).then(|| Capacity {
            capacity,
            reason: reason.to_owned(),
            by: by.to_owned(),
            since: clock::realtime(),
        });
        self.store().set_capacity(resource, change.as_ref())?;
        match change {
            Some(change) => {
                tracing::warn!(
                    message_id = message::CAPACITY,
                    resource,
                    "the capacity of {resource} is {capacity} now, says {by}"
                );
                self.queue.capacities.insert(resource.to_owned(), change);
            }
            None => {
                tracing::info!(
                    message_id = message::CAPACITY,
                    resource,
                    "the capacity of {resource} is the policy's again, says {by}"
                );
                self.queue.capacities.remove(resource);
            }
        }
        self.feed(Event::Capacities(self.capacities()));
        self.queue.wake();
        Ok(())
    }

    /// What there is of each resource now.
    pub(in super::super) fn capacities(&self) -> BTreeMap<String, u32> {
        self.queue.capacities(&self.policy)
    }

    pub(in super::super) fn capacity_views(&self) -> Vec<CapacityView> {
        let now = self.capacities();
        let view = |(resource, policy): (String, u32)| {
            let leases = self.arbiter.leases().values();
            let used = leases.filter_map(|lease| lease.uses.get(&resource)).sum();
            CapacityView {
                capacity: now.get(&resource).copied().unwrap_or(policy),
                policy,
                used,
                changed: self.queue.capacities.get(&resource).cloned(),
                resource,
            }
        };
        self.policy.capacities().into_iter().map(view).collect()
    }
}
