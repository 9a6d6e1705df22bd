//! What `/proc/PID/stat` tells of a process (proc_pid_stat(5)). One that vanishes while it is looked at is no error: it
//! is gone.

use std::fs;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process, dead or alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// Its name, cut by the kernel at 15 bytes.
    pub comm: String,
    /// A zombie: it holds nothing, and waits for nothing any more.
    pub is_dead: bool,
    /// A thread of the kernel: it takes no locks, and writes no lock files.
    pub is_kernel: bool,
    /// The device number of its terminal; 0 if it has none.
    pub terminal: i64,
    /// Time on a processor, in clock ticks.
    pub cpu: u64,
    /// Threads that it has.
    pub threads: u64,
    /// When it started, in clock ticks since boot.
    pub start_time: u64,
}

impl Stat {
    /// Reads a process's below `proc`, where a proc file system is mounted.
    pub fn read(proc: &Path, pid: i32) -> Option<Self> {
        let text = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
        // Its name may be anything.
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Reads one that is still alive.
    pub fn read_alive(proc: &Path, pid: i32) -> Option<Self> {
        Self::read(proc, pid).filter(|stat| !stat.is_dead)
    }

    /// Reads the file's text; `None` for what isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        // The name may contain anything, blanks and brackets too.
        let (head, tail) = text.rsplit_once(')')?;
        let (pid, comm) = head.split_once(" (")?;
        // `tail` begins with the third field, the state.
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let count = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.trim().parse().ok().filter(|pid| *pid > 0)?,
            comm: comm.to_owned(),
            is_dead: matches!(field(3)?, "Z" | "X" | "x"),
            ppid: field(4)?.parse().ok()?,
            terminal: field(7)?.parse().ok()?,
            is_kernel: count(9)? & KERNEL_THREAD != 0,
            cpu: count(14)?.saturating_add(count(15)?),
            threads: count(20)?,
            start_time: count(22)?,
        })
    }
}

/// Clock ticks in a second (sysconf(3)).
pub fn ticks_per_second() -> u64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    u64::try_from(per_second).unwrap_or(100).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(comm: &str, state: char, flags: u64, start: u64) -> String {
        format!(
            "42 ({comm}) {state} 7 2 3 34816 5 {flags} 7 8 9 10 30 12 13 14 15 16 17 18 {start} 20 21\n"
        )
    }

    #[test]
    fn a_name_can_not_forge_other_fields() {
        let stat = Stat::parse(&text("a) Z (b", 'S', 0, 99)).unwrap();
        let expected = Stat {
            pid: 42,
            ppid: 7,
            comm: "a) Z (b".to_owned(),
            terminal: 34816,
            cpu: 42,
            threads: 17,
            start_time: 99,
            ..Stat::default()
        };
        assert_eq!(stat, expected);
    }

    #[test]
    fn zombies_are_not_alive_and_kernel_threads_are_known() {
        assert!(Stat::parse(&text("x", 'Z', 0, 99)).unwrap().is_dead);
        assert!(
            Stat::parse(&text("kworker/0:1", 'I', 0x0420_8060, 9))
                .unwrap()
                .is_kernel
        );
        assert!(
            !Stat::parse(&text("x", 'S', 0x0040_0000, 9))
                .unwrap()
                .is_kernel
        );
    }

    #[test]
    fn one_knows_oneself() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = Stat::read_alive(Path::new("/proc"), pid).unwrap();
        assert_eq!((me.pid, me.is_kernel), (pid, false));
        assert!(Stat::read(Path::new("/proc"), me.ppid).is_some());
        assert_eq!(Stat::read(Path::new("/nonexistent"), pid), None);
    }

    proptest! {
        #[test]
        fn anything_may_be_read(text in ".*", near in "[0-9]{0,3} \\([a-z() ]*\\)[ 0-9SZ]*") {
            let _ = (Stat::parse(&text), Stat::parse(&near));
        }

        #[test]
        fn every_name_survives(comm in "[^\0\n]{0,15}", start: u64) {
            let stat = Stat::parse(&text(&comm, 'R', 0, start)).unwrap();
            prop_assert_eq!((stat.comm, stat.start_time), (comm, start));
        }
    }
}
