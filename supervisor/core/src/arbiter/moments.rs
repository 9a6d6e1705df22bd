//! The moments in a state, and the same state with others: only their order means anything.

use std::collections::BTreeSet;

use super::Arbiter;

impl Arbiter {
    /// All moments that the order of the queue depends on, now or later.
    pub fn moments(&self) -> BTreeSet<u64> {
        let waiting = self.queue.iter().map(|waiter| waiter.since);
        let places = self.leases.values().filter_map(|lease| lease.revoked);
        let asked = self.leases.values().map(|lease| lease.asked);
        waiting.chain(places).chain(asked).collect()
    }

    /// Gives each moment another name that keeps their order, and forgets those of leases if none is ever
    /// revoked: nothing depends on them then.
    pub fn rename_moments(&mut self, may_revoke: bool, name: impl Fn(u64) -> u64) {
        for lease in self.leases.values_mut() {
            lease.asked = if may_revoke { name(lease.asked) } else { 0 };
            lease.revoked = lease.revoked.map(&name);
        }
        for (place, waiter) in (0..).zip(&mut self.queue) {
            waiter.since = name(waiter.since);
            // Those that ask at one moment keep the order in which they did.
            waiter.seq = place;
            self.next_seq = place + 1;
        }
        if self.queue.is_empty() {
            self.next_seq = 0;
        }
    }
}
