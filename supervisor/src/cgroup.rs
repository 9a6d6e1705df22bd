//! Units' control groups (cgroups(7)): whether anything still runs there, and whether it is frozen.

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

/// The file that freezes the control group (`cgroup.freeze`), `None` where there is none: on cgroup v1, or if
/// the group is gone.
pub fn freezer(control_group: &str) -> Option<PathBuf> {
    let path = directory(control_group)?.join("cgroup.freeze");
    path.exists().then_some(path)
}

/// Whether all processes in the control group are frozen.
///
/// # Errors
/// Those of reading it; a group that is gone isn't frozen.
pub fn is_frozen(control_group: &str) -> io::Result<bool> {
    let Some(directory) = directory(control_group) else {
        return Ok(false);
    };
    match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) => Ok(events.lines().any(|line| line == "frozen 1")),
        Err(error) if gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The control group of a process, below the hierarchy's root.
///
/// # Errors
/// Those of reading `/proc/PID/cgroup`.
pub fn of_process(pid: i32) -> io::Result<Option<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(group_in(&text).map(str::to_owned))
}

/// Whether a control group is this one or below it.
pub fn is_within(group: &str, parent: &str) -> bool {
    let rest = group.strip_prefix(parent);
    !parent.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
    Ok(unit_in(&text).map(str::to_owned))
}

fn unit_in(proc_cgroup: &str) -> Option<&str> {
    group_in(proc_cgroup)?
        .rsplit('/')
        .next()
        .filter(|unit| !unit.is_empty())
}

/// systemd's hierarchy is the unified one (`0::`), or on cgroup v1 the one named after it; where it isn't
/// the one in use, every process is in its root.
fn group_in(proc_cgroup: &str) -> Option<&str> {
    let unified = |line: &&str| line.starts_with("0::");
    let named = |line: &&str| line.contains(":name=systemd:");
    let lines = || proc_cgroup.lines();
    let found = lines().filter(unified).chain(lines().filter(named));
    let mut groups = found.filter_map(|line| line.splitn(3, ':').nth(2));
    groups.find(|group| *group != "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_within_itself_and_its_parents() {
        assert!(is_within(
            "/system.slice/a.service/x",
            "/system.slice/a.service"
        ));
        assert!(is_within("/a.service", "/a.service"));
        assert!(!is_within("/a.service2", "/a.service"));
        assert!(!is_within("/a.service", ""));
    }

    #[test]
    fn a_process_is_found_in_the_hierarchy_that_systemd_uses() {
        let unified = "0::/system.slice/x.service\n";
        let v1 = "2:cpu:/\n1:name=systemd:/system.slice/x.service\n0::/\n";
        let container = "9:name=systemd:/\n1:cpu:/\n0::/system.slice/x.service\n";
        for text in [unified, v1, container] {
            assert_eq!(unit_in(text), Some("x.service"), "{text}");
        }
        assert_eq!(unit_in("0::/\n"), None);
    }
}
