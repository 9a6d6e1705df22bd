//! What is heard of units that deployments have to do with.

use interlock_core::deploy::Deployment;

use super::super::Engine;
use crate::pid1;

impl Engine {
    /// Something has happened to a unit.
    pub(in super::super) fn deployments_heard_of(&mut self, unit: &str) {
        let deployments = &mut self.deployments;
        deployments.fresh.remove(unit);
        if deployments.stale.contains_key(unit) {
            deployments.maybe_fresh.insert(unit.to_owned());
            deployments.wake();
        }
        let is_hook = unit.starts_with("interlock-hook-");
        let concerns = |d: &Deployment| d.members.contains_key(unit);
        if is_hook || deployments.live().any(concerns) {
            deployments.wake();
        } else if deployments.live().next().is_some()
            && let Some(task) = self.policy.task_of(unit)
            && self.deployments.closed.contains(&task.name)
        {
            self.deployments.wake();
        }
    }

    /// As [`Engine::deployments_heard_of`], by the unit's object path.
    pub(in super::super) fn deployments_heard_of_path(&mut self, path: &str) {
        let stale = self.deployments.stale.keys();
        let mut stale = stale.filter(|unit| pid1::unit_path(unit) == path);
        let unit = self
            .deployments
            .member_at(path)
            .or_else(|| stale.next().cloned());
        if let Some(unit) = unit {
            self.deployments_heard_of(&unit);
        }
    }

    /// A unit has a new job.
    pub(in super::super) fn deployments_job_new(&mut self, unit: &str, id: u32) {
        self.deployments_heard_of(unit);
        let is_ours = self.deployments.own_stops.contains(&id)
            || self.deployments.expected_stops.remove(unit).is_some();
        if !is_ours && self.deployments.live().any(|d| d.is_stopped(unit)) {
            self.deployments.others_jobs.insert(id);
        }
    }

    /// A job of a unit has ended: it may be an operator's stop of what a deployment has stopped.
    pub(in super::super) async fn deployments_job_removed(
        &mut self,
        unit: &str,
        id: u32,
        result: &str,
    ) {
        self.deployments_heard_of(unit);
        let is_ours = self.deployments.own_stops.remove(&id);
        // Only a job that came when the unit was at rest already: that of the run has to end as well.
        let is_others = self.deployments.others_jobs.remove(&id);
        if is_ours || !is_others || result != "done" {
            return;
        }
        let Some(pid1) = &self.pid1 else {
            return;
        };
        // The host's shutdown isn't an operator's word about this unit.
        if pid1.is_stopping().await.unwrap_or(true) {
            return;
        }
        // A start isn't done while admission is closed; without a gate it leaves the unit up.
        let state = pid1.states(vec![unit.to_owned()]).await;
        let state = state.ok().and_then(|states| states.into_values().next());
        if state.is_some_and(|state| state.is_down() && state.job.is_none()) {
            for live in self.deployments.all.values_mut() {
                live.deployment.stopped_by_somebody(unit);
            }
            self.deployments.wake();
        }
    }
}
