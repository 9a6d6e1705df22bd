//! Errors on the bus, each under a name that clients can tell apart.

use zbus::fdo;

use crate::daemon::engine::{ActionError, BeginError, RequestError, SubmitError};

/// Standard errors keep their names; ours are below `org.interlock.Interlock1.Error`.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org")]
pub enum Error {
    /// Of the bus itself; never ours to answer with.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// It could not be done.
    #[zbus(name = "freedesktop.DBus.Error.Failed")]
    Failed(String),
    /// The caller may not.
    #[zbus(name = "freedesktop.DBus.Error.AccessDenied")]
    AccessDenied(String),
    /// An argument makes no sense.
    #[zbus(name = "freedesktop.DBus.Error.InvalidArgs")]
    InvalidArgs(String),
    /// The object is gone.
    #[zbus(name = "freedesktop.DBus.Error.UnknownObject")]
    UnknownObject(String),
    /// Neither a task of the policy nor a unit of one.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchTask")]
    NoSuchTask(String),
    /// The policy has no such resource.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchResource")]
    NoSuchResource(String),
    /// The task has no such action.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchAction")]
    NoSuchAction(String),
    /// No operator holds it.
    #[zbus(name = "interlock.Interlock1.Error.NotHeld")]
    NotHeld(String),
    /// No batch of that number or name is remembered.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchBatch")]
    NoSuchBatch(String),
    /// Neither a unit nor a number of the queue.
    #[zbus(name = "interlock.Interlock1.Error.NotQueued")]
    NotQueued(String),
    /// The policy has no such group.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchGroup")]
    NoSuchGroup(String),
    /// No deployment of that name is remembered.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchDeployment")]
    NoSuchDeployment(String),
    /// The caller would wait for itself.
    #[zbus(name = "interlock.Interlock1.Error.WouldDeadlock")]
    WouldDeadlock(String),
    /// No failure has this signature.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchSignature")]
    NoSuchSignature(String),
    /// The group could not be brought to rest.
    #[zbus(name = "interlock.Interlock1.Error.Busy")]
    Busy(String),
    /// The deployment ended before it was ready.
    #[zbus(name = "interlock.Interlock1.Error.NotReady")]
    NotReady(String),
    /// The deployment has no expiry.
    #[zbus(name = "interlock.Interlock1.Error.HasHolder")]
    HasHolder(String),
    /// interlockd is ending.
    #[zbus(name = "interlock.Interlock1.Error.Stopping")]
    Stopping(String),
}

/// The derived name of a wrapped error would be zbus's own, whatever it was.
impl From<fdo::Error> for Error {
    fn from(error: fdo::Error) -> Self {
        match error {
            fdo::Error::AccessDenied(text) => Self::AccessDenied(text),
            fdo::Error::InvalidArgs(text) => Self::InvalidArgs(text),
            fdo::Error::UnknownObject(text) => Self::UnknownObject(text),
            fdo::Error::Failed(text) => Self::Failed(text),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl Error {
    pub(super) fn no_such_task(name: &str) -> Self {
        Self::NoSuchTask(format!(
            "{name:?} is neither a task of the policy nor the unit of one; see \"interlockctl status\""
        ))
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoSuchTask(_) => Self::NoSuchTask(error.to_string()),
            RequestError::NoSuchResource { .. } => Self::NoSuchResource(error.to_string()),
            RequestError::TooMuch { .. } => Self::InvalidArgs(error.to_string()),
            RequestError::WouldDeadlock(_) => Self::WouldDeadlock(error.to_string()),
        }
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Request(error) => error.into(),
            SubmitError::Store(error) => Self::Failed(error.to_string()),
            SubmitError::Template(..) => Self::InvalidArgs(error.to_string()),
            SubmitError::NoSuchBatch(_) => Self::NoSuchBatch(error.to_string()),
        }
    }
}

impl From<BeginError> for Error {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::NoSuchGroup { .. } => Self::NoSuchGroup(error.to_string()),
            BeginError::WouldDeadlock(_) => Self::WouldDeadlock(error.to_string()),
            BeginError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<ActionError> for Error {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::NoSuchTask(_) => Self::NoSuchTask(error.to_string()),
            ActionError::NoSuchAction { .. } => Self::NoSuchAction(error.to_string()),
            ActionError::WouldDeadlock(_) => Self::WouldDeadlock(error.to_string()),
            ActionError::Template { .. }
            | ActionError::BadUnit(_)
            | ActionError::Expand(_)
            | ActionError::ReasonTooLong => Self::InvalidArgs(error.to_string()),
            ActionError::NoBus | ActionError::Pid1(_) => Self::Failed(error.to_string()),
        }
    }
}
