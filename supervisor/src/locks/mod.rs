//! Lock probes: who holds a lock file, seen without taking the lock.
//!
//! A file that is locked by the kernel is never even opened: its holders stand in `/proc/locks`, by device and
//! inode. A file that names its holder is opened for reading. Neither can make anybody's attempt to take the lock fail.
//!
//! Looking at a process's descriptors can, though by a hair: for some microseconds the kernel keeps what we look at
//! open, and if it is closed just then, a lock of flock(2) or `F_OFD_SETLK` behind it lives on for as long. (Those of
//! `F_SETLK` don't.) lsof(8) does the same. So it is done only where nothing else tells who holds a
//! lock: for open file descriptions, whose locks are listed without a pid, and for flock(2) by a process that is
//! dead. [`Snapshot::glance`] never does it.

pub mod contents;
mod kernel;
mod named;
pub mod process;
pub mod table;

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use interlock_generator::policy::settings::{LockFile, LockKind};
use interlock_generator::rooted;

use crate::process::Stat;
use process::{Boot, Handle, Proc};
use table::Entry;

/// The file system as PID 1 sees it, for a service that has none of users' files; who may not go there sees what it
/// sees itself.
pub fn root_of_pid1() -> &'static Path {
    let root = Path::new("/proc/1/root");
    match root.join("proc").exists() {
        true => root,
        false => Path::new("/"),
    }
}

/// Somebody who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process; 0 if the lock is held by somebody who can't be named: in another pid namespace, on another
    /// host, or through a descriptor that is on its way between processes.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22): with the pid it names one process.
    pub start_time: u64,
    /// Its name, cut by the kernel at 15 bytes.
    pub comm: String,
    /// It holds a write (exclusive) lock. So does everybody whom a probe returns.
    pub write: bool,
    /// The lock file, as the policy has it.
    pub lock: PathBuf,
    /// How it holds it. Locks of fcntl(2) keep each other out, so a file of kind `posix` may be held by `ofd`.
    pub kind: LockKind,
}

/// What a look at one lock file has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// Who holds it, each process once.
    pub holders: Vec<Holder>,
    /// Why something that looks like a holder isn't one, or couldn't be seen; one line each.
    pub remarks: Vec<String>,
}

impl Probe {
    fn remark(text: String) -> Self {
        Self {
            holders: Vec::new(),
            remarks: vec![text],
        }
    }

    fn add(&mut self, holder: Holder) {
        let known =
            |other: &Holder| (other.pid, other.start_time) == (holder.pid, holder.start_time);
        if !self.holders.iter().any(known) {
            self.holders.push(holder);
        }
    }

    fn say(&mut self, remark: String) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}

/// One look at all locks: the kernel's list is read once, however many files are asked for.
#[derive(Debug)]
pub struct Snapshot {
    root: PathBuf,
    proc: Proc,
    entries: Vec<Entry>,
    /// The locks behind all processes' descriptors; read only if a lock's owner can't be told otherwise.
    handles: OnceLock<Vec<Handle>>,
    /// Read once, because `/proc/stat` is long on hosts of many processors.
    boot: OnceLock<Option<Boot>>,
}

impl Snapshot {
    /// Looks at this host's locks. Without lock files there is nothing to take it for.
    ///
    /// Lock files are those that PID 1 sees: interlockd.service has no homes and its own `/tmp`, and a lock file
    /// that isn't seen is one that nobody holds.
    ///
    /// # Errors
    /// Those of reading `/proc/locks`.
    pub fn take() -> io::Result<Self> {
        Self::with_root(root_of_pid1(), Path::new("/proc"))
    }

    /// The same with lock files below `root`, and the proc file system at `proc`.
    ///
    /// # Errors
    /// Those of reading `locks` in it.
    pub fn with_root(root: &Path, proc: &Path) -> io::Result<Self> {
        let proc = Proc::new(proc);
        Ok(Self {
            root: root.to_owned(),
            entries: proc.locks()?,
            proc,
            handles: OnceLock::new(),
            boot: OnceLock::new(),
        })
    }

    /// Who holds a lock file. A file that doesn't exist is held by nobody.
    pub fn holders(&self, lock: &LockFile) -> Probe {
        let (path, metadata) = match self.locate(lock) {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Probe::default(),
            Err(error) => return Probe::remark(unseen(&lock.path, &error)),
        };
        match lock.kind {
            LockKind::Posix | LockKind::Ofd | LockKind::Flock => self.locked(lock, &metadata),
            LockKind::Pidfile => self.named(lock, &path, &metadata),
            LockKind::Toml => self.named_and_locked(lock, &path, &metadata),
        }
    }

    /// Whether anybody holds a lock file, as far as that shows without a look at descriptors; `None` if only
    /// [`Self::holders`] can tell. For who asks again and again.
    pub fn glance(&self, lock: &LockFile) -> Option<bool> {
        let (path, metadata) = match self.locate(lock) {
            Ok(found) => found,
            Err(error) => return is_missing(&error).then_some(false),
        };
        let is_named = || !self.named(lock, &path, &metadata).holders.is_empty();
        match lock.kind {
            LockKind::Posix | LockKind::Ofd | LockKind::Flock => self.is_listed(lock, &metadata),
            LockKind::Pidfile => Some(is_named()),
            LockKind::Toml if is_named() => Some(true),
            LockKind::Toml => self.is_listed(lock, &metadata),
        }
    }

    /// Whether this very process lives.
    pub fn is_alive(&self, pid: i32, start_time: u64) -> bool {
        let process = self.proc.process(pid);
        process.is_some_and(|process| process.start_time == start_time)
    }

    /// Whether a process has a descriptor through which the file is locked for writing: also one that it inherited
    /// from the living process that [`Self::holders`] names, as a program started by flock(1) does. Such a process
    /// doesn't wait for the lock.
    pub fn is_shared_by(&self, lock: &LockFile, pid: i32) -> bool {
        let Ok((_, metadata)) = self.locate(lock) else {
            return false;
        };
        self.is_locked_through(lock, &metadata, pid)
    }

    /// Whom the kernel lists as waiting for the file's lock. Who waits by trying again and again isn't among them.
    pub fn waiters(&self, lock: &LockFile) -> Vec<i32> {
        match self.locate(lock) {
            Ok((_, metadata)) => self.listed_waiters(lock, &metadata),
            Err(_) => Vec::new(),
        }
    }

    fn locate(&self, lock: &LockFile) -> io::Result<(PathBuf, Metadata)> {
        let path = rooted::resolve(&self.root, &lock.path)?;
        let metadata = fs::metadata(&path)?;
        Ok((path, metadata))
    }

    fn boot(&self) -> Option<&Boot> {
        self.boot.get_or_init(|| self.proc.boot()).as_ref()
    }

    fn handles(&self) -> &[Handle] {
        self.handles.get_or_init(|| self.proc.all_handles())
    }

    /// dnf5 holds a lock of fcntl(2) for as long as its file counts, and the kernel knows better than the file
    /// who that is: the file is still empty just after it was locked, and its pid is that of a container.
    fn named_and_locked(&self, lock: &LockFile, path: &Path, metadata: &Metadata) -> Probe {
        let locked = self.locked(lock, metadata);
        let named = self.named(lock, path, metadata);
        if locked.holders.is_empty() {
            let mut probe = named;
            locked.remarks.into_iter().for_each(|r| probe.say(r));
            return probe;
        }
        let mut probe = locked;
        named.remarks.into_iter().for_each(|r| probe.say(r));
        for other in named.holders {
            if !probe.holders.iter().any(|holder| holder.pid == other.pid) {
                probe.say(format!(
                    "{} names pid {} ({}), but another process has locked it",
                    lock.path.display(),
                    other.pid,
                    other.comm
                ));
            }
        }
        probe
    }
}

fn holder(process: Stat, lock: &LockFile, kind: LockKind) -> Holder {
    Holder {
        pid: process.pid,
        start_time: process.start_time,
        comm: process.comm,
        write: true,
        lock: lock.path.clone(),
        kind,
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unseen(path: &Path, error: &io::Error) -> String {
    format!("{} can't be looked at: {error}", path.display())
}

#[cfg(test)]
mod tests;
