//! A deadlock as people and the journal see it: the ring of those who wait, and who could be ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use interlock_generator::policy::settings::OnDeadlock;

use super::graph::{Graph, Node, Why};
use super::snapshot::{Process, Rules, Snapshot};

/// Longest command line that is told, in characters.
const COMMAND_MAX: usize = 200;

/// Processes and units that wait for one another for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// What sort of ring it is.
    pub kind: Kind,
    /// The ring: each waits for the next, and the last, the innermost waiter, for the first.
    pub chain: Vec<Link>,
    /// All processes caught in it that wait for a lock or a unit, the innermost first.
    pub waiters: Vec<Waiter>,
}

/// Sorts of deadlocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A client of a resource is below the process that holds its lock.
    Nested,
    /// A process waits for the start of a unit that can't begin before that process has ended.
    Start,
    /// Locks of several that aren't each other's children.
    Crossed,
}

/// One who waits, and why for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Who.
    pub who: Who,
    /// Why it waits for the next one.
    pub why: Why,
    /// Resources whose locks it holds.
    pub holds: BTreeSet<String>,
}

/// A link of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A process.
    Process(Box<Process>),
    /// A unit.
    Unit(String),
}

/// A process that waits for a lock or a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Who.
    pub process: Process,
    /// For which resource, at first or second hand; `None` if none is between it and itself.
    pub resource: Option<String>,
    /// What the policy says is to be done.
    pub on_deadlock: OnDeadlock,
    /// It holds a write lock of some resource itself.
    pub holds_lock: bool,
}

/// All deadlocks of a graph.
pub(super) fn all(graph: &Graph<'_>, snapshot: &Snapshot, rules: &Rules) -> Vec<Deadlock> {
    let stuck = graph.stuck();
    let mut rings: Vec<Ring> = (0..snapshot.processes.len())
        .filter(|node| stuck[*node] && waits_upwards(graph, *node, &stuck))
        .filter_map(|node| Ring::through(graph, node, &stuck))
        .collect();
    // The innermost first: the one with most ancestors, or else the youngest.
    rings.sort_by_cached_key(|ring| {
        let process = &snapshot.processes[ring.waiter];
        let depth = ancestors(graph, process);
        std::cmp::Reverse((depth, process.start_time, process.pid))
    });
    let mut deadlocks: Vec<(Ring, Deadlock)> = Vec::new();
    for ring in rings {
        let waiter = ring.waiter(graph, snapshot, rules);
        // Two rings that reach each other are one knot.
        let knot = deadlocks.iter_mut().find(|(other, _)| {
            other.reached.contains(&ring.waiter) && ring.reached.contains(&other.waiter)
        });
        match knot {
            Some((_, deadlock)) => deadlock.waiters.push(waiter),
            None => {
                let deadlock = Deadlock {
                    kind: ring.kind(graph),
                    chain: ring.links(graph, snapshot),
                    waiters: vec![waiter],
                };
                deadlocks.push((ring, deadlock));
            }
        }
    }
    deadlocks
        .into_iter()
        .map(|(_, deadlock)| deadlock)
        .collect()
}

/// Whether it waits for more than its children.
fn waits_upwards(graph: &Graph<'_>, node: usize, stuck: &[bool]) -> bool {
    let mut blockers = graph.blockers(node, stuck);
    blockers.any(|(_, why)| matches!(why, Why::Lock { .. } | Why::Job))
}

fn ancestors(graph: &Graph<'_>, process: &Process) -> usize {
    let mut seen = BTreeSet::from([process.pid]);
    let mut parent = graph.parent(process);
    while let Some(process) = parent.filter(|process| seen.insert(process.pid)) {
        parent = graph.parent(process);
    }
    seen.len()
}

/// The shortest way from a waiter back to itself.
struct Ring {
    waiter: usize,
    /// Each node with why it waits for the next; begins with the waiter.
    way: Vec<(usize, Why)>,
    /// All nodes that the waiter waits for, at any remove.
    reached: BTreeSet<usize>,
}

impl Ring {
    /// `None` if the waiter only waits for others who are deadlocked.
    fn through(graph: &Graph<'_>, waiter: usize, stuck: &[bool]) -> Option<Self> {
        let mut came_from: BTreeMap<usize, (usize, Why)> = BTreeMap::new();
        let mut todo = VecDeque::from([waiter]);
        let mut first = true;
        while let Some(node) = todo.pop_front() {
            for (target, why) in graph.blockers(node, stuck) {
                // The ring is to be the one by which it waits, not one of its children's, which it is in as well.
                if first && !matches!(why, Why::Lock { .. } | Why::Job) {
                    continue;
                }
                came_from.entry(target).or_insert_with(|| {
                    todo.push_back(target);
                    (node, why.clone())
                });
            }
            first = false;
        }
        let mut way = Vec::new();
        let mut at = waiter;
        loop {
            let (before, why) = came_from.get(&at)?;
            way.push((*before, why.clone()));
            at = *before;
            if at == waiter {
                break;
            }
        }
        way.reverse();
        let reached = came_from.into_keys().collect();
        Some(Self {
            waiter,
            way,
            reached,
        })
    }

    fn kind(&self, graph: &Graph<'_>) -> Kind {
        let has = |wanted: fn(&Why) -> bool| self.way.iter().any(|(_, why)| wanted(why));
        let locks = self
            .way
            .iter()
            .filter(|(_, why)| matches!(why, Why::Lock { .. }));
        let units = self
            .way
            .iter()
            .any(|(node, _)| graph.process(*node).is_none());
        if has(|why| matches!(why, Why::Job)) {
            Kind::Start
        } else if locks.count() == 1 && !units {
            Kind::Nested
        } else {
            Kind::Crossed
        }
    }

    /// What the waiter waits for: the first resource on its way.
    fn resource(&self) -> Option<&str> {
        self.way.iter().find_map(|(_, why)| match why {
            Why::Lock { resource } | Why::Gate { resource } => Some(resource.as_str()),
            _ => None,
        })
    }

    fn waiter(&self, graph: &Graph<'_>, snapshot: &Snapshot, rules: &Rules) -> Waiter {
        let process = &snapshot.processes[self.waiter];
        let resource = self.resource();
        let rule = resource.and_then(|resource| rules.resources.get(resource));
        Waiter {
            process: process.clone(),
            resource: resource.map(str::to_owned),
            on_deadlock: rule.map_or(OnDeadlock::Report, |rule| rule.on_deadlock),
            holds_lock: !holds(graph, snapshot, self.waiter).is_empty(),
        }
    }

    /// The ring, beginning with whom the waiter waits for.
    fn links(&self, graph: &Graph<'_>, snapshot: &Snapshot) -> Vec<Link> {
        let from_next = self.way[1..].iter().chain(&self.way[..1]);
        let link = |(node, why): &(usize, Why)| Link {
            who: match &graph.nodes[*node] {
                Node::Process(index) => Who::Process(Box::new(snapshot.processes[*index].clone())),
                Node::Unit(unit) => Who::Unit(unit.clone()),
            },
            why: why.clone(),
            holds: holds(graph, snapshot, *node),
        };
        from_next.map(link).collect()
    }
}

fn holds(graph: &Graph<'_>, snapshot: &Snapshot, node: usize) -> BTreeSet<String> {
    let Some(process) = graph.process(node) else {
        return BTreeSet::new();
    };
    let held = snapshot.held.iter().filter(|held| held.pid == process.pid);
    held.map(|held| held.resource.clone()).collect()
}

impl Deadlock {
    /// In words, a line for each link.
    pub fn lines(&self) -> Vec<String> {
        let next = self.chain.iter().skip(1).chain(self.chain.first());
        let lines = self.chain.iter().zip(next);
        lines.map(|(link, next)| line(link, next)).collect()
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("; "))
    }
}

fn line(link: &Link, next: &Link) -> String {
    let holds = match link.holds.len() {
        0 => String::new(),
        _ => {
            let names: Vec<&str> = link.holds.iter().map(String::as_str).collect();
            format!(" holds {} and", names.join(", "))
        }
    };
    let next = match &next.who {
        Who::Process(process) => format!("{} (pid {})", process.comm, process.pid),
        Who::Unit(unit) => unit.clone(),
    };
    let waits = match &link.why {
        Why::Child => format!("waits for its child {next}"),
        Why::Lock { resource } => format!("waits for {resource}, which {next} holds"),
        Why::Job => format!("waits for the job of {next}"),
        Why::Order => format!("is ordered after {next}"),
        Why::Gate { resource } => format!("waits at its gate for {resource}, which {next} holds"),
        Why::Process => format!("lasts until {next} has ended"),
    };
    format!("{}{holds} {waits}", link.who)
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = match self {
            Self::Process(process) => process,
            Self::Unit(unit) => return f.write_str(unit),
        };
        write!(f, "{} (pid {}", process.comm, process.pid)?;
        if let Some(unit) = &process.unit {
            write!(f, ", {unit}")?;
        }
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let command = process.cmdline.join(" ");
        let command: String = command.chars().map(printable).take(COMMAND_MAX).collect();
        match command.is_empty() {
            true => f.write_str(")"),
            false => write!(f, ", \"{command}\")"),
        }
    }
}
