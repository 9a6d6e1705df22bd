//! The cheap first part of a look: does anybody in the control groups of leases wait for longer than usual?

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use interlock_core::deadlock::commands::{self, Wanted};
use interlock_core::deadlock::{Process, is_client};

use super::processes::Proc;
use super::rest::{self, Rests};
use super::{Request, Terms};
use crate::cgroup;
use crate::locks;
use crate::process::Stat;

/// A process that may wait for a lock or a unit.
#[derive(Debug)]
pub struct Candidate {
    /// As the rules see it.
    pub process: Process,
    /// Units and tasks that its command line waits for.
    pub wanted: Vec<Wanted>,
    /// It has waited for its grace.
    pub is_ripe: bool,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Everybody who may wait.
    pub candidates: Vec<Candidate>,
    /// The unit with a lease that each process belongs to.
    pub units: BTreeMap<i32, Option<String>>,
    /// In how long the next of them will have waited for its grace.
    pub next: Option<Duration>,
}

/// Looks at the processes of the leases, and at those below whoever locks a resource from outside.
pub fn scan(proc: &Proc, terms: &Terms, request: &Request, rests: &mut Rests) -> Scan {
    let mut scan = Scan {
        units: roots(request),
        ..Scan::default()
    };
    let stats = with_children(proc, &mut scan.units);
    let listed = listed(terms);
    for stat in &stats {
        let pid = &stat.pid;
        if !terms.is_plausible(&stat.comm) && !listed.contains(pid) {
            continue;
        }
        let unit = scan.units.get(pid).cloned().flatten();
        let mut process = process(proc, stat, unit);
        process.cmdline = proc.cmdline(*pid);
        let client_for = terms.grace_of_client(&process);
        let wanted = commands::waits_for(&process.cmdline);
        let starts = (!wanted.is_empty()).then(|| terms.shortest_grace());
        let waits = listed.contains(pid).then(|| terms.shortest_grace());
        let graces = [client_for, starts, waits];
        let Some(grace) = graces.into_iter().flatten().min() else {
            continue;
        };
        if let Some(grace) = client_for {
            process.waiting = rests.see(proc, stat, rest::least(grace));
        }
        let is_old = process.age >= grace;
        if !is_old {
            let left = grace.saturating_sub(process.age);
            scan.next = Some(scan.next.map_or(left, |next| next.min(left)));
        }
        let works = process.waiting == Some(false) && wanted.is_empty() && waits.is_none();
        scan.candidates.push(Candidate {
            process,
            wanted,
            is_ripe: is_old && !works,
        });
    }
    scan
}

/// The process without its command line.
pub fn process(proc: &Proc, stat: &Stat, unit: Option<String>) -> Process {
    Process {
        pid: stat.pid,
        ppid: stat.ppid,
        start_time: stat.start_time,
        age: proc.age(stat.start_time),
        comm: stat.comm.clone(),
        cmdline: Vec::new(),
        unit,
        waiting: None,
    }
}

impl Terms {
    /// Whether a process of this name may be a client of something, or wait for a unit.
    pub fn is_plausible(&self, comm: &str) -> bool {
        const COMMANDS: [&str; 3] = ["systemctl", "systemd-run", "interlockctl"];
        const INTERPRETERS: [&str; 4] = ["python", "platform-python", "perl", "ruby"];
        self.comms.contains(comm)
            || COMMANDS.contains(&comm)
            || INTERPRETERS.iter().any(|it| comm.starts_with(it))
    }

    /// The shortest grace of the resources whose client it is.
    pub fn grace_of_client(&self, process: &Process) -> Option<Duration> {
        let rules = self.rules.resources.values();
        let its = rules.filter(|rule| is_client(process, &rule.clients));
        its.map(|rule| rule.nested_grace).min()
    }
}

fn roots(request: &Request) -> BTreeMap<i32, Option<String>> {
    let mut units = BTreeMap::new();
    for (unit, group) in &request.groups {
        if let Some(directory) = cgroup::directory(group) {
            let mut pids = Vec::new();
            add_pids(&directory, &mut pids);
            units.extend(pids.into_iter().map(|pid| (pid, Some(unit.clone()))));
        }
    }
    for pid in &request.outside {
        units.entry(*pid).or_insert(None);
    }
    units
}

fn add_pids(directory: &Path, pids: &mut Vec<i32>) {
    let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            add_pids(&entry.path(), pids);
        }
    }
}

/// A session or container that a task opens is in a control group of its own.
fn with_children(proc: &Proc, units: &mut BTreeMap<i32, Option<String>>) -> Vec<Stat> {
    let mut todo: Vec<i32> = units.keys().copied().collect();
    let mut stats = Vec::with_capacity(todo.len());
    while let Some(stat) = todo.pop().map(|pid| proc.stat(pid)) {
        let Some(stat) = stat else {
            continue;
        };
        for child in proc.children(&stat) {
            if let Entry::Vacant(place) = units.entry(child) {
                place.insert(None);
                todo.push(child);
            }
        }
        stats.push(stat);
    }
    stats
}

/// Whom the kernel lists as waiting for the lock of a resource.
fn listed(terms: &Terms) -> BTreeSet<i32> {
    if terms.files.is_empty() {
        return BTreeSet::new();
    }
    let Ok(locks) = locks::Snapshot::take() else {
        return BTreeSet::new();
    };
    let files = terms.files.iter();
    files.flat_map(|(_, file)| locks.waiters(file)).collect()
}
