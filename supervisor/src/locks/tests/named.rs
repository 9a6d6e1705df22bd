//! Files that name their holder.

use super::*;

#[test]
fn a_pid_file_is_held_by_the_process_in_it() {
    let host = Host::holding("42\n", 1000);
    host.process(42, "dnf", 999);
    let probe = host.probe(LockKind::Pidfile);
    let holder = Holder {
        pid: 42,
        start_time: 99_900,
        comm: "dnf".into(),
        write: true,
        lock: "/run/lock".into(),
        kind: LockKind::Pidfile,
    };
    assert_eq!(probe.holders, [holder]);
    assert!(probe.remarks.is_empty());
}

#[test]
fn a_pid_file_of_nobody_is_free() {
    is_free(&Host::holding("", 9).probe(LockKind::Pidfile), "is empty");
    is_free(&Host::holding("x", 9).probe(LockKind::Pidfile), "malformed");
    is_free(
        &Host::holding("42", 9).probe(LockKind::Pidfile),
        "no process 42",
    );
}

#[test]
fn a_pid_that_was_used_again_is_no_holder() {
    let host = Host::holding("42", 1000);
    host.process(42, "dnf", 1003);
    is_free(&host.probe(LockKind::Pidfile), "younger than the file");
    // The time of boot is known to the second only.
    host.process(42, "dnf", 1002);
    assert_eq!(pids(&host.probe(LockKind::Pidfile)), [42]);
}

#[test]
fn zombies_threads_and_kernel_threads_hold_no_pid_file() {
    let host = Host::holding("42", 1000);
    host.process_of_kind(42, "dnf", 1, 'Z', 0);
    is_free(&host.probe(LockKind::Pidfile), "no process 42");
    host.process_of_kind(42, "kswapd0", 1, 'S', 0x0020_0000);
    is_free(
        &host.probe(LockKind::Pidfile),
        "the kernel's thread kswapd0",
    );
    host.process(42, "java", 1);
    host.write("42/status", "Name:\tjava\nTgid:\t40\n");
    is_free(&host.probe(LockKind::Pidfile), "thread of another process");
}

#[test]
fn the_holder_must_go_by_the_name_that_the_policy_gives() {
    let host = Host::holding("42", 1000);
    let free = |comm| {
        host.probe_for(LockKind::Pidfile, Some(comm))
            .holders
            .is_empty()
    };
    host.process(42, "ansible-playboo", 1);
    host.write(
        "42/cmdline",
        "/usr/bin/python3\0/usr/bin/ansible-playbook\0bootstrap.yml\0",
    );
    for wanted in ["ansible", "ansible-playbook", "playbook", "playboo"] {
        assert!(!free(wanted), "{wanted}");
    }
    assert!(free("ansible-pull") && free("python3") && free("bootstrap"));
    // Without its command line only what the kernel cut off as well can be compared.
    fs::remove_file(host.proc().join("42/cmdline")).unwrap();
    assert!(!free("ansible-playbook") && free("playbook"));
    host.process(42, "bash", 1);
    is_free(
        &host.probe_for(LockKind::Pidfile, Some("ansible")),
        "pid 42 is bash, not ansible",
    );
}

#[test]
fn what_is_no_file_is_held_by_nobody() {
    let host = Host::new();
    assert_eq!(host.probe(LockKind::Pidfile), Probe::default());
    fs::create_dir(host.file()).unwrap();
    is_free(&host.probe(LockKind::Toml), "no regular file");
    fs::remove_dir_all(host.root()).unwrap();
    for kind in [
        LockKind::Posix,
        LockKind::Ofd,
        LockKind::Flock,
        LockKind::Toml,
    ] {
        assert_eq!(host.probe(kind), Probe::default());
    }
}

#[test]
fn links_are_followed_as_the_host_sees_them() {
    let host = Host::holding("42", 1000);
    host.process(42, "dnf", 1);
    fs::rename(host.file(), host.root().join("real")).unwrap();
    symlink("/real", host.file()).unwrap();
    assert_eq!(pids(&host.probe(LockKind::Pidfile)), [42]);
}

#[test]
fn the_file_of_dnf5_counts_from_the_start_of_the_transaction() {
    // Touched long after.
    let host = Host::holding(&dnf5_file(42, 1000), 5000);
    host.process(42, "dnf5", 990);
    assert_eq!(pids(&host.probe(LockKind::Toml)), [42]);
    host.process(42, "dnf5", 2000);
    is_free(&host.probe(LockKind::Toml), "younger than the file");
    is_free(
        &Host::holding("pid = ", 9).probe(LockKind::Toml),
        "malformed",
    );
    is_free(
        &Host::holding("pid = -1", 9).probe(LockKind::Toml),
        "malformed",
    );
}

#[test]
fn a_file_that_may_not_be_read_is_remarked() {
    // Root may read everything.
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let host = Host::holding("42", 9);
    fs::set_permissions(host.file(), fs::Permissions::from_mode(0o000)).unwrap();
    is_free(&host.probe(LockKind::Pidfile), "can't be looked at");
}
