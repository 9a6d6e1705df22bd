//! The second part of a look, taken only if somebody has waited for long: everything that the deadlock rules need.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use interlock_core::deadlock;
use interlock_core::deadlock::{
    Blocker, GateWait, Held, JobWait, LockWait, Process, Snapshot, UnitWait,
};

use super::processes::Proc;
use super::rest::{self, Rests};
use super::scan::{self, Scan};
use super::{Request, Terms};
use crate::cgroup;
use crate::locks;
use crate::process::Stat;

/// What PID 1 has told of those who wait for units.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Who waits for which unit's job.
    pub unit_waits: Vec<UnitWait>,
    /// Which jobs those wait for.
    pub job_waits: Vec<JobWait>,
}

/// All processes, locks and gates at this moment.
///
/// # Errors
/// If the kernel's list of locks can't be read.
pub fn snapshot(
    proc: &Proc,
    terms: &Terms,
    request: &Request,
    scan: &Scan,
    jobs: Jobs,
    rests: &mut Rests,
) -> io::Result<Snapshot> {
    let locks = Locks::read(terms)?;
    let stats: BTreeMap<i32, Stat> = proc.all().into_iter().map(|it| (it.pid, it)).collect();
    let mut told: BTreeSet<i32> = stats
        .values()
        .filter(|stat| terms.is_plausible(&stat.comm))
        .map(|stat| stat.pid)
        .chain(locks.held.iter().map(|held| held.pid))
        .chain(locks.waits.iter().map(|wait| wait.pid))
        .collect();
    for pid in told.clone() {
        let mut parent = stats.get(&pid).map(|stat| stat.ppid);
        while let Some(stat) = parent.and_then(|pid| stats.get(&pid)) {
            parent = told.insert(stat.pid).then_some(stat.ppid);
        }
    }
    let mut processes = Vec::with_capacity(stats.len());
    let mut held = locks.held;
    for stat in stats.values() {
        let unit = scan.units.get(&stat.pid).cloned().flatten();
        let mut process = scan::process(proc, stat, unit);
        if told.contains(&stat.pid) {
            process.cmdline = proc.cmdline(stat.pid);
            if process.unit.is_none() {
                process.unit = unit_of(stat.pid, request);
            }
            if let Some(grace) = terms.grace_of_client(&process) {
                let heirs = heirs(&locks.snapshot, terms, &process, &held);
                held.extend(heirs);
                // Who is in everywhere may sleep for reasons of its own.
                let waits = rests.see(proc, stat, rest::least(grace));
                process.waiting = match is_in(terms, &process, &held) {
                    true => Some(false),
                    false => waits,
                };
            }
        }
        processes.push(process);
    }
    let mut gate_waits = request.gate_waits.clone();
    gate_waits.extend(request.locked.iter().filter_map(|(unit, resource)| {
        let holders = held.iter().filter(|held| held.resource == *resource);
        let pids: BTreeSet<i32> = holders.map(|held| held.pid).collect();
        let lacking = u32::try_from(pids.len()).unwrap_or(u32::MAX);
        (lacking > 0).then(|| GateWait {
            unit: unit.clone(),
            resource: resource.clone(),
            lacking,
            by: pids
                .into_iter()
                .map(|it| (Blocker::Process(it), 1))
                .collect(),
        })
    }));
    let mut job_waits = request.job_waits.clone();
    job_waits.extend(jobs.job_waits);
    Ok(Snapshot {
        processes,
        held,
        lock_waits: locks.waits,
        unit_waits: jobs.unit_waits,
        gate_waits,
        job_waits,
    })
}

/// Who holds the resources' locks, and who waits for them by the kernel's word.
struct Locks {
    snapshot: locks::Snapshot,
    held: Vec<Held>,
    waits: Vec<LockWait>,
}

impl Locks {
    fn read(terms: &Terms) -> io::Result<Self> {
        let snapshot = locks::Snapshot::take()?;
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        for (resource, file) in &terms.files {
            let holders = snapshot.holders(file).holders;
            held.extend(holders.into_iter().map(|holder| Held {
                pid: holder.pid,
                resource: resource.clone(),
                lock: file.path.clone(),
            }));
            let waiters = snapshot.waiters(file).into_iter();
            waits.extend(waiters.map(|pid| LockWait {
                pid,
                resource: resource.clone(),
            }));
        }
        Ok(Self {
            snapshot,
            held,
            waits,
        })
    }
}

/// The locks that a client has inherited: it doesn't wait for them. Only those are asked about that somebody holds.
fn heirs(locks: &locks::Snapshot, terms: &Terms, process: &Process, held: &[Held]) -> Vec<Held> {
    let files = terms.files.iter().filter(|(resource, file)| {
        let of_file = |it: &&Held| it.resource == *resource && it.lock == file.path;
        let mut holders = held.iter().filter(of_file).peekable();
        holders.peek().is_some() && !holders.any(|it| it.pid == process.pid)
    });
    let shared = files.filter(|(_, file)| locks.is_shared_by(file, process.pid));
    shared
        .map(|(resource, file)| Held {
            pid: process.pid,
            resource: resource.clone(),
            lock: file.path.clone(),
        })
        .collect()
}

/// Whether it holds, also as an heir, every lock that anybody holds of the resources whose client it is.
fn is_in(terms: &Terms, process: &Process, held: &[Held]) -> bool {
    let rules = &terms.rules.resources;
    let is_client = |resource: &str| {
        let rule = rules.get(resource);
        rule.is_some_and(|rule| deadlock::is_client(process, &rule.clients))
    };
    let files: BTreeSet<(&str, &Path)> = held
        .iter()
        .filter(|it| is_client(&it.resource))
        .map(|it| (it.resource.as_str(), it.lock.as_path()))
        .collect();
    let holds = |(resource, lock): &(&str, &Path)| {
        let mut its = held.iter().filter(|it| it.pid == process.pid);
        its.any(|it| it.resource == *resource && it.lock == *lock)
    };
    !files.is_empty() && files.iter().all(holds)
}

/// The unit with a lease whose control group it is in or below, or else the innermost unit.
fn unit_of(pid: i32, request: &Request) -> Option<String> {
    let group = cgroup::of_process(pid).ok()??;
    let mut names = group.rsplit('/');
    let leased = names.clone().find(|name| request.leases.contains(*name));
    let is_unit = |name: &&str| name.ends_with(".service") || name.ends_with(".scope");
    leased.or_else(|| names.find(is_unit)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlock_core::deadlock::{Rule, Rules};
    use interlock_generator::policy::settings::OnDeadlock;
    use std::time::Duration;

    #[test]
    fn an_heir_is_in_unless_there_is_another_lock() {
        let rule = Rule {
            clients: vec!["dnf".to_owned()],
            nested_grace: Duration::from_secs(1),
            on_deadlock: OnDeadlock::Report,
        };
        let terms = Terms {
            rules: Rules {
                resources: BTreeMap::from([("rpm-db".to_owned(), rule)]),
            },
            ..Terms::default()
        };
        let stat = Stat {
            pid: 2,
            ppid: 1,
            start_time: 1,
            comm: "dnf".to_owned(),
            threads: 1,
            ..Stat::default()
        };
        let process = scan::process(&Proc::of_host(), &stat, None);
        let held = |pid, lock: &str| Held {
            pid,
            resource: "rpm-db".to_owned(),
            lock: lock.into(),
        };
        assert!(!is_in(&terms, &process, &[]));
        assert!(!is_in(&terms, &process, &[held(1, "/a")]));
        assert!(is_in(&terms, &process, &[held(1, "/a"), held(2, "/a")]));
        let two = [held(1, "/a"), held(2, "/a"), held(1, "/b")];
        assert!(!is_in(&terms, &process, &two));
    }
}
