//! What is queued when the disk is full.

use anyhow::Result;
use interlock_tests::case::{Case, Row, task_policy};
use interlock_tests::service::Service;

use super::queue::instances;
use super::support::{fill, make_room, with_small_disk};

cases![what_begins_while_the_disk_is_full_runs_once];

fn what_begins_while_the_disk_is_full_runs_once(case: &Case<'_>) -> Result<()> {
    with_small_disk(case, "4m", || begins_while_it_is_full(case))
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
