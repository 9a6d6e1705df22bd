//! What is asked of PID 1, see org.freedesktop.systemd1(5).

use zbus::proxy;
use zbus::wire::OwnedObjectPath;

/// What `start` needs of PID 1, see org.freedesktop.systemd1(5).
#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Systemd {
    /// Without it PID 1 may send no signals.
    fn subscribe(&self) -> zbus::Result<()>;

    /// The object of a unit, loaded if need be.
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// The object of a unit that is loaded.
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a start; replies with the job as soon as it is queued. polkit may ask somebody before.
    #[zbus(allow_interactive_auth)]
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Queues a stop.
    #[zbus(allow_interactive_auth)]
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// A job has ended.
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

/// What `start` needs of a unit's object.
#[proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
pub trait Unit {
    /// Keeps the unit, and how its last run ended, in PID 1's memory for as long as the caller is on the bus.
    #[zbus(name = "Ref")]
    fn pin(&self) -> zbus::Result<()>;
}
