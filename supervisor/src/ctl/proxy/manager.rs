//! `org.interlock.Interlock1.Manager`, as clients see it.

use zbus::proxy;
use zbus::wire::{OwnedFd, OwnedObjectPath};

use super::{Options, Row};
use crate::ctl::deploy::proxy::ListedDeployment;

/// A row of `ListTasks`: name, unit, state, detail, since (CLOCK_REALTIME usec, 0 = none), object path.
pub type ListedTask = (String, String, String, String, u64, OwnedObjectPath);

/// A row of `GetQueue`: position from 1, task, unit, resources it waits for, reason, since (usec).
pub type QueuedTask = (u32, String, String, Vec<String>, String, u64);

/// A row of `ListLocks`: resource, lock file, kind, pid, name, user, unit, terminal, since (usec).
pub type HeldLock = (
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

/// A remark of `ListLocks`: resource, lock file, text.
pub type LockRemark = (String, String, String);

/// A row of `ListSubmitted`: id, unit, what it waits for, who asked, when (usec).
pub type SubmittedStart = (u64, String, String, String, u64);

/// A row of `ListDeadlocks`: id, found (usec), kind, unit, resource, state, text.
pub type ListedDeadlock = (u64, u64, String, String, String, String, String);

/// The interface of the tasks' objects, read whole by `GetAll`.
pub const TASK_INTERFACE: &str = "org.interlock.Interlock1.Task";

/// The supervisor's root object.
#[proxy(
    interface = "org.interlock.Interlock1.Manager",
    default_service = "org.interlock.Interlock1",
    default_path = "/org/interlock/Interlock1"
)]
pub trait Manager {
    /// Every task, with its state.
    fn list_tasks(&self) -> zbus::Result<Vec<ListedTask>>;

    /// The object of a task, by its name or its unit.
    fn get_task(&self, task: &str) -> zbus::Result<OwnedObjectPath>;

    /// Who waits, first one first.
    fn get_queue(&self) -> zbus::Result<Vec<QueuedTask>>;

    /// One paragraph for people.
    fn explain(&self, task: &str) -> zbus::Result<String>;

    /// Reads the policy again; replies with its state and its diagnostics.
    ///
    /// polkit may ask somebody for a password before it replies.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> zbus::Result<(String, Vec<String>)>;

    /// Begins a deployment over a group; replies with its object and its holder, the fd that keeps it alive.
    ///
    /// polkit may ask somebody for a password before it replies.
    #[zbus(allow_interactive_auth)]
    fn begin_deployment(
        &self,
        group: &str,
        reason: &str,
        options: &Options<'_>,
    ) -> zbus::Result<(OwnedObjectPath, OwnedFd)>;

    /// Those that are alive and the last ones that have ended, the oldest first.
    fn list_deployments(&self) -> zbus::Result<Vec<ListedDeployment>>;

    /// The object of a deployment, by its id.
    fn get_deployment(&self, id: &str) -> zbus::Result<OwnedObjectPath>;

    /// Whether the caller may wait for this task, or for a command that uses this.
    fn check_request(
        &self,
        task: &str,
        uses: &std::collections::HashMap<String, u32>,
    ) -> zbus::Result<()>;

    /// Whether the caller runs for a task that holds this.
    fn holding(&self, resource: &str) -> zbus::Result<bool>;

    /// Who holds locks of resources, and what only looks as if.
    fn list_locks(&self) -> zbus::Result<(Vec<HeldLock>, Vec<LockRemark>)>;

    /// Queues starts for later. polkit may ask somebody for a password before it replies.
    #[zbus(allow_interactive_auth)]
    fn submit(
        &self,
        tasks: &[String],
        options: &std::collections::HashMap<&str, zbus::Variant<'_>>,
    ) -> zbus::Result<Vec<u64>>;

    /// Runs a repair of the policy on one unit; replies with the unit that runs it. polkit may ask somebody for a
    /// password before it replies.
    #[zbus(allow_interactive_auth)]
    fn run_action(&self, task: &str, action: &str, reason: &str) -> zbus::Result<String>;

    /// Holds starts of a task, or skips some; replies with the unit. polkit may ask somebody for a password before it
    /// replies.
    #[zbus(allow_interactive_auth)]
    fn hold_task(&self, task: &str, reason: &str, options: &Options<'_>) -> zbus::Result<String>;

    /// The end of that; replies with the unit.
    #[zbus(allow_interactive_auth)]
    fn release_task(&self, task: &str) -> zbus::Result<String>;

    /// All holds.
    fn list_holds(&self) -> zbus::Result<Vec<Row>>;

    /// What is queued for later.
    fn list_submitted(&self) -> zbus::Result<Vec<SubmittedStart>>;

    /// Those that are and the last ones that have been, the oldest first.
    fn list_deadlocks(&self) -> zbus::Result<Vec<ListedDeadlock>>;

    /// Emitted when a start was given up.
    #[zbus(signal)]
    fn task_skipped(&self, task: String, unit: String, reason: String) -> zbus::Result<()>;

    /// The daemon's version.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    /// `good`, `last-good` or `partial`.
    #[zbus(property)]
    fn policy_state(&self) -> zbus::Result<String>;

    /// One line for each error in the policy.
    #[zbus(property)]
    fn policy_errors(&self) -> zbus::Result<Vec<String>>;

    /// What is wrong with the state database.
    #[zbus(property)]
    fn database_trouble(&self) -> zbus::Result<String>;
}
