//! Validated settings: what the rest of interlock may rely on.
//!
//! A [`Settings`] can only be made by [`super::compile`], so whoever holds one needn't check again:
//! every name that it refers to exists, every unit name is valid, orders have no cycle.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::names;
pub use records::{
    ExpandError, FailureKind, FailureRule, HistoryRules, MetricsTextfile, RepairAction,
};

mod records;

/// Where a thing stands in the policy, for headers of generated files and for messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The fragment, as seen by the running system (without the root of `--root`).
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
}

/// The whole policy, valid.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    pub(super) resources: BTreeMap<String, Resource>,
    pub(super) windows: BTreeMap<String, Window>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) failures: BTreeMap<String, FailureRule>,
    pub(super) history: HistoryRules,
    pub(super) notify_command: Vec<String>,
    pub(super) metrics_textfile: Option<MetricsTextfile>,
    pub(super) blocked: BTreeMap<String, Origin>,
    /// The task of each unit, under all of its names.
    pub(super) by_unit: BTreeMap<String, String>,
}

impl Settings {
    /// Resources by name.
    pub fn resources(&self) -> &BTreeMap<String, Resource> {
        &self.resources
    }

    /// Windows by name.
    pub fn windows(&self) -> &BTreeMap<String, Window> {
        &self.windows
    }

    /// Tasks by name.
    pub fn tasks(&self) -> &BTreeMap<String, Task> {
        &self.tasks
    }

    /// Groups by name.
    pub fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// Rules that tell failures apart, by name.
    pub fn failures(&self) -> &BTreeMap<String, FailureRule> {
        &self.failures
    }

    /// How much of the history is kept.
    pub fn history(&self) -> &HistoryRules {
        &self.history
    }

    /// Program and arguments that are run for tasks which have none of their own; empty: none.
    pub fn notify_command(&self) -> &[String] {
        &self.notify_command
    }

    /// Where the metrics are written for node_exporter's textfile collector, if anywhere.
    pub fn metrics_textfile(&self) -> Option<&MetricsTextfile> {
        self.metrics_textfile.as_ref()
    }

    /// Units that must not start because their task's fragment is bad, with where it says so.
    pub fn blocked(&self) -> &BTreeMap<String, Origin> {
        &self.blocked
    }

    /// The task that a unit belongs to: by its own name or an alias, or as instance of a task's template.
    pub fn task_of_unit(&self, unit: &str) -> Option<&Task> {
        // An exact name wins over the template, as drop-ins of an instance win over its template's.
        let task = self
            .by_unit
            .get(unit)
            .or_else(|| self.by_unit.get(&names::template_of(unit)?))?;
        self.tasks.get(task)
    }

    /// Adds a task; its unit must be no other task's.
    pub(super) fn insert_task(&mut self, task: Task) {
        for name in task.aliases.iter().chain([&task.unit]) {
            self.by_unit.insert(name.clone(), task.name.clone());
        }
        self.tasks.insert(task.name.clone(), task);
    }
}

/// Something that only so many tasks may use at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// For people.
    pub description: Option<String>,
    /// How many shares there are; 1 is an exclusive resource.
    pub capacity: u32,
    /// Locks by which others than our tasks may hold it.
    pub lock_files: Vec<LockFile>,
    /// Process names (comm) of programs that take those locks.
    pub clients: Vec<String>,
    /// A client this old below an ancestor that holds the lock is deadlocked.
    pub nested_grace: Duration,
    /// What to do about such a deadlock.
    pub on_deadlock: OnDeadlock,
    /// Where it is defined.
    pub origin: Origin,
}

/// A lock by which others may hold a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Absolute path.
    pub path: PathBuf,
    /// How it is locked.
    pub kind: LockKind,
    /// For pid files: the holder's comm must contain this.
    pub comm: Option<String>,
}

/// How a lock file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// `fcntl(F_SETLK)`.
    Posix,
    /// `fcntl(F_OFD_SETLK)`.
    Ofd,
    /// `flock(2)`.
    Flock,
    /// A file that holds the pid of its holder.
    Pidfile,
    /// dnf5's file with `pid` and `start_time`.
    Toml,
}

impl LockKind {
    /// As in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Posix => "posix",
            Self::Ofd => "ofd",
            Self::Flock => "flock",
            Self::Pidfile => "pidfile",
            Self::Toml => "toml",
        }
    }
}

/// What to do about a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeadlock {
    /// Tell, and leave it.
    Report,
    /// Tell, and end the innermost waiter.
    KillNested,
}

/// A calendar event that starts several tasks in one ordered transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// For people.
    pub description: Option<String>,
    /// Calendar events (systemd.time(7)), passed on as they are.
    pub calendar: Vec<String>,
    /// `RandomizedDelaySec=`, passed on as it is.
    pub randomized_delay: Option<String>,
    /// `Persistent=`: catch up after the host was off.
    pub persistent: bool,
    /// What hasn't started this long after the window opened is skipped.
    pub max_duration: Option<Duration>,
    /// Task names, in the order in which they run.
    pub order: Vec<String>,
    /// Where it is defined.
    pub origin: Origin,
}

/// A unit under policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name in the policy.
    pub name: String,
    /// Its unit's real name (aliases resolved), with suffix; may be a template.
    pub unit: String,
    /// Other names of that unit which the policy or the host uses (aliases), if any.
    pub aliases: Vec<String>,
    /// The unit's `Type=`, where its file on the host says so (`oneshot` too if it has no `ExecStart=`).
    pub unit_type: Option<String>,
    /// Units after which its unit's own files order it, under any of their names.
    pub unit_after: Vec<String>,
    /// Units before which its unit's own files order it, under any of their names.
    pub unit_before: Vec<String>,
    /// Timers of other names that start its unit.
    pub timers: Vec<String>,
    /// Set if interlock makes the unit itself.
    pub command: Option<Command>,
    /// Shares of each resource, `"all"` resolved to the capacity.
    pub uses: BTreeMap<String, u32>,
    /// Task names after which it runs if they are started together.
    pub after: Vec<String>,
    /// Task names that are stopped when this one has to wait for what they hold.
    pub preempts: Vec<String>,
    /// Higher is served first; 0 unless told.
    pub priority: i32,
    /// What happens to a start that can't be granted at once.
    pub when_busy: WhenBusy,
    /// Longest wait at the gate; then the start is skipped.
    pub max_wait: Option<Duration>,
    /// Longest run, as systemd takes it; passed on.
    pub max_runtime: Option<String>,
    /// Whether a stop waits until it ends by itself.
    pub uninterruptible: bool,
    /// How long a stop of an uninterruptible task waits; passed on. `None`: for ever.
    pub stop_timeout: Option<String>,
    /// Whether its starts wait at a gate.
    pub gated: bool,
    /// What a deployment does to it.
    pub on_deploy: OnDeploy,
    /// Whether and how a failed run is tried again.
    pub retry: Option<Retry>,
    /// Named repairs.
    pub actions: BTreeMap<String, RepairAction>,
    /// Run instead of the policy's `notify-command`; empty: none. `None`: the policy's.
    pub notify_command: Option<Vec<String>>,
    /// So many starts that were skipped in a row are told; 0: never.
    pub notify_skips: u32,
    /// It is stale if its last success is longer ago than this.
    pub expect_success: Option<Duration>,
    /// Where it is defined.
    pub origin: Origin,
}

impl Task {
    /// Whether it covers every instance of a template unit.
    pub fn is_template(&self) -> bool {
        names::is_template(&self.unit)
    }
}

/// A command that interlock turns into `NAME.service` (and `NAME.timer`).
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Program (absolute) and arguments, as given: nothing is expanded.
    pub argv: Vec<String>,
    /// `Description=`.
    pub description: Option<String>,
    /// `User=`.
    pub user: Option<String>,
    /// `Group=`.
    pub group: Option<String>,
    /// `WorkingDirectory=`, absolute.
    pub working_directory: Option<String>,
    /// `Environment=`.
    pub environment: BTreeMap<String, String>,
    /// `OnCalendar=` of its timer; no timer if empty.
    pub calendar: Vec<String>,
    /// `RandomizedDelaySec=` of its timer; passed on.
    pub randomized_delay: Option<String>,
    /// `Persistent=` of its timer.
    pub persistent: bool,
}

/// What happens to a start that can't be granted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBusy {
    /// It waits in the queue.
    Queue,
    /// It is given up, counted, and nothing fails.
    Skip,
    /// It fails.
    Fail,
}

/// What a deployment does to a running task.
#[derive(Debug, Clone, PartialEq)]
pub struct OnDeploy {
    /// How it is brought to rest.
    pub action: DeployAction,
    /// For `checkpoint`: the signal, as `SIGUSR1`.
    pub signal: Option<String>,
    /// For `checkpoint`: a command instead of a signal.
    pub command: Vec<String>,
    /// What is done when the action hasn't settled it in time.
    pub fallback: Option<DeployAction>,
    /// After so many interruptions per period it is protected.
    pub max_interruptions: Option<u32>,
    /// That period.
    pub interruption_period: Duration,
}

/// How a deployment brings a running task to rest.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, Hash,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeployAction {
    /// Let it finish.
    #[default]
    Wait,
    /// Stop its processes where they are.
    Freeze,
    /// Stop it; next run as scheduled.
    Stop,
    /// Stop it, start it again at the end.
    Restart,
    /// Signal it, wait for its exit, start it again at the end.
    Checkpoint,
    /// The deployment waits for it, or is refused.
    Protect,
    /// Leave it alone.
    Ignore,
}

impl DeployAction {
    /// As in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Freeze => "freeze",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Checkpoint => "checkpoint",
            Self::Protect => "protect",
            Self::Ignore => "ignore",
        }
    }
}

/// Whether and how a failed run is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// How often at most.
    pub attempts: u32,
    /// Before the first retry; doubled each time.
    pub delay: Duration,
    /// Upper limit of the delay.
    pub max_delay: Duration,
}

/// Tasks that a deployment concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// For people.
    pub description: Option<String>,
    /// Task names.
    pub tasks: Vec<String>,
    /// What ends by itself within this time is left to end.
    pub grace: Duration,
    /// How long settling may take.
    pub max_wait: Option<Duration>,
    /// Run before settling; its failure refuses the deployment.
    pub before_settle: Vec<String>,
    /// Run after all has resumed.
    pub after_resume: Vec<String>,
    /// How long each hook may run.
    pub hook_timeout: Duration,
    /// Where it is defined.
    pub origin: Origin,
}
