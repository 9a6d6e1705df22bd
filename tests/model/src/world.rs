//! One state: PID 1 with its jobs, gates and tasks, the daemon, what it has written down, and what others do.

use interlock_core::arbiter::{Action, Arbiter};
use interlock_core::deploy::{self, Deployment};
use interlock_core::unit::{Doing, Job, Service};

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
    /// Deployments' hooks, by group.
    pub hooks: [Hooks; GROUPS],
    /// Which boot it is.
    pub boot: u8,
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
    /// Policies that its lease was granted by, as it is written below `/run`: outlives the daemon.
    pub kept: Set,
    /// Its starts are refused (it is masked, say).
    pub refused: bool,
    /// It has no gate, and was started by somebody while a deployment was ready.
    pub own_will: bool,
    /// What is to come of its last run, which failed.
    pub retry: Retry,
    /// How often it was tried again in a row.
    pub attempt: u8,
}

/// A failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Retry {
    /// There is none.
    #[default]
    None,
    /// The daemon hasn't judged it.
    Unjudged,
    /// It is tried again.
    Due,
}

/// The hooks of a deployment, and what they have done to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hooks {
    /// `before-settle`.
    pub before: HookUnit,
    /// `after-resume`.
    pub after: HookUnit,
    /// The first one was begun.
    pub is_out: bool,
    /// The second one was.
    pub was_put_back: bool,
}

/// A hook's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HookUnit {
    /// There is none.
    #[default]
    Absent,
    /// It runs.
    Running,
    /// It is over, and all went well.
    Succeeded,
    /// It failed, or took too long.
    Failed,
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

    /// As PID 1 tells of it.
    pub fn service(&self) -> Service {
        let (doing, idle) = match self.run {
            Run::Down | Run::Leftovers => (Doing::Down, Job::None),
            Run::Running => (Doing::Up, Job::None),
            Run::Leaving => (Doing::Leaving, Job::Stop),
        };
        let job = if self.job { Job::Start } else { idle };
        Service { doing, job }
    }

    /// As PID 1 tells of its gate.
    pub fn gate(&self) -> Service {
        let (doing, job) = match self.gate {
            Gate::Down => (Doing::Down, Job::None),
            Gate::Queued => (Doing::Down, Job::Start),
            Gate::Waiting => (Doing::Starting, Job::Start),
            Gate::Open => (Doing::Exited, Job::None),
        };
        Service { doing, job }
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
    /// Those that PID 1 hasn't answered to.
    pub unanswered: Vec<Action>,
    /// What a round over the deployments has decided, and isn't done yet.
    pub steps: Vec<Todo>,
    /// Units that could not be frozen.
    pub unfreezable: Set,
    /// Hooks that could not be started: [`crate::hooks::bit`].
    pub hooks_refused: Set,
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
    /// What was decided on.
    Do(deploy::Todo),
    /// Thaw what no deployment wants frozen.
    ThawUnwanted,
}

impl Daemon {
    /// Nothing is left to do of the last event.
    pub fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.steps.is_empty()
    }
}

/// How a call to PID 1 goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It was lost, and there is no answer.
    Lost,
    /// It was carried out, and there is no answer.
    Unheard,
    /// PID 1 refuses, or the kernel.
    Refused,
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
    /// The host loses its power, and boots.
    Reboot,
    /// A task fails.
    Fails(u8),
    /// A deployment's hook ends well.
    HookEnds(u8),
    /// Or fails, or takes too long.
    HookFails(u8),
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
    /// And PID 1 doesn't answer.
    HearUnanswered(u8),
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
    /// And PID 1 doesn't answer.
    ActFails(Miss),
    /// The daemon asks again what wasn't answered.
    AskAgain,
    /// The daemon takes a deployment's next step.
    Step,
    /// Which goes wrong.
    StepFails(Miss),
    /// The daemon judges a failed run.
    Judge(u8),
    /// The daemon tries again.
    TryAgain(u8),
    /// The daemon looks at the deployments.
    Round,
    /// Time passes for a deployment.
    Time(u8),
}
