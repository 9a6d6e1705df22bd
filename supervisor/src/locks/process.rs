//! What `/proc` tells about processes and the locks behind their file descriptors. A process that vanishes
//! while it is looked at is no error: it is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::table::{self, Entry};
use crate::process::Stat;

/// A comm of this many bytes may have been cut (`TASK_COMM_LEN` of the kernel, less its end mark).
pub const COMM_MAX: usize = 15;

/// What is known of the time since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// When it was, in seconds since 1970.
    pub time: u64,
    /// No number of a process can have been used twice since.
    pub pids_are_unique: bool,
}

/// Reads `/proc/stat` (proc_stat(5)), beside `/proc/sys/kernel/pid_max`.
pub fn parse_boot(stat: &str, pid_max: Option<&str>) -> Option<Boot> {
    let value = |key: &str| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(name, _)| *name == key)?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    };
    let most: Option<u64> = pid_max.and_then(|most| most.trim().parse().ok());
    Some(Boot {
        time: value("btime")?,
        // The kernel begins anew at 300; forks that failed have used up a number too.
        pids_are_unique: match (value("processes"), most) {
            (Some(forks), Some(most)) => forks < most / 2,
            _ => false,
        },
    })
}

/// A lock behind a file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Whose descriptor.
    pub pid: i32,
    /// Its number.
    pub fd: u32,
    /// The lock.
    pub lock: Entry,
}

/// A mounted proc file system.
#[derive(Debug, Clone)]
pub struct Proc {
    directory: PathBuf,
}

impl Proc {
    /// The one at `directory`.
    pub fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory }
    }

    /// The kernel's list of locks.
    ///
    /// The kernel hands it out in pages, and counts lines between them: when a lock before the end of a page goes,
    /// the first of the next page is left out. So what takes more than a page is read twice.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn locks(&self) -> io::Result<Vec<Entry>> {
        let read = || read_in_pages(&self.directory.join("locks"));
        let (text, pages) = read()?;
        let mut entries = table::entries(&text);
        if pages > 1 {
            entries.extend(table::entries(&read()?.0));
            entries.sort_unstable();
            entries.dedup();
        }
        Ok(entries)
    }

    /// Whether this is the host's own pid namespace. In others the kernel leaves out locks whose taker is dead or
    /// outside.
    pub fn is_whole_host(&self) -> bool {
        // PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h.
        fs::read_link(self.directory.join("self/ns/pid"))
            .map_or(true, |link| link == Path::new("pid:[4026531836]"))
    }

    /// A process, unless it is gone or a zombie.
    pub fn process(&self, pid: i32) -> Option<Stat> {
        Stat::read_alive(&self.directory, pid).filter(|stat| stat.pid == pid)
    }

    /// Whether the number is a thread's within another process: such threads have a directory too.
    pub fn is_thread(&self, pid: i32) -> bool {
        let status = fs::read(self.of(pid, "status")).unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group.is_some_and(|group| group.trim() != pid.to_string())
    }

    /// The names that a process goes by: its comm, and if that was cut, the whole of it from the command line,
    /// where it is (a script's name is its interpreter's first or second argument).
    pub fn names(&self, process: &Stat) -> BTreeSet<String> {
        let mut names = BTreeSet::from([process.comm.clone()]);
        if process.comm.len() >= COMM_MAX {
            let line = fs::read(self.of(process.pid, "cmdline")).unwrap_or_default();
            let words = line.split(|byte| *byte == 0).take(3);
            let base = |word| {
                String::from_utf8_lossy(word)
                    .rsplit('/')
                    .next()
                    .map(str::to_owned)
            };
            names.extend(
                words
                    .filter_map(base)
                    .filter(|name| name.starts_with(&process.comm)),
            );
        }
        names
    }

    /// The locks behind one process's descriptors.
    ///
    /// # Errors
    /// If its descriptors may not be looked at. A process that is gone has none.
    pub fn handles(&self, pid: i32) -> io::Result<Vec<Handle>> {
        let mut handles = Vec::new();
        let entries = match fs::read_dir(self.of(pid, "fdinfo")) {
            Err(error) if is_gone(&error) => return Ok(handles),
            entries => entries?,
        };
        for entry in entries.flatten() {
            let Some(fd) = number(&entry.file_name()) else {
                continue;
            };
            match fs::read_to_string(entry.path()) {
                Ok(text) => {
                    let locks = table::entries_of_descriptor(&text);
                    handles.extend(locks.into_iter().map(|lock| Handle { pid, fd, lock }));
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(handles)
    }

    /// The locks behind all descriptors of all processes that may be looked at.
    pub fn all_handles(&self) -> Vec<Handle> {
        let pids = self.pids();
        let handles = pids.into_iter().map(|pid| self.handles(pid));
        handles.flat_map(Result::unwrap_or_default).collect()
    }

    /// What a descriptor leads to, also where the file has no name any more.
    pub fn descriptor(&self, pid: i32, fd: u32) -> PathBuf {
        self.of(pid, "fd").join(fd.to_string())
    }

    /// What is known of the time since boot.
    pub fn boot(&self) -> Option<Boot> {
        let stat = fs::read_to_string(self.directory.join("stat")).ok()?;
        let most = fs::read_to_string(self.directory.join("sys/kernel/pid_max"));
        parse_boot(&stat, most.ok().as_deref())
    }

    fn pids(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| number(&name)).collect()
    }

    fn of(&self, pid: i32, file: &str) -> PathBuf {
        self.directory.join(pid.to_string()).join(file)
    }
}

/// A file's text, and how many reads it took.
fn read_in_pages(path: &Path) -> io::Result<(String, usize)> {
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut pages = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((String::from_utf8_lossy(&bytes).into_owned(), pages)),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
        pages += 1;
    }
}

fn number<T: std::str::FromStr>(name: &std::ffi::OsStr) -> Option<T> {
    name.to_str()?.parse().ok()
}

/// The process or its descriptor went away under our eyes.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}
