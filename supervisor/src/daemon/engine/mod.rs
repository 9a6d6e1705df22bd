//! The engine: one input after the other, the arbiter's actions carried out before the next.

mod actions;
mod answers;
mod claims;
mod deadlocks;
mod deploy;
mod explain;
mod gates;
mod granted;
mod holds;
mod leases;
mod live;
mod locks;
mod nested;
mod notify;
mod order;
mod outside;
mod policy;
mod preempt;
mod queue;
mod refusals;
mod runs;
mod signals;
mod starts;
mod tidying;
mod timers;
mod transactions;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use interlock_core::arbiter::{Action, Arbiter, Event};
use interlock_generator::names;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use actions::{ActionError, ActionRequest};
pub use deadlocks::DeadlockView;
pub use deploy::{BeginError, BeginRequest, DeploymentView, DeskError, MemberView, Settled};
pub use holds::{HoldEnd, HoldError, HoldRequest, HoldView};
pub use locks::{LockRemark, LockView};
pub use nested::RequestError;
pub use notify::OperatorEvent;
pub use policy::PolicyView;
pub use queue::{
    BatchView, CapacityView, QueueError, QueuedView, Selection, SubmitError, SubmitOptions,
    SubmittedView, TaskCounts,
};
pub use runs::Examined;
pub use views::{QueueView, TaskView};

use super::{Input, Notice, Paths, Pulse, Query};
use crate::clock;
use crate::granted::Granted;
use crate::history::History;
use crate::pid1::Pid1;
use crate::store::{Backlog, Store};
use policy::Policy;

/// How often all state is read again while anything holds or waits: catches what signals lost.
const SWEEP: Duration = Duration::from_secs(5);
/// How soon a question to PID 1 is asked again that wasn't answered.
const RETRY: Duration = Duration::from_millis(200);
/// How often the waiting gates' status texts are brought up to date.
const STATUS: Duration = Duration::from_millis(500);
/// How long start-up waits for the bus before it says that it is ready: gates are heard without it.
const BUS_AT_START: Duration = Duration::from_secs(5);
/// Inputs taken in one go, so that many signals about one unit cost one look at it.
const BATCH: usize = 256;

/// A gate's connection.
#[derive(Debug)]
struct Gate {
    connection: u64,
    writer: OwnedWriteHalf,
    status: String,
}

/// What the engine knows of a unit beyond the arbiter.
#[derive(Debug, Clone, Default)]
struct Record {
    /// When its gate asked, microseconds of `CLOCK_REALTIME`.
    asked: u64,
    /// When its lease was granted or found, microseconds of `CLOCK_REALTIME`.
    granted: u64,
    /// When the window is over that this start belongs to, microseconds of `CLOCK_REALTIME`; 0 if none.
    not_after: u64,
    /// What it has waited for, one line each.
    waited_for: Vec<String>,
    run: runs::Run,
}

/// See the module's documentation.
pub struct Engine {
    paths: Paths,
    policy: Policy,
    arbiter: Arbiter,
    pid1: Option<Pid1>,
    /// Connected, but hasn't answered yet.
    unheard: Option<Pid1>,
    gates: BTreeMap<String, Gate>,
    /// Those of which PID 1 alone could say what they stand for, and hasn't yet.
    unheard_gates: BTreeSet<String>,
    records: BTreeMap<String, Record>,
    granted: Granted,
    history: History,
    tidying: tidying::Tidying,
    notices: UnboundedSender<Notice>,
    pulse: Pulse,
    actions: VecDeque<Action>,
    /// What was asked and isn't answered.
    asked: VecDeque<Query>,
    /// How many of those had been asked when PID 1 was last asked for units without a gate.
    asked_before_look: usize,
    /// The ids of tasks' jobs as last heard; PID 1 has the truth.
    jobs: BTreeMap<String, u32>,
    /// Units whose lease is to be looked at again.
    dirty: BTreeSet<String>,
    /// Units to be looked at again at a time.
    later: BTreeMap<String, Instant>,
    /// Questions to PID 1 that were not answered.
    unanswered: Vec<Action>,
    /// Gates that ended while they waited, with when: their tasks' starts are not to be lost.
    lost_gates: BTreeMap<String, Instant>,
    /// Gates that the engine closes, since PID 1 didn't, with when it noticed.
    orphans: BTreeMap<String, Instant>,
    /// Tasks whose start may have met a gate that was being closed, with when.
    closing: BTreeMap<String, Instant>,
    /// Units whose gate was refused and is to be reset when it has failed.
    refused: BTreeSet<String>,
    preemption: preempt::Preemption,
    windows: BTreeMap<String, claims::OpenWindow>,
    deployments: deploy::Deployments,
    outside: outside::Outside,
    holds: holds::Holds,
    queue: queue::Queue,
    runs: runs::Runs,
    boot: String,
    /// When this interlockd started, microseconds of `CLOCK_REALTIME`.
    started: u64,
    /// Units without a gate that run, with since when they do, as of the last question.
    ungated: BTreeMap<String, u64>,
    deadlocks: deadlocks::Deadlocks,
    notifier: notify::Notifier,
    /// The number of the last action's unit.
    last_run: u64,
}

impl Engine {
    /// Reads the policy; nothing is known yet of leases.
    pub fn new(
        paths: Paths,
        mut history: History,
        mut store: Store,
        inputs: UnboundedSender<Input>,
        notices: UnboundedSender<Notice>,
        pulse: Pulse,
    ) -> Self {
        let policy = Policy::load(&paths.root);
        policy.log();
        let queue = queue::Queue::new(&mut store, Backlog::open(&paths.unwritten));
        Self {
            arbiter: Arbiter::new(queue.capacities(&policy)),
            paths,
            policy,
            pid1: None,
            unheard: None,
            gates: BTreeMap::new(),
            unheard_gates: BTreeSet::new(),
            records: BTreeMap::new(),
            granted: Granted::open(Path::new(names::GRANTED_DIR), Path::new(names::UNITS_DIR)),
            notices,
            pulse,
            actions: VecDeque::new(),
            asked: VecDeque::new(),
            asked_before_look: 0,
            jobs: BTreeMap::new(),
            dirty: BTreeSet::new(),
            later: BTreeMap::new(),
            unanswered: Vec::new(),
            lost_gates: BTreeMap::new(),
            orphans: BTreeMap::new(),
            closing: BTreeMap::new(),
            refused: BTreeSet::new(),
            preemption: preempt::Preemption::default(),
            windows: BTreeMap::new(),
            outside: outside::Outside::new(inputs.clone()),
            holds: holds::Holds::new(&mut store),
            ungated: BTreeMap::new(),
            queue,
            runs: runs::Runs::new(inputs.clone(), history.open_runs()),
            boot: clock::boot_id(),
            started: clock::realtime(),
            deadlocks: deadlocks::Deadlocks::new(inputs.clone(), history.deadlocks()),
            deployments: deploy::Deployments::new(store, inputs),
            notifier: notify::Notifier::default(),
            last_run: 0,
            history,
            tidying: tidying::Tidying::default(),
        }
    }

    /// Runs until all senders are gone.
    pub async fn run(mut self, mut inputs: UnboundedReceiver<Input>) {
        self.recover_deployments();
        self.notify(Notice::Policy(self.policy.units()));
        for view in self.deployment_views() {
            self.notify(Notice::Deployment(view.id));
        }
        // Hear of the bus first: who holds what must be known before anything is granted.
        let limit = Instant::now() + BUS_AT_START;
        let mut early = Vec::new();
        while self.pid1.is_none() {
            match timeout_at(limit, inputs.recv()).await {
                Ok(Some(Input::Bus(pid1))) => self.handle(Input::Bus(pid1)).await,
                Ok(Some(input)) => early.push(input),
                Ok(None) => return,
                Err(_) => break,
            }
            self.due().await;
        }
        super::ready();
        for input in early {
            self.handle(input).await;
        }
        self.work_off().await;
        let mut sweep = Instant::now() + SWEEP;
        let mut status = Instant::now() + STATUS;
        loop {
            self.pulse.rest();
            if !self.is_busy() {
                // The first start after a quiet time finds everything known.
                sweep = Instant::now() + SWEEP;
            }
            let wake = self.next_wake(sweep, status);
            let input = tokio::select! {
                biased;
                input = inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => return,
                },
                // Whoever brings inputs had a turn before the next answer.
                () = tokio::task::yield_now(), if !self.asked.is_empty() => None,
                () = sleep_until(wake) => None,
            };
            self.pulse.beat();
            if let Some(input) = input {
                self.handle(input).await;
                for _ in 1..BATCH {
                    let Ok(input) = inputs.try_recv() else { break };
                    self.handle(input).await;
                }
            }
            self.answer_some().await;
            self.due().await;
            self.work_off().await;
            self.work_on_deployments().await;
            self.work_on_queue().await;
            self.work_off().await;
            self.run_notify_commands().await;
            self.tidy_history();
            let now = Instant::now();
            if now >= sweep {
                if self.is_busy() {
                    self.sweep().await;
                    self.work_off().await;
                }
                sweep = Instant::now() + SWEEP;
            }
            if now >= status {
                self.tell_waiters();
                status = now + STATUS;
            }
        }
    }

    fn is_busy(&self) -> bool {
        !(self.arbiter.leases().is_empty()
            && self.arbiter.queue().is_empty()
            && self.gates.is_empty())
    }

    /// An idle daemon sleeps until something comes.
    fn next_wake(&self, sweep: Instant, status: Instant) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let mut wake = far;
        if self.is_busy() {
            wake = wake.min(sweep);
        }
        if !self.gates.is_empty() {
            wake = wake.min(status);
        }
        let is_unanswered = !(self.unanswered.is_empty() && self.unheard_gates.is_empty());
        if is_unanswered || self.unheard.is_some() {
            wake = wake.min(Instant::now() + RETRY);
        }
        if let Some(deadline) = self.arbiter.next_deadline() {
            let left = deadline.saturating_sub(clock::monotonic());
            wake = wake.min(Instant::now() + Duration::from_micros(left));
        }
        let dues = [
            self.deployments.due(),
            self.outside.due(),
            self.preemption.due(),
            self.queue.due(),
            self.holds.due(),
            self.deadlocks.due(),
            self.tidying.due(),
            self.notifier.due().filter(|_| self.pid1.is_some()),
        ];
        for due in dues.into_iter().flatten() {
            wake = wake.min(due);
        }
        self.later.values().fold(wake, |wake, at| wake.min(*at))
    }

    /// What the clock has made due.
    async fn due(&mut self) {
        self.hear_pid1().await;
        self.hear_unheard().await;
        self.work_on_holds().await;
        self.poll_locks();
        self.preempt_again().await;
        self.look_for_deadlocks();
        let now = clock::monotonic();
        if self.arbiter.next_deadline().is_some_and(|at| at <= now) {
            self.feed(Event::Tick { now });
        }
        let instant = Instant::now();
        let due: Vec<String> = self
            .later
            .iter()
            .filter(|(_, at)| **at <= instant)
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in due {
            self.later.remove(&unit);
            self.dirty.insert(unit);
        }
        if self.pid1.is_some() {
            self.actions.extend(self.unanswered.drain(..));
        }
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Hello {
                unit,
                connection,
                writer,
            } => self.hello(unit, connection, writer).await,
            Input::Closed { unit, connection } => self.closed(unit, connection),
            Input::Signal(signal) => self.signal(signal).await,
            // Holds look at the clock whenever anything happens.
            Input::ClockSet => {
                self.queue.wake();
                self.deployments.wake();
            }
            Input::Bus(pid1) => {
                self.pid1 = None;
                self.unheard = pid1;
                self.hear_pid1().await;
            }
            Input::LockHolderGone => self.locks_may_have_changed(),
            Input::DeadlockLook(look) => self.looked_for_deadlocks(*look),
            Input::WaiterEnded {
                case,
                who,
                kill,
                ended,
            } => self.waiter_ended(case, &who, kill, &ended),
            Input::Examined(examined) => self.examined(*examined),
            Input::HolderGone { id, generation } => self.holder_gone(&id, generation),
            Input::Query(query) => self.asked.push_back(query),
        }
        self.carry_out().await;
    }

    /// PID 1 counts as there only when it has said who holds and who waits.
    async fn hear_pid1(&mut self) {
        if let Some(pid1) = self.unheard.take() {
            if self.rebuild(&pid1).await {
                self.pid1 = Some(pid1);
                self.recover_runs().await;
                self.finish_skips().await;
                // Before any gate is heard: tasks that run without a lease are adopted here.
                self.work_off().await;
            } else {
                self.unheard = Some(pid1);
            }
        }
    }

    /// Until nothing is left to do: looks at units, and acts.
    async fn work_off(&mut self) {
        self.carry_out().await;
        while let Some(unit) = self.dirty.pop_first() {
            self.pulse.beat();
            self.refresh(&unit).await;
            self.carry_out().await;
        }
        self.conclude_runs().await;
    }

    fn feed(&mut self, event: Event) {
        let actions = self.arbiter.handle(event);
        self.actions.extend(actions);
    }

    async fn carry_out(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            self.pulse.beat();
            match action {
                Action::Grant { unit } => self.grant(&unit).await,
                Action::Refuse { unit, why } => self.refuse(&unit, why).await,
                Action::Look { unit } => self.look(unit).await,
                Action::LookBehindLease { unit } => self.look_behind_lease(unit).await,
                Action::Revoke { unit } => self.revoke(&unit).await,
            }
        }
    }

    fn store(&mut self) -> &mut Store {
        self.deployments.store()
    }

    fn notify(&self, notice: Notice) {
        // Only fails while interlockd ends.
        let _ = self.notices.send(notice);
    }
}
