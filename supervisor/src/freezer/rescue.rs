//! Keeps PID 1 from standing still with what is frozen.
//!
//! Since version 254 systemd begins a process (ExecReload=, ExecStopPost=, …) right in the unit's control group, and waits
//! until it has become another program, as vfork(2) does. In a frozen group it never does: PID 1 would answer nobody, not
//! even the interlockd that is to thaw the group. Such a process is moved to PID 1's own group, from which it
//! joins the unit's by itself as soon as it is a program of its own; so do all of earlier versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use interlock_generator::names;

use super::marked;
use crate::cgroup;
use crate::process::Stat;

/// For so long PID 1 stands still at the most. No event tells of it: a process that is born into a frozen group leaves
/// cgroup.events as it is.
const INTERVAL: Duration = Duration::from_millis(100);

/// Whether the thread runs.
static WATCHED: Mutex<bool> = Mutex::new(false);

/// Looks after PID 1 as long as anything is marked as frozen; in a thread, since all else may wait for PID 1.
pub fn watch() {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if *watched {
        return;
    }
    match thread::Builder::new()
        .name("rescue".to_owned())
        .spawn(look_until_all_goes)
    {
        Ok(_) => *watched = true,
        Err(error) => tracing::error!(%error, "nobody looks after PID 1 while tasks are frozen"),
    }
}

fn look_until_all_goes() {
    loop {
        let units = marked();
        if units.is_empty() {
            let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
            // What was marked meanwhile relied on this thread.
            if marked().is_empty() {
                *watched = false;
                return;
            }
        }
        for unit in units {
            rescue(&unit);
        }
        thread::sleep(INTERVAL);
    }
}

fn rescue(unit: &str) {
    let Ok(group) = fs::read_to_string(names::frozen_file(unit)) else {
        return;
    };
    let Some(directory) = cgroup::directory(group.trim_end()) else {
        return;
    };
    for pid in processes(&directory) {
        if is_pid1_in_disguise(pid) {
            match release(pid) {
                Ok(()) => tracing::info!(
                    unit,
                    pid,
                    "systemd begins a process in {unit}, which is frozen"
                ),
                Err(error) => {
                    tracing::error!(unit, pid, %error, "PID 1 stands still with {unit}; it is thawed");
                    super::thaw(unit);
                }
            }
        }
    }
}

/// Of the group, and of those right below it.
fn processes(directory: &Path) -> Vec<i32> {
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
    all.push(directory.to_owned());
    let texts = all
        .iter()
        .filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok());
    texts
        .flat_map(|text| {
            text.lines()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// A child of PID 1 that is still of its memory: no manager of a user, which is the same program, has its command line.
fn is_pid1_in_disguise(pid: i32) -> bool {
    let proc = Path::new("/proc");
    let of = |pid: i32, name: &str| proc.join(pid.to_string()).join(name);
    let is_child = Stat::read_alive(proc, pid).is_some_and(|stat| stat.ppid == 1);
    if !is_child {
        return false;
    }
    let program = |pid| fs::read_link(of(pid, "exe")).ok();
    let command = |pid| fs::read(of(pid, "cmdline")).ok();
    program(pid).is_some_and(|it| Some(it) == program(1))
        && command(pid).is_some_and(|it| Some(it) == command(1))
}

fn release(pid: i32) -> std::io::Result<()> {
    let group = cgroup::of_process(1)?.unwrap_or_default();
    let directory = cgroup::directory(&group)
        .ok_or_else(|| std::io::Error::other("PID 1 has no control group"))?;
    fs::write(directory.join("cgroup.procs"), pid.to_string())
}
