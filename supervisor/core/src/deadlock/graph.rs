//! Who can't go on before whom: the graph of a snapshot, and which of its nodes never can.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::clients;
use super::snapshot::{Blocker, Process, Rule, Rules, Snapshot};

/// For waits over which no resource says how long they may take; the policy's own default.
const DEFAULT_GRACE: Duration = Duration::from_secs(60);

/// Somebody who waits or is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// A process, by its place in the snapshot: until it ends.
    Process(usize),
    /// A unit: until its job is done and its processes have ended.
    Unit(String),
}

/// Why somebody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A process for its child. Whether it calls wait(2) or spins makes no difference.
    Child,
    /// A process for a resource that another holds by a lock.
    Lock {
        /// Its name.
        resource: String,
    },
    /// A process for a unit's job.
    Job,
    /// A unit's job for another unit's.
    Order,
    /// A unit at its gate.
    Gate {
        /// For which resource.
        resource: String,
    },
    /// A unit for a process in its control group: a lease ends when the last of them does.
    Process,
}

/// A wait for any of several, until enough of them have gone.
#[derive(Debug)]
struct Wait {
    why: Why,
    needs: u64,
    on: Vec<(usize, u64)>,
}

/// Nodes and their waits.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    snapshot: &'a Snapshot,
    rules: &'a Rules,
    pub(super) nodes: Vec<Node>,
    places: BTreeMap<Node, usize>,
    by_pid: BTreeMap<i32, usize>,
    waits: Vec<Vec<Wait>>,
}

impl<'a> Graph<'a> {
    /// The graph of a snapshot, with those waits that have lasted for their grace.
    pub(super) fn new(snapshot: &'a Snapshot, rules: &'a Rules) -> Self {
        let mut graph = Self {
            snapshot,
            rules,
            nodes: Vec::new(),
            places: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            waits: Vec::new(),
        };
        for (index, process) in snapshot.processes.iter().enumerate() {
            // Their nodes have their places.
            graph.place(Node::Process(index));
            graph.by_pid.insert(process.pid, index);
        }
        graph.add_families();
        graph.add_gates_and_jobs();
        graph.add_locks();
        graph.add_unit_waits();
        graph
    }

    /// The process of a node.
    pub(super) fn process(&self, node: usize) -> Option<&'a Process> {
        self.snapshot.processes.get(node)
    }

    /// The parent of a process, unless that is PID 1 or unknown.
    pub(super) fn parent(&self, process: &Process) -> Option<&'a Process> {
        let index = self.by_pid.get(&process.ppid)?;
        let parent = self.snapshot.processes.get(*index)?;
        // A service manager reaps its children; it doesn't wait for them. And a list that isn't of one moment
        // may have a process whose number its own ancestor had.
        let waits = parent.pid > 1 && parent.comm != "systemd" && parent.pid != process.pid;
        (waits && parent.start_time <= process.start_time).then_some(parent)
    }

    /// All who can never go on, if nobody interferes.
    pub(super) fn stuck(&self) -> Vec<bool> {
        let mut stuck: Vec<bool> = vec![true; self.nodes.len()];
        let mut waiting_on: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (node, waits) in self.waits.iter().enumerate() {
            for (target, _) in waits.iter().flat_map(|wait| &wait.on) {
                waiting_on[*target].push(node);
            }
        }
        let mut todo: VecDeque<usize> = (0..self.nodes.len()).collect();
        while let Some(node) = todo.pop_front() {
            if stuck[node] && self.waits[node].iter().all(|wait| wait.is_met(&stuck)) {
                stuck[node] = false;
                todo.extend(waiting_on[node].iter().filter(|n| stuck[**n]));
            }
        }
        stuck
    }

    /// Whom a stuck node waits for that is stuck too, and why.
    pub(super) fn blockers<'g>(
        &'g self,
        node: usize,
        stuck: &'g [bool],
    ) -> impl Iterator<Item = (usize, &'g Why)> {
        let unmet = self.waits[node].iter().filter(|wait| !wait.is_met(stuck));
        unmet.flat_map(|wait| {
            let targets = wait.on.iter().map(|(target, _)| *target);
            let targets = targets.filter(|target| stuck[*target]);
            targets.map(move |target| (target, &wait.why))
        })
    }

    fn place(&mut self, node: Node) -> usize {
        if let Some(place) = self.places.get(&node) {
            return *place;
        }
        let place = self.nodes.len();
        self.places.insert(node.clone(), place);
        self.nodes.push(node);
        self.waits.push(Vec::new());
        place
    }

    fn add(&mut self, from: usize, why: Why, to: usize) {
        let on = vec![(to, 1)];
        self.waits[from].push(Wait { why, needs: 1, on });
    }

    /// Parents wait for their children, units for their processes.
    fn add_families(&mut self) {
        for (index, process) in self.snapshot.processes.iter().enumerate() {
            if let Some(parent) = self.parent(process) {
                let parent = self.by_pid[&parent.pid];
                self.add(parent, Why::Child, index);
            }
            if let Some(unit) = &process.unit {
                let unit = self.place(Node::Unit(unit.clone()));
                self.add(unit, Why::Process, index);
            }
        }
    }

    fn add_gates_and_jobs(&mut self) {
        for gate in &self.snapshot.gate_waits {
            let from = self.place(Node::Unit(gate.unit.clone()));
            let mut on = Vec::new();
            let mut needs = u64::from(gate.lacking.max(1));
            for (blocker, shares) in &gate.by {
                let shares = u64::from(*shares);
                match blocker {
                    Blocker::Unit(unit) => on.push((self.place(Node::Unit(unit.clone())), shares)),
                    Blocker::Process(pid) => match self.by_pid.get(pid) {
                        Some(index) => on.push((*index, shares)),
                        // Gone, or unknown: it holds nobody up for ever.
                        None => needs = needs.saturating_sub(shares),
                    },
                }
            }
            // What isn't in the snapshot may become free as well.
            let known: u64 = on.iter().map(|(_, shares)| shares).sum();
            let resource = gate.resource.clone();
            let why = Why::Gate { resource };
            let needs = needs.min(known);
            self.waits[from].push(Wait { why, needs, on });
        }
        for job in &self.snapshot.job_waits {
            let from = self.place(Node::Unit(job.unit.clone()));
            for unit in &job.before {
                let to = self.place(Node::Unit(unit.clone()));
                self.add(from, Why::Order, to);
            }
        }
    }

    /// Clients of a resource, and whoever the kernel lists, wait for all who hold it.
    fn add_locks(&mut self) {
        let rules = self.rules;
        for (resource, rule) in &rules.resources {
            let held = self
                .snapshot
                .held
                .iter()
                .filter(|h| h.resource == *resource);
            let holders = held.filter_map(|held| self.by_pid.get(&held.pid).copied());
            let mut holders: Vec<usize> = holders.collect();
            holders.sort_unstable();
            holders.dedup();
            if holders.is_empty() {
                continue;
            }
            for index in 0..self.snapshot.processes.len() {
                if !self.waits_for_lock(index, resource, rule, &holders) {
                    continue;
                }
                for holder in holders.iter().filter(|holder| **holder != index) {
                    let resource = resource.clone();
                    self.add(index, Why::Lock { resource }, *holder);
                }
            }
        }
    }

    fn waits_for_lock(&self, index: usize, resource: &str, rule: &Rule, holders: &[usize]) -> bool {
        let process = &self.snapshot.processes[index];
        let listed = |wait: &super::LockWait| wait.pid == process.pid && wait.resource == resource;
        if self.snapshot.lock_waits.iter().any(listed) {
            return process.age >= rule.nested_grace;
        }
        // A fork of a holder is part of it; a fork of a client waits with it.
        let parent = self.parent(process);
        clients::is_client(process, &rule.clients)
            && !parent.is_some_and(|parent| clients::is_fork(process, parent))
            && clients::is_stuck_for(process, rule.nested_grace, holders.contains(&index))
    }

    fn add_unit_waits(&mut self) {
        for wait in &self.snapshot.unit_waits {
            let Some(index) = self.by_pid.get(&wait.pid).copied() else {
                continue;
            };
            let unit = self.place(Node::Unit(wait.unit.clone()));
            if self.snapshot.processes[index].age >= self.grace_of_unit(unit) {
                self.add(index, Why::Job, unit);
            }
        }
    }

    /// How long a wait for a unit may take: the shortest grace of all resources for which it, or a unit before
    /// it, waits at a gate.
    fn grace_of_unit(&self, unit: usize) -> Duration {
        let mut seen = vec![false; self.nodes.len()];
        let mut todo = vec![unit];
        let mut grace: Option<Duration> = None;
        while let Some(node) = todo.pop() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            for wait in &self.waits[node] {
                if let Why::Gate { resource } = &wait.why
                    && let Some(rule) = self.rules.resources.get(resource)
                {
                    let shorter = grace.map_or(rule.nested_grace, |g| g.min(rule.nested_grace));
                    grace = Some(shorter);
                }
                if matches!(wait.why, Why::Gate { .. } | Why::Order) {
                    todo.extend(wait.on.iter().map(|(target, _)| *target));
                }
            }
        }
        grace.unwrap_or(DEFAULT_GRACE)
    }
}

impl Wait {
    /// Whether enough of those waited for will go.
    fn is_met(&self, stuck: &[bool]) -> bool {
        let going = self.on.iter().filter(|(target, _)| !stuck[*target]);
        going.map(|(_, shares)| shares).sum::<u64>() >= self.needs
    }
}
