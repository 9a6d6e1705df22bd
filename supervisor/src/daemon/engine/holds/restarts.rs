//! Restarts that systemd makes by itself (`Restart=`): they go on with what was begun, and are no new starts.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Engine;
use crate::pid1::unit_path;

/// Which starts are such restarts. At its gate a unit looks as if it were started by anybody.
#[derive(Debug, Default)]
pub(in super::super) struct Restarts {
    /// Units that systemd is about to restart.
    due: BTreeSet<String>,
    /// The jobs by which it does so, by unit.
    jobs: BTreeMap<String, u32>,
}

impl Restarts {
    /// A unit has ended, and is about to be restarted; its job if it has one already.
    pub(in super::super) fn unit_restarts(&mut self, unit: &str, job: Option<u32>) {
        match job {
            Some(job) => drop(self.jobs.insert(unit.to_owned(), job)),
            None => drop(self.due.insert(unit.to_owned())),
        }
    }

    /// The next job of such a unit is its restart, or takes its place.
    pub(in super::super) fn job_new(&mut self, unit: &str, job: u32) {
        if self.due.remove(unit) {
            self.jobs.insert(unit.to_owned(), job);
        }
    }

    pub(in super::super) fn job_removed(&mut self, unit: &str, job: u32) {
        if self.jobs.get(unit) == Some(&job) {
            self.jobs.remove(unit);
        }
    }

    /// Whether this job of a unit is such a restart.
    pub(super) fn has(&self, unit: &str, job: u32) -> bool {
        self.jobs.get(unit) == Some(&job)
    }
}

impl Engine {
    /// As [`Restarts::unit_restarts`], of what holds a lease, by its object path.
    pub(in super::super) fn unit_restarts(&mut self, path: &str) {
        let mut units = self.arbiter.leases().keys();
        if let Some(unit) = units.find(|unit| unit_path(unit) == path) {
            let job = self.jobs.get(unit).copied();
            self.holds.restarts.unit_restarts(unit, job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_job_of_what_is_about_to_be_restarted_is_that_and_no_other_is() {
        let mut restarts = Restarts::default();
        restarts.job_new("a.service", 1);
        assert!(!restarts.has("a.service", 1));
        restarts.unit_restarts("a.service", None);
        restarts.job_new("a.service", 2);
        restarts.job_new("a.service", 3);
        assert!(restarts.has("a.service", 2) && !restarts.has("a.service", 3));
        restarts.job_removed("a.service", 2);
        assert!(!restarts.has("a.service", 2));
        // The news of its job was quicker.
        restarts.unit_restarts("b.service", Some(4));
        assert!(restarts.has("b.service", 4));
        restarts.job_new("b.service", 5);
        assert!(!restarts.has("b.service", 5));
    }
}
