//! interlockd: the thin I/O around the arbiter.
//!
//! ```text
//! listener (gates) ─┐
//! bus (signals,     ├─> Input ─> engine ─> arbiter ─> actions ─> gates, PID 1
//!   D-Bus requests) ┘
//! ```
//!
//! One engine handles one input after the other, so that between reading a state and acting on it
//! nothing else of interlockd happens.

mod clock_set;
mod desk;
pub mod engine;
mod listener;
pub mod words;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use interlock_core::deploy::Owner;
use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

use crate::bus;
use crate::clock;
use crate::freezer;
use crate::history::risk::Exposed;
use crate::history::{History, Past};
use crate::locks;
use crate::lookout::{Ended, Look};
use crate::monitor::Live;
use crate::pid1::Pid1;
use crate::pid1::signals::Signal;
use crate::store::{Next, Paused, State, Store};

/// All that can happen to the engine.
#[derive(Debug)]
pub enum Input {
    /// A gate has come and asks for its unit's lease.
    Hello {
        /// The task's unit, checked to be the peer's.
        unit: String,
        /// Tells apart connections of one unit.
        connection: u64,
        /// For verdicts.
        writer: OwnedWriteHalf,
    },
    /// A gate's connection has ended.
    Closed {
        /// The task's unit.
        unit: String,
        /// Which connection.
        connection: u64,
    },
    /// The clock was set, or the host has slept.
    ClockSet,
    /// From PID 1.
    Signal(Signal),
    /// The system bus is there, or (`None`) gone.
    Bus(Option<Pid1>),
    /// Nobody holds this deployment's FIFO open any more.
    HolderGone {
        /// The deployment.
        id: String,
        /// Which holder.
        generation: u64,
    },
    /// A process that held a lock from outside has ended.
    LockHolderGone,
    /// A look for deadlocks has ended.
    DeadlockLook(Box<Look>),
    /// What a failed run has written last was read.
    Examined(Box<engine::Examined>),
    /// A process of a deadlock was to be ended.
    WaiterEnded {
        /// The deadlock.
        case: u64,
        /// The process, for people.
        who: String,
        /// By SIGKILL.
        kill: bool,
        /// What came of it.
        ended: Ended,
    },
    /// Somebody asks over D-Bus.
    Query(Query),
}

/// Questions from D-Bus, each with where to answer.
#[derive(Debug)]
pub enum Query {
    /// All tasks and live instances.
    Tasks(oneshot::Sender<Vec<engine::TaskView>>),
    /// One task, by the policy's name or by unit.
    Task(String, oneshot::Sender<Option<engine::TaskView>>),
    /// What is known of a unit's past.
    Past(String, oneshot::Sender<Past>),
    /// Tasks that deployments concern.
    Exposed(oneshot::Sender<Vec<Exposed>>),
    /// All waiters in order.
    Queue(oneshot::Sender<Vec<engine::QueueView>>),
    /// A paragraph about one task.
    Explain(String, oneshot::Sender<Option<String>>),
    /// Read the policy again, and have PID 1 do so.
    Reload(oneshot::Sender<engine::PolicyView>),
    /// What is wrong with the state database, if anything is.
    DatabaseTrouble(oneshot::Sender<Option<String>>),
    /// What is known of the policy.
    Policy(oneshot::Sender<engine::PolicyView>),
    /// Whether a process may wait for this task's start, or for a command that uses this.
    CheckRequest(
        u32,
        String,
        BTreeMap<String, u32>,
        oneshot::Sender<Result<(), engine::RequestError>>,
    ),
    /// Whether a process runs for a task that holds this resource.
    Holding(
        u32,
        String,
        oneshot::Sender<Result<bool, engine::RequestError>>,
    ),
    /// Who holds resources' locks, and what only looks as if.
    Locks(oneshot::Sender<(Vec<engine::LockView>, Vec<engine::LockRemark>)>),
    /// Queue starts for later.
    Submit {
        /// Tasks or their units.
        tasks: Vec<String>,
        /// How, and for whom.
        options: engine::SubmitOptions,
        /// Their numbers.
        to: oneshot::Sender<Result<Vec<u64>, engine::SubmitError>>,
    },
    /// What is queued for later.
    Submitted(oneshot::Sender<Vec<engine::SubmittedView>>),
    /// Something about the queue.
    AboutQueue(QueueQuery),
    /// Open a deployment.
    Begin(
        engine::BeginRequest,
        oneshot::Sender<Result<(String, OwnedFd), engine::BeginError>>,
    ),
    /// All deployments that are remembered.
    Deployments(oneshot::Sender<Vec<engine::DeploymentView>>),
    /// One deployment.
    Deployment(String, oneshot::Sender<Option<engine::DeploymentView>>),
    /// End a deployment; by whom and why, unless it is its owner.
    EndDeployment(
        String,
        Option<String>,
        oneshot::Sender<Result<(), engine::DeskError>>,
    ),
    /// Let a deployment expire so long from now.
    ExtendDeployment(
        String,
        Duration,
        oneshot::Sender<Result<(), engine::DeskError>>,
    ),
    /// Become a deployment's owner, with a reason, and an expiry from now instead of a holder.
    TakeOverDeployment(
        String,
        Owner,
        String,
        Option<Duration>,
        oneshot::Sender<Result<OwnedFd, engine::DeskError>>,
    ),
    /// Run a repair of the policy on a task.
    RunAction(
        engine::ActionRequest,
        oneshot::Sender<Result<String, engine::ActionError>>,
    ),
    /// Hold starts of a task, or skip some.
    Hold(
        engine::HoldRequest,
        oneshot::Sender<Result<String, engine::HoldError>>,
    ),
    /// The end of that; by whom.
    Release(
        String,
        String,
        oneshot::Sender<Result<String, engine::HoldError>>,
    ),
    /// All holds.
    Holds(oneshot::Sender<Vec<engine::HoldView>>),
    /// All deadlocks that are remembered.
    Deadlocks(oneshot::Sender<Vec<engine::DeadlockView>>),
    /// All that monitoring is told of what is now.
    Live(oneshot::Sender<Live>),
    /// Tell when a deployment no longer settles: its state, and why it failed.
    WaitForDeployment(String, oneshot::Sender<engine::Settled>),
}

/// Questions about the queue, each with where to answer.
#[derive(Debug)]
pub enum QueueQuery {
    /// Entries: of this task or unit, of this batch, in this state, at most so many.
    List(
        Option<String>,
        Option<String>,
        Option<State>,
        u32,
        Answer<(u64, Vec<engine::QueuedView>)>,
    ),
    /// Numbers by task.
    Counts(Answer<Vec<engine::TaskCounts>>),
    /// A new batch of this name, by whom.
    NewBatch(String, String, Answer<u64>),
    /// All batches that are remembered.
    Batches(Answer<Vec<engine::BatchView>>),
    /// Take entries out.
    Cancel(engine::Selection, Answer<u64>),
    /// Put entries elsewhere.
    Move(Vec<String>, Next, Answer<u64>),
    /// Start nothing of this task, or of any (empty); why, and by whom.
    Pause(String, String, String, Answer<()>),
    /// The end of that; by whom.
    Resume(String, String, Answer<()>),
    /// All pauses.
    Pauses(Answer<Vec<Paused>>),
    /// A resource's capacity (0: the policy's); why, and by whom.
    SetCapacity(String, u32, String, String, Answer<()>),
    /// All capacities.
    Capacities(Answer<Vec<engine::CapacityView>>),
}

/// Where to answer a question about the queue.
pub type Answer<T> = oneshot::Sender<Result<T, engine::QueueError>>;

/// What the engine tells the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A unit's state has changed.
    Changed(String),
    /// A start was given up.
    Skipped {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// One line.
        reason: String,
    },
    /// An operator holds starts of a task, or wants some skipped.
    Held {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// One line.
        reason: String,
        /// When it ends by itself, microseconds of `CLOCK_REALTIME`; 0 for never.
        until: u64,
        /// How many starts are to be skipped; 0 if they wait.
        skips: u32,
    },
    /// That is over.
    Released {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// One line.
        reason: String,
    },
    /// A run has failed.
    Failed {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// The signature's key.
        signature: String,
        /// It isn't tried again.
        hard: bool,
        /// One line.
        text: String,
    },
    /// A run has succeeded after one that failed.
    Recovered {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
    },
    /// Nothing is left of a batch.
    BatchEnded {
        /// Its number.
        id: String,
        /// How many have succeeded.
        done: u64,
        /// How many have failed.
        failed: u64,
    },
    /// Processes wait for one another for ever.
    DeadlockFound {
        /// Its number.
        id: u64,
        /// `nested-client`, `blocking-start` or `between-tasks`.
        kind: String,
        /// The task's unit.
        unit: String,
        /// What is waited for.
        resource: String,
        /// The chain, a link a line.
        text: String,
    },
    /// They no longer do.
    DeadlockResolved {
        /// Its number.
        id: u64,
        /// `ended` (a process of it, by us) or `gone`.
        how: String,
    },
    /// The policy was read again: these are its tasks' units.
    Policy(Vec<String>),
    /// A deployment has begun or changed.
    Deployment(String),
    /// A deployment is forgotten.
    DeploymentGone(String),
    /// A deployment has come a step further with a unit.
    Step {
        /// The deployment.
        id: String,
        /// The unit.
        unit: String,
        /// Task name.
        task: String,
        /// As in `Tasks` of org.interlock.Interlock1.Deployment.
        state: String,
        /// One line.
        detail: String,
    },
}

/// Where interlockd finds things; the tests' root in tests.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Root of policy and unit files.
    pub root: PathBuf,
    /// The state database.
    pub database: PathBuf,
    /// What of the queue the database didn't take yet.
    pub unwritten: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            // What the generator has read, that PID 1 has run.
            root: locks::root_of_pid1().to_owned(),
            database: PathBuf::from("/var/lib/interlock/state.db"),
            // Survives interlockd, as the runs do that it tells of; not the host.
            unwritten: PathBuf::from("/run/interlock/unwritten"),
        }
    }
}

/// Runs until SIGTERM.
///
/// # Errors
/// Only those of starting; afterwards it goes on whatever happens around it.
pub async fn run(paths: Paths) -> anyhow::Result<()> {
    let listener = listener::take_over().context("cannot take over the gates' socket")?;
    let history = History::open(&paths.database);
    let (inputs, receiver) = mpsc::unbounded_channel();
    let (notices, notice_receiver) = mpsc::unbounded_channel();
    let pulse = Pulse::default();
    let store = Store::open(&paths.database);
    let database = paths.database.clone();
    let engine = engine::Engine::new(
        paths,
        history,
        store,
        inputs.clone(),
        notices,
        pulse.clone(),
    );
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(watchdog(pulse));
    // What an earlier interlockd has frozen, before PID 1 is asked anything.
    freezer::watch();
    tokio::spawn(listener::accept(listener, inputs.clone()));
    tokio::spawn(clock_set::watch(inputs.clone()));
    tokio::spawn(bus::keep_connected(inputs, notice_receiver, database));
    tokio::select! {
        () = engine.run(receiver) => {}
        _ = stop.recv() => tracing::info!("stopping; leases and waiters stay with PID 1 and the gates"),
    }
    let _ = notify(false, &[NotifyState::Stopping]);
    thaw_unless_restarted().await;
    Ok(())
}

/// An interlockd that is stopped for good leaves nothing frozen; one that is restarted finds all as it was.
async fn thaw_unless_restarted() {
    let frozen = freezer::marked();
    if frozen.is_empty() {
        return;
    }
    let kind = async {
        let pid1 = Pid1::new(&zbus::Connection::system().await?).await?;
        let states = pid1.states(vec!["interlockd.service".to_owned()]).await?;
        let job = states.into_values().next().and_then(|state| state.job);
        Ok::<_, zbus::Error>(job.map(|(_, kind)| kind))
    };
    let kind = tokio::time::timeout(Duration::from_secs(2), kind).await;
    let comes_back = matches!(&kind, Ok(Ok(Some(kind))) if kind != "stop");
    if !comes_back {
        for unit in frozen {
            tracing::warn!(unit, "{unit} is thawed: interlockd stops");
            freezer::thaw(&unit);
        }
    }
}

/// Tells PID 1 that start-up is over.
pub fn ready() {
    if let Err(error) = notify(false, &[NotifyState::Ready]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// When the engine last made progress: 0 while it is idle, else since when it is busy with one step.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// A step begins.
    pub fn beat(&self) {
        self.0.store(clock::monotonic(), Ordering::Relaxed);
    }

    /// Nothing to do.
    pub fn rest(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn busy_for(&self) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_micros(clock::monotonic().saturating_sub(since)),
        }
    }
}

/// Keeps PID 1's watchdog (`WatchdogSec=`) quiet as long as the engine makes progress.
async fn watchdog(pulse: Pulse) {
    let Some(limit) = watchdog_enabled(false) else {
        return;
    };
    let mut ticks = tokio::time::interval(limit / 4);
    loop {
        ticks.tick().await;
        if pulse.busy_for() < limit {
            let _ = notify(false, &[NotifyState::Watchdog]);
        }
    }
}
