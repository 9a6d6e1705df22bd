//! `/proc` as the deadlock watch needs it: parents, ages, command lines, and whether a process just waits. A process
//! that vanishes while it is looked at is no error: it is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;

use crate::clock;
use crate::process::{Stat, ticks_per_second};

/// A mounted proc file system, of whose pid namespace we are.
#[derive(Debug, Clone)]
pub struct Proc {
    directory: PathBuf,
    per_second: u64,
}

impl Proc {
    /// This host's.
    pub fn of_host() -> Self {
        Self {
            directory: PathBuf::from("/proc"),
            per_second: ticks_per_second(),
        }
    }

    /// Clock ticks in a second.
    pub fn ticks_per_second(&self) -> u64 {
        self.per_second
    }

    /// A process, unless it is gone or a zombie.
    pub fn stat(&self, pid: i32) -> Option<Stat> {
        Stat::read_alive(&self.directory, pid)
    }

    /// Whether this very process lives.
    pub fn lives(&self, pid: i32, start_time: u64) -> bool {
        let stat = self.stat(pid);
        stat.is_some_and(|stat| stat.start_time == start_time)
    }

    /// All processes.
    pub fn all(&self) -> Vec<Stat> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let pids = names.filter_map(|name| name.to_str()?.parse().ok());
        pids.filter_map(|pid| self.stat(pid)).collect()
    }

    /// Its arguments.
    pub fn cmdline(&self, pid: i32) -> Vec<String> {
        let bytes = fs::read(self.of(pid, "cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\0').unwrap_or(&text);
        match text.is_empty() {
            true => Vec::new(),
            false => text.split('\0').map(str::to_owned).collect(),
        }
    }

    /// Its children, wherever they are; none on kernels that don't list them.
    pub fn children(&self, stat: &Stat) -> Vec<i32> {
        let tasks = self.of(stat.pid, "task");
        if stat.threads == 1 {
            return children_in(&tasks.join(stat.pid.to_string()));
        }
        // Each thread has its own.
        let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
        threads
            .flat_map(|thread| children_in(&thread.path()))
            .collect()
    }

    /// Whether it sleeps or waits for a file's lock just now, rather than for data, a child, or a processor.
    /// `None`: that may not be seen.
    pub fn is_at_rest(&self, pid: i32) -> Option<bool> {
        let text = fs::read_to_string(self.of(pid, "syscall")).ok()?;
        Some(is_rest(&text))
    }

    /// How long ago a process started.
    pub fn age(&self, start_time: u64) -> Duration {
        let at = start_time.saturating_mul(1_000_000) / self.per_second;
        Duration::from_micros(clock::boottime().saturating_sub(at))
    }

    fn of(&self, pid: i32, file: &str) -> PathBuf {
        Path::new(&self.directory).join(pid.to_string()).join(file)
    }
}

fn children_in(thread: &Path) -> Vec<i32> {
    let list = fs::read_to_string(thread.join("children")).unwrap_or_default();
    let pids = list.split_ascii_whitespace();
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// Reads `/proc/PID/syscall` (proc_pid_syscall(5)): the call that a process is in, and its arguments.
///
/// dnf looks at a lock file and sleeps a second, in turns; Python sleeps by select(2) without files up to 3.10, by
/// clock_nanosleep(2) since. A download is in poll(2) with files, a parent in wait4(2).
fn is_rest(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let Some(Ok(call)) = words.next().map(str::parse::<libc::c_long>) else {
        return false;
    };
    let arguments: Vec<u64> = words
        .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    let argument = |n: usize| arguments.get(n).copied();
    match call {
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep | libc::SYS_flock => true,
        libc::SYS_pselect6 => argument(0) == Some(0),
        libc::SYS_ppoll => argument(1) == Some(0),
        libc::SYS_fcntl => {
            let waits = [libc::F_SETLKW, libc::F_OFD_SETLKW].map(|it| u64::try_from(it).ok());
            waits.contains(&argument(1))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => argument(0) == Some(0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => argument(1) == Some(0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_sleeps_is_at_rest_and_who_works_is_not() {
        let call = |number: libc::c_long, first: u64, second: u64| {
            is_rest(&format!(
                "{number} {first:#x} {second:#x} 0x0 0x0 0x0 0x0 0x7ff 0x7fe\n"
            ))
        };
        assert!(call(libc::SYS_clock_nanosleep, 0, 0));
        assert!(call(libc::SYS_pselect6, 0, 0));
        assert!(call(libc::SYS_fcntl, 3, 7), "F_SETLKW");
        assert!(!call(libc::SYS_fcntl, 3, 6), "F_SETLK");
        assert!(!call(libc::SYS_pselect6, 4, 0), "of a file");
        assert!(!call(libc::SYS_ppoll, 0x7ff, 1));
        assert!(!call(libc::SYS_wait4, 1, 2));
        assert!(!is_rest("running\n") && !is_rest("-1 0x7ff 0x7fe\n") && !is_rest(""));
    }

    #[test]
    fn one_knows_oneself() {
        let proc = Proc::of_host();
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = proc.stat(pid).unwrap();
        assert!(proc.all().iter().any(|it| it.pid == me.ppid));
        assert!(proc.age(me.start_time) < Duration::from_secs(600));
        assert!(!proc.cmdline(pid).is_empty());
        assert_ne!(proc.is_at_rest(pid), Some(true), "it asks just now");
    }

    proptest! {
        #[test]
        fn anything_may_be_read(text in ".*", near in "[0-9]{0,3}( 0x[0-9a-f]{0,17}){0,8}") {
            let _ = (is_rest(&text), is_rest(&near));
        }
    }
}
