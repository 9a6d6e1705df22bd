//! Answers what is asked over D-Bus.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Query;
use super::Engine;
use crate::history::risk;

/// So much time goes to answers at a time: gates and PID 1 come first, and whoever floods the bus with questions
/// makes them wait no longer than this and one answer.
const AT_A_TIME: Duration = Duration::from_millis(2);

impl Engine {
    /// Answers what was asked first.
    pub(super) async fn answer_some(&mut self) {
        let limit = Instant::now() + AT_A_TIME;
        while let Some(query) = self.asked.pop_front() {
            self.answer(query).await;
            self.asked_before_look = self.asked_before_look.saturating_sub(1);
            self.carry_out().await;
            if Instant::now() >= limit {
                return;
            }
        }
    }

    async fn answer(&mut self, query: Query) {
        // Whoever asked may be gone: then nobody misses the answer.
        match query {
            Query::Tasks(to) => {
                self.know_ungated().await;
                drop(to.send(self.task_views()));
            }
            Query::Task(name, to) => {
                self.know_ungated().await;
                drop(to.send(self.task_view(&name)));
            }
            Query::Past(unit, to) => drop(to.send(self.history.past(&unit))),
            Query::Exposed(to) => drop(to.send(risk::exposed(self.policy.settings()))),
            Query::Queue(to) => drop(to.send(self.queue_views())),
            Query::Explain(name, to) => {
                self.know_ungated().await;
                drop(to.send(self.explain(&name)));
            }
            Query::DatabaseTrouble(to) => drop(to.send(self.database_trouble())),
            Query::Policy(to) => drop(to.send(self.policy.view())),
            Query::CheckRequest(pid, task, uses, to) => {
                drop(to.send(self.check_request(pid, &task, uses)));
            }
            Query::Holding(pid, resource, to) => {
                drop(to.send(self.holds_resource(pid, &resource)));
            }
            Query::Locks(to) => drop(to.send(self.lock_views())),
            Query::Submit { tasks, options, to } => drop(to.send(self.submit(&tasks, &options))),
            Query::AboutQueue(query) => self.answer_about_queue(query),
            Query::Submitted(to) => drop(to.send(self.submitted_views())),
            Query::Begin(request, to) => drop(to.send(self.begin_deployment(request))),
            Query::Deployments(to) => drop(to.send(self.deployment_views())),
            Query::Deployment(id, to) => drop(to.send(self.deployment_view(&id))),
            Query::EndDeployment(id, by, to) => drop(to.send(self.end_deployment(&id, by))),
            Query::ExtendDeployment(id, by, to) => drop(to.send(self.extend_deployment(&id, by))),
            Query::TakeOverDeployment(id, owner, reason, expires, to) => {
                drop(to.send(self.take_over_deployment(&id, owner, reason, expires)));
            }
            Query::RunAction(request, to) => drop(to.send(self.run_action(request).await)),
            Query::Hold(request, to) => drop(to.send(self.hold_task(request).await)),
            Query::Release(task, by, to) => drop(to.send(self.release_task(&task, &by))),
            Query::Holds(to) => drop(to.send(self.hold_views())),
            Query::Deadlocks(to) => drop(to.send(self.deadlock_views())),
            Query::Live(to) => {
                self.know_ungated().await;
                drop(to.send(self.live()));
            }
            Query::WaitForDeployment(id, to) => self.wait_for_deployment(&id, to),
            Query::Reload(to) => {
                self.reload().await;
                drop(to.send(self.policy.view()));
            }
        }
    }

    /// PID 1 is asked once for all who had asked before: whoever floods the bus would flood PID 1 otherwise.
    async fn know_ungated(&mut self) {
        if self.asked_before_look == 0 {
            // This one, and all that wait behind it.
            self.asked_before_look = self.asked.len() + 1;
            self.look_at_ungated().await;
        }
    }
}
