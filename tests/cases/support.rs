//! Situations that many cases begin with.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

/// `NAME.service`.
pub fn unit(name: &str) -> String {
    format!("{name}.service")
}

/// The gate of `NAME.service`.
pub fn gate(name: &str) -> String {
    format!("interlock-gate@{name}.service.service")
}

/// Oneshots under one exclusive resource: the first one runs, the others wait in this order.
pub fn line_up(case: &Case<'_>, names: &[&str]) -> Result<()> {
    let services: Vec<Service> = names.iter().map(|name| Service::oneshot(name)).collect();
    case.services(&services)?;
    case.exclusive(names)?;
    start_in_turn(case, names)
}

/// Starts units that exclude each other: the first one runs, the others wait in this order.
pub fn start_in_turn(case: &Case<'_>, names: &[&str]) -> Result<()> {
    let units: Vec<String> = names.iter().map(|name| unit(name)).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    for (number, unit) in units.iter().enumerate() {
        case.start(&[unit])?;
        if number == 0 {
            case.begun(unit)?;
        } else {
            case.queued(&units[1..=number])?;
        }
    }
    Ok(())
}

/// Releases tasks one after another, each as soon as it runs, and asserts that they ran in this
/// order, once each, and never two at a time.
pub fn release_in_turn(case: &Case<'_>, names: &[&str]) -> Result<()> {
    let units: Vec<String> = names.iter().map(|name| unit(name)).collect();
    for unit in &units {
        case.release(unit)?;
    }
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    case.no_overlap(&units)?;
    let order = case.log()?.order();
    ensure!(order == units, "ran as {order:?}, not as {units:?}");
    Ok(())
}

/// The id of a unit's queued job.
pub fn job_of(case: &Case<'_>, unit: &str) -> Result<String> {
    let job = case.sh(&format!(
        "systemctl list-jobs --no-legend --full --plain | awk '$2==\"{unit}\" {{print $1}}'"
    ))?;
    ensure!(!job.is_empty(), "{unit} has no job");
    Ok(job)
}

/// The main process of a unit, as a pid inside.
pub fn main_pid(case: &Case<'_>, unit: &str) -> Result<String> {
    let pid = case.property(unit, "MainPID")?;
    ensure!(pid != "0", "{unit} has no process");
    Ok(pid)
}

/// Waits until interlockd answers again, as another process than `former`.
pub fn daemon_is_back(case: &Case<'_>, former: &str) -> Result<()> {
    wait_for("interlockd to be back", SOON, || {
        let pid = case.property("interlockd.service", "MainPID")?;
        let active = case.property("interlockd.service", "ActiveState")? == "active";
        Ok((active && pid != "0" && pid != former).then_some(()))
    })
}

/// Kills interlockd with SIGKILL and waits until it is back.
pub fn kill_daemon(case: &Case<'_>) -> Result<()> {
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -KILL {pid}"))?;
    daemon_is_back(case, &pid)
}

/// Keeps the daemon down while `during` runs.
pub fn without_daemon(case: &Case<'_>, during: impl FnOnce() -> Result<()>) -> Result<()> {
    let pid = main_pid(case, "interlockd.service")?;
    case.unit(
        "interlockd.service.d/down.conf",
        "[Service]\nExecStartPre=/bin/sh -c 'while [ -e /run/down ]; do sleep 0.05; done'\n",
    )?;
    case.sh("touch /run/down; systemctl daemon-reload")?;
    case.sh(&format!("kill -KILL {pid}"))?;
    case.wait_until(
        "[ $(systemctl show --value -p ActiveState interlockd.service) = activating ]",
    )?;
    let result = during();
    case.sh("rm /run/down")?;
    daemon_is_back(case, &pid)?;
    result
}

/// interlockd with a state directory of `size`, which [`fill`] fills and [`make_room`] empties, while something is tried.
pub fn with_small_disk(
    case: &Case<'_>,
    size: &str,
    during: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // interlockd has a mount namespace of its own, made when it starts.
    case.sh(&format!(
        "set -e; systemctl stop interlockd.service
         mount -t tmpfs -o size={size},mode=700 small /var/lib/interlock
         systemctl start interlockd.service interlock.socket; interlockctl status >/dev/null"
    ))?;
    let result = during();
    case.sh(
        "systemctl stop interlockd.service; umount /var/lib/interlock
         systemctl start interlockd.service interlock.socket",
    )?;
    result
}

/// Leaves no room in the state directory.
pub fn fill(case: &Case<'_>) -> Result<()> {
    case.sh("cat /dev/zero >/var/lib/interlock/ballast 2>/dev/null || true")
        .map(drop)
}

/// Makes room again.
pub fn make_room(case: &Case<'_>) -> Result<()> {
    case.sh("rm /var/lib/interlock/ballast").map(drop)
}
