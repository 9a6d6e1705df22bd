//! Trees that were met, and those that look like them.

use super::*;

/// The incident: an updater, its migration, dnf, a scriptlet, Ansible with its worker, and dnf again.
fn incident() -> Scene {
    let line = [
        (10, "upcp"),
        (11, "migrate"),
        (12, "dnf"),
        (13, "sh"),
        (14, "ansible-playboo"),
        (15, "ansible-playboo"),
        (16, "sudo"),
        (17, "dnf"),
    ];
    let worker = |process: &mut Process| process.cmdline[1] = "14".into();
    Scene::default()
        .line("upcp.service", &line)
        .with(15, worker)
        .holds(12, "rpm-db")
        .holds(14, "bootstrapper")
}

#[test]
fn a_client_below_the_holder_of_its_lock_is_deadlocked() {
    let deadlock = incident().only();
    assert_eq!(deadlock.kind, Kind::Nested);
    assert_eq!(ring(&deadlock), ["12", "13", "14", "15", "16", "17"]);
    assert_eq!(deadlock.to_end().unwrap().process.pid, 17);
    assert_eq!(deadlock.waiters[0].resource.as_deref(), Some("rpm-db"));
}

#[test]
fn nobody_is_ended_unless_the_policy_says_so() {
    let found = find(&incident().0, &rules(OnDeadlock::Report));
    assert_eq!((found.len(), found[0].to_end()), (1, None));
}

#[test]
fn a_deadlock_is_told_in_words() {
    let scene = Scene::default().line("a.service", &[(12, "dnf"), (13, "sh"), (14, "dnf")]);
    let scene = scene.with(14, |p| p.cmdline = vec!["dnf".into(), "in\nstall".into()]);
    let deadlock = scene.holds(12, "rpm-db").only();
    assert_eq!(
        deadlock.lines(),
        [
            "dnf (pid 12, a.service, \"dnf 12\") holds rpm-db and waits for its child sh (pid 13)",
            "sh (pid 13, a.service, \"sh 13\") waits for its child dnf (pid 14)",
            "dnf (pid 14, a.service, \"dnf in stall\") waits for rpm-db, which dnf (pid 12) holds",
        ]
    );
}

#[test]
fn who_is_young_or_works_or_has_got_in_is_not_deadlocked() {
    let young = incident().with(17, |p| {
        p.age = GRACE.saturating_sub(Duration::from_millis(1));
    });
    let works = incident().with(17, |p| p.waiting = Some(false));
    let got_in = incident().holds(17, "rpm-db");
    let other_program = incident().with(17, |p| p.comm = "rpmquery".into());
    for scene in [young, works, got_in, other_program] {
        assert_eq!(scene.find(), []);
    }
}

#[test]
fn forks_of_the_holder_are_not_its_clients() {
    let ansible = [
        (10, "ansible-playboo"),
        (11, "ansible-playboo"),
        (12, "python3"),
    ];
    let scene = Scene::default()
        .line("a.service", &ansible)
        .holds(10, "bootstrapper");
    assert_eq!(scene.find().len(), 1, "another program of the same name");
    let fork = scene.with(11, |p| p.cmdline[1] = "10".into());
    assert_eq!(fork.find(), []);
    // Of a client that waits, they wait with it: it is still one deadlock.
    let below = Scene::default().line(
        "a.service",
        &[(9, "dnf"), (10, "sh"), (11, "dnf"), (12, "dnf")],
    );
    let below = below
        .with(12, |p| p.cmdline[1] = "11".into())
        .holds(9, "rpm-db");
    assert_eq!(waiters(&below.only()), [11]);
}

#[test]
fn a_client_elsewhere_just_waits() {
    let orphan = incident().with(13, |p| p.ppid = 1);
    let manager = incident().with(13, |p| p.comm = "systemd".into());
    let gone = incident().without(12);
    for scene in [orphan, manager, gone] {
        assert_eq!(scene.find(), []);
    }
    let behind = incident().process(90, 1, "dnf", "session-1.scope");
    assert_eq!(waiters(&behind.only()), [17]);
}

#[test]
fn several_in_one_knot_are_one_deadlock_with_the_innermost_first() {
    // dnf(12) > sh(13) > rpm(14) > sh(15) > dnf(16), and dnf(17) beside it.
    let scene = || {
        Scene::default()
            .line(
                "a.service",
                &[
                    (12, "dnf"),
                    (13, "sh"),
                    (14, "rpm"),
                    (15, "sh"),
                    (16, "dnf"),
                ],
            )
            .process(17, 13, "dnf", "a.service")
            .holds(12, "rpm-db")
    };
    let first = scene().only();
    assert_eq!(waiters(&first), [16, 17, 14]);
    let then = scene().without(16).only();
    assert_eq!(waiters(&then), [17, 14]);
    assert!(then.is_same(&first));
    let later = scene().without(16).without(17);
    let later = later.with(14, |p| p.start_time = 99);
    assert!(
        !later.only().is_same(&first),
        "another process of that number"
    );
    assert_eq!(scene().without(16).without(17).without(14).find(), []);
}

#[test]
fn a_process_that_holds_a_lock_is_never_ended() {
    // The inner one holds a lock of its own, and was seen waiting for the outer's.
    let scene = incident()
        .holds(17, "rpm-db")
        .with(17, |p| p.waiting = Some(true));
    let deadlock = scene.only();
    assert_eq!(waiters(&deadlock), [17]);
    assert_eq!(deadlock.to_end(), None);
    let other = incident().holds(17, "bootstrapper").only();
    assert_eq!((waiters(&other), other.to_end()), (vec![17], None));
}

#[test]
fn what_the_kernel_lists_as_waiting_needs_no_known_name() {
    let scene = || {
        let mut scene = Scene::default()
            .line("a.service", &[(10, "backup.sh"), (11, "flock")])
            .holds(10, "rpm-db");
        let resource = "rpm-db".into();
        scene.0.lock_waits.push(LockWait { pid: 11, resource });
        scene
    };
    assert_eq!(scene().only().kind, Kind::Nested);
    assert_eq!(scene().with(11, |p| p.age = GRACE / 2).find(), []);
}

#[test]
fn a_start_from_inside_the_task_in_its_way_is_deadlocked() {
    let scene = || {
        Scene::default()
            .line(
                "upcp.service",
                &[(10, "upcp"), (11, "sh"), (12, "systemctl")],
            )
            .wants_unit(12, "dnf-automatic.service")
            .gate(
                "dnf-automatic.service",
                "rpm-db",
                1,
                &[unit("upcp.service")],
            )
    };
    let deadlock = scene().only();
    assert_eq!(deadlock.kind, Kind::Start);
    assert_eq!(
        ring(&deadlock),
        ["dnf-automatic.service", "upcp.service", "12"]
    );
    assert_eq!(deadlock.to_end().unwrap().process.pid, 12);
    assert_eq!(deadlock.waiters[0].resource.as_deref(), Some("rpm-db"));
    let lines = deadlock.lines();
    assert_eq!(
        lines[0],
        "dnf-automatic.service waits at its gate for rpm-db, which upcp.service holds"
    );
    assert_eq!(
        lines[1],
        "upcp.service lasts until systemctl (pid 12) has ended"
    );
    // From elsewhere it only waits; and the grace is that of the resource.
    assert_eq!(
        scene()
            .with(12, |p| p.unit = None)
            .with(12, |p| p.ppid = 1)
            .find(),
        []
    );
    assert_eq!(scene().with(12, |p| p.age = GRACE / 2).find(), []);
}

#[test]
fn a_start_through_other_jobs_is_followed() {
    let mut scene = Scene::default()
        .line("upcp.service", &[(10, "systemctl")])
        .wants_unit(10, "nightly.target")
        .gate("b.service", "rpm-db", 1, &[unit("upcp.service")]);
    scene.0.job_waits.push(JobWait {
        unit: "nightly.target".into(),
        before: vec!["a.service".into(), "b.service".into()],
    });
    let deadlock = scene.only();
    assert_eq!(
        ring(&deadlock),
        ["nightly.target", "b.service", "upcp.service", "10"]
    );
    assert!(deadlock.lines()[0].contains("is ordered after b.service"));
}

#[test]
fn a_start_of_the_own_unit_is_deadlocked() {
    let scene = Scene::default().line("a.service", &[(10, "sh"), (11, "systemctl")]);
    let deadlock = scene.wants_unit(11, "a.service").only();
    assert_eq!(ring(&deadlock), ["a.service", "11"]);
    assert_eq!(deadlock.to_end(), None, "no resource says what to do");
}

#[test]
fn a_gate_of_which_enough_will_be_free_is_no_deadlock() {
    let scene = |lacking| {
        Scene::default()
            .line("a.service", &[(10, "systemctl")])
            .process(20, 1, "import", "b.service")
            .wants_unit(10, "c.service")
            .gate(
                "c.service",
                "rpm-db",
                lacking,
                &[unit("a.service"), unit("b.service")],
            )
    };
    assert_eq!(scene(1).find(), []);
    assert_eq!(scene(2).only().kind, Kind::Start);
}

#[test]
fn a_shell_that_starts_a_task_which_waits_for_the_shells_lock_is_deadlocked() {
    let scene = Scene::default()
        .line("session-1.scope", &[(10, "sh"), (11, "systemctl")])
        .holds(10, "rpm-db")
        .wants_unit(11, "upcp.service")
        .gate("upcp.service", "rpm-db", 1, &[(Blocker::Process(10), 1)]);
    assert_eq!(ring(&scene.only()), ["upcp.service", "10", "11"]);
    // The holder that the gate waits for has gone meanwhile.
    assert_eq!(scene.without(10).find(), []);
}

#[test]
fn a_unit_started_by_a_scriptlet_that_needs_the_transactions_lock_is_deadlocked() {
    let scene = Scene::default()
        .line("a.service", &[(10, "dnf"), (11, "sh"), (12, "systemctl")])
        .line("b.service", &[(20, "sh"), (21, "dnf")])
        .holds(10, "rpm-db")
        .wants_unit(12, "b.service");
    let deadlock = scene.only();
    assert_eq!(waiters(&deadlock), [12, 21]);
    assert_eq!(deadlock.kind, Kind::Start);
}

#[test]
fn two_tasks_that_wait_for_each_others_locks_are_deadlocked() {
    let scene = || {
        Scene::default()
            .line("a.service", &[(10, "dnf"), (11, "ansible-playboo")])
            .line("b.service", &[(20, "ansible-playboo"), (21, "dnf")])
            .holds(10, "rpm-db")
            .holds(20, "bootstrapper")
    };
    let deadlock = scene().only();
    assert_eq!(deadlock.kind, Kind::Crossed);
    assert_eq!(waiters(&deadlock), [21, 11]);
    assert_eq!(ring(&deadlock), ["10", "11", "20", "21"]);
    assert_eq!(scene().without(21).find(), []);
}

#[test]
fn deadlocks_apart_are_told_apart() {
    let scene = Scene::default()
        .line("a.service", &[(10, "dnf"), (11, "dnf")])
        .line(
            "b.service",
            &[(20, "ansible-playboo"), (21, "ansible-playboo")],
        )
        .holds(10, "rpm-db")
        .holds(20, "bootstrapper");
    assert_eq!(scene.find().len(), 2);
}

#[test]
fn a_list_that_is_not_of_one_moment_does_no_harm() {
    let own_parent = incident().with(13, |p| p.ppid = 13);
    let reused = incident().with(12, |p| p.start_time = 99);
    assert_eq!((own_parent.find(), reused.find()), (vec![], vec![]));
    let in_a_circle = |process: &mut Process| process.start_time = 5;
    let circle = Scene::default()
        .process(5, 6, "sh", "a.service")
        .process(6, 5, "dnf", "a.service")
        .with(6, in_a_circle)
        .holds(5, "rpm-db");
    assert_eq!(waiters(&circle.only()), [6]);
}

#[test]
fn among_thousands_that_wait_behind_only_the_deadlocked_are_found() {
    let mut scene = incident();
    for pid in 100..5100 {
        let parent = if pid % 7 == 0 { 1 } else { 100.max(pid / 2) };
        scene = scene.process(pid, parent, "dnf", "session-1.scope");
    }
    assert_eq!(waiters(&scene.only()), [17]);
}
