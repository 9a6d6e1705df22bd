//! What PID 1 says happens, and what it answers when it is asked what comes before a start.

use interlock_core::arbiter::{Action, Event};
use interlock_generator::names;
use tokio::time::Instant;

use super::{Engine, leases};
use crate::pid1;
use crate::pid1::signals::Signal;

impl Engine {
    pub(super) async fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::JobNew { unit, id } => {
                self.deployments_job_new(&unit, id);
                self.note_stop(&unit).await;
                if self.policy.is_gated(&unit) {
                    self.holds.restarts.job_new(&unit, id);
                    self.jobs.insert(unit, id);
                }
            }
            Signal::JobRemoved { unit, id, result } => {
                if self.jobs.get(&unit) == Some(&id) {
                    self.jobs.remove(&unit);
                }
                self.holds.restarts.job_removed(&unit, id);
                self.notify_command_ended(&unit, &result);
                self.job_removed(&unit, &result).await;
                self.deployments_job_removed(&unit, id, &result).await;
                self.start_came_to_nothing(&unit, &result).await;
                self.ungated_job_removed(&unit).await;
                self.idle_job_removed(&unit, id, &result).await;
            }
            Signal::UnitRestarts { path } => self.unit_restarts(&path),
            Signal::UnitLeaves { path } => self.deployments_heard_of_path(&path),
            Signal::UnitRested { path, exited, job } => {
                self.deployments_heard_of_path(&path);
                self.unit_rested(&path, exited);
                self.ungated_rested(&path).await;
                if let Some(job) = job {
                    self.idle_unit_has_job(job).await;
                }
            }
            Signal::Reloading(true) => {}
            Signal::Reloading(false) => self.policy_may_have_changed().await,
        }
    }

    /// A gate that is down ends its lease; a task's end only does if it stays active, else its gate follows.
    fn unit_rested(&mut self, path: &str, exited: bool) {
        for unit in self.arbiter.leases().keys() {
            if pid1::unit_path(unit) == path {
                if exited {
                    self.dirty.insert(unit.clone());
                } else {
                    let then = Instant::now() + leases::ORPHAN_GRACE;
                    self.later.insert(unit.clone(), then);
                }
            } else if !exited && pid1::unit_path(&names::gate_of(unit)) == path {
                self.dirty.insert(unit.clone());
            }
        }
    }

    pub(super) async fn look(&mut self, unit: String) {
        if let Some(pid1) = self.pid1.clone()
            && !self.learn_run(&pid1, &unit).await
        {
            self.unanswered.push(Action::Look { unit });
            return;
        }
        let answer = self
            .state_and_standing(&unit)
            .await
            .map(|(_, standing)| standing);
        match answer {
            Some(standing) => {
                let standing = self.whole_standing(&unit, standing);
                self.feed(Event::Looked { unit, standing });
            }
            // No answer says nothing about the unit.
            None => self.unanswered.push(Action::Look { unit }),
        }
    }

    pub(super) async fn look_behind_lease(&mut self, unit: String) {
        let answer = match &self.pid1 {
            None => None,
            Some(pid1) => pid1.all_behind(&unit).await.ok(),
        };
        match answer {
            Some(behind) => self.feed(Event::LookedBehindLease { unit, behind }),
            None => self.unanswered.push(Action::LookBehindLease { unit }),
        }
    }
}
