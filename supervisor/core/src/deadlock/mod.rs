//! Pure: which processes wait for one another for ever, and which of them may be ended.
//!
//! A snapshot becomes a graph of who can't go on before whom: a parent before its children, a client of a resource
//! before those who lock it, a systemctl(1) before its unit's job, a gate before enough of its resource is free, a
//! lease before its unit's processes have ended. Whoever could go on is struck out until nobody is left who
//! could; who is left and waits in a ring is deadlocked. So the incident (a client below the holder of its
//! lock), a start from inside the task that is in its way, and rings through several tasks are one rule.
//!
//! What processes do with the CPU says nothing: a deadlocked parent may well spin.

mod clients;
pub mod commands;
mod graph;
mod ring;
mod snapshot;

#[cfg(test)]
mod tests;

use interlock_generator::policy::settings::OnDeadlock;

pub use clients::is_client;
pub use graph::Why;
pub use ring::{Deadlock, Kind, Link, Waiter, Who};
pub use snapshot::{
    Blocker, GateWait, Held, JobWait, LockWait, Process, Rule, Rules, Snapshot, UnitWait,
};

/// All deadlocks of a snapshot, each once, however many processes are caught in it.
pub fn find(snapshot: &Snapshot, rules: &Rules) -> Vec<Deadlock> {
    // Without anybody who waits there is no ring, and nothing to be built.
    if snapshot.held.is_empty() && snapshot.unit_waits.is_empty() {
        return Vec::new();
    }
    ring::all(&graph::Graph::new(snapshot, rules), snapshot, rules)
}

impl Deadlock {
    /// The process to be ended so that the others may go on: the innermost waiter, if the policy says so. Never
    /// one that holds a lock: rpm blocks signals in a transaction, and KILL leaves that half done.
    pub fn to_end(&self) -> Option<&Waiter> {
        let may =
            |waiter: &&Waiter| waiter.on_deadlock == OnDeadlock::KillNested && !waiter.holds_lock;
        self.waiters.iter().find(may)
    }

    /// Whether it is the same one as at an earlier look: who waited then waits still.
    pub fn is_same(&self, earlier: &Self) -> bool {
        let id = |waiter: &Waiter| (waiter.process.pid, waiter.process.start_time);
        let known = |waiter: &Waiter| earlier.waiters.iter().any(|other| id(other) == id(waiter));
        self.waiters.iter().any(known)
    }
}
