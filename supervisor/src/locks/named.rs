//! Who holds a lock file by standing in it: pid files, and dnf5's.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use interlock_generator::policy::settings::{LockFile, LockKind};

use super::contents::{self, Named};
use super::process::COMM_MAX;
use super::{Probe, Snapshot, holder, unseen};
use crate::process::{Stat, ticks_per_second};

/// More than any such file has.
const LONGEST: u64 = 64 * 1024;

/// Seconds by which a process may seem to be younger than what it wrote: the time of boot is known to the second,
/// and clocks are set.
const SLACK: u64 = 2;

impl Snapshot {
    /// Who holds a file by standing in it.
    pub(super) fn named(&self, lock: &LockFile, path: &Path, metadata: &Metadata) -> Probe {
        if !metadata.is_file() {
            return Probe::remark(format!("{} is no regular file", lock.path.display()));
        }
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) if super::is_missing(&error) => return Probe::default(),
            Err(error) => return Probe::remark(unseen(&lock.path, &error)),
        };
        let named = match lock.kind {
            LockKind::Toml => contents::toml_file(&bytes),
            _ => contents::pid_file(&bytes),
        };
        let named = match named {
            Ok(named) => named,
            Err(nobody) => return Probe::remark(format!("{} {nobody}", lock.path.display())),
        };
        match self.fitting(lock, named, metadata) {
            Ok(process) => {
                let mut probe = Probe::default();
                probe.add(holder(process, lock, lock.kind));
                probe
            }
            Err(why) => Probe::remark(format!("{} is stale: {why}", lock.path.display())),
        }
    }

    /// The process that a file names, if it can be the one that wrote it.
    fn fitting(&self, lock: &LockFile, named: Named, metadata: &Metadata) -> Result<Stat, String> {
        let pid = named.pid;
        let Some(process) = self.proc.process(pid) else {
            return Err(format!("no process {pid} here"));
        };
        let comm = &process.comm;
        if self.proc.is_thread(pid) {
            return Err(format!("{pid} is a thread of another process"));
        }
        // Small numbers that come out of a container are kernel threads here.
        if process.is_kernel {
            return Err(format!(
                "pid {pid} is the kernel's thread {comm}; if a container wrote it, its numbers mean nothing here"
            ));
        }
        let written = named.since.unwrap_or(metadata.mtime());
        if self
            .started(&process)
            .is_some_and(|at| at > written.saturating_add(SLACK.cast_signed()))
        {
            return Err(format!(
                "pid {pid} ({comm}) is younger than the file, so the number was used again, or comes from a container"
            ));
        }
        match &lock.comm {
            Some(wanted) if !self.goes_by(&process, wanted) => {
                Err(format!("pid {pid} is {comm}, not {wanted}"))
            }
            _ => Ok(process),
        }
    }

    fn goes_by(&self, process: &Stat, wanted: &str) -> bool {
        let cut = wanted.get(..COMM_MAX).unwrap_or(wanted);
        let names = self.proc.names(process);
        process.comm.contains(cut) || names.iter().any(|name| name.contains(wanted))
    }

    /// When a process started, in seconds since 1970.
    fn started(&self, process: &Stat) -> Option<i64> {
        let since_boot = process.start_time / ticks_per_second();
        let at = self.boot()?.time.checked_add(since_boot)?;
        i64::try_from(at).ok()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        // Whatever has taken the file's place: neither wait for it, nor become its terminal's leader.
        .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}
