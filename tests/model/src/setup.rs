//! What is checked: a policy or two, and how often what may happen.

use interlock_core::arbiter::{Claim, Refusal, Uses};
use interlock_generator::policy::settings::DeployAction;

/// How many tasks there are.
pub const TASKS: usize = 4;
/// How many resources.
pub const RESOURCES: usize = 3;
/// How many groups, and so deployments at a time.
pub const GROUPS: usize = 2;

/// Tasks' names, which are their units' too.
pub const TASK: [&str; TASKS] = ["a", "b", "c", "d"];
/// Resources' names.
pub const RESOURCE: [&str; RESOURCES] = ["r", "s", "t"];
/// Groups' names.
pub const GROUP: [&str; GROUPS] = ["g", "h"];

/// As often as it likes.
pub const ALWAYS: u8 = u8::MAX;

/// The patience of a task ends then, if it has any: each one's at a moment of its own, far from all others.
pub const PATIENCE: u64 = 1 << 40;

/// A set of tasks or resources by number.
pub type Set = u8;

/// The members of a set.
pub fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..8).filter(move |at| has(set, *at))
}

/// Whether it is one of a set.
pub fn has(set: Set, at: usize) -> bool {
    set & (1 << at) != 0
}

/// A group's number by its name.
pub fn group(name: &str) -> usize {
    GROUP.iter().position(|it| *it == name).unwrap_or_default()
}

/// A unit's number by its name.
pub fn unit(name: &str) -> usize {
    TASK.iter().position(|it| *it == name).unwrap_or_default()
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// By resource.
    pub capacities: [u32; RESOURCES],
    /// By task and resource.
    pub uses: [[u32; RESOURCES]; TASKS],
    /// By task.
    pub priority: [i32; TASKS],
    /// Tasks by group.
    pub groups: [Set; GROUPS],
    /// By task.
    pub actions: [DeployAction; TASKS],
    /// By task.
    pub fallback: [Option<DeployAction>; TASKS],
    /// `gated = false`.
    pub ungated: Set,
    /// `retry`, by task: how many attempts.
    pub attempts: [u8; TASKS],
    /// Groups with hooks.
    pub hooks: Set,
    /// `when-busy = "skip"`.
    pub skips: Set,
    /// `max-wait`.
    pub patience: Set,
}

impl Policy {
    /// What a task asks for.
    pub fn claim(&self, task: usize) -> Claim {
        Claim {
            task: TASK[task].to_owned(),
            uses: self.uses(task),
            priority: self.priority[task],
            refuse_if_busy: has(self.skips, task).then_some(Refusal::Skipped),
            deadline: has(self.patience, task).then_some(PATIENCE + task as u64),
            at_deadline: Refusal::WaitedTooLong,
        }
    }

    /// Whether a task starts only through its gate.
    pub fn is_gated(&self, task: usize) -> bool {
        !has(self.ungated, task)
    }

    /// What a task uses.
    pub fn uses(&self, task: usize) -> Uses {
        let uses = RESOURCE.iter().zip(self.uses[task]);
        let uses = uses.filter(|(_, weight)| *weight > 0);
        uses.map(|(name, weight)| ((*name).to_owned(), weight))
            .collect()
    }

    /// The resources that a task uses.
    pub fn used(&self, task: usize) -> Set {
        let used = (0..RESOURCES).filter(|r| self.uses[task][*r] > 0);
        used.fold(0, |set, r| set | 1 << r)
    }
}

/// A task that starts only when no job of another is left.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The one before.
    pub first: usize,
    /// The one after.
    pub then: usize,
    /// By the policy, and so the gate as well; else by the unit's own file, which the policy doesn't know.
    pub of_gate: bool,
}

/// How often what may happen; [`ALWAYS`] is without end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Starts, by task.
    pub asks: [u8; TASKS],
    /// `systemctl stop`.
    pub stops: u8,
    /// `systemctl cancel`.
    pub cancels: u8,
    /// `kill -9` of the daemon.
    pub crashes: u8,
    /// Deployments, by group.
    pub deployments: [u8; GROUPS],
    /// Locks taken from outside.
    pub locks: u8,
    /// Changes of policy.
    pub reloads: u8,
    /// Tasks held by operators.
    pub holds: u8,
    /// Sweeps; nothing may depend on them.
    pub sweeps: u8,
    /// Times that a task is in a transaction, and may not be touched.
    pub transactions: u8,
    /// Runs that fail.
    pub fails: u8,
    /// Hooks that fail.
    pub hook_fails: u8,
    /// Calls to PID 1 that go wrong.
    pub misses: u8,
    /// Reboots.
    pub reboots: u8,
    /// How many of all these that come between: all but starts, deployments and sweeps.
    pub intrusions: u8,
}

impl Budget {
    /// Something has come between.
    pub fn intrude(&mut self, what: impl FnOnce(&mut Self) -> &mut u8) {
        spend(what(self));
        spend(&mut self.intrusions);
        if self.intrusions == 0 {
            self.stops = 0;
            self.cancels = 0;
            self.crashes = 0;
            self.locks = 0;
            self.reloads = 0;
            self.holds = 0;
            self.transactions = 0;
            self.fails = 0;
            self.hook_fails = 0;
            self.misses = 0;
            self.reboots = 0;
        }
    }
}

/// Once less, unless there is no end to it.
pub fn spend(budget: &mut u8) {
    if *budget != ALWAYS {
        *budget = budget.saturating_sub(1);
    }
}

/// One thing to check.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub what: &'static str,
    /// The first is in effect at the beginning; a reload goes on to the next.
    pub policies: Vec<Policy>,
    /// Orders.
    pub order: Vec<Order>,
    /// How often what may happen.
    pub budget: Budget,
    /// Tasks that may leave processes behind.
    pub leaves: Set,
    /// Resources that have a lock.
    pub locks: Set,
    /// Tasks that operators may hold.
    pub holds: Set,
    /// The world goes on also while the daemon carries out what follows from one event.
    pub is_fine: bool,
    /// Deployments have no holder but an expiry, and so outlive a reboot.
    pub lasting: bool,
    /// The groups' `grace`, seconds, 10 at the most.
    pub grace: u64,
    /// The daemon hears of all at once, in one order. One that is killed before it hears of something is as one
    /// that was killed before that happened.
    pub is_prompt: bool,
    /// And looks at its deployments before anything else happens.
    pub is_eager: bool,
    /// PID 1 may take its time to stop a gate that nobody needs: a start meanwhile runs on the old lease.
    pub lingers: bool,
    /// So many states it has at the most, else something is wrong with it.
    pub most: usize,
}

impl Setup {
    /// The tasks that a task starts after.
    pub fn before(&self, task: usize) -> impl Iterator<Item = usize> {
        let order = self.order.iter().filter(move |order| order.then == task);
        order.map(|order| order.first)
    }

    /// The tasks that a task's gate opens after.
    pub fn before_gate(&self, task: usize) -> impl Iterator<Item = usize> {
        let order = self.order.iter();
        let order = order.filter(move |order| order.then == task && order.of_gate);
        order.map(|order| order.first)
    }
}
