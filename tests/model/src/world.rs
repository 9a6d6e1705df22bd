//! One state: PID 1 with its jobs, gates and tasks, the daemon, what it has written down, and what others do.

use interlock_core::arbiter::{Action, Arbiter};
use interlock_core::deploy::{Deployment, Step};

use crate::setup::{Budget, GROUPS, Set, TASKS};
use crate::shared::Shared;

/// A state.
#[derive(Debug, Clone, Hash)]
pub struct World {
    /// What PID 1 knows of each task and its gate.
    pub units: [Unit; TASKS],
    /// Resources that somebody outside the policy has locked.
    pub locked: Set,
    /// Tasks that operators hold.
    pub held: Set,
    /// Which policy is on disk.
    pub policy: u8,
    /// Deployments as they are written down, by group.
    pub stored: [Option<Shared<Deployment>>; GROUPS],
    /// Whether each deployment's owner is there.
    pub owners: [bool; GROUPS],
    /// How far each deployment's time is: grace over, deadline over, the last one over.
    pub clocks: [u8; GROUPS],
    /// Unless it has crashed.
    pub daemon: Option<Daemon>,
    /// What may still happen.
    pub budget: Budget,
    /// What went wrong on the way here.
    pub fault: Option<Box<str>>,
}

/// A task and its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Unit {
    /// It has a start job, which a oneshot has until it ends.
    pub job: bool,
    /// Its gate.
    pub gate: Gate,
    /// What it does.
    pub run: Run,
    /// Its gate's process has connected, and the daemon hasn't heard that.
    pub hello: bool,
    /// The daemon has told its gate to open, and the gate hasn't heard that.
    pub go: bool,
    /// `cgroup.freeze`.
    pub frozen: bool,
    /// It is in a transaction.
    pub busy: bool,
    /// Its last run failed.
    pub failed: bool,
    /// When its gate began to wait.
    pub asked: u64,
    /// Since when the daemon has it wait.
    pub heard: u64,
    /// A job of it has ended, and the daemon hasn't heard that.
    pub job_gone: bool,
    /// Its gate's connection was closed while it waited, and the daemon hasn't heard that.
    pub closed: bool,
    /// Its lease is to be looked at again.
    pub dirty: bool,
    /// Deployments that have stopped it and have it run again, see [`crate::faults::debt`].
    pub owed: Set,
    /// Policies that say what it uses, since it was let in.
    pub used: Set,
}

/// A gate, as PID 1 knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Gate {
    /// `inactive`.
    #[default]
    Down,
    /// Its job waits for others' (a task before it, in the policy's order).
    Queued,
    /// `activating`: its process waits for the daemon's word.
    Waiting,
    /// `active`.
    Open,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Run {
    /// Nothing.
    #[default]
    Down,
    /// It runs.
    Running,
    /// It is being stopped.
    Leaving,
    /// It has ended and left processes behind.
    Leftovers,
}

impl Unit {
    /// Whether anything of it uses resources.
    pub fn works(&self) -> bool {
        self.run != Run::Down
    }

    /// `active` or on its way there or away, for PID 1.
    pub fn is_running(&self) -> bool {
        matches!(self.run, Run::Running | Run::Leaving)
    }

    /// It has asked to start and hasn't.
    pub fn waits(&self) -> bool {
        self.job && !self.is_running()
    }
}

/// What the daemon has in memory.
#[derive(Debug, Clone, Hash)]
pub struct Daemon {
    /// The real one.
    pub arbiter: Shared<Arbiter>,
    /// Its actions that aren't carried out yet.
    pub actions: Vec<Action>,
    /// What a round over the deployments has decided, and isn't done yet.
    pub steps: Vec<Todo>,
    /// The real ones, by group.
    pub deployments: [Option<Shared<Deployment>>; GROUPS],
    /// Gates whose connection it has.
    pub connected: Set,
    /// Tasks whose admission it has closed.
    pub closed: Set,
    /// The policy that it has read.
    pub policy: u8,
}

/// Something to do for deployments, one after the other: the daemon may crash between any two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Todo {
    /// Thaw a unit.
    Thaw(usize),
    /// Any other step, of this group's deployment.
    Step(usize, Step),
    /// Thaw what no deployment wants frozen.
    ThawUnwanted,
}

impl Daemon {
    /// Nothing is left to do of the last event.
    pub fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.steps.is_empty()
    }
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody starts a task.
    Ask(u8),
    /// Somebody stops a task.
    Stop(u8),
    /// Somebody cancels a task's job.
    Cancel(u8),
    /// A task enters a transaction.
    Lock(u8),
    /// And leaves it.
    Unlock(u8),
    /// Somebody outside the policy locks a resource.
    Take(u8),
    /// And unlocks it.
    Free(u8),
    /// An operator holds a task.
    Hold(u8),
    /// And releases it.
    Release(u8),
    /// A task's patience ends.
    Overdue(u8),
    /// Another policy, and a daemon-reload.
    Reload,
    /// A deployment of a group begins.
    Begin(u8),
    /// Its owner ends it.
    End(u8),
    /// Its owner dies.
    OwnerDies(u8),
    /// The daemon is killed.
    Crash,
    /// The job of a task's gate runs.
    GateBegins(u8),
    /// A gate reads that it may open.
    Opens(u8),
    /// A task starts.
    Runs(u8),
    /// A task ends well.
    Ends(u8),
    /// A task ends and leaves processes behind.
    Leaves(u8),
    /// What it left behind ends.
    LeftoversEnd(u8),
    /// A task that was stopped is down.
    Left(u8),
    /// PID 1 stops a gate that nobody needs.
    GateStops(u8),
    /// The daemon is started.
    Up,
    /// The daemon hears a gate's request.
    Hear(u8),
    /// The daemon hears that a gate is gone.
    HearClosed(u8),
    /// The daemon hears that a task's job is gone.
    HearJobGone(u8),
    /// The daemon looks at a unit's lease.
    Refresh(u8),
    /// The daemon hears of the reload.
    HearReload,
    /// The daemon hears that a deployment's owner is gone.
    HearOwner(u8),
    /// The daemon looks at locks from outside.
    PollLocks,
    /// The daemon reads everything again.
    Sweep,
    /// The daemon carries out the arbiter's next action.
    Act,
    /// The daemon takes a deployment's next step.
    Step,
    /// The daemon looks at the deployments.
    Round,
    /// Time passes for a deployment.
    Time(u8),
}
