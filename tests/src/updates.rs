//! Real package work: dnf-automatic as upstream ships it, a panel's updater that calls dnf, and updates for both.

use anyhow::Result;

use crate::machine::Machine;
use crate::rpm::{Package, Repository};
use crate::service::TASK_PROGRAM;

/// dnf-automatic.service of upstream; Debian ships the program without it.
pub const DNF_AUTOMATIC: &str = "[Unit]
Description=dnf automatic
ConditionPathExists=!/run/ostree-booted
After=network-online.target

[Service]
Type=oneshot
Nice=19
IOSchedulingClass=2
IOSchedulingPriority=7
Environment=\"ABRT_IGNORE_PYTHON=1\"
ExecStart=/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer
";

/// Its timer, apart from when it elapses.
pub fn dnf_automatic_timer(calendar: &str) -> String {
    format!(
        "[Unit]\nDescription=dnf-automatic timer\nConditionPathExists=!/run/ostree-booted\n\
         [Timer]\nOnCalendar={calendar}\nAccuracySec=1ms\nPersistent=true\n[Install]\nWantedBy=timers.target\n"
    )
}

/// Writes down when dnf-automatic begins and ends, as the tasks of cases do.
pub const DNF_AUTOMATIC_LOG: &str = "[Service]
ExecStartPre=/usr/local/libexec/testbed/task %n begin
ExecStopPost=/usr/local/libexec/testbed/task %n end
";

/// The panel's updater: works on its own files, then installs a package with dnf, then works again.
pub const UPCP: &str = r#"#!/bin/bash
# usage: upcp NAME PACKAGE SECONDS
# Fetches code, brings packages up to date, migrates: the outer parts stand for what a panel does
# beside dnf, and must not meet a package transaction either.
task=/usr/local/libexec/testbed/task
"$task" "$1" begin
"$task" "$1-fetch" "$3" >/dev/null
dnf -y upgrade "$2" 2>&1
status=$?
"$task" "$1-migrate" "$3" >/dev/null
"$task" "$1" end
exit $status
"#;

/// What dnf-automatic is to do: apply updates, at once.
const AUTOMATIC_CONF: &str = "[commands]
upgrade_type = default
random_sleep = 0
network_online_timeout = 0
download_updates = yes
apply_updates = yes
[emitters]
emit_via = stdio
[email]
[command]
[command_email]
[base]
debuglevel = 1
";

/// Puts dnf-automatic, upcp, and old versions of the packages `system-update` and `panel` into a
/// machine, and new ones into a repository. The transaction of `system-update` takes `span`: seconds,
/// or "hold", until `transaction` is released.
///
/// # Errors
///
/// If packages can't be built or installed.
pub fn provide(machine: &Machine, span: &str) -> Result<()> {
    let system =
        |version| Package::new("system-update", version).file("/usr/share/system-update", version);
    let panel = |version| Package::new("panel", version).file("/usr/share/panel", version);
    // dnf-automatic fails where no package says which release this is.
    let release = Package::new("release", "9")
        .provides("/bin/sh")
        .provides("system-release = 9")
        .provides("system-release(releasever) = 9")
        .provides("redhat-release = 9");
    let old = Repository::new(&[system("1"), panel("1"), release], &[])?;
    old.install(machine, "old")?;
    machine.sh(
        "dnf -y --quiet install release system-update-1 panel-1 </dev/null; rpm -q system-update panel",
    )?;
    // In the transaction, after its files are there.
    let slow = system("2").post(&format!("{TASK_PROGRAM} transaction {span}"));
    Repository::new(&[slow, panel("2")], &[])?.install(machine, "updates")?;
    machine.write("/etc/dnf/automatic.conf", AUTOMATIC_CONF)?;
    machine.write("/usr/local/bin/upcp", UPCP)?;
    machine
        .sh("chmod 755 /usr/local/bin/upcp; dnf -y --quiet makecache </dev/null")
        .map(drop)
}

/// Takes the packages and their repositories out again.
///
/// # Errors
///
/// If rpm refuses.
pub fn withdraw(machine: &Machine) -> Result<()> {
    machine
        .sh(
            "rm -rf /srv/old /srv/updates /etc/yum.repos.d/{old,updates}.repo /usr/local/bin/upcp
             rpm -e --nodeps --noscripts release system-update panel; true",
        )
        .map(drop)
}
