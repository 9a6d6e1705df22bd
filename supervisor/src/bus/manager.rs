//! `org.interlock.Interlock1.Manager`; its reference is packaging/dbus/org.interlock.Interlock1.Manager.xml.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use zbus::message::Header;
use zbus::object_server::{ObjectServer, SignalEmitter};
use zbus::{ObjectPath, OwnedFd, OwnedObjectPath, OwnedVariant};
use zbus::{fdo, interface};

use super::caller::{self, Options};
use super::callers::Callers;
use super::deployment::Deployment;
use super::error::Error;
use super::fair::Fair;
use super::rows::{
    self, DeadlockRow, DeploymentRow, LockRow, QueueRow, RemarkRow, SubmittedRow, TaskRow,
};
use super::task::Task;
use super::{Row, authority, holds};
use crate::daemon::engine::{ActionRequest, BeginRequest, DeskError, PolicyView, SubmitOptions};
use crate::daemon::{Input, Query};

/// The root object.
pub struct Manager {
    inputs: UnboundedSender<Input>,
    callers: Callers,
    /// The objects that are there only since somebody asked for them, the oldest first.
    asked_for: Mutex<VecDeque<OwnedObjectPath>>,
}

/// So many objects are kept of instances that gave no sign of life: anybody may ask for any.
const ASKED_FOR: usize = 1000;

impl Manager {
    /// Answers come from the engine.
    pub fn new(inputs: UnboundedSender<Input>, callers: &Callers) -> Self {
        Self {
            inputs,
            callers: callers.clone(),
            asked_for: Mutex::default(),
        }
    }

    /// Remembers an object that was asked for. Says which one is too many now.
    fn one_more(&self, path: &OwnedObjectPath) -> Option<OwnedObjectPath> {
        let mut asked_for = self
            .asked_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asked_for.push_back(path.clone());
        let is_too_many = asked_for.len() > ASKED_FOR;
        is_too_many.then(|| asked_for.pop_front()).flatten()
    }

    async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Error> {
        ask(&self.inputs, query).await
    }

    async fn policy(&self) -> PolicyView {
        let unknown = PolicyView {
            state: "unknown".to_owned(),
            errors: Vec::new(),
            warnings: Vec::new(),
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

#[interface(name = "org.interlock.Interlock1.Manager")]
impl Manager {
    #[zbus(out_args("tasks"))]
    async fn list_tasks(&self) -> Result<Vec<TaskRow>, Error> {
        let views = self.ask(Query::Tasks).await?;
        views.into_iter().map(rows::task).collect()
    }

    #[zbus(out_args("path"))]
    async fn get_task(
        &self,
        task: String,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, Error> {
        let view = self.ask(|to| Query::Task(task.clone(), to)).await?;
        let view = view.ok_or_else(|| Error::no_such_task(&task))?;
        let path = rows::path_of_task(&view.unit)?;
        // An instance of a template has no object before its first sign of life; one that is there stays.
        let there = server.interface::<_, Fair<Task>>(&path).await;
        if there.is_err() {
            let task = Task::new(view.unit, self.inputs.clone());
            let given_back = server.at(&path, Fair::new(task, &self.callers)).await?;
            if given_back.is_none()
                && let Some(old) = self.one_more(&path)
            {
                server.remove::<Fair<Task>, _>(old).await?;
            }
        }
        Ok(path)
    }

    #[zbus(out_args("queue"))]
    async fn get_queue(&self) -> Result<Vec<QueueRow>, Error> {
        let queue = self.ask(Query::Queue).await?.into_iter();
        Ok(queue.map(rows::waiter).collect())
    }

    #[zbus(out_args("text"))]
    async fn explain(&self, task: String) -> Result<String, Error> {
        let text = self.ask(|to| Query::Explain(task.clone(), to)).await?;
        text.ok_or_else(|| Error::no_such_task(&task))
    }

    #[zbus(out_args("state", "diagnostics"))]
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<(String, Vec<String>)> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let policy = self.ask(Query::Reload).await;
        let policy = policy.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        Ok((policy.state, [policy.errors, policy.warnings].concat()))
    }

    async fn check_request(
        &self,
        task: String,
        uses: HashMap<String, u32>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let caller = caller::of(&self.callers, &header).await?;
        let uses = uses.into_iter().collect();
        let answer = self.ask(|to| Query::CheckRequest(caller.pid, task, uses, to));
        Ok(answer.await??)
    }

    #[zbus(out_args("holding"))]
    async fn holding(
        &self,
        resource: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<bool, Error> {
        let caller = caller::of(&self.callers, &header).await?;
        let answer = self.ask(|to| Query::Holding(caller.pid, resource, to));
        Ok(answer.await??)
    }

    #[zbus(out_args("holders", "remarks"))]
    async fn list_locks(&self) -> Result<(Vec<LockRow>, Vec<RemarkRow>), Error> {
        let (held, remarks) = self.ask(Query::Locks).await?;
        let held = held.into_iter().map(rows::lock);
        let remarks = remarks.into_iter().map(rows::remark);
        Ok((held.collect(), remarks.collect()))
    }

    #[zbus(out_args("ids"))]
    async fn submit(
        &self,
        tasks: Vec<String>,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<u64>, Error> {
        authority::check(&self.callers, &header, authority::SUBMIT).await?;
        let mut options = Options::new(options, &["after-transaction", "priority", "batch"])?;
        let caller = caller::of(&self.callers, &header).await?;
        let options = SubmitOptions {
            after_transaction: options.flag("after-transaction")?,
            priority: options.integer("priority")?.unwrap_or(0),
            batch: options.text("batch")?,
            pid: caller.pid,
            by: caller.owner.name,
        };
        let answer = self.ask(|to| Query::Submit { tasks, options, to });
        Ok(answer.await??)
    }

    #[zbus(out_args("submitted"))]
    async fn list_submitted(&self) -> Result<Vec<SubmittedRow>, Error> {
        let submitted = self.ask(Query::Submitted).await?.into_iter();
        Ok(submitted.map(rows::submitted).collect())
    }

    #[zbus(out_args("deployment", "holder"))]
    async fn begin_deployment(
        &self,
        group: String,
        reason: String,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(OwnedObjectPath, OwnedFd), Error> {
        authority::check(&self.callers, &header, authority::DEPLOY).await?;
        let known = ["max-wait", "expires"];
        let mut options = Options::new(options, &known)?;
        let caller = caller::of(&self.callers, &header).await?;
        let request = BeginRequest {
            group,
            reason,
            owner: caller.owner,
            pid: caller.pid,
            max_wait: options.span("max-wait")?,
            expires: options.span("expires")?,
        };
        let begun = self.ask(|to| Query::Begin(request, to)).await?;
        let (id, holder) = begun?;
        // Before the reply: the caller may ask it at once.
        let path = rows::path_of_deployment(&id)?;
        let deployment = Deployment::new(id, self.inputs.clone(), &self.callers);
        server
            .at(&path, Fair::new(deployment, &self.callers))
            .await?;
        Ok((path, OwnedFd::from(holder)))
    }

    #[zbus(out_args("deployments"))]
    async fn list_deployments(&self) -> Result<Vec<DeploymentRow>, Error> {
        let views = self.ask(Query::Deployments).await?.into_iter();
        views.map(rows::deployment).collect()
    }

    #[zbus(out_args("path"))]
    async fn get_deployment(&self, id: String) -> Result<OwnedObjectPath, Error> {
        let view = self.ask(|to| Query::Deployment(id.clone(), to)).await?;
        match view {
            Some(_) => rows::path_of_deployment(&id),
            None => Err(Error::NoSuchDeployment(
                DeskError::NoSuchDeployment(id).to_string(),
            )),
        }
    }

    #[zbus(out_args("deadlocks"))]
    async fn list_deadlocks(&self) -> Result<Vec<DeadlockRow>, Error> {
        let views = self.ask(Query::Deadlocks).await?.into_iter();
        Ok(views.map(rows::deadlock).collect())
    }

    #[zbus(out_args("unit"))]
    async fn run_action(
        &self,
        task: String,
        action: String,
        reason: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let caller = caller::of(&self.callers, &header).await?;
        let request = ActionRequest {
            task,
            action,
            reason,
            by: caller.owner.name,
            pid: caller.pid,
        };
        let answer = self.ask(|to| Query::RunAction(request, to)).await?;
        Ok(answer?)
    }

    #[zbus(out_args("unit"))]
    async fn hold_task(
        &self,
        task: String,
        reason: String,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let by = caller::of(&self.callers, &header).await?.user;
        let request = holds::request(task, reason, by, options)?;
        let held = self.ask(|to| Query::Hold(request, to)).await?;
        held.map_err(holds::error)
    }

    #[zbus(out_args("unit"))]
    async fn release_task(
        &self,
        task: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let by = caller::of(&self.callers, &header).await?.user;
        let released = self.ask(|to| Query::Release(task, by, to)).await?;
        released.map_err(holds::error)
    }

    #[zbus(out_args("holds"))]
    async fn list_holds(&self) -> Result<Vec<Row>, Error> {
        let views = self.ask(Query::Holds).await?;
        Ok(views.into_iter().map(holds::row).collect())
    }

    #[zbus(signal)]
    async fn task_held(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        reason: &str,
        until: u64,
        skips: u32,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn task_released(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        reason: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn deadlock_found(
        emitter: &SignalEmitter<'_>,
        id: u64,
        kind: &str,
        unit: &str,
        resource: &str,
        text: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn deadlock_resolved(emitter: &SignalEmitter<'_>, id: u64, how: &str)
    -> zbus::Result<()>;

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

    #[zbus(property(emits_changed_signal = "false"))]
    async fn database_trouble(&self) -> String {
        let trouble = self.ask(Query::DatabaseTrouble).await;
        trouble.unwrap_or_default().unwrap_or_default()
    }

    #[zbus(property)]
    async fn policy_errors(&self) -> Vec<String> {
        self.policy().await.errors
    }

    #[zbus(signal)]
    async fn task_failed(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        signature: &str,
        hard: bool,
        text: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn task_recovered(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn task_skipped(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        reason: &str,
    ) -> zbus::Result<()>;
}
