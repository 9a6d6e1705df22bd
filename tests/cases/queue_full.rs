//! What is queued when the disk is full.

use anyhow::Result;
use interlock_tests::case::{Case, Row, task_policy};
use interlock_tests::service::Service;

use super::queue::instances;
use super::support::{fill, kill_daemon, make_room, with_small_disk, without_daemon};

cases![
    what_begins_while_the_disk_is_full_runs_once,
    what_runs_while_the_disk_is_full_is_known_after_a_crash,
];

/// A failure that is tried again, `message::RETRIED`.
const RETRIED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a15";

fn what_begins_while_the_disk_is_full_runs_once(case: &Case<'_>) -> Result<()> {
    with_small_disk(case, "4m", || begins_while_it_is_full(case))
}

fn what_runs_while_the_disk_is_full_is_known_after_a_crash(case: &Case<'_>) -> Result<()> {
    with_small_disk(case, "4m", || daemon_dies_while_it_is_full(case))
}

fn begins_while_it_is_full(case: &Case<'_>) -> Result<()> {
    let template = Service::template("imp").unit("StartLimitIntervalSec=0");
    case.services(&[template, Service::oneshot("a")])?;
    case.policy(&format!(
        "[resources.r]\n{}{}",
        task_policy("imp", "imp@", "uses = [\"r\"]"),
        task_policy("a", "a", "uses = [\"r\"]")
    ))?;
    let unit = &instances("imp", 1..=1)[0];
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.submit("", std::slice::from_ref(unit))?;
    fill(case)?;
    case.release("a.service")?;
    case.begun(unit)?;
    case.release(unit)?;
    // It would have been started anew by now, or is with the next start of anything.
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.release("a.service")?;
    case.ran("a.service", 2)?;
    make_room(case)?;
    case.entries_become("imp", <[Row]>::is_empty)?;
    case.ran(unit, 1)
}

/// One that ends while interlockd is there, one that ends while it isn't, one that goes on over both deaths, and two that
/// failed and are to be tried again.
fn daemon_dies_while_it_is_full(case: &Case<'_>) -> Result<()> {
    let template = Service::template("imp").unit("StartLimitIntervalSec=0");
    let fails = |name| {
        let service = Service::oneshot(name).exits(75).runs(0.0);
        service.unit("StartLimitIntervalSec=0")
    };
    let (submitted, started) = (fails("submitted"), fails("started"));
    case.services(&[template, submitted, started, Service::oneshot("a")])?;
    let failing = |resource: &str| {
        format!("uses = [\"{resource}\"]\nretry = {{ attempts = 2, delay = \"3s\" }}")
    };
    case.policy(&format!(
        "[resources.r]\ncapacity = 4\n[resources.q]\n{}{}{}{}",
        task_policy("imp", "imp@", "uses = [\"r\"]"),
        task_policy("submitted", "submitted", &failing("r")),
        task_policy("started", "started", &failing("q")),
        task_policy("a", "a", "uses = { r = 4 }")
    ))?;
    let units = instances("imp", 1..=3);
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.submit("", &units)?;
    case.submit("", &["submitted.service".to_owned()])?;
    fill(case)?;
    case.release("a.service")?;
    units.iter().try_for_each(|unit| case.begun(unit))?;
    case.start(&["started.service"])?;
    let failing = ["submitted.service", "started.service"];
    for unit in failing {
        case.journalled(RETRIED, &[unit])?;
    }
    case.release(&units[0])?;
    case.ran(&units[0], 1)?;
    // Otherwise nothing is shown.
    case.sh("[ -s /run/interlock/unwritten ]")?;
    without_daemon(case, || {
        case.release(&units[1])?;
        case.ran(&units[1], 1)
    })?;
    kill_daemon(case)?;
    make_room(case)?;
    for unit in failing {
        case.ran(unit, 2)?;
        case.failed(unit)?;
    }
    case.release(&units[2])?;
    case.entries_become("imp", <[Row]>::is_empty)?;
    for unit in &units {
        case.ran(unit, 1)?;
    }
    case.sh("[ ! -e /run/interlock/unwritten ]").map(drop)
}
