//! Locks of fcntl(2) and flock(2).

use super::*;

#[test]
fn the_kernel_knows_better_than_the_file_of_dnf5() {
    // Locked, not written yet.
    let host = Host::holding("", 1000);
    host.process(42, "dnf5", 990);
    host.listed(&format!("POSIX  ADVISORY  WRITE 42 {}", host.inode()));
    assert_eq!(pids(&host.probe(LockKind::Toml)), [42]);
    // A container's dnf5 is its number 7; 7 is somebody else here.
    fs::write(host.file(), dnf5_file(7, 1000)).unwrap();
    host.process(7, "sshd", 1);
    let probe = host.probe(LockKind::Toml);
    assert_eq!(pids(&probe), [42]);
    assert!(
        probe.remarks[0].contains("names pid 7 (sshd), but another"),
        "{probe:?}"
    );
    // Both agree.
    fs::write(host.file(), dnf5_file(42, 1000)).unwrap();
    let probe = host.probe(LockKind::Toml);
    assert_eq!((pids(&probe), probe.remarks.len()), (vec![42], 0));
}

#[test]
fn locks_of_other_files_ranges_and_leases_do_not_confuse() {
    let host = Host::holding("", 1);
    host.process(42, "rpm", 1);
    host.process(43, "sqlite3", 1);
    let inode = host.inode();
    host.write(
        "locks",
        &format!(
            "1: POSIX  ADVISORY  READ 43 {inode} 1073741826 1073742335\n\
             2: POSIX  ADVISORY  READ 43 {inode} 128 128\n\
             3: LEASE  ACTIVE    WRITE 43 {inode} 0 EOF\n\
             4: POSIX  ADVISORY  WRITE 42 {inode} 0 0\n\
             5: POSIX  ADVISORY  WRITE 42 {inode} 9 EOF\n\
             5: -> POSIX  ADVISORY  WRITE 43 {inode} 9 EOF\n\
             6: FLOCK  ADVISORY  WRITE 43 {inode} 0 EOF\n\
             7: POSIX  ADVISORY  WRITE 43 {inode}1 0 EOF\n"
        ),
    );
    let probe = host.probe(LockKind::Posix);
    assert_eq!(pids(&probe), [42]);
    let remark = "pid 43 (sqlite3) has only a read lock on /run/lock";
    assert_eq!(probe.remarks, [remark]);
}

#[test]
fn all_who_share_a_description_hold_its_lock() {
    let host = Host::holding("", 1);
    let lock = format!("OFDLCK ADVISORY  WRITE -1 {}", host.inode());
    host.listed(&lock);
    for (pid, comm) in [(42, "rpm"), (43, "sh"), (44, "cat")] {
        host.process(pid, comm, 1);
    }
    host.descriptor(42, 3, &host.file(), &lock);
    host.descriptor(42, 4, &host.file(), &lock);
    host.descriptor(43, 3, &host.file(), &lock);
    host.write("44/fdinfo/3", "pos:\t0\n");
    let mut found = pids(&host.probe(LockKind::Ofd));
    found.sort_unstable();
    assert_eq!(found, [42, 43]);
}

#[test]
fn a_lock_of_a_dead_taker_is_not_given_to_whoever_has_its_number_now() {
    let host = Host::holding("", 1);
    let lock = format!("FLOCK  ADVISORY  WRITE 42 {}", host.inode());
    host.listed(&lock);
    host.process(42, "innocent", 50);
    host.write("42/fdinfo/0", "pos:\t0\n");
    host.process(43, "backup.sh", 1);
    host.descriptor(43, 9, &host.file(), &lock);
    assert_eq!(pids(&host.probe(LockKind::Flock)), [43]);
}

#[test]
fn a_lock_that_nobody_can_be_named_for_is_held_all_the_same() {
    let host = Host::holding("", 1);
    for lock in [
        "OFDLCK ADVISORY  WRITE -1",
        "FLOCK  ADVISORY  WRITE 42",
        "POSIX  ADVISORY  WRITE -77",
    ] {
        host.listed(&format!("{lock} {}", host.inode()));
        let kind = if lock.starts_with("FLOCK") {
            LockKind::Flock
        } else {
            LockKind::Posix
        };
        let probe = host.probe(kind);
        assert_eq!(pids(&probe), [0], "{lock}");
        assert!(probe.remarks[0].contains("can't be named"), "{probe:?}");
    }
    // Unless it only reads.
    host.listed(&format!("OFDLCK ADVISORY  READ  -1 {}", host.inode()));
    assert!(host.probe(LockKind::Ofd).holders.is_empty());
}

#[test]
fn a_lock_that_is_let_go_meanwhile_is_held_by_nobody() {
    let host = Host::holding("", 1);
    host.listed(&format!("FLOCK  ADVISORY  WRITE 42 {}", host.inode()));
    let snapshot = Snapshot::with_root(&host.root(), &host.proc()).unwrap();
    host.write("locks", "");
    let lock = LockFile {
        path: "/run/lock".into(),
        kind: LockKind::Flock,
        comm: None,
    };
    assert_eq!(snapshot.holders(&lock), Probe::default());
}

#[test]
fn on_file_systems_with_devices_of_their_own_the_descriptor_decides() {
    let host = Host::holding("", 1);
    let other = host.root().join("run/other");
    fs::write(&other, "").unwrap();
    for (class, pid, kind) in [
        ("POSIX ", 42, LockKind::Posix),
        ("FLOCK ", 42, LockKind::Flock),
        ("OFDLCK", -1, LockKind::Ofd),
    ] {
        let _ = fs::remove_dir_all(host.proc().join("42"));
        host.process(42, "dnf", 1);
        let lock = format!("{class} ADVISORY  WRITE {pid} {}", host.odd_inode());
        host.listed(&lock);
        // The same inode, of another subvolume.
        host.descriptor(42, 3, &other, &lock);
        assert_eq!(host.probe(kind), Probe::default(), "{class}");
        host.descriptor(42, 4, &host.file(), &lock);
        assert_eq!(pids(&host.probe(kind)), [42], "{class}");
    }
}

#[test]
fn without_locks_of_the_kernel_no_descriptor_is_looked_at() {
    let host = Host::holding("42", 9);
    host.process(42, "dnf", 1);
    host.write("42/fdinfo", "would be an error");
    let snapshot = Snapshot::with_root(&host.root(), &host.proc()).unwrap();
    for kind in [
        LockKind::Posix,
        LockKind::Flock,
        LockKind::Pidfile,
        LockKind::Toml,
    ] {
        let path = "/run/lock".into();
        snapshot.holders(&LockFile {
            path,
            kind,
            comm: None,
        });
    }
    assert!(snapshot.handles.get().is_none());
}

#[test]
fn in_a_container_a_lock_that_is_not_listed_is_found_behind_its_descriptor() {
    let host = Host::holding("", 1);
    host.process(43, "backup.sh", 1);
    // As the kernel prints it for a taker that is dead.
    let lock = format!("FLOCK  ADVISORY  WRITE 0 {}", host.inode());
    host.descriptor(43, 9, &host.file(), &lock);
    assert_eq!(host.probe(LockKind::Flock), Probe::default());
    host.in_container();
    assert_eq!(pids(&host.probe(LockKind::Flock)), [43]);
    assert_eq!(host.probe(LockKind::Posix), Probe::default());
}

#[test]
fn a_list_of_more_than_a_page_names_each_holder_once() {
    let host = Host::holding("", 1);
    host.process(42, "rpm", 1);
    let lock = format!("POSIX  ADVISORY  WRITE 42 {} 0 EOF\n", host.inode());
    let lines = (1..3000).map(|id| format!("{id}: {lock}"));
    host.write("locks", &lines.collect::<String>());
    assert_eq!(pids(&host.probe(LockKind::Posix)), [42]);
}

#[test]
fn a_glance_tells_what_needs_no_descriptor() {
    let host = Host::holding("", 1);
    host.process(42, "rpm", 1);
    assert_eq!(host.glance(LockKind::Posix), Some(false));
    host.listed(&format!("POSIX  ADVISORY  WRITE 42 {}", host.inode()));
    assert_eq!(host.glance(LockKind::Posix), Some(true));
    assert_eq!(host.glance(LockKind::Toml), Some(true));
    assert_eq!(host.glance(LockKind::Flock), Some(false));
    host.listed(&format!("OFDLCK ADVISORY  WRITE -1 {}", host.inode()));
    assert_eq!(host.glance(LockKind::Ofd), Some(true));
    host.listed(&format!("OFDLCK ADVISORY  READ  -1 {}", host.inode()));
    assert_eq!(host.glance(LockKind::Ofd), Some(false));
    // Perhaps another file's.
    host.listed(&format!("POSIX  ADVISORY  WRITE 42 {}", host.odd_inode()));
    assert_eq!(host.glance(LockKind::Posix), None);
    host.listed("");
    host.in_container();
    assert_eq!(host.glance(LockKind::Flock), None);
    assert_eq!(host.glance(LockKind::Posix), Some(false));
}

#[test]
fn a_taker_is_believed_without_a_look_where_no_number_was_used_twice() {
    let host = Host::holding("", 1);
    host.listed(&format!("FLOCK  ADVISORY  WRITE 42 {}", host.inode()));
    host.process(42, "flock", 1);
    host.write("42/fdinfo/0", "pos:\t0\n");
    assert_eq!(
        pids(&host.probe(LockKind::Flock)),
        [0],
        "it may be another's number"
    );
    host.write("sys/kernel/pid_max", "4194304\n");
    assert_eq!(pids(&host.probe(LockKind::Flock)), [42]);
    host.write("sys/kernel/pid_max", "300\n");
    assert_eq!(pids(&host.probe(LockKind::Flock)), [0]);
}

#[test]
fn who_only_reads_is_not_looked_for() {
    let host = Host::holding("", 1);
    let lock = format!("OFDLCK ADVISORY  READ  -1 {}", host.inode());
    host.listed(&lock);
    host.process(42, "sqlite3", 1);
    host.descriptor(42, 3, &host.file(), &lock);
    let probe = host.probe(LockKind::Posix);
    assert_eq!(probe.remarks, ["/run/lock has only a read lock"]);
}

#[test]
fn who_inherits_a_lock_from_a_living_taker_shares_it() {
    let host = Host::holding("", 1);
    let taken = format!("FLOCK  ADVISORY  WRITE 42 {}", host.inode());
    host.listed(&taken);
    for (pid, comm) in [(42, "flock"), (43, "dnf"), (44, "dnf")] {
        host.process(pid, comm, 1);
    }
    host.descriptor(42, 3, &host.file(), &taken);
    host.descriptor(43, 3, &host.file(), &taken);
    host.descriptor(44, 3, &host.root(), &taken);
    assert_eq!(pids(&host.probe(LockKind::Flock)), [42]);
    let snapshot = Snapshot::with_root(&host.root(), &host.proc()).unwrap();
    let lock = |kind| LockFile {
        path: "/run/lock".into(),
        kind,
        comm: None,
    };
    let shares = |pid| snapshot.is_shared_by(&lock(LockKind::Flock), pid);
    assert!(shares(42) && shares(43));
    assert!(!shares(44) && !shares(45), "of another file, or of nobody");
    assert!(!snapshot.is_shared_by(&lock(LockKind::Posix), 43));
}
