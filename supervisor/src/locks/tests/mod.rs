//! Probes against a proc file system of our own making: what real processes do too seldom, or only as root.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::{major, minor};
use tempfile::TempDir;

use super::*;

mod kernel;
mod named;

/// Seconds since 1970.
const BOOT: u64 = 1_700_000_000;
const TICKS: u64 = 100;

/// A host with one lock file, `/run/lock`.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(TempDir::new().unwrap());
        fs::create_dir_all(host.root().join("run")).unwrap();
        fs::create_dir(host.proc()).unwrap();
        host.write("stat", &format!("cpu 1 2\nbtime {BOOT}\nprocesses 900\n"));
        host.write("locks", "");
        host
    }

    /// With a lock file of this content, written so many seconds after boot.
    fn holding(content: &str, written: u64) -> Self {
        let host = Self::new();
        fs::write(host.file(), content).unwrap();
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(BOOT + written);
        let file = fs::File::options().write(true).open(host.file());
        file.unwrap().set_modified(time).unwrap();
        host
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn proc(&self) -> PathBuf {
        self.0.path().join("proc")
    }

    fn file(&self) -> PathBuf {
        self.root().join("run/lock")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.proc().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A process that started so many seconds after boot.
    fn process(&self, pid: i32, comm: &str, started: u64) {
        self.process_of_kind(pid, comm, started, 'S', 0);
    }

    fn process_of_kind(&self, pid: i32, comm: &str, started: u64, state: char, flags: u64) {
        let start = started * TICKS;
        let stat = format!(
            "{pid} ({comm}) {state} 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n"
        );
        self.write(&format!("{pid}/stat"), &stat);
        self.write(
            &format!("{pid}/status"),
            &format!("Name:\t{comm}\nTgid:\t{pid}\n"),
        );
        self.write(&format!("{pid}/comm"), &format!("{comm}\n"));
    }

    /// An open file, and the lock behind it.
    fn descriptor(&self, pid: i32, fd: u32, path: &Path, lock: &str) {
        let text = format!("pos:\t0\nflags:\t0100002\nlock:\t1: {lock} 0 EOF\n");
        self.write(&format!("{pid}/fdinfo/{fd}"), &text);
        let directory = self.proc().join(format!("{pid}/fd"));
        fs::create_dir_all(&directory).unwrap();
        symlink(path, directory.join(fd.to_string())).unwrap();
    }

    /// Device and inode of the lock file, as the kernel prints them.
    fn inode(&self) -> String {
        let file = fs::metadata(self.file()).unwrap();
        let device = (major(file.dev()), minor(file.dev()));
        format!("{:02x}:{:02x}:{}", device.0, device.1, file.ino())
    }

    /// The same inode of another device: how btrfs and overlayfs appear.
    fn odd_inode(&self) -> String {
        let inode = fs::metadata(self.file()).unwrap().ino();
        format!("ff:fe:{inode}")
    }

    fn listed(&self, lock: &str) {
        self.write("locks", &format!("1: {lock} 0 EOF\n"));
    }

    fn in_container(&self) {
        fs::create_dir_all(self.proc().join("self/ns")).unwrap();
        symlink("pid:[4026532178]", self.proc().join("self/ns/pid")).unwrap();
    }

    fn glance(&self, kind: LockKind) -> Option<bool> {
        let path = "/run/lock".into();
        let snapshot = Snapshot::with_root(&self.root(), &self.proc()).unwrap();
        let comm = None;
        snapshot.glance(&LockFile { path, kind, comm })
    }

    fn probe(&self, kind: LockKind) -> Probe {
        self.probe_for(kind, None)
    }

    fn probe_for(&self, kind: LockKind, comm: Option<&str>) -> Probe {
        let lock = LockFile {
            path: "/run/lock".into(),
            kind,
            comm: comm.map(str::to_owned),
        };
        let snapshot = Snapshot::with_root(&self.root(), &self.proc());
        snapshot.unwrap().holders(&lock)
    }
}

fn pids(probe: &Probe) -> Vec<i32> {
    probe.holders.iter().map(|holder| holder.pid).collect()
}

#[track_caller]
fn is_free(probe: &Probe, why: &str) {
    assert!(probe.holders.is_empty(), "{probe:?}");
    assert!(probe.remarks.iter().any(|r| r.contains(why)), "{probe:?}");
}

/// What dnf5 writes.
fn dnf5_file(pid: i32, start: u64) -> String {
    format!(
        "comment = \"\"\ndescription = \"dnf5 upgrade\"\npid = {pid}\nstart_time = {}\n",
        BOOT + start
    )
}
