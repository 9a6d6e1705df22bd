//! Pure: the lines by which the kernel lists locks, in `/proc/locks` (proc_locks(5)) and behind `lock:` in
//! `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5)).

/// Which call took a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `fcntl(F_SETLK)`: belongs to a process.
    Posix,
    /// `fcntl(F_OFD_SETLK)`: belongs to an open file description.
    Ofd,
    /// `flock(2)`: belongs to an open file description.
    Flock,
}

/// One lock of the kernel's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Which call took it.
    pub class: Class,
    /// A write (exclusive) lock.
    pub write: bool,
    /// Who took it, which needn't be who holds it now; -1 for [`Class::Ofd`], negative for a process of another host.
    pub pid: i32,
    /// Major and minor number of the file system, not always the file's `st_dev` (btrfs, overlayfs).
    pub device: (u64, u64),
    /// The file's inode.
    pub inode: u64,
    /// A request that waits (`->`): nobody holds it.
    pub waits: bool,
}

impl Entry {
    /// Reads a line of `/proc/locks`; `None` for leases, delegations, and what isn't such a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        words.next()?.strip_suffix(':')?.parse::<u64>().ok()?;
        let first = words.next()?;
        let waits = first == "->";
        let class = match if waits { words.next()? } else { first } {
            "POSIX" => Class::Posix,
            "OFDLCK" => Class::Ofd,
            "FLOCK" => Class::Flock,
            _ => return None,
        };
        if !matches!(words.next()?, "ADVISORY" | "MANDATORY") {
            return None;
        }
        let write = match words.next()? {
            "WRITE" => true,
            "READ" => false,
            _ => return None,
        };
        let pid = words.next()?.parse().ok()?;
        let mut file = words.next()?.split(':');
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let device = (number(file.next()?)?, number(file.next()?)?);
        let inode = file.next()?.parse().ok()?;
        Some(Self {
            class,
            write,
            pid,
            device,
            inode,
            waits,
        })
    }

    /// Whether both are about the same file, and taken the same way.
    pub fn is_same_lock(&self, other: &Self) -> bool {
        (self.class, self.write, self.device, self.inode)
            == (other.class, other.write, other.device, other.inode)
    }
}

/// All locks in the text of `/proc/locks`.
pub fn entries(proc_locks: &str) -> Vec<Entry> {
    proc_locks.lines().filter_map(Entry::parse).collect()
}

/// The locks that are held through a file descriptor, from its fdinfo.
pub fn entries_of_descriptor(fdinfo: &str) -> Vec<Entry> {
    let locks = fdinfo.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.filter_map(Entry::parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF\n\
                    2: FLOCK  ADVISORY  READ 359 00:13:11691 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 360 00:13:11691 0 EOF\n\
                    3: OFDLCK ADVISORY  READ  -1 103:05:77 1073741826 1073742335\n\
                    4: LEASE  ACTIVE    READ 1 fd:00:5 0 EOF\n\
                    5: POSIX  ADVISORY  WRITE 9 <none>:0 0 EOF\n\
                    6: FLOCK  MSNFS     RW 9 fd:00:5 0 EOF\n";
        let entry = |class, write, pid, device, inode, waits| Entry {
            class,
            write,
            pid,
            device,
            inode,
            waits,
        };
        assert_eq!(
            entries(text),
            [
                entry(Class::Posix, true, 3568, (0xfd, 0), 2_531_452, false),
                entry(Class::Flock, false, 359, (0, 0x13), 11691, false),
                entry(Class::Flock, true, 360, (0, 0x13), 11691, true),
                entry(Class::Ofd, false, -1, (0x103, 5), 77, false),
            ]
        );
    }

    #[test]
    fn a_descriptor_has_its_locks_among_other_lines() {
        let text = "pos:\t0\nflags:\t0100002\nmnt_id:\t30\nino:\t77\n\
                    lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 EOF\n";
        let locks = entries_of_descriptor(text);
        assert_eq!(locks.len(), 1);
        assert!(locks[0].class == Class::Ofd && locks[0].write);
        assert!(entries(text).is_empty(), "fdinfo isn't /proc/locks");
    }

    proptest! {
        #[test]
        fn anything_may_be_read(text in ".*", line in "[0-9:> \tPOSIXFLCKADVRWTE-]{0,60}") {
            entries(&text);
            Entry::parse(&line);
            entries_of_descriptor(&format!("lock:\t{line}"));
        }

        #[test]
        fn what_the_kernel_prints_is_what_is_read(
            class in 0..3_usize, write: bool, pid: i32, major in 0..4096_u64, minor in 0..1_048_576_u64,
            inode: u64, waits: bool, id: u32,
        ) {
            let name = ["POSIX ", "OFDLCK", "FLOCK "][class];
            let mode = if write { "WRITE" } else { "READ" };
            let arrow = if waits { "-> " } else { "" };
            let line = format!("{id}: {arrow}{name} ADVISORY  {mode} {pid} {major:02x}:{minor:02x}:{inode} 0 EOF");
            let class = [Class::Posix, Class::Ofd, Class::Flock][class];
            let entry = Entry { class, write, pid, device: (major, minor), inode, waits };
            prop_assert_eq!(Entry::parse(&line), Some(entry));
        }
    }
}
