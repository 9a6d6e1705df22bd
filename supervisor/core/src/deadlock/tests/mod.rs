//! The rules on process trees: those of incidents, and generated ones.

mod properties;
mod trees;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

const GRACE: Duration = Duration::from_secs(60);

/// A snapshot that is written down tersely. Each process is an old one with a command line of its own.
#[derive(Default)]
struct Scene(Snapshot);

impl Scene {
    fn process(mut self, pid: i32, ppid: i32, comm: &str, unit: &str) -> Self {
        self.0.processes.push(Process {
            pid,
            ppid,
            start_time: u64::try_from(pid).unwrap(),
            age: GRACE * 2,
            comm: comm.into(),
            cmdline: vec![comm.into(), pid.to_string()],
            unit: Some(unit.into()),
            waiting: None,
        });
        self
    }

    /// Each below the one before.
    fn line(self, unit: &str, processes: &[(i32, &str)]) -> Self {
        let mut parent = 1;
        processes.iter().fold(self, |scene, (pid, comm)| {
            scene.process(*pid, std::mem::replace(&mut parent, *pid), comm, unit)
        })
    }

    fn with(mut self, pid: i32, change: impl FnOnce(&mut Process)) -> Self {
        let processes = &mut self.0.processes;
        change(processes.iter_mut().find(|p| p.pid == pid).unwrap());
        self
    }

    fn holds(mut self, pid: i32, resource: &str) -> Self {
        self.0.held.push(Held {
            pid,
            resource: resource.into(),
            lock: PathBuf::from("/run/lock"),
        });
        self
    }

    fn wants_unit(mut self, pid: i32, unit: &str) -> Self {
        let unit = unit.into();
        self.0.unit_waits.push(UnitWait { pid, unit });
        self
    }

    fn gate(mut self, unit: &str, resource: &str, lacking: u32, by: &[(Blocker, u32)]) -> Self {
        self.0.gate_waits.push(GateWait {
            unit: unit.into(),
            resource: resource.into(),
            lacking,
            by: by.to_vec(),
        });
        self
    }

    fn find(&self) -> Vec<Deadlock> {
        find(&self.0, &rules(OnDeadlock::KillNested))
    }

    #[track_caller]
    fn only(&self) -> Deadlock {
        let mut found = self.find();
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// As it is when a process has been ended.
    fn without(mut self, pid: i32) -> Self {
        let snapshot = &mut self.0;
        snapshot.processes.retain(|process| process.pid != pid);
        for process in &mut snapshot.processes {
            if process.ppid == pid {
                process.ppid = 1;
            }
        }
        snapshot.held.retain(|held| held.pid != pid);
        snapshot.unit_waits.retain(|wait| wait.pid != pid);
        self
    }
}

fn rules(on_deadlock: OnDeadlock) -> Rules {
    let rule = |clients: &[&str]| Rule {
        clients: clients.iter().map(|&c| c.to_owned()).collect(),
        nested_grace: GRACE,
        on_deadlock,
    };
    Rules {
        resources: BTreeMap::from([
            ("rpm-db".to_owned(), rule(&["dnf", "rpm"])),
            ("bootstrapper".to_owned(), rule(&["ansible-playbook"])),
        ]),
    }
}

fn unit(name: &str) -> (Blocker, u32) {
    (Blocker::Unit(name.into()), 1)
}

/// The processes of a ring by pid, its units by name.
fn ring(deadlock: &Deadlock) -> Vec<String> {
    let name = |link: &Link| match &link.who {
        Who::Process(process) => process.pid.to_string(),
        Who::Unit(unit) => unit.clone(),
    };
    deadlock.chain.iter().map(name).collect()
}

fn waiters(deadlock: &Deadlock) -> Vec<i32> {
    deadlock
        .waiters
        .iter()
        .map(|waiter| waiter.process.pid)
        .collect()
}
