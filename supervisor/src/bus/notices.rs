//! What clients of the bus are told of: the engine's notices, as signals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use zbus::object_server::InterfaceRef;

use super::deployment::{Deployment, DeploymentSignals};
use super::fair::Fair;
use super::manager::{Manager, ManagerSignals};
use super::queue::{Queue, QueueSignals};
use super::{Known, ROOT, Served, deployment_path};
use crate::daemon::Notice;

/// Further changes of one unit within this time are told in one signal: a short run has three.
const COALESCE: Duration = Duration::from_millis(100);

impl Served {
    /// Hands on the engine's notices until the connection is lost.
    pub(super) async fn serve(
        &mut self,
        notices: &mut UnboundedReceiver<Notice>,
        known: &mut Known,
    ) {
        let mut changed: BTreeSet<String> = BTreeSet::new();
        let mut flush = Instant::now();
        let mut told: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            let notice = tokio::select! {
                notice = notices.recv() => notice,
                _ = self.readers.join_next() => return,
                () = sleep_until(flush), if !changed.is_empty() => {
                    let now = Instant::now();
                    told.retain(|_, at| now - *at < COALESCE);
                    for unit in std::mem::take(&mut changed) {
                        self.changed(&unit).await;
                        told.insert(unit, now);
                    }
                    continue;
                }
            };
            match notice {
                Some(Notice::Changed(unit)) => {
                    let now = Instant::now();
                    if told.get(&unit).is_none_or(|at| now - *at >= COALESCE) {
                        self.changed(&unit).await;
                        told.insert(unit, now);
                    } else if changed.insert(unit) && changed.len() == 1 {
                        flush = now + COALESCE;
                    }
                }
                Some(notice) => self.tell(notice, known).await,
                None => return,
            }
        }
    }

    /// Tells clients of the bus.
    pub(super) async fn tell(&mut self, notice: Notice, known: &mut Known) {
        match notice {
            Notice::Changed(unit) => self.changed(&unit).await,
            Notice::Policy(now) => {
                known.units = now.into_iter().collect();
                self.offer(&known.units).await;
                if let Ok(manager) = self.manager().await {
                    let context = manager.signal_emitter();
                    let manager = manager.get().await;
                    let _ = manager.policy_state_changed(context).await;
                    let _ = manager.policy_errors_changed(context).await;
                }
            }
            Notice::Deployment(id) => {
                let is_new = known.deployments.insert(id.clone());
                self.deployment_changed(&id, is_new).await;
            }
            Notice::DeploymentGone(id) => {
                known.deployments.remove(&id);
                self.deployment_gone(&id).await;
            }
            Notice::Step {
                id,
                unit,
                task,
                state,
                detail,
            } => {
                let server = self.connection.object_server();
                let object = server
                    .interface::<_, Fair<Deployment>>(deployment_path(&id))
                    .await;
                if let Ok(object) = object {
                    let _ = object
                        .signal_emitter()
                        .step(&unit, &task, &state, &detail)
                        .await;
                }
            }
            Notice::DeadlockFound {
                id,
                kind,
                unit,
                resource,
                text,
            } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager
                        .signal_emitter()
                        .deadlock_found(id, &kind, &unit, &resource, &text)
                        .await;
                }
            }
            Notice::DeadlockResolved { id, how } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager.signal_emitter().deadlock_resolved(id, &how).await;
                }
            }
            Notice::Failed {
                task,
                unit,
                signature,
                hard,
                text,
            } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager
                        .signal_emitter()
                        .task_failed(&task, &unit, &signature, hard, &text)
                        .await;
                }
            }
            Notice::Recovered { task, unit } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager.signal_emitter().task_recovered(&task, &unit).await;
                }
            }
            Notice::Held {
                task,
                unit,
                reason,
                until,
                skips,
            } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager
                        .signal_emitter()
                        .task_held(&task, &unit, &reason, until, skips)
                        .await;
                }
            }
            Notice::Released { task, unit, reason } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager
                        .signal_emitter()
                        .task_released(&task, &unit, &reason)
                        .await;
                }
            }
            Notice::BatchEnded { id, done, failed } => {
                let server = self.connection.object_server();
                if let Ok(queue) = server.interface::<_, Fair<Queue>>(ROOT).await {
                    let _ = queue.signal_emitter().batch_ended(&id, done, failed).await;
                }
            }
            Notice::Skipped { task, unit, reason } => {
                if let Ok(manager) = self.manager().await {
                    let _ = manager
                        .signal_emitter()
                        .task_skipped(&task, &unit, &reason)
                        .await;
                }
            }
        }
    }

    async fn manager(&self) -> zbus::Result<InterfaceRef<Fair<Manager>>> {
        self.connection.object_server().interface(ROOT).await
    }

    async fn deployment_changed(&self, id: &str, is_new: bool) {
        self.offer_deployment(id).await;
        let path = deployment_path(id);
        if is_new
            && let Ok(manager) = self.manager().await
            && let Ok(path) = zbus::ObjectPath::try_from(path.as_str())
        {
            let _ = manager.signal_emitter().deployment_new(id, path).await;
        }
        let server = self.connection.object_server();
        if let Ok(object) = server.interface::<_, Fair<Deployment>>(path).await {
            let emitter = object.signal_emitter();
            let _ = object.get().await.emit_changed(emitter).await;
        }
    }

    async fn deployment_gone(&self, id: &str) {
        let path = deployment_path(id);
        let server = self.connection.object_server();
        let _ = server.remove::<Fair<Deployment>, _>(path.as_str()).await;
        if let Ok(manager) = self.manager().await
            && let Ok(path) = zbus::ObjectPath::try_from(path.as_str())
        {
            let _ = manager.signal_emitter().deployment_removed(id, path).await;
        }
    }
}
