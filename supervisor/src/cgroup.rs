//! Whether anything still runs in a unit's cgroup (cgroups(7), `cgroup.events`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the hierarchy that systemd uses is mounted: cgroup v2 alone, hybrid, v1.
const MOUNTS: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/systemd",
];

/// The directory of a control group, `None` if it doesn't exist (any more).
pub fn directory(control_group: &str) -> Option<PathBuf> {
    let below = control_group.trim_start_matches('/');
    MOUNTS
        .iter()
        .map(|mount| Path::new(mount).join(below))
        .find(|path| path.join("cgroup.procs").exists())
}

/// Whether processes are in the control group or below it.
///
/// # Errors
/// Those of reading it; a group that is gone is empty.
pub fn is_populated(control_group: &str) -> io::Result<bool> {
    let Some(directory) = directory(control_group) else {
        return Ok(false);
    };
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) => Ok(events.lines().any(|line| line == "populated 1")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => has_processes(&directory),
        Err(error) if gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// cgroup v1 has no events file: look into every group below.
fn has_processes(directory: &Path) -> io::Result<bool> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(pids) if !pids.trim().is_empty() => return Ok(true),
        Err(error) if gone(&error) => return Ok(false),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && has_processes(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The group was removed under our eyes.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// The last element of a process's control group path: the unit it belongs to.
///
/// # Errors
/// Those of reading `/proc/PID/cgroup`.
pub fn unit_of_process(pid: i32) -> io::Result<Option<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let is_systemds = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    // On hybrid hosts both lines exist and agree; v1 has the second only.
    let path = text
        .lines()
        .find(is_systemds)
        .and_then(|line| line.rsplit_once(':'));
    Ok(path
        .and_then(|(_, path)| path.rsplit('/').next())
        .map(str::to_owned))
}
