//! The clock is set while interlockd is at work: nothing is run twice for it, and nothing waits for days.
//!
//! A container's clock is its host's, which a test must not set. So it is interlockd alone (with what it runs) that
//! sees another time, by libfaketime: what PID 1's timers make of a jump isn't tried here.

use anyhow::Result;
use interlock_tests::case::{Case, Row};
use interlock_tests::service::Service;
use interlock_tests::tools;

use super::queue::instances;
use super::retry;
use super::support::{daemon_is_back, kill_daemon, main_pid};

cases![
    run_that_ended_unseen_before_the_clock_was_set_back_is_not_run_again,
    retry_that_was_put_off_by_a_clock_set_wrong_comes_when_it_is_right,
];

const CLOCK: &str = "/run/testbed/clock";
const DROP_IN: &str = "interlockd.service.d/clock.conf";

/// interlockd sees this offset from now on; the first time it is started anew.
fn set(case: &Case<'_>, offset: &str) -> Result<()> {
    case.write(CLOCK, &format!("{offset}\n"))
}

fn with_a_clock(case: &Case<'_>, offset: &str) -> Result<()> {
    set(case, offset)?;
    case.copy_in(&tools::faketime()?, tools::FAKETIME)?;
    case.unit(
        DROP_IN,
        &format!(
            "[Service]\nEnvironment={}\n",
            tools::faketime_environment(CLOCK)
        ),
    )?;
    case.reload_systemd()?;
    kill_daemon(case)
}

fn as_it_was(case: &Case<'_>) -> Result<()> {
    case.sh(&format!("rm -rf /etc/systemd/system/{DROP_IN}"))?;
    case.reload_systemd()?;
    kill_daemon(case)
}

fn run_that_ended_unseen_before_the_clock_was_set_back_is_not_run_again(
    case: &Case<'_>,
) -> Result<()> {
    super::queue::slots(case, Service::template("imp"), 1, "")?;
    with_a_clock(case, "+86400")?;
    let unit = &instances("imp", 1..=1)[0];
    case.submit("", std::slice::from_ref(unit))?;
    case.begun(unit)?;
    // It ends while interlockd stands still, and is found ended by the next one, by a clock a day before.
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -STOP {pid}"))?;
    case.release(unit)?;
    case.becomes(unit, "inactive")?;
    set(case, "+0")?;
    case.sh(&format!("kill -KILL {pid}"))?;
    daemon_is_back(case, &pid)?;
    case.entries_become("imp", <[Row]>::is_empty)?;
    case.ran(unit, 1)?;
    as_it_was(case)
}

fn retry_that_was_put_off_by_a_clock_set_wrong_comes_when_it_is_right(
    case: &Case<'_>,
) -> Result<()> {
    with_a_clock(case, "+86400")?;
    retry::alone(
        case,
        "a",
        "attempts = 3, delay = \"5s\"",
        &[(1, "no"), (0, "")],
    )?;
    let _ = case.try_start("a.service")?;
    retry::delayed(case, "a")?;
    set(case, "+0")?;
    kill_daemon(case)?;
    retry::settled(case, "a")?;
    as_it_was(case)
}
