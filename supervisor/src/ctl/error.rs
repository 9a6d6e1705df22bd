//! What can go wrong for interlockctl, what to do about it, and its exit statuses.

use std::io;

use zbus::fdo;

/// What a command that did its work has to say through the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All went well.
    Done,
    /// The thing asked for was tried and failed; already told.
    Failed,
    /// The policy has errors; already told.
    PolicyErrors,
    /// Interrupted from the keyboard while it waited; already told.
    Interrupted,
    /// The group of a deployment could not be brought to rest; already told.
    Busy,
    /// Of the command that was run, or of the signal that interrupted the waiting.
    Status(u8),
}

impl Outcome {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::PolicyErrors => 3,
            // As a shell reports SIGINT.
            Outcome::Interrupted => 130,
            // EX_TEMPFAIL of sysexits.h: the same command may succeed later.
            Outcome::Busy => 75,
            Outcome::Status(status) => status,
        }
    }
}

/// Why a command couldn't do its work.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Nobody answers for interlockd on the bus, and the bus could not start it.
    #[error(
        "interlockd can't be reached: {reason}\n\
         See what it says: systemctl status interlockd\n\
         and its journal:  journalctl -b -u interlockd -n 30"
    )]
    Unreachable {
        /// What the bus or the socket said.
        reason: String,
    },
    /// PID 1 doesn't answer.
    #[error("systemd can't be reached over D-Bus: {reason}")]
    SystemdUnreachable {
        /// What the bus or the socket said.
        reason: String,
    },
    /// The policy has no such task.
    #[error("no such task: {name}{}", suggestion(nearest))]
    NoSuchTask {
        /// As it was typed.
        name: String,
        /// Names that it may have meant, best first.
        nearest: Vec<String>,
    },
    /// The policy has no such group.
    #[error("{message}{}", did_you_mean(nearest))]
    NoSuchGroup {
        /// What the daemon says, with the groups that there are.
        message: String,
        /// Names that it may have meant, best first.
        nearest: Vec<String>,
    },
    /// Neither alive nor remembered.
    #[error(
        "no such deployment: {id}{}",
        or_else(
            nearest,
            "The deployments are listed by: interlockctl deploy list --all"
        )
    )]
    NoSuchDeployment {
        /// As it was typed.
        id: String,
        /// Ids that it may have meant, best first.
        nearest: Vec<String>,
    },
    /// None was named, and none is alive.
    #[error("no deployment{} is alive", group.as_ref().map(|group| format!(" of {group}")).unwrap_or_default())]
    NoDeployment {
        /// The group that it had to be of.
        group: Option<String>,
    },
    /// None was named, and several are alive.
    #[error("several deployments are alive; name one:\n  {}", rows.join("\n  "))]
    SeveralDeployments {
        /// What can be named, with whose it is.
        rows: Vec<String>,
    },
    /// The caller is a process of what would have to come to rest.
    #[error("{reason}{advice}")]
    WouldDeadlock {
        /// What the daemon says.
        reason: String,
        /// What else to do.
        advice: &'static str,
    },
    /// There is no such resource, failure, batch or action.
    #[error("{message}")]
    NotThere {
        /// What the daemon says, with those that there are.
        message: String,
    },
    /// It has no expiry that could be extended.
    #[error(
        "{reason}\nIt lives as long as the process that began it; to change that: interlockctl deploy take-over"
    )]
    HasHolder {
        /// What the daemon says.
        reason: String,
    },
    /// An argument is none, as the daemon says.
    #[error("{message}")]
    Usage {
        /// What was asked, and what is wrong with it.
        message: String,
    },
    /// A template was named where one of its instances is needed.
    #[error(
        "{task} is a template ({unit}); name an instance, as in: interlockctl start {task}@INSTANCE"
    )]
    NeedsInstance {
        /// Its name in the policy.
        task: String,
        /// Its unit.
        unit: String,
    },
    /// An instance was named of a task that is no template.
    #[error("{task} is no template (its unit is {unit}), so it has no instance \"{instance}\"")]
    NotATemplate {
        /// Its name in the policy.
        task: String,
        /// Its unit.
        unit: String,
        /// What was typed behind the `@`.
        instance: String,
    },
    /// Refused by the bus or by polkit.
    #[error("access denied: {what}\n{advice}")]
    AccessDenied {
        /// What was refused, and what the other side said.
        what: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// An instance of a template has an object from its first start on.
    #[error(
        "this instance has no properties: it has neither run nor waited since interlockd started\n\
         (without --json, why tells what there is to tell)"
    )]
    NoObject,
    /// PID 1 refused to queue the start.
    #[error("can't start {unit}: {reason}")]
    StartRefused {
        /// The unit.
        unit: String,
        /// What PID 1 said.
        reason: String,
    },
    /// Another error reply, or one that makes no sense.
    #[error("{what}: {}", message(source))]
    Bus {
        /// What was asked.
        what: &'static str,
        /// The reply.
        source: zbus::Error,
    },
    /// A directory or file given on the command line can't be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

impl CtlError {
    /// The exit status.
    pub fn code(&self) -> u8 {
        match self {
            CtlError::NeedsInstance { .. }
            | CtlError::NotATemplate { .. }
            | CtlError::SeveralDeployments { .. }
            | CtlError::Usage { .. } => 2,
            CtlError::NoSuchTask { .. }
            | CtlError::NoSuchGroup { .. }
            | CtlError::NoSuchDeployment { .. }
            | CtlError::NotThere { .. }
            | CtlError::NoDeployment { .. } => 4,
            // EDEADLK of errno(3), which says just that.
            CtlError::WouldDeadlock { .. } => 35,
            CtlError::Unreachable { .. } | CtlError::SystemdUnreachable { .. } => 69,
            CtlError::AccessDenied { .. } => 77,
            CtlError::NoObject
            | CtlError::HasHolder { .. }
            | CtlError::StartRefused { .. }
            | CtlError::Bus { .. }
            | CtlError::Io { .. } => 1,
        }
    }
}

fn suggestion(nearest: &[String]) -> String {
    or_else(nearest, "The tasks are listed by: interlockctl status")
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("\nDid you mean {}?", names.join(", ")),
    }
}

/// The names that may have been meant, or where to find them.
fn or_else(nearest: &[String], otherwise: &str) -> String {
    match nearest {
        [] => format!("\n{otherwise}"),
        names => did_you_mean(names),
    }
}

/// What kind of answer an error of the bus is.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody is there to answer.
    Nobody,
    /// Refused for lack of rights.
    Denied,
    /// An argument makes no sense to the other side.
    Invalid,
    /// An error that the other side gives a name of its own, with its message.
    Named(String, String),
    /// Anything else.
    Other,
}

/// Sorts an error of zbus by what it means to the operator.
pub fn answer(error: &zbus::Error) -> Answer {
    match error {
        zbus::Error::InputOutput(_)
        | zbus::Error::Connection(..)
        | zbus::Error::Address(_)
        | zbus::Error::Handshake(_) => Answer::Nobody,
        zbus::Error::FDO(error) => fdo_answer(error),
        zbus::Error::MethodError(name, text, _) => {
            let text = text.clone().unwrap_or_default();
            match name.as_str() {
                // Activation failed: the bus passes on systemd's reason under systemd's name.
                "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.UnitMasked"
                    if text.contains("interlockd") || text.contains("dbus-org.interlock") =>
                {
                    Answer::Nobody
                }
                "org.freedesktop.PolicyKit1.Error.NotAuthorized" => Answer::Denied,
                "org.freedesktop.DBus.Error.InvalidArgs" => Answer::Invalid,
                "org.interlock.Interlock1.Error.Stopping" => Answer::Nobody,
                name => Answer::Named(name.to_owned(), text),
            }
        }
        _ => Answer::Other,
    }
}

fn fdo_answer(error: &fdo::Error) -> Answer {
    match error {
        fdo::Error::ZBus(error) => answer(error),
        fdo::Error::ServiceUnknown(_)
        | fdo::Error::NameHasNoOwner(_)
        | fdo::Error::NoReply(_)
        | fdo::Error::NoServer(_)
        | fdo::Error::Timeout(_)
        | fdo::Error::TimedOut(_)
        | fdo::Error::Disconnected(_)
        | fdo::Error::SpawnExecFailed(_)
        | fdo::Error::SpawnForkFailed(_)
        | fdo::Error::SpawnChildExited(_)
        | fdo::Error::SpawnChildSignaled(_)
        | fdo::Error::SpawnFailed(_)
        | fdo::Error::SpawnFailedToSetup(_)
        | fdo::Error::SpawnServiceNotFound(_)
        | fdo::Error::SpawnFileInvalid(_)
        | fdo::Error::SpawnNoMemory(_) => Answer::Nobody,
        fdo::Error::AccessDenied(_)
        | fdo::Error::AuthFailed(_)
        | fdo::Error::InteractiveAuthorizationRequired(_) => Answer::Denied,
        fdo::Error::InvalidArgs(_) => Answer::Invalid,
        _ => Answer::Other,
    }
}

/// What the other side said, without the name of the error.
pub fn message(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        zbus::Error::FDO(error) => match error.to_string().split_once(": ") {
            Some((name, text)) if name.starts_with("org.freedesktop.") => text.to_owned(),
            _ => error.to_string(),
        },
        error => error.to_string(),
    }
}
