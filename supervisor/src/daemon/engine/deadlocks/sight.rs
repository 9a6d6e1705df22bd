//! What the arbiter knows, as the deadlock rules want it.

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_core::arbiter::{Hurdle, Waiter};
use interlock_core::deadlock::{Blocker, GateWait, JobWait};

use super::super::Engine;
use crate::lookout::{Request, Terms};

impl Engine {
    pub(super) fn request_look(&self, terms: Arc<Terms>) -> Request {
        let mut request = Request {
            terms,
            leases: self.arbiter.leases().keys().cloned().collect(),
            groups: BTreeMap::new(),
            outside: self.outside_holders(),
            ..Request::default()
        };
        for waiter in self.arbiter.queue() {
            let view = self.arbiter.view(&waiter.unit);
            for hurdle in view.into_iter().flat_map(|view| view.hurdles) {
                self.add_hurdle(waiter, hurdle, &mut request);
            }
        }
        request
    }

    fn add_hurdle(&self, waiter: &Waiter, hurdle: Hurdle, request: &mut Request) {
        let unit = waiter.unit.clone();
        match hurdle {
            Hurdle::Resource {
                name,
                needs,
                capacity,
                holders,
                ahead,
            } => {
                let lease = |unit: &String| self.arbiter.leases().get(unit)?.uses.get(&name);
                let queue = self.arbiter.queue();
                let claim = |unit: &String| {
                    let waiter = queue.iter().find(|it| it.unit == *unit)?;
                    waiter.claim.uses.get(&name)
                };
                let held = holders.iter().map(|unit| (unit, lease(unit)));
                let claimed = ahead.iter().map(|unit| (unit, claim(unit)));
                let by: Vec<(Blocker, u32)> = held
                    .chain(claimed)
                    .filter_map(|(unit, shares)| Some((Blocker::Unit(unit.clone()), *shares?)))
                    .collect();
                let taken: u64 = by.iter().map(|(_, shares)| u64::from(*shares)).sum();
                let lacking = (taken + u64::from(needs)).saturating_sub(u64::from(capacity));
                request.gate_waits.push(GateWait {
                    unit,
                    resource: name,
                    lacking: u32::try_from(lacking).unwrap_or(u32::MAX),
                    by,
                });
            }
            Hurdle::Lock(lock) => request.locked.push((unit, lock.resource)),
            Hurdle::Jobs(before) => request.job_waits.push(JobWait { unit, before }),
            // That ends, at the latest when it has waited for too long.
            Hurdle::Held => {}
        }
    }
}
