//! The interface of a deployment's object, as clients see it.

use std::collections::HashMap;

use zbus::proxy;
use zbus::wire::{OwnedFd, OwnedObjectPath, OwnedVariant, Variant};

use crate::ctl::proxy::Options;

/// A row of `ListDeployments`: id, group, state, reason, owner, since, expires (0 = none), object path.
pub type ListedDeployment = (
    String,
    String,
    String,
    String,
    String,
    u64,
    u64,
    OwnedObjectPath,
);

/// An element of `Tasks`: task, unit, action, state, detail, since, usual duration.
pub type ListedMember = (String, String, String, String, String, u64, u64);

/// The interface, read whole by `GetAll`.
pub const INTERFACE: &str = "org.interlock.Interlock1.Deployment";

/// A deployment's object. polkit may ask somebody for a password before a method replies.
#[proxy(
    interface = "org.interlock.Interlock1.Deployment",
    default_service = "org.interlock.Interlock1"
)]
pub trait Deployment {
    /// Ends it; returns at once.
    #[zbus(allow_interactive_auth)]
    fn end(&self, reason: &str) -> zbus::Result<()>;

    /// A new expiry, from now.
    #[zbus(allow_interactive_auth)]
    fn extend(&self, span: &Variant<'_>) -> zbus::Result<()>;

    /// Makes the caller its owner.
    #[zbus(allow_interactive_auth)]
    fn take_over(&self, reason: &str, options: &Options<'_>) -> zbus::Result<OwnedFd>;
}

/// Its properties, asked for so that a daemon that somebody has stopped stays stopped.
#[proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.interlock.Interlock1"
)]
pub trait Present {
    /// All of an interface.
    #[zbus(no_autostart)]
    fn get_all(&self, interface: &str) -> zbus::Result<HashMap<String, OwnedVariant>>;
}

/// The root object, likewise.
#[proxy(
    interface = "org.interlock.Interlock1.Manager",
    default_service = "org.interlock.Interlock1",
    default_path = "/org/interlock/Interlock1"
)]
pub trait PresentManager {
    /// Those that live and the last ones that have ended.
    #[zbus(no_autostart)]
    fn list_deployments(&self) -> zbus::Result<Vec<ListedDeployment>>;
}

/// PID 1, see org.freedesktop.systemd1(5).
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Host {
    /// `running`, `stopping` and others.
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;
}
