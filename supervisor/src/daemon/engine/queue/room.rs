//! What there is room for beside all who hold and all who wait at gates.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;

use interlock_core::arbiter::Uses;

use super::super::Engine;

/// What is left of each resource beside all who hold and all who wait at gates.
pub(super) struct Room {
    capacities: BTreeMap<String, u32>,
    free: BTreeMap<String, i64>,
    /// How many of a task that uses nothing are on their way or running.
    unlimited: BTreeMap<String, usize>,
    at_once: usize,
}

impl Room {
    fn of(capacities: &BTreeMap<String, u32>, at_once: usize) -> Self {
        let free = capacities.iter().map(|(r, n)| (r.clone(), i64::from(*n)));
        Self {
            free: free.collect(),
            capacities: capacities.clone(),
            unlimited: BTreeMap::new(),
            at_once,
        }
    }

    pub(super) fn has(&self, task: &str, uses: &Uses) -> bool {
        if uses.is_empty() {
            return self.unlimited.get(task).copied().unwrap_or(0) < self.at_once;
        }
        uses.iter().all(|(resource, shares)| {
            // As at the gate: who needs more than there is now (an operator has lowered it) needs all of it.
            let most = self.capacities.get(resource).copied().unwrap_or(*shares);
            let free = self.free.get(resource);
            free.is_none_or(|free| *free >= i64::from(*shares.min(&most)))
        })
    }

    pub(super) fn take(&mut self, task: &str, uses: &Uses) {
        if uses.is_empty() {
            *self.unlimited.entry(task.to_owned()).or_default() += 1;
        }
        for (resource, shares) in uses {
            if let Some(free) = self.free.get_mut(resource) {
                *free -= i64::from(*shares);
            }
        }
    }
}

impl Engine {
    pub(super) fn room(&self) -> Room {
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut room = Room::of(self.arbiter.capacities(), at_once);
        let leases = self.arbiter.leases();
        for (unit, lease) in leases {
            room.take(self.policy.task_name(unit), &lease.uses);
        }
        let waiters = self.arbiter.queue().iter();
        for waiter in waiters.filter(|w| !leases.contains_key(&w.unit)) {
            room.take(&waiter.claim.task, &waiter.claim.uses);
        }
        let live: BTreeSet<&String> = self.live_units().collect();
        let on_their_way = self.queue.in_flight.iter();
        for (unit, start) in on_their_way.filter(|(unit, _)| !live.contains(unit)) {
            room.take(self.policy.task_name(unit), &start.uses);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(shares: &[(&str, u32)]) -> Uses {
        shares.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect()
    }

    #[test]
    fn who_needs_more_than_a_lowered_capacity_needs_all_of_it() {
        let mut room = Room::of(&uses(&[("slots", 2)]), 1);
        let (heavy, light) = (uses(&[("slots", 8)]), uses(&[("slots", 1)]));
        assert!(room.has("heavy", &heavy));
        room.take("light", &light);
        assert!(!room.has("heavy", &heavy));
        assert!(room.has("light", &light));
    }

    #[test]
    fn what_uses_nothing_is_limited_by_task() {
        let mut room = Room::of(&uses(&[]), 2);
        for _ in 0..2 {
            assert!(room.has("a", &Uses::new()));
            room.take("a", &Uses::new());
        }
        assert!(!room.has("a", &Uses::new()));
        assert!(room.has("b", &Uses::new()));
    }
}
