//! Lock probes against real holders: this test's own binary, started again as another process.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use std::sync::{Mutex, MutexGuard, PoisonError};

use interlock_generator::policy::settings::LockFile;
use interlock_generator::policy::settings::LockKind::{self, Ofd, Pidfile, Posix, Toml};
use interlock_supervisor::locks::{Probe, Snapshot};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use tempfile::TempDir;

const HOW: &str = "INTERLOCK_TEST_HOLD";
const FILE: &str = "INTERLOCK_TEST_FILE";

/// How often a rival takes its lock.
const TIMES: usize = 10_000;

fn range(kind: libc::c_int, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

fn open(path: &Path, flags: libc::c_int) -> File {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .custom_flags(flags);
    options.open(path).unwrap()
}

/// What [`Held`] starts: locks, says so, and lets go when its standard input ends. No test of its own.
#[test]
fn holder() {
    let (Some(how), Some(path)) = (std::env::var_os(HOW), std::env::var_os(FILE)) else {
        return;
    };
    let path = PathBuf::from(path);
    let file = open(&path, 0);
    let fd = file.as_raw_fd();
    let whole = |kind| range(kind, 0, 0);
    let mut flock = None;
    match how.to_str().unwrap() {
        "posix" => set(fd, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))),
        "posix-read" => set(fd, FcntlArg::F_SETLK(&range(libc::F_RDLCK, 128, 1))),
        "posix-wait" => {
            say("waits");
            set(fd, FcntlArg::F_SETLKW(&whole(libc::F_WRLCK)));
        }
        "ofd" => set(fd, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))),
        "flock" => flock = Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusive).ok(),
        "flock-read" => flock = Flock::lock(file.try_clone().unwrap(), FlockArg::LockShared).ok(),
        "flock-inherited" => {
            // As in a shell's `exec 9>lock; flock 9`: who took it ends, who has the descriptor holds it.
            let taken = Flock::lock(file.try_clone().unwrap(), FlockArg::LockExclusive).unwrap();
            fcntl(
                taken.as_raw_fd(),
                FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
            )
            .unwrap();
            let heir = Command::new("cat").spawn().unwrap();
            say(&heir.id().to_string());
            // Neither the lock's guard nor anything else is to be undone.
            std::process::exit(0);
        }
        how if how.starts_with("rival-") => {
            say("rival");
            (0..TIMES).for_each(|_| take_at_once(how, &path));
            return;
        }
        "pidfile" => fs::write(&path, format!("{}\n", std::process::id())).unwrap(),
        other => panic!("{other}"),
    }
    say(&std::process::id().to_string());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop((flock, file));
}

fn set(fd: RawFd, what: FcntlArg<'_>) {
    fcntl(fd, what).unwrap();
}

/// Takes a lock as programs do that give up if they can't have it, and lets go.
fn take_at_once(how: &str, path: &Path) {
    let file = open(path, 0);
    let whole = range(libc::F_WRLCK, 0, 0);
    match how {
        "rival-posix" => set(file.as_raw_fd(), FcntlArg::F_SETLK(&whole)),
        "rival-ofd" => set(file.as_raw_fd(), FcntlArg::F_OFD_SETLK(&whole)),
        _ => drop(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()),
    }
}

fn say(line: &str) {
    // Not through the harness's capture, which would keep it.
    let mut out = File::create("/proc/self/fd/2").unwrap();
    writeln!(out, "{line}").unwrap();
}

/// Another process that holds (or waits for) a lock, until this is dropped.
struct Held {
    child: Child,
    input: Option<ChildStdin>,
    said: BufReader<std::process::ChildStderr>,
}

impl Held {
    fn new(how: &str, path: &Path) -> (Self, i32) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holder", "--nocapture"])
            .env(HOW, how)
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut held = Self { child, input, said };
        let line = held.line();
        let pid = line.parse().unwrap_or(held.pid());
        (held, pid)
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// It ends by itself, though its lock needn't.
    fn ended(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take());
        // One that still waits for a lock doesn't read its input.
        let _ = self.child.kill();
        // Ends when every heir of its standard error is gone as well.
        let _ = self.said.read_to_end(&mut Vec::new());
        let _ = self.child.wait();
    }
}

fn lock(path: &Path, kind: LockKind) -> LockFile {
    LockFile {
        path: path.to_owned(),
        kind,
        comm: None,
    }
}

fn probe(path: &Path, kind: LockKind) -> Probe {
    Snapshot::take().unwrap().holders(&lock(path, kind))
}

fn glance(path: &Path, kind: LockKind) -> Option<bool> {
    Snapshot::take().unwrap().glance(&lock(path, kind))
}

fn pids(probe: &Probe) -> Vec<i32> {
    probe.holders.iter().map(|holder| holder.pid).collect()
}

/// A place for a lock file, and no other test meanwhile: to look for the owner of one lock is to look at all
/// descriptors, the rival's too.
fn place() -> (MutexGuard<'static, ()>, TempDir, PathBuf) {
    static ALONE: Mutex<()> = Mutex::new(());
    // After a test that failed.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lock");
    (alone, directory, path)
}

#[test]
fn whoever_locks_a_file_is_found_until_it_lets_go() {
    for (how, kind) in [
        ("posix", Posix),
        ("ofd", Ofd),
        ("flock", LockKind::Flock),
        ("pidfile", Pidfile),
    ] {
        let (_alone, _directory, path) = place();
        assert_eq!(probe(&path, kind), Probe::default(), "no such file");
        assert_eq!(glance(&path, kind), Some(false));
        let (held, pid) = Held::new(how, &path);
        assert_eq!(glance(&path, kind), Some(true), "{how}");
        let seen = probe(&path, kind);
        assert_eq!(pids(&seen), [pid], "{how}: {seen:?}");
        let holder = &seen.holders[0];
        assert!(holder.write && holder.kind == kind && holder.lock == path);
        assert!(holder.comm.starts_with("locks-"), "{holder:?}");
        assert!(holder.start_time > 0);
        drop(held);
        assert_ne!(glance(&path, kind), Some(true), "{how}");
        assert!(pids(&probe(&path, kind)).is_empty(), "{how}");
    }
}

#[test]
fn a_link_leads_to_the_lock() {
    let (_alone, directory, path) = place();
    let link = directory.path().join("link");
    symlink("lock", &link).unwrap();
    let (_held, pid) = Held::new("posix", &path);
    assert_eq!(pids(&probe(&link, Posix)), [pid]);
}

#[test]
fn a_lock_of_the_other_kind_counts_only_where_it_keeps_others_out() {
    let (_alone, _directory, path) = place();
    let (_held, pid) = Held::new("ofd", &path);
    let seen = probe(&path, Posix);
    assert_eq!(pids(&seen), [pid]);
    assert_eq!(seen.holders[0].kind, Ofd);
    assert!(pids(&probe(&path, LockKind::Flock)).is_empty());
}

#[test]
fn a_read_lock_is_remarked_but_does_not_count() {
    for (how, kind) in [("posix-read", Posix), ("flock-read", LockKind::Flock)] {
        let (_alone, _directory, path) = place();
        let (_held, pid) = Held::new(how, &path);
        let seen = probe(&path, kind);
        assert!(pids(&seen).is_empty(), "{how}");
        assert!(seen.remarks[0].contains(&format!("pid {pid} ")), "{seen:?}");
    }
}

#[test]
fn whoever_waits_for_a_lock_does_not_hold_it() {
    let (_alone, _directory, path) = place();
    let (_held, pid) = Held::new("posix", &path);
    let (waiter, _) = Held::new("posix-wait", &path);
    // It says so just before it waits.
    let listed = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks
            .lines()
            .any(|l| l.contains("->") && l.contains(&format!(" {} ", waiter.pid())))
    };
    while !listed() {
        std::thread::yield_now();
    }
    assert_eq!(pids(&probe(&path, Posix)), [pid]);
}

#[test]
fn an_inherited_lock_is_its_heirs() {
    let (_alone, _directory, path) = place();
    let (mut held, heir) = Held::new("flock-inherited", &path);
    held.ended();
    let seen = probe(&path, LockKind::Flock);
    assert_eq!(pids(&seen), [heir], "{seen:?}");
    assert_eq!(seen.holders[0].comm, "cat");
}

#[test]
fn a_rival_that_does_not_wait_never_fails_because_of_a_probe() {
    for how in ["rival-posix", "rival-ofd", "rival-flock"] {
        let (_alone, _directory, path) = place();
        // What a probe of a pid file has to read.
        fs::write(&path, "1\n").unwrap();
        let (mut looks, mut seen) = (0, 0);
        // It may be that no look came while it was locked; that would prove nothing.
        while seen == 0 {
            let (mut rival, _) = Held::new(how, &path);
            let ended = loop {
                let snapshot = Snapshot::take().unwrap();
                for kind in [Posix, Ofd, LockKind::Flock, Pidfile, Toml] {
                    let lock = lock(&path, kind);
                    looks += 1;
                    seen += usize::from(snapshot.glance(&lock) == Some(true) && kind != Pidfile);
                    // To name them, descriptors may have to be looked at, which locks of F_SETLK don't mind.
                    if how == "rival-posix" {
                        let holders = snapshot.holders(&lock).holders;
                        seen += holders.iter().filter(|h| h.kind != Pidfile).count();
                    }
                }
                if let Some(status) = rival.child.try_wait().unwrap() {
                    break status;
                }
            };
            assert!(ended.success(), "{how} failed");
        }
        println!(
            "{how}: {TIMES} times and more, {looks} looks, {seen} of them while it was locked"
        );
    }
}
