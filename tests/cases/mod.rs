//! The cases, by subject.

/// Lists a module's cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const CASES: &[crate::runner::Entry] = &[$((stringify!($name), $name)),*];
    };
}

/// The same, for cases at whose end tasks may run: those that a deployment has started again.
macro_rules! deploy_cases {
    ($($name:ident),* $(,)?) => {
        pub const CASES: &[crate::runner::Entry] = &[
            $((stringify!($name), |case| $name(case).and_then(|()| case.release_all()))),*
        ];
    };
}

mod action;
mod attack;
mod boot;
mod change;
mod clock;
mod confine;
mod daemon;
mod deadlock;
mod deploy;
mod deploy_action;
mod deploy_door;
mod deploy_frozen;
mod deploy_holder;
mod deploy_hook;
mod deploy_kill;
mod deploy_kind;
mod deploy_life;
mod deploy_lock;
mod deploy_overlap;
mod deploy_polkit;
mod deploy_support;
mod flaky;
mod flood;
mod fuzz_bus;
mod fuzz_units;
mod gate;
mod gate_unit;
mod golden;
mod history;
mod hold;
mod hold_kill;
mod importer;
mod lease;
mod lease_crash;
mod monitor;
mod nested;
mod notify;
mod order;
mod outside;
mod package;
mod policy;
mod queue;
mod queue_full;
mod queue_kill;
mod queue_polkit;
mod refuse;
mod retry;
mod retry_wait;
mod support;
mod unmet;
mod updates;
mod window;
mod window_host;

use crate::runner::Entry;

/// All of them, in the order in which they run.
pub fn all() -> Vec<Entry> {
    [
        gate::CASES,
        gate_unit::CASES,
        attack::CASES,
        confine::CASES,
        flood::CASES,
        lease::CASES,
        lease_crash::CASES,
        change::CASES,
        order::CASES,
        refuse::CASES,
        window::CASES,
        window_host::CASES,
        policy::CASES,
        daemon::CASES,
        clock::CASES,
        deploy::CASES,
        deploy_action::CASES,
        deploy_kind::CASES,
        deploy_holder::CASES,
        deploy_door::CASES,
        deploy_frozen::CASES,
        deploy_overlap::CASES,
        deploy_life::CASES,
        deploy_hook::CASES,
        deploy_lock::CASES,
        deploy_polkit::CASES,
        deploy_kill::CASES,
        outside::CASES,
        nested::CASES,
        updates::CASES,
        deadlock::CASES,
        action::CASES,
        notify::CASES,
        monitor::CASES,
        hold::CASES,
        hold_kill::CASES,
        queue::CASES,
        queue_polkit::CASES,
        queue_full::CASES,
        retry::CASES,
        retry_wait::CASES,
        history::CASES,
        unmet::CASES,
        importer::CASES,
        queue_kill::CASES,
        golden::CASES,
        fuzz_bus::CASES,
        fuzz_units::CASES,
        boot::CASES,
        package::CASES,
    ]
    .concat()
}

/// Whether a case is run on its version's second machine, beside those on the first.
pub fn is_aside(name: &str) -> bool {
    let slow = [
        boot::CASES,
        package::CASES,
        deploy_kill::CASES,
        retry::CASES,
        retry_wait::CASES,
    ];
    let slow = slow.concat();
    ASIDE.contains(&name) || slow.iter().any(|(each, _)| *each == name)
}

/// Single cases that wait for a long time-out of systemd's, the bus's or the gate's.
const ASIDE: [&str; 4] = [
    "daemon_that_cannot_start_lets_no_task_run_and_says_so",
    "interlockctl_says_by_its_exit_status_what_is_wrong",
    "checkpoint_that_does_not_come_falls_back",
    "monotonic_timers_of_a_skipped_task_go_on",
];
