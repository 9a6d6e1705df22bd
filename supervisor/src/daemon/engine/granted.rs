//! What leases hold outlives interlockd, and the policy that they were granted by.

use std::path::Path;

use interlock_core::arbiter::{Uses, add_uses};
use interlock_generator::names;

use super::Engine;
use super::leases::{Survey, is_populated};
use crate::pid1::Pid1;

impl Engine {
    /// What a lease holds that wasn't granted here: what an earlier interlockd granted, and what the policy says now.
    pub(super) fn uses_held_by(&self, unit: &str) -> Uses {
        let mut uses = self.policy.uses_of(unit);
        if let Some(granted) = self.granted.of(unit) {
            add_uses(&mut uses, granted);
        }
        uses
    }

    /// Of one that is only presumed nothing is known but what is kept already.
    pub(super) fn keep_granted(&mut self, unit: &str) {
        let lease = self.arbiter.leases().get(unit);
        if let Some(lease) = lease.filter(|lease| !lease.presumed) {
            self.granted.keep(unit, &lease.uses);
            self.keep_unit_file(unit);
        }
    }

    fn keep_unit_file(&self, unit: &str) {
        let task = self.policy.task_of(unit);
        if task.is_some_and(|task| task.command.is_some()) {
            self.granted
                .keep_unit_file(unit, Path::new(names::GENERATED_DIR));
        }
    }

    pub(super) fn keep_all_granted(&mut self) {
        let units: Vec<String> = self.arbiter.leases().keys().cloned().collect();
        for unit in units {
            self.keep_granted(&unit);
        }
    }

    /// Tasks that lost their policy while they ran have no gate any more, and their lease all the same. What else is
    /// kept of units without one is of runs that have ended. Says whether PID 1 answered.
    pub(super) async fn adopt_granted(&mut self, pid1: &Pid1, found: &Survey) -> bool {
        let units = self.granted.units();
        let units = units.filter(|unit| !self.arbiter.leases().contains_key(*unit));
        let units: Vec<String> = units.cloned().collect();
        if units.is_empty() {
            return true;
        }
        let Ok(states) = pid1.states(units.clone()).await else {
            return false;
        };
        for unit in units {
            let works = match states.get(&unit) {
                Some(state) if state.is_running() => true,
                Some(state) if state.is_down() => is_populated(pid1.control_group(&unit).await),
                Some(_) | None => false,
            };
            if !works {
                self.granted.forget(&unit);
            } else if !found.contains_key(&unit) {
                self.adopt_running(&unit);
            }
        }
        true
    }
}
