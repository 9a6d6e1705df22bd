//! Order that PID 1 doesn't keep. The policy says that a task begins when those before it have ended; for PID 1 a start
//! of any service but a oneshot is over when the service is up, and what is ordered after it goes on.

use interlock_core::arbiter::{Event, Standing};

use super::Engine;

impl Engine {
    /// What PID 1 says about a waiter; if that is nothing, which tasks still run that the policy puts before it; and
    /// if none does, what locks say.
    pub(super) fn whole_standing(&mut self, unit: &str, standing: Standing) -> Standing {
        let before = match standing {
            Standing::Clear => self.predecessors_at_work(unit),
            _ => Vec::new(),
        };
        match before.is_empty() {
            true => self.with_locks(unit, standing),
            false => Standing::Behind(before),
        }
    }

    /// Only those that were let in: one that waits has a job, which PID 1 knows of.
    fn predecessors_at_work(&self, unit: &str) -> Vec<String> {
        let leases = self.arbiter.leases();
        let is_at_work = |before: &&str| {
            let lease = leases.get(*before);
            lease.is_some_and(|lease| !lease.presumed && lease.revoked.is_none())
        };
        let before = self.policy.predecessors(unit).into_iter();
        before.filter(is_at_work).map(str::to_owned).collect()
    }

    /// Who waited for its end is looked at again, as if a job of it had gone.
    pub(super) fn predecessor_has_ended(&mut self, unit: &str) {
        self.feed(Event::JobGone {
            unit: unit.to_owned(),
        });
    }
}
