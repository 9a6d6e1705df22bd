//! `org.interlock.Interlock1.Manager`; its reference is packaging/dbus/org.interlock.Interlock1.Manager.xml.

use std::collections::HashMap;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use zbus::message::Header;
use zbus::object_server::{ObjectServer, SignalEmitter};
use zbus::{Connection, fdo, interface};
use zbus::{ObjectPath, OwnedFd, OwnedObjectPath, OwnedVariant};

use super::caller::{self, Options};
use super::deployment::Deployment;
use super::error::Error;
use super::task::Task;
use super::{authority, deployment_path, task_path};
use crate::daemon::engine::{
    BeginError, BeginRequest, DeploymentView, DeskError, PolicyView, TaskView,
};
use crate::daemon::{Input, Query};

/// The root object.
pub struct Manager {
    inputs: UnboundedSender<Input>,
}

/// name, unit, state, detail, since, path
type TaskRow = (String, String, String, String, u64, OwnedObjectPath);
/// position, task, unit, resources, reason, since
type QueueRow = (u32, String, String, Vec<String>, String, u64);

/// id, group, state, reason, owner, since, expires, path
type DeploymentRow = (
    String,
    String,
    String,
    String,
    String,
    u64,
    u64,
    OwnedObjectPath,
);

impl Manager {
    /// Answers come from the engine.
    pub fn new(inputs: UnboundedSender<Input>) -> Self {
        Self { inputs }
    }

    async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Error> {
        ask(&self.inputs, query).await
    }

    async fn policy(&self) -> PolicyView {
        let unknown = PolicyView {
            state: "unknown".to_owned(),
            errors: Vec::new(),
        };
        self.ask(Query::Policy).await.unwrap_or(unknown)
    }
}

/// Asks the engine.
pub async fn ask<T>(
    inputs: &UnboundedSender<Input>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Result<T, Error> {
    let stopping = || Error::Stopping("interlockd is stopping".to_owned());
    let (to, answer) = oneshot::channel();
    inputs
        .send(Input::Query(query(to)))
        .map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

fn no_such_task(name: &str) -> Error {
    Error::NoSuchTask(format!(
        "{name:?} is neither a task of the policy nor the unit of one; see \"interlockctl status\""
    ))
}

#[interface(name = "org.interlock.Interlock1.Manager")]
impl Manager {
    #[zbus(out_args("tasks"))]
    async fn list_tasks(&self) -> Result<Vec<TaskRow>, Error> {
        let views = self.ask(Query::Tasks).await?;
        views.into_iter().map(row).collect()
    }

    #[zbus(out_args("path"))]
    async fn get_task(
        &self,
        task: String,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        let view = self.ask(|to| Query::Task(task.clone(), to)).await?;
        let view = view.ok_or_else(|| no_such_task(&task))?;
        let path = path(&view.unit)?;
        // An instance of a template has no object before its first sign of life; one that is there stays.
        server
            .at(&path, Task::new(view.unit, self.inputs.clone()))
            .await?;
        Ok(path)
    }

    #[zbus(out_args("queue"))]
    async fn get_queue(&self) -> Result<Vec<QueueRow>, Error> {
        let queue = self.ask(Query::Queue).await?.into_iter();
        let row = |w: crate::daemon::engine::QueueView| {
            (w.position, w.task, w.unit, w.resources, w.reason, w.since)
        };
        Ok(queue.map(row).collect())
    }

    #[zbus(out_args("text"))]
    async fn explain(&self, task: String) -> Result<String, Error> {
        let text = self.ask(|to| Query::Explain(task.clone(), to)).await?;
        text.ok_or_else(|| no_such_task(&task))
    }

    #[zbus(out_args("state", "diagnostics"))]
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<(String, Vec<String>)> {
        authority::check(connection, &header, authority::MANAGE).await?;
        let policy = self.ask(Query::Reload).await;
        let policy = policy.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        Ok((policy.state, policy.errors))
    }

    #[zbus(out_args("deployment", "holder"))]
    async fn begin_deployment(
        &self,
        group: String,
        reason: String,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(OwnedObjectPath, OwnedFd), Error> {
        authority::check(connection, &header, authority::DEPLOY).await?;
        let known = ["max-wait", "expires"];
        let mut options = Options::new(options, &known)?;
        let caller = caller::of(connection, &header).await?;
        let request = BeginRequest {
            group,
            reason,
            owner: caller.owner,
            pid: caller.pid,
            max_wait: options.span("max-wait")?,
            expires: options.span("expires")?,
        };
        let begun = self.ask(|to| Query::Begin(request, to)).await?;
        let (id, holder) = begun.map_err(|error| match error {
            BeginError::NoSuchGroup { .. } => Error::NoSuchGroup(error.to_string()),
            BeginError::WouldDeadlock(_) => Error::WouldDeadlock(error.to_string()),
            BeginError::Failed(_) => Error::Failed(error.to_string()),
        })?;
        // Before the reply: the caller may ask it at once.
        let path = OwnedObjectPath::try_from(deployment_path(&id)).map_err(Error::ZBus)?;
        server
            .at(&path, Deployment::new(id, self.inputs.clone()))
            .await?;
        Ok((path, OwnedFd::from(holder)))
    }

    #[zbus(out_args("deployments"))]
    async fn list_deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        let views = self.ask(Query::Deployments).await?.into_iter();
        let row = |it: DeploymentView| -> Result<DeploymentRow, Error> {
            let path = OwnedObjectPath::try_from(deployment_path(&it.id)).map_err(Error::ZBus)?;
            let DeploymentView {
                id,
                group,
                state,
                reason,
                owner,
                since,
                expires,
                ..
            } = it;
            Ok((id, group, state, reason, owner, since, expires, path))
        };
        views.map(row).collect()
    }

    #[zbus(out_args("path"))]
    async fn get_deployment(&self, id: String) -> Result<OwnedObjectPath, Error> {
        let view = self.ask(|to| Query::Deployment(id.clone(), to)).await?;
        match view {
            Some(_) => OwnedObjectPath::try_from(deployment_path(&id)).map_err(Error::ZBus),
            None => Err(Error::NoSuchDeployment(
                DeskError::NoSuchDeployment(id).to_string(),
            )),
        }
    }

    #[zbus(signal)]
    async fn deployment_new(
        emitter: &SignalEmitter<'_>,
        id: &str,
        path: ObjectPath<'_>,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn deployment_removed(
        emitter: &SignalEmitter<'_>,
        id: &str,
        path: ObjectPath<'_>,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    async fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    #[zbus(property)]
    async fn policy_state(&self) -> String {
        self.policy().await.state
    }

    #[zbus(property)]
    async fn policy_errors(&self) -> Vec<String> {
        self.policy().await.errors
    }

    #[zbus(signal)]
    async fn task_skipped(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        reason: &str,
    ) -> zbus::Result<()>;
}

fn row(view: TaskView) -> Result<TaskRow, Error> {
    let path = path(&view.unit)?;
    Ok((
        view.name,
        view.unit,
        view.state,
        view.detail,
        view.since,
        path,
    ))
}

fn path(unit: &str) -> Result<OwnedObjectPath, Error> {
    OwnedObjectPath::try_from(task_path(unit)).map_err(Error::ZBus)
}
