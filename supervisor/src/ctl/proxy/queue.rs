//! `org.interlock.Interlock1.Queue`, as clients see it.

use zbus::proxy;

use super::{Options, Row};

/// A row of `ListPaused`: task (empty: all), reason, by, since (usec).
pub type Paused = (String, String, String, u64);

/// A row of `ListCapacities`: resource, capacity, the policy's, used, by, reason, since (usec).
pub type ListedCapacity = (String, u32, u32, u32, String, String, u64);

/// Starts that were submitted, and pending retries. polkit may ask somebody for a password before a change is
/// answered.
#[proxy(
    interface = "org.interlock.Interlock1.Queue",
    default_service = "org.interlock.Interlock1",
    default_path = "/org/interlock/Interlock1"
)]
pub trait Queue {
    /// A new batch; replies with its id.
    #[zbus(allow_interactive_auth)]
    fn new_batch(&self, name: &str) -> zbus::Result<String>;

    /// How many there are, and those that were asked for, in the order in which they are started.
    fn list_queued(&self, filter: &Options<'_>) -> zbus::Result<(u64, Vec<Row>)>;

    /// By task, how many are in which state.
    fn count_queued(&self) -> zbus::Result<Vec<Row>>;

    /// The batches, the oldest first.
    fn list_batches(&self) -> zbus::Result<Vec<Row>>;

    /// Takes out what waits; replies with how many that were.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self, entries: &[String], options: &Options<'_>) -> zbus::Result<u64>;

    /// Changes the order.
    #[zbus(name = "Move", allow_interactive_auth)]
    fn move_entries(&self, entries: &[String], place: &str, priority: i32) -> zbus::Result<()>;

    /// Starts none of this task (empty: of any) until it is resumed.
    #[zbus(allow_interactive_auth)]
    fn pause(&self, task: &str, reason: &str) -> zbus::Result<()>;

    /// Starts them again.
    #[zbus(allow_interactive_auth)]
    fn resume(&self, task: &str) -> zbus::Result<()>;

    /// What is paused.
    fn list_paused(&self) -> zbus::Result<Vec<Paused>>;

    /// Another capacity than the policy's; 0: the policy's again.
    #[zbus(allow_interactive_auth)]
    fn set_capacity(&self, resource: &str, capacity: u32, reason: &str) -> zbus::Result<()>;

    /// Every resource.
    fn list_capacities(&self) -> zbus::Result<Vec<ListedCapacity>>;

    /// Nothing of a batch waits or runs any more.
    #[zbus(signal)]
    fn batch_ended(&self, id: String, done: u64, failed: u64) -> zbus::Result<()>;
}
