//! Generated trees, beside a simulation in which whoever can end does, one after the other: who is left over can't
//! proceed.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RESOURCES: [&str; 2] = ["rpm-db", "bootstrapper"];

/// One process, as it is drawn; its number is its place.
#[derive(Debug, Clone)]
struct Drawn {
    /// Which of those before it is its parent; none if that is PID 1.
    parent: Option<prop::sample::Index>,
    /// What program it is.
    program: Program,
    /// It has been there for longer than the grace.
    old: bool,
    waiting: Option<bool>,
    /// Resources that it holds.
    holds: [bool; 2],
    /// Which of the units it is in, if not its parent's.
    unit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Program {
    Shell,
    /// A client of one of the resources.
    Client(usize),
    /// A systemctl(1) that waits for one of the units.
    Systemctl(usize),
    /// What its parent is, by fork(2) alone.
    Fork,
}

const UNITS: usize = 4;

fn drawn() -> impl Strategy<Value = Drawn> {
    let program = prop_oneof![
        3 => Just(Program::Shell),
        3 => (0..2_usize).prop_map(Program::Client),
        1 => (0..UNITS).prop_map(Program::Systemctl),
        1 => Just(Program::Fork),
    ];
    let waiting = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let holds = [prop::bool::weighted(0.2), prop::bool::weighted(0.1)];
    let parent = prop::option::weighted(0.8, any::<prop::sample::Index>());
    let old = prop::bool::weighted(0.8);
    let unit = prop::option::weighted(0.2, 0..UNITS);
    (parent, program, old, waiting, holds, unit).prop_map(
        |(parent, program, old, waiting, holds, unit)| Drawn {
            parent,
            program,
            old,
            waiting,
            holds,
            unit,
        },
    )
}

/// A gate: which unit waits, for which resource, how much, and the shares of those before it by place.
type DrawnGate = (usize, usize, u32, Vec<(usize, bool)>);

fn gates() -> impl Strategy<Value = Vec<DrawnGate>> {
    let by = vec((0..12_usize, any::<bool>()), 1..4);
    vec((1..UNITS, 0..2_usize, 1..4_u32, by), 0..3)
}

fn name(unit: usize) -> String {
    format!("u{unit}.service")
}

fn scene(drawn: &[Drawn], gates: &[DrawnGate], jobs: &[(usize, usize)]) -> Scene {
    let mut scene = Scene::default();
    for (at, one) in drawn.iter().enumerate() {
        let pid = i32::try_from(at).unwrap() + 10;
        let parent = one.parent.filter(|_| at > 0).map(|parent| parent.index(at));
        let parent = parent.map(|parent| scene.0.processes[parent].clone());
        let (comm, argument) = match (one.program, &parent) {
            (Program::Fork, Some(parent)) => (parent.comm.clone(), parent.cmdline[1].clone()),
            (Program::Client(0), _) => ("dnf".to_owned(), pid.to_string()),
            (Program::Client(_), _) => ("ansible-playboo".to_owned(), pid.to_string()),
            (Program::Systemctl(_), _) => ("systemctl".to_owned(), pid.to_string()),
            _ => ("sh".to_owned(), pid.to_string()),
        };
        let inherited = parent.as_ref().and_then(|parent| parent.unit.clone());
        let unit = one.unit.map(name).or(inherited).unwrap_or_else(|| name(0));
        scene = scene.process(pid, parent.map_or(1, |p| p.pid), &comm, &unit);
        scene = scene.with(pid, |process| {
            process.cmdline = vec![comm, argument];
            process.waiting = one.waiting;
            process.age = if one.old { GRACE } else { GRACE / 2 };
        });
        for (held, resource) in one.holds.iter().zip(RESOURCES) {
            scene = if *held {
                scene.holds(pid, resource)
            } else {
                scene
            };
        }
        if let Program::Systemctl(unit) = one.program {
            scene = scene.wants_unit(pid, &name(unit));
        }
    }
    for (from, resource, lacking, by) in gates {
        // A queue has an order: a unit waits for those before it, or for a process.
        let blocker = |(place, process): &(usize, bool)| match process {
            true => (Blocker::Process(i32::try_from(*place).unwrap() + 10), 1),
            false => unit(&name(place % from)),
        };
        let by: Vec<(Blocker, u32)> = by.iter().map(blocker).collect();
        let lacking = (*lacking).min(u32::try_from(by.len()).unwrap());
        scene = scene.gate(&name(*from), RESOURCES[*resource], lacking, &by);
    }
    for (unit, before) in jobs {
        scene.0.job_waits.push(JobWait {
            unit: name(*unit),
            before: vec![name(before % unit)],
        });
    }
    scene
}

/// What is left when everybody who can has ended.
struct Rest {
    processes: BTreeSet<i32>,
    units: BTreeSet<String>,
}

impl Rest {
    fn of(snapshot: &Snapshot) -> Self {
        let mut rest = Self {
            processes: snapshot.processes.iter().map(|p| p.pid).collect(),
            units: (0..UNITS).map(name).collect(),
        };
        loop {
            let ended = snapshot
                .processes
                .iter()
                .find(|p| rest.processes.contains(&p.pid) && rest.may_end(snapshot, p));
            let over = rest
                .units
                .iter()
                .find(|unit| rest.may_be_over(snapshot, unit));
            let over = over.cloned();
            match (ended, over) {
                (Some(process), _) => drop(rest.processes.remove(&process.pid)),
                (None, Some(unit)) => drop(rest.units.remove(&unit)),
                (None, None) => return rest,
            }
        }
    }

    fn may_end(&self, snapshot: &Snapshot, process: &Process) -> bool {
        let alive = |pid: i32| self.processes.contains(&pid);
        let children = snapshot.processes.iter().filter(|p| p.ppid == process.pid);
        let parent = snapshot.processes.iter().find(|p| p.pid == process.ppid);
        let forked = parent.is_some_and(|p| p.cmdline == process.cmdline);
        let old = process.age >= GRACE;
        let locked = |resource: &str, comm: &str| {
            let held = snapshot
                .held
                .iter()
                .filter(|held| held.resource == resource);
            let (own, others): (Vec<_>, Vec<_>) = held.partition(|held| held.pid == process.pid);
            let waits = process.waiting.unwrap_or(own.is_empty());
            let client = process.comm == comm && !forked && old && waits;
            client && others.iter().any(|held| alive(held.pid))
        };
        let mut wanted = snapshot
            .unit_waits
            .iter()
            .filter(|wait| wait.pid == process.pid);
        !(children.into_iter().any(|child| alive(child.pid))
            || locked("rpm-db", "dnf")
            || locked("bootstrapper", "ansible-playboo")
            || old && wanted.any(|wait| self.units.contains(&wait.unit)))
    }

    fn may_be_over(&self, snapshot: &Snapshot, unit: &str) -> bool {
        let runs = snapshot.processes.iter().any(|process| {
            process.unit.as_deref() == Some(unit) && self.processes.contains(&process.pid)
        });
        let mut gates = snapshot.gate_waits.iter().filter(|gate| gate.unit == unit);
        let jobs = snapshot.job_waits.iter().filter(|job| job.unit == unit);
        let mut before = jobs.flat_map(|job| &job.before);
        !runs && gates.all(|gate| self.opens(gate)) && !before.any(|unit| self.units.contains(unit))
    }

    fn opens(&self, gate: &GateWait) -> bool {
        let is_over = |blocker: &Blocker| match blocker {
            Blocker::Unit(unit) => !self.units.contains(unit),
            Blocker::Process(pid) => !self.processes.contains(pid),
        };
        let free = gate.by.iter().filter(|(blocker, _)| is_over(blocker));
        free.map(|(_, shares)| shares).sum::<u32>() >= gate.lacking
    }
}

/// That each link of a ring waits for the next as it says.
fn is_true(deadlock: &Deadlock, snapshot: &Snapshot, rest: &Rest) -> bool {
    let next = deadlock.chain.iter().skip(1).chain(deadlock.chain.first());
    let holds = |pid: i32, resource: &str| {
        let mut held = snapshot.held.iter();
        held.any(|held| held.pid == pid && held.resource == resource)
    };
    let mut pairs = deadlock.chain.iter().zip(next);
    pairs.all(|(link, next)| match (&link.who, &link.why, &next.who) {
        (Who::Process(parent), Why::Child, Who::Process(child)) => child.ppid == parent.pid,
        (Who::Process(_), Why::Lock { resource }, Who::Process(other)) => {
            holds(other.pid, resource)
        }
        (Who::Process(one), Why::Job, Who::Unit(unit)) => {
            let wait = UnitWait {
                pid: one.pid,
                unit: unit.clone(),
            };
            snapshot.unit_waits.contains(&wait)
        }
        (Who::Unit(unit), Why::Process, Who::Process(one)) => one.unit.as_ref() == Some(unit),
        (Who::Unit(unit), Why::Order, Who::Unit(_)) => {
            snapshot.job_waits.iter().any(|job| job.unit == *unit)
        }
        // Who is in the way of a gate that opens all the same isn't to be blamed.
        (Who::Unit(unit), Why::Gate { resource }, other) => {
            let other = match other {
                Who::Unit(unit) => Blocker::Unit(unit.clone()),
                Who::Process(process) => Blocker::Process(process.pid),
            };
            snapshot.gate_waits.iter().any(|gate| {
                gate.unit == *unit
                    && gate.resource == *resource
                    && gate.by.iter().any(|(blocker, _)| *blocker == other)
                    && !rest.opens(gate)
            })
        }
        _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn exactly_those_who_can_not_proceed_are_found(
        drawn in vec(drawn(), 0..16), gates in gates(), jobs in vec((1..UNITS, 0..UNITS), 0..3),
    ) {
        let scene = scene(&drawn, &gates, &jobs);
        let rest = Rest::of(&scene.0);
        let rules = rules(OnDeadlock::KillNested);
        let graph = graph::Graph::new(&scene.0, &rules);
        let stuck = graph.stuck();
        let found: BTreeSet<i32> = scene.0.processes.iter().zip(&stuck)
            .filter(|(_, stuck)| **stuck).map(|(process, _)| process.pid).collect();
        prop_assert_eq!(&found, &rest.processes);

        let deadlocks = scene.find();
        prop_assert_eq!(deadlocks.is_empty(), rest.processes.is_empty());
        let mut seen = BTreeSet::new();
        for deadlock in &deadlocks {
            prop_assert!(is_true(deadlock, &scene.0, &rest), "{}", deadlock);
            prop_assert_eq!(deadlock.lines().len(), deadlock.chain.len());
            for waiter in &deadlock.waiters {
                prop_assert!(rest.processes.contains(&waiter.process.pid));
                prop_assert!(seen.insert(waiter.process.pid), "told twice");
            }
        }
    }

    #[test]
    fn ending_the_innermost_one_after_another_lets_all_go_on(
        drawn in vec(drawn(), 0..16), gates in gates(), jobs in vec((1..UNITS, 0..UNITS), 0..3),
    ) {
        let mut scene = scene(&drawn, &gates, &jobs);
        for _ in 0..=drawn.len() {
            let deadlocks = scene.find();
            let Some(victim) = deadlocks.iter().find_map(Deadlock::to_end) else {
                let may = |w: &Waiter| w.on_deadlock == OnDeadlock::KillNested && !w.holds_lock;
                prop_assert!(!deadlocks.iter().flat_map(|d| &d.waiters).any(may));
                return Ok(());
            };
            let pid = victim.process.pid;
            prop_assert!(!scene.0.held.iter().any(|held| held.pid == pid), "a holder");
            scene = scene.without(pid);
        }
        prop_assert!(false, "more were ended than there were");
    }
}
