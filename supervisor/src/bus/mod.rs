//! interlockd on the system bus: PID 1's signals in, the D-Bus interface out, and back again after the bus
//! was away.

mod authority;
pub mod caller;
mod deployment;
mod error;
mod fair;
mod history;
mod holds;
mod manager;
mod monitor;
mod queue;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use zbus::connection::Builder;
use zbus::object_server::InterfaceRef;
use zbus::{Connection, MessageStream};

use crate::daemon::{Input, Notice};
use crate::pid1::signals::{self, Signal};
use crate::pid1::{self, Pid1};
use deployment::{Deployment, DeploymentSignals};
use fair::Fair;
use history::History;
use manager::{Manager, ManagerSignals};
use monitor::Monitor;
use queue::{Queue, QueueSignals};
use task::Task;

/// Bus name.
pub const NAME: &str = "org.interlock.Interlock1";
/// Root object.
pub const ROOT: &str = "/org/interlock/Interlock1";

/// Further changes of one unit within this time are told in one signal: a short run has three.
const COALESCE: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The object of a task's unit.
pub fn task_path(unit: &str) -> String {
    format!("{ROOT}/task/{}", pid1::bus_label(unit))
}

/// The object of a deployment.
pub fn deployment_path(id: &str) -> String {
    format!("{ROOT}/deployment/{}", pid1::bus_label(id))
}

/// Connects to the system bus, serves, and connects again whenever the connection is lost.
pub async fn keep_connected(
    inputs: UnboundedSender<Input>,
    mut notices: UnboundedReceiver<Notice>,
    database: PathBuf,
) {
    let mut pause = FIRST_PAUSE;
    let mut known = Known::default();
    loop {
        match Served::connect(&inputs, &database).await {
            Ok(mut served) => {
                pause = FIRST_PAUSE;
                served.offer(&known.units).await;
                for id in &known.deployments {
                    served.offer_deployment(id).await;
                }
                served.serve(&mut notices, &mut known).await;
                tracing::warn!("lost the connection to the system bus");
                let _ = inputs.send(Input::Bus(None));
            }
            Err(error) => tracing::warn!(%error, "cannot connect to the system bus; trying again"),
        }
        if inputs.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What has an object whenever there is a connection.
#[derive(Default)]
struct Known {
    units: BTreeSet<String>,
    deployments: BTreeSet<String>,
}

/// One connection, as long as it lasts.
struct Served {
    connection: Connection,
    inputs: UnboundedSender<Input>,
    offered: BTreeSet<String>,
    /// The tasks that hand on signals; one of them ends when a connection is lost.
    readers: JoinSet<()>,
}

impl Served {
    async fn connect(inputs: &UnboundedSender<Input>, database: &Path) -> zbus::Result<Self> {
        let connection = Builder::system()
            .method_timeout(pid1::CALL_TIMEOUT)
            .serve_at(ROOT, Fair::new(Manager::new(inputs.clone())))
            .serve_at(ROOT, Fair::new(Queue::new(inputs.clone())))
            .serve_at(
                ROOT,
                Fair::new(History::new(inputs.clone(), database.to_owned())),
            )
            .serve_at(
                ROOT,
                Fair::new(Monitor::new(inputs.clone(), database.to_owned())),
            )
            .serve_at(ROOT, Fair::new(zbus::fdo::ObjectManager))
            .build()
            .await?;
        // PID 1 has a connection of its own: whatever callers send, its signals and answers don't wait behind it.
        let own = Builder::system()
            .method_timeout(pid1::CALL_TIMEOUT)
            .build()
            .await?;
        let mut readers = JoinSet::new();
        for stream in signals::subscribe(&own).await? {
            let inputs = inputs.clone();
            readers.spawn(signals::forward(stream, move |signal: Signal| {
                inputs.send(Input::Signal(signal)).is_ok()
            }));
        }
        let mut messages = MessageStream::from(&connection);
        readers.spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
        let pid1 = Pid1::new(&own).await?;
        let _ = inputs.send(Input::Bus(Some(pid1)));
        // Last, so that whoever activated us by name finds everything in place.
        connection.request_name(NAME).await?;
        Ok(Self {
            connection,
            inputs: inputs.clone(),
            offered: BTreeSet::new(),
            readers,
        })
    }

    /// Hands on the engine's notices until the connection is lost.
    async fn serve(&mut self, notices: &mut UnboundedReceiver<Notice>, known: &mut Known) {
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
            let Some(notice) = notice else {
                return;
            };
            match notice {
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
                Notice::Changed(unit) => {
                    let now = Instant::now();
                    if told.get(&unit).is_none_or(|at| now - *at >= COALESCE) {
                        self.changed(&unit).await;
                        told.insert(unit, now);
                    } else if changed.insert(unit) && changed.len() == 1 {
                        flush = now + COALESCE;
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
    }

    async fn manager(&self) -> zbus::Result<InterfaceRef<Fair<Manager>>> {
        self.connection.object_server().interface(ROOT).await
    }

    async fn offer_deployment(&self, id: &str) {
        let server = self.connection.object_server();
        let object = Fair::new(Deployment::new(id.to_owned(), self.inputs.clone()));
        if let Err(error) = server.at(deployment_path(id), object).await {
            tracing::warn!(deployment = id, %error, "cannot offer a deployment on the bus");
        }
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

    /// Objects for exactly these units.
    async fn offer(&mut self, units: &BTreeSet<String>) {
        let server = self.connection.object_server();
        for unit in self.offered.difference(units) {
            let _ = server.remove::<Fair<Task>, _>(task_path(unit)).await;
        }
        for unit in units.difference(&self.offered) {
            let task = Fair::new(Task::new(unit.clone(), self.inputs.clone()));
            if let Err(error) = server.at(task_path(unit), task).await {
                tracing::warn!(unit, %error, "cannot offer a task on the bus");
            }
        }
        self.offered.clone_from(units);
    }

    /// An instance of a template has an object from its first sign of life on.
    async fn changed(&mut self, unit: &str) {
        let server = self.connection.object_server();
        let path = task_path(unit);
        self.offered.insert(unit.to_owned());
        // One that somebody had asked for may have been removed for others meanwhile.
        let task = Fair::new(Task::new(unit.to_owned(), self.inputs.clone()));
        let _ = server.at(path.as_str(), task).await;
        if let Ok(task) = server.interface::<_, Fair<Task>>(path).await {
            let _ = task.get().await.emit_changed(task.signal_emitter()).await;
        }
    }
}
