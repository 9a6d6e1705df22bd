//! What lists of the root object consist of; packaging/dbus/org.interlock.Interlock1.Manager.xml says what each means.

use zbus::OwnedObjectPath;

use super::error::Error;
use super::{deployment_path, task_path};
use crate::daemon::engine::{
    DeadlockView, DeploymentView, LockRemark, LockView, QueueView, SubmittedView, TaskView,
};

/// name, unit, state, detail, since, path
pub type TaskRow = (String, String, String, String, u64, OwnedObjectPath);
/// position, task, unit, resources, reason, since
pub type QueueRow = (u32, String, String, Vec<String>, String, u64);

/// resource, lock file, kind, pid, name, user, unit, terminal, since
pub type LockRow = (
    String,
    String,
    String,
    i32,
    String,
    String,
    String,
    String,
    u64,
);
/// resource, lock file, text
pub type RemarkRow = (String, String, String);
/// id, unit, what it waits for, who asked, when
pub type SubmittedRow = (u64, String, String, String, u64);
/// id, group, state, reason, owner, since, expires, path
pub type DeploymentRow = (
    String,
    String,
    String,
    String,
    String,
    u64,
    u64,
    OwnedObjectPath,
);

/// id, found, kind, unit, resource, state, text
pub type DeadlockRow = (u64, u64, String, String, String, String, String);

pub fn task(view: TaskView) -> Result<TaskRow, Error> {
    let path = path_of_task(&view.unit)?;
    Ok((
        view.name,
        view.unit,
        view.state,
        view.detail,
        view.since,
        path,
    ))
}

pub fn waiter(it: QueueView) -> QueueRow {
    (
        it.position,
        it.task,
        it.unit,
        it.resources,
        it.reason,
        it.since,
    )
}

pub fn lock(it: LockView) -> LockRow {
    let who = it.holder;
    (
        it.resource,
        it.path,
        it.kind,
        who.pid,
        who.comm,
        who.user,
        who.unit,
        who.terminal,
        who.since,
    )
}

pub fn remark(it: LockRemark) -> RemarkRow {
    (it.resource, it.path, it.text)
}

pub fn submitted(it: SubmittedView) -> SubmittedRow {
    (it.id, it.unit, it.waits_for, it.by, it.at)
}

pub fn deployment(it: DeploymentView) -> Result<DeploymentRow, Error> {
    let path = path_of_deployment(&it.id)?;
    Ok((
        it.id, it.group, it.state, it.reason, it.owner, it.since, it.expires, path,
    ))
}

pub fn deadlock(it: DeadlockView) -> DeadlockRow {
    (
        it.id,
        it.found,
        it.kind,
        it.unit,
        it.resource,
        it.state,
        it.text,
    )
}

/// The object of a task's unit.
///
/// # Errors
/// Never, since names are escaped.
pub fn path_of_task(unit: &str) -> Result<OwnedObjectPath, Error> {
    OwnedObjectPath::try_from(task_path(unit)).map_err(Error::ZBus)
}

/// The object of a deployment.
///
/// # Errors
/// Never, since names are escaped.
pub fn path_of_deployment(id: &str) -> Result<OwnedObjectPath, Error> {
    OwnedObjectPath::try_from(deployment_path(id)).map_err(Error::ZBus)
}
