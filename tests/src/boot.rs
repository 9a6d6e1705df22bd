//! A host with two hundred tasks, to be booted with all sorts of policies.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine::Machine;

/// So many tasks; every tenth is started at boot.
pub const TASKS: usize = 200;

/// How many resources they share.
const RESOURCES: usize = 10;

const GENERATOR: &str = "/etc/systemd/system-generators/interlock-generator";

/// How long PID 1 took, as it says itself (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Copy)]
pub struct BootTime {
    /// From its start until its last job was done.
    pub whole: Duration,
    /// All generators together, which run side by side.
    pub generators: Duration,
}

/// The tasks that are started at boot.
pub fn at_boot() -> impl Iterator<Item = usize> {
    (0..TASKS).step_by(10)
}

/// The policy of a part of the tasks. Those that are started at boot share one exclusive resource.
pub fn policy(tasks: impl IntoIterator<Item = usize>) -> String {
    let mut text = String::new();
    for task in tasks {
        let resource = task % RESOURCES;
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "[tasks.boot-{task}]\nunit = \"boot-{task}.service\"\nuses = [\"r{resource}\"]\n"
        );
    }
    text
}

/// The resources of [`policy`].
pub fn resources() -> String {
    (0..RESOURCES)
        .map(|number| format!("[resources.r{number}]\n"))
        .collect()
}

/// Writes units of all tasks, each of which runs `program`, and enables those that are started at
/// boot.
///
/// # Errors
///
/// If they can't be written.
pub fn units(machine: &Machine, program: &str) -> Result<()> {
    for task in 0..TASKS {
        machine.write(
            &format!("/etc/systemd/system/boot-{task}.service"),
            &format!("[Service]\nType=oneshot\nExecStart={program}\n"),
        )?;
    }
    let wanted: Vec<String> = at_boot().map(|task| task.to_string()).collect();
    machine
        .sh(&format!(
            "cd /etc/systemd/system && mkdir -p multi-user.target.wants &&
             for task in {}; do ln -sf ../boot-$task.service multi-user.target.wants/; done",
            wanted.join(" ")
        ))
        .map(drop)
}

/// From the next boot on interlock is as if it weren't installed.
///
/// # Errors
///
/// If the machine doesn't do as told.
pub fn without_interlock(machine: &Machine) -> Result<()> {
    machine
        .sh(&format!(
            "mkdir -p /etc/systemd/system-generators && ln -s /dev/null {GENERATOR} &&
             systemctl --quiet mask interlockd.service interlock.socket"
        ))
        .map(drop)
}

/// Takes [`without_interlock`] back.
///
/// # Errors
///
/// If the machine doesn't do as told.
pub fn with_interlock(machine: &Machine) -> Result<()> {
    machine
        .sh(&format!(
            "rm -f {GENERATOR} && systemctl --quiet unmask interlockd.service interlock.socket"
        ))
        .map(drop)
}

/// How long the last boot took.
///
/// # Errors
///
/// If PID 1 doesn't say.
pub fn time(machine: &Machine) -> Result<BootTime> {
    let text = machine.sh(
        "systemctl show -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic \
         -p GeneratorsStartTimestampMonotonic -p GeneratorsFinishTimestampMonotonic",
    )?;
    let moment = |name: &str| -> Result<Duration> {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix("TimestampMonotonic="));
        let micros = value.with_context(|| format!("no {name} in:\n{text}"))?;
        Ok(Duration::from_micros(micros.parse()?))
    };
    Ok(BootTime {
        whole: moment("Finish")?.saturating_sub(moment("Userspace")?),
        generators: moment("GeneratorsFinish")?.saturating_sub(moment("GeneratorsStart")?),
    })
}
