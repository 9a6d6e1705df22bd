//! Processes as people know them: name, user, terminal or unit, since when.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User};

use crate::process::{Stat, ticks_per_second};
use crate::{cgroup, clock};

/// A process, described.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Its id.
    pub pid: i32,
    /// Its name (proc_pid_comm(5)).
    pub comm: String,
    /// Its user's name, or number.
    pub user: String,
    /// The unit that it belongs to, empty if none.
    pub unit: String,
    /// Its terminal, as `pts/0`; empty if none.
    pub terminal: String,
    /// When it started, microseconds of `CLOCK_REALTIME`; 0 if not known.
    pub since: u64,
}

impl Person {
    /// Looks at a process. What it no longer tells stays empty.
    pub fn of(pid: i32) -> Self {
        let stat = Stat::read(Path::new("/proc"), pid).unwrap_or_default();
        let owner = fs::metadata(format!("/proc/{pid}")).map(|it| it.uid());
        Self {
            pid,
            comm: stat.comm,
            user: owner.map(user).unwrap_or_default(),
            unit: cgroup::unit_of_process(pid)
                .ok()
                .flatten()
                .filter(|unit| unit.ends_with(".service") || unit.ends_with(".scope"))
                .unwrap_or_default(),
            terminal: terminal(stat.terminal),
            since: started(stat.start_time),
        }
    }
}

/// `dnf (pid 123, root, pts/0)`, or with its unit where it has no terminal.
impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid == 0 {
            return f.write_str("somebody who can't be seen from here (another pid namespace)");
        }
        write!(f, "{} (pid {}", self.comm, self.pid)?;
        if !self.user.is_empty() {
            write!(f, ", {}", self.user)?;
        }
        match (self.terminal.as_str(), self.unit.as_str()) {
            ("", "") => {}
            ("", unit) => write!(f, ", {unit}")?,
            (terminal, _) => write!(f, ", {terminal}")?,
        }
        f.write_str(")")
    }
}

/// A process's parent.
pub fn parent_of(pid: i32) -> Option<i32> {
    Stat::read(Path::new("/proc"), pid).map(|stat| stat.ppid)
}

/// The name of a terminal's device number.
fn terminal(device: i64) -> String {
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    match (device >> 8) & 0xfff {
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        // Major numbers 136 to 143 are pseudo terminals' (Documentation/admin-guide/devices.txt of the kernel).
        major @ 136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => String::new(),
    }
}

fn user(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

fn started(ticks: u64) -> u64 {
    let up = clock::boottime();
    let age = up.saturating_sub(ticks.saturating_mul(1_000_000) / ticks_per_second());
    match ticks {
        0 => 0,
        _ => clock::realtime().saturating_sub(age),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_go_by_their_names() {
        assert_eq!(terminal(0), "");
        assert_eq!(terminal(34816), "pts/0");
        assert_eq!(terminal((4 << 8) | 1), "tty1");
    }

    #[test]
    fn one_knows_oneself() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = Person::of(pid);
        assert!(!me.comm.is_empty() && !me.user.is_empty());
        assert!(clock::realtime() - me.since < 60_000_000, "{me:?}");
        assert!(me.to_string().contains(&pid.to_string()));
    }
}
