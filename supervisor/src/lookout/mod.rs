//! Looks at the host for processes that wait for one another for ever, by the rules of [`interlock_core::deadlock`].
//!
//! A look begins with the control groups of leases alone. Only if somebody there has waited for longer than its
//! grace, all processes, the locks of the resources and the jobs of PID 1 are looked at. The file systems are read
//! on a thread of their own: on a host with thousands of processes that takes a while.

mod ending;
mod full;
mod processes;
mod rest;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlock_core::deadlock::commands::Wanted;
use interlock_core::deadlock::{self, Deadlock, GateWait, JobWait, Rules, UnitWait};
use interlock_generator::policy::settings::{LockFile, Settings};
use tokio::task::spawn_blocking;

use crate::instance;
use crate::pid1::Pid1;

pub use ending::{Ended, end};
use full::Jobs;
pub use processes::Proc;
use rest::Rests;
use scan::Scan;

/// For a resource that nothing else is known of.
const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// The kernel cuts names here, in bytes.
const COMM_MAX: usize = 15;

/// What of the policy a look needs.
#[derive(Debug, Default)]
pub struct Terms {
    /// For the rules.
    pub rules: Rules,
    /// Lock files with their resources.
    pub files: Vec<(String, LockFile)>,
    /// The names of clients, cut as the kernel cuts them.
    comms: BTreeSet<String>,
    /// Units by their tasks' names.
    units: BTreeMap<String, String>,
}

impl Terms {
    /// Those of a policy.
    pub fn of(settings: &Settings) -> Self {
        let resources = settings.resources().iter();
        let files = resources.flat_map(|(name, resource)| {
            let files = resource.lock_files.iter();
            files.map(|file| (name.clone(), file.clone()))
        });
        let clients = settings.resources().values().flat_map(|it| &it.clients);
        let cut = |name: &String| name.get(..COMM_MAX).unwrap_or(name).to_owned();
        let tasks = settings.tasks().values();
        Self {
            rules: Rules::of(settings),
            files: files.collect(),
            comms: clients.map(cut).collect(),
            units: tasks.map(|it| (it.name.clone(), it.unit.clone())).collect(),
        }
    }

    /// The shortest time after which anything can be a deadlock.
    pub fn shortest_grace(&self) -> Duration {
        let graces = self.rules.resources.values().map(|rule| rule.nested_grace);
        graces.min().unwrap_or(DEFAULT_GRACE).min(DEFAULT_GRACE)
    }

    /// The unit that a command line names.
    fn unit(&self, wanted: &Wanted) -> String {
        let name = match wanted {
            Wanted::Unit(unit) => return unit.clone(),
            Wanted::Task(name) => name,
        };
        let of_template = || {
            let (task, instance) = instance::split(name)?;
            instance::of_template(self.units.get(task)?, instance)
        };
        let known = self.units.get(name).cloned().or_else(of_template);
        known.unwrap_or_else(|| match name.ends_with(".service") {
            true => name.clone(),
            false => format!("{name}.service"),
        })
    }
}

/// What is looked at, from the engine.
#[derive(Debug, Default)]
pub struct Request {
    /// The policy.
    pub terms: Arc<Terms>,
    /// Units with a lease.
    pub leases: BTreeSet<String>,
    /// Their control groups, as far as they are known.
    pub groups: BTreeMap<String, String>,
    /// Processes that lock a resource from outside, while a gate waits for them.
    pub outside: Vec<i32>,
    /// Units that wait at their gates for others.
    pub gate_waits: Vec<GateWait>,
    /// Units that wait at their gates for a lock from outside, and of which resource.
    pub locked: Vec<(String, String)>,
    /// Units at their gates whose jobs wait for others' jobs.
    pub job_waits: Vec<JobWait>,
}

/// What is kept from one look to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Control groups of units with a lease.
    pub groups: BTreeMap<String, String>,
    rests: Rests,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Look {
    /// All deadlocks; `None` if the look failed, which says nothing.
    pub found: Option<Vec<Deadlock>>,
    /// In how long somebody will have waited for its grace.
    pub next: Option<Duration>,
    /// Somebody has, deadlocked or not.
    pub somebody_waits: bool,
    /// How long it took.
    pub took: Duration,
    /// For the next look.
    pub memory: Memory,
}

/// Takes a look.
pub async fn look(mut request: Request, mut memory: Memory, pid1: Option<Pid1>) -> Look {
    let began = Instant::now();
    memory
        .groups
        .retain(|unit, _| request.leases.contains(unit));
    for unit in &request.leases {
        if !memory.groups.contains_key(unit)
            && let Some(pid1) = &pid1
            && let Ok(Some(group)) = pid1.control_group(unit).await
        {
            memory.groups.insert(unit.clone(), group);
        }
    }
    request.groups.clone_from(&memory.groups);
    let Ok((request, scan, mut memory)) = spawn_blocking(move || {
        let scan = scan::scan(
            &Proc::of_host(),
            &request.terms,
            &request,
            &mut memory.rests,
        );
        (request, scan, memory)
    })
    .await
    else {
        return Look::default();
    };
    let mut look = Look {
        next: scan.next,
        somebody_waits: scan.candidates.iter().any(|it| it.is_ripe),
        ..Look::default()
    };
    if look.somebody_waits {
        let jobs = jobs(&scan, &request.terms, pid1.as_ref()).await;
        let full = spawn_blocking(move || {
            let rests = &mut memory.rests;
            let proc = Proc::of_host();
            let terms = &request.terms;
            let snapshot = full::snapshot(&proc, terms, &request, &scan, jobs, rests);
            let found = snapshot.map(|it| deadlock::find(&it, &terms.rules));
            (found, memory)
        });
        let Ok((found, kept)) = full.await else {
            return Look::default();
        };
        memory = kept;
        match found {
            Ok(found) => look.found = Some(found),
            Err(error) => tracing::warn!(%error, "cannot look for deadlocks"),
        }
    } else {
        look.found = Some(Vec::new());
    }
    memory.rests.end_of_look();
    look.memory = memory;
    look.took = began.elapsed();
    look
}

/// What those wait for who wait for units: PID 1 has the jobs.
async fn jobs(scan: &Scan, terms: &Terms, pid1: Option<&Pid1>) -> Jobs {
    let mut jobs = Jobs::default();
    let Some(pid1) = pid1 else {
        return jobs;
    };
    let mut asked: BTreeMap<String, Option<String>> = BTreeMap::new();
    for candidate in scan.candidates.iter().filter(|it| it.is_ripe) {
        for wanted in &candidate.wanted {
            let name = terms.unit(wanted);
            if !asked.contains_key(&name) {
                let unit = awaited(pid1, &name, &mut jobs.job_waits).await;
                asked.insert(name.clone(), unit);
            }
            if let Some(Some(unit)) = asked.get(&name) {
                jobs.unit_waits.push(UnitWait {
                    pid: candidate.process.pid,
                    unit: unit.clone(),
                });
            }
        }
    }
    jobs
}

/// The unit's own name, if it has a job: who waits for one that has none waits for something else.
async fn awaited(pid1: &Pid1, name: &str, waits: &mut Vec<JobWait>) -> Option<String> {
    let states = pid1.states(vec![name.to_owned()]).await.ok()?;
    let state = states.into_values().next()?;
    state.job.as_ref()?;
    let before = pid1.all_behind(&state.name).await;
    let before = before.ok().flatten().unwrap_or_default();
    if !before.is_empty() {
        let unit = state.name.clone();
        waits.push(JobWait { unit, before });
    }
    Some(state.name)
}
