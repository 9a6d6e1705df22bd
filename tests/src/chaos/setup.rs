//! A machine for a chaos run: the shipped package, units and policy, a small disk, a clock that can jump.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::faults::{CLOCK, DAEMON, MORTAL, SHIPPED, WATCHDOG, use_build};
use super::world::{BUS_NAMES, OWN, PROGRAM, World};
use crate::install;
use crate::machine::Machine;
use crate::root::Version;
use crate::tools;

/// Which message bus the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The reference implementation.
    Daemon,
    /// The one of Fedora and EL.
    Broker,
}

/// Boots a machine and puts the world into it.
///
/// # Errors
///
/// If it can't be built or booted, or interlock doesn't run in it.
pub fn machine(version: Version, world: &World, bus: Bus) -> Result<Machine> {
    let machine = Machine::boot(version)?;
    if bus == Bus::Broker {
        change_bus(&machine)?;
    }
    install::provide(&machine)?;
    prepare(&machine)?;
    machine.sh("dnf -y --quiet install interlock </dev/null")?;
    for (path, text) in world.files() {
        machine.write(path, &of_version(text, version))?;
    }
    put_builds(&machine)?;
    let mut timers = String::new();
    for timer in world.timers() {
        let _ = write!(timers, " {timer}");
    }
    machine
        .sh(&format!(
            "set -e; interlockctl verify; systemctl daemon-reload
             systemctl restart interlockd.service || {{ journalctl --no-pager -n 40; exit 1; }}
             interlockctl reload
             mkdir -p /etc/systemd/system/multi-user.target.wants
             for timer in {timers}; do
                 ln -sf $(systemctl show --value -p FragmentPath $timer) /etc/systemd/system/multi-user.target.wants/$timer
             done
             systemctl daemon-reload; systemctl start {timers}"
        ))
        .context("interlock doesn't run in the machine")?;
    // To see that it finds something.
    if let Ok(sabotage) = std::env::var("INTERLOCK_TEST_SABOTAGE") {
        machine.sh(&format!("{sabotage}\nsystemctl daemon-reload"))?;
    }
    Ok(machine)
}

/// The same package as on the host, from Debian; its unit takes the bus's place at the next boot.
fn change_bus(machine: &Machine) -> Result<()> {
    let broker = tools::unpacked("dbus-broker")?;
    for file in [
        "usr/bin/dbus-broker",
        "usr/bin/dbus-broker-launch",
        "usr/lib/systemd/system/dbus-broker.service",
    ] {
        // Where a package of a time before /usr was merged has its units.
        let found = [
            broker.join(file),
            broker.join(file.replace("usr/lib/systemd", "lib/systemd")),
        ];
        let from = found
            .iter()
            .find(|path| path.is_file())
            .with_context(|| format!("dbus-broker has no {file}"))?;
        machine.copy_in(from, &format!("/{file}"))?;
    }
    machine.sh(
        "set -e; chmod 755 /usr/bin/dbus-broker*; systemctl daemon-reload
         ln -sf /usr/lib/systemd/system/dbus-broker.service /etc/systemd/system/dbus.service",
    )?;
    machine.reboot()?;
    machine
        .sh("systemctl is-active dbus-broker.service")
        .context("dbus-broker doesn't run")
        .map(drop)
}

/// An older systemd knows no `Type=notify-reload`: there a command signals.
fn of_version(text: &str, version: Version) -> String {
    if version == Version::V252 {
        text.replace(
            "Type=notify-reload\n",
            "Type=notify\nExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n",
        )
    } else {
        text.to_owned()
    }
}

/// The interlockd of the package, and beside it one that dies at a step if it is told to: that one runs first.
fn put_builds(machine: &Machine) -> Result<()> {
    machine.copy_in(install::daemon_with_failpoints()?, MORTAL)?;
    machine
        .sh(&format!(
            "set -e; chmod 755 {MORTAL}; cp -p {DAEMON} {SHIPPED}\n{}",
            use_build(MORTAL)
        ))
        .map(drop)
}

fn prepare(machine: &Machine) -> Result<()> {
    machine.write(PROGRAM, include_str!("task.sh"))?;
    machine.write(OWN, include_str!("own.py"))?;
    machine.write(
        "/etc/dbus-1/system.d/chaos.conf",
        &format!(
            "<busconfig><policy user=\"root\"><allow own_prefix=\"{BUS_NAMES}\"/></policy></busconfig>\n"
        ),
    )?;
    machine.copy_in(&tools::faketime()?, tools::FAKETIME)?;
    machine.write(CLOCK, "+0\n")?;
    machine.write(
        "/etc/systemd/system/interlockd.service.d/90-chaos.conf",
        &format!(
            "[Service]\nWatchdogSec={WATCHDOG}s\nEnvironment={}\n",
            tools::faketime_environment(CLOCK)
        ),
    )?;
    machine.write(
        "/etc/systemd/journald.conf.d/chaos.conf",
        "[Journal]\nRateLimitBurst=0\nSystemMaxUse=2G\n",
    )?;
    machine
        .sh(&format!(
            "set -e; chmod 755 {PROGRAM} {OWN}; systemctl reload dbus.service; mkdir -p /var/lib/testbed /run/testbed /var/lib/interlock
             [ -p /run/testbed/chaos.fifo ] || mkfifo /run/testbed/chaos.fifo
             [ -p /run/testbed/line.fifo ] || mkfifo /run/testbed/line.fifo
             mount -t tmpfs -o size=6m,mode=700 small /var/lib/interlock
             systemctl restart systemd-journald.service"
        ))
        .map(drop)
}
