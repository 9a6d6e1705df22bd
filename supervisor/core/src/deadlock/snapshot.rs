//! What the deadlock rules look at: processes, and who waits for whom, at one moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use interlock_generator::policy::settings::{OnDeadlock, Resource, Settings};

/// Everything at one moment. What isn't in it doesn't hold anybody up.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All processes; those without a parent in it count as having none.
    pub processes: Vec<Process>,
    /// Who holds which resource by a write lock.
    pub held: Vec<Held>,
    /// Requests for locks that the kernel lists as waiting.
    pub lock_waits: Vec<LockWait>,
    /// Processes that wait for a unit's job.
    pub unit_waits: Vec<UnitWait>,
    /// Units that wait at their gates.
    pub gate_waits: Vec<GateWait>,
    /// Units whose jobs wait for other units' jobs.
    pub job_waits: Vec<JobWait>,
}

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// When it started, in clock ticks since boot: with the pid it names one process.
    pub start_time: u64,
    /// How long ago that was.
    pub age: Duration,
    /// Its name, cut by the kernel at 15 bytes.
    pub comm: String,
    /// Its arguments.
    pub cmdline: Vec<String>,
    /// The unit whose control group it is in.
    pub unit: Option<String>,
    /// Whether it has done nothing but wait since it was first seen. `Some(false)`: it works, so it is no
    /// client that waits, however old. `None`: that isn't known; a client that holds nothing is taken to wait.
    pub waiting: Option<bool>,
}

/// A write lock on one of a resource's lock files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who holds it. Heirs of a descriptor are holders too, each with an entry.
    pub pid: i32,
    /// Of which resource.
    pub resource: String,
    /// The lock file.
    pub lock: PathBuf,
}

/// A process that the kernel lists as waiting for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// Who waits.
    pub pid: i32,
    /// For which resource.
    pub resource: String,
}

/// A process, such as a systemctl(1), that goes on only when a unit's job is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitWait {
    /// Who waits.
    pub pid: i32,
    /// For which unit.
    pub unit: String,
}

/// A unit whose gate is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateWait {
    /// Who waits.
    pub unit: String,
    /// For which resource.
    pub resource: String,
    /// Shares of it that must yet become free; at least 1.
    pub lacking: u32,
    /// Who can free some, and how many.
    pub by: Vec<(Blocker, u32)>,
}

/// Who keeps a gate closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    /// A unit that holds a lease, or is before it in the queue.
    Unit(String),
    /// A process outside the policy that holds a lock.
    Process(i32),
}

/// A unit whose job waits for others' jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWait {
    /// Who waits.
    pub unit: String,
    /// The units whose jobs come before.
    pub before: Vec<String>,
}

/// What the policy says about deadlocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// By resource.
    pub resources: BTreeMap<String, Rule>,
}

/// What the policy says about deadlocks over one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names of programs that wait for its locks.
    pub clients: Vec<String>,
    /// What has waited for less than this isn't taken for a deadlock.
    pub nested_grace: Duration,
    /// What is done about one.
    pub on_deadlock: OnDeadlock,
}

impl Rules {
    /// Those of a policy.
    pub fn of(settings: &Settings) -> Self {
        let rule = |resource: &Resource| Rule {
            clients: resource.clients.clone(),
            nested_grace: resource.nested_grace,
            on_deadlock: resource.on_deadlock,
        };
        let resources = settings.resources().iter();
        Self {
            resources: resources.map(|(n, r)| (n.clone(), rule(r))).collect(),
        }
    }
}
