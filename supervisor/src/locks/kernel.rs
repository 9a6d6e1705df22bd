//! Who holds a lock of fcntl(2) or flock(2), from the kernel's list.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use interlock_generator::policy::settings::{LockFile, LockKind};
use nix::sys::stat::{major, minor};

use super::process::Handle;
use super::table::{Class, Entry};
use super::{Holder, Probe, Snapshot, holder};
use crate::process::Stat;

/// Who holds one lock of the list.
enum Owners {
    /// These processes.
    Are(Vec<Stat>),
    /// It is gone, or on another file.
    None,
    /// Somebody, but it can't be told who.
    Unknown,
}

impl Snapshot {
    /// Who holds a file by a lock of the kernel's that would keep out others of its kind.
    pub(super) fn locked(&self, lock: &LockFile, file: &Metadata) -> Probe {
        let mut probe = Probe::default();
        let concerns = |entry: &&Entry| {
            entry.inode == file.ino() && !entry.waits && conflicts(lock.kind, entry.class)
        };
        for entry in self.entries.iter().filter(concerns) {
            self.judge(lock, entry, self.owners(entry, file), &mut probe);
        }
        // Seen from inside a container, a flock whose taker is dead isn't in the list.
        if lock.kind == LockKind::Flock && probe.holders.is_empty() && !self.proc.is_whole_host() {
            for handle in self.handles().iter().filter(|h| concerns(&&h.lock)) {
                let owners = self.through(std::slice::from_ref(handle), &handle.lock, file);
                self.judge(lock, &handle.lock, Owners::Are(owners), &mut probe);
            }
        }
        probe
    }

    fn judge(&self, lock: &LockFile, entry: &Entry, owners: Owners, probe: &mut Probe) {
        let path = lock.path.display();
        match owners {
            Owners::Are(processes) if entry.write => {
                for process in processes {
                    probe.add(holder(process, lock, kind_of(entry.class)));
                }
            }
            // SQLite and Berkeley DB keep such locks for as long as a database is open.
            Owners::Are(processes) => {
                for Stat { pid, comm, .. } in processes {
                    probe.say(format!("pid {pid} ({comm}) has only a read lock on {path}"));
                }
            }
            Owners::Unknown if entry.write => {
                probe.say(format!("{path} is locked by a process that can't be named"));
                probe.add(unknown(lock, entry));
            }
            Owners::Unknown => probe.say(format!("{path} has only a read lock")),
            Owners::None => {}
        }
    }

    /// Whether the list has a write lock on a file; `None` if that can't be told from the list alone.
    pub(super) fn is_listed(&self, lock: &LockFile, file: &Metadata) -> Option<bool> {
        let listed = |entry: &&Entry| {
            entry.write
                && entry.inode == file.ino()
                && !entry.waits
                && conflicts(lock.kind, entry.class)
        };
        let entries: Vec<&Entry> = self.entries.iter().filter(listed).collect();
        if entries.iter().any(|entry| is_certain(entry, file)) {
            return Some(true);
        }
        let is_whole = lock.kind != LockKind::Flock || self.proc.is_whole_host();
        (entries.is_empty() && is_whole).then_some(false)
    }

    /// Whether one process has a descriptor through which a file is locked for writing.
    pub(super) fn is_locked_through(&self, lock: &LockFile, file: &Metadata, pid: i32) -> bool {
        let handles = self.proc.handles(pid).unwrap_or_default();
        let mut locks = handles.iter().map(|handle| &handle.lock).filter(|entry| {
            entry.write && entry.inode == file.ino() && conflicts(lock.kind, entry.class)
        });
        locks.any(|entry| !self.through(&handles, entry, file).is_empty())
    }

    /// Whom the list has as waiting for a file's lock.
    pub(super) fn listed_waiters(&self, lock: &LockFile, file: &Metadata) -> Vec<i32> {
        let waits = |entry: &&Entry| {
            entry.waits
                && entry.pid > 0
                && entry.inode == file.ino()
                && conflicts(lock.kind, entry.class)
                && is_certain(entry, file)
        };
        let waiting = self.entries.iter().filter(waits);
        waiting.map(|entry| entry.pid).collect()
    }

    fn owners(&self, entry: &Entry, file: &Metadata) -> Owners {
        let certain = is_certain(entry, file);
        let taker = self.proc.process(entry.pid);
        match (certain, &taker) {
            (true, Some(taker)) if !entry.write || self.is_of_its_taker(entry) => {
                return Owners::Are(vec![taker.clone()]);
            }
            // Not worth a look at descriptors.
            (true, _) if !entry.write => return Owners::Unknown,
            (false, _) if !entry.write => return Owners::None,
            _ => {}
        }
        let of_taker = match &taker {
            Some(taker) => self.proc.handles(taker.pid),
            None => Ok(Vec::new()),
        };
        let mut owners = match &of_taker {
            Ok(handles) => self.through(handles, entry, file),
            Err(_) => Vec::new(),
        };
        let looked = entry.class == Class::Posix && taker.is_some() && of_taker.is_ok();
        if owners.is_empty() && entry.pid >= -1 && !looked {
            owners = self.through(self.handles(), entry, file);
        }
        match (owners.is_empty(), certain) {
            (false, _) => Owners::Are(owners),
            (true, true) if self.still_listed(entry) => match (taker, of_taker) {
                // It may not be looked into; then the list's word is the best there is.
                (Some(taker), Err(_)) => Owners::Are(vec![taker]),
                _ => Owners::Unknown,
            },
            (true, _) => Owners::None,
        }
    }

    /// Whether the living process of the number that the list has is who holds the lock.
    ///
    /// Locks of F_SETLK end with the process that took them. Those of flock(2) stay with whoever has inherited the
    /// descriptor: the shell's `exec 9>lock; flock 9` leaves the pid of a flock(1) that is dead. Its number may by
    /// now be another's, but not before the host has used up all numbers.
    fn is_of_its_taker(&self, entry: &Entry) -> bool {
        match entry.class {
            Class::Posix => true,
            Class::Flock => self.boot().is_some_and(|boot| boot.pids_are_unique),
            Class::Ofd => false,
        }
    }

    /// The processes with a descriptor on this file through which this lock is held.
    fn through(&self, handles: &[Handle], entry: &Entry, file: &Metadata) -> Vec<Stat> {
        let mut processes: Vec<Stat> = Vec::new();
        for handle in handles.iter().filter(|h| h.lock.is_same_lock(entry)) {
            // The descriptor's file is asked for only now: on a network file system it may take its time.
            let same = fs::metadata(self.proc.descriptor(handle.pid, handle.fd))
                .is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()));
            if !same || processes.iter().any(|known| known.pid == handle.pid) {
                continue;
            }
            processes.extend(self.proc.process(handle.pid));
        }
        processes
    }

    /// Whether a lock is held even now: its owner may have let go between two looks.
    fn still_listed(&self, entry: &Entry) -> bool {
        let now: io::Result<Vec<Entry>> = self.proc.locks();
        // A list that can't be read says nothing; then the first look counts.
        now.map_or(true, |entries| entries.contains(entry))
    }
}

/// Whether an entry of this inode is about this file. Where file systems show files under a device of their own
/// (btrfs, overlayfs), the list has that of the superblock. Then the same inode may be another file's, and only a
/// holder's descriptor tells.
fn is_certain(entry: &Entry, file: &Metadata) -> bool {
    entry.device == (major(file.dev()), minor(file.dev()))
}

/// Locks of fcntl(2) keep each other out, whoever they belong to; those of flock(2) are apart.
fn conflicts(kind: LockKind, class: Class) -> bool {
    (kind == LockKind::Flock) == (class == Class::Flock)
}

fn kind_of(class: Class) -> LockKind {
    match class {
        Class::Posix => LockKind::Posix,
        Class::Ofd => LockKind::Ofd,
        Class::Flock => LockKind::Flock,
    }
}

fn unknown(lock: &LockFile, entry: &Entry) -> Holder {
    Holder {
        pid: 0,
        start_time: 0,
        comm: String::new(),
        write: entry.write,
        lock: lock.path.clone(),
        kind: kind_of(entry.class),
    }
}
