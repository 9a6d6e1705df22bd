//! What is submitted: as many at once as there is room for, in order, each once; and what can be changed meanwhile.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, QUEUE, Row, task_policy};
use interlock_tests::deployment::ROOT;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::kill_daemon;

cases![
    submitted_instances_run_as_far_as_there_is_room_in_order_and_each_once,
    higher_priority_is_started_first_and_can_be_given_later,
    what_is_queued_already_is_not_queued_twice,
    thousands_are_queued_from_standard_input_and_durable_at_once,
    lowered_capacity_drains_and_kills_nothing,
    pause_with_drain_lets_finish_what_runs_and_starts_nothing,
    cancelled_entries_never_start_and_running_ones_are_left,
    start_by_somebody_else_serves_the_queued_entry,
    queued_entries_wait_for_the_end_of_a_deployment,
    failed_instances_are_counted_and_do_not_stop_the_batch,
    submitting_waits_for_the_end_when_asked_to,
    entries_of_a_task_that_the_policy_loses_run_when_it_has_it_again,
];

/// `TEMPLATE@NUMBER.service` for these numbers.
pub fn instances(template: &str, numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers
        .map(|number| format!("{template}@{number}.service"))
        .collect()
}

/// A template task whose instances take one of so many slots each.
pub fn slots(case: &Case<'_>, template: Service, capacity: u32, lines: &str) -> Result<()> {
    let name = template.name.trim_end_matches("@.service").to_owned();
    case.services(&[template.unit("StartLimitIntervalSec=0")])?;
    case.policy(&format!(
        "[resources.slots]\ncapacity = {capacity}\n{}{lines}",
        task_policy(&name, &format!("{name}@"), "uses = [\"slots\"]")
    ))
}

/// Those that run now, in the order in which they began.
pub fn running(case: &Case<'_>) -> Result<Vec<String>> {
    let runs = case.log()?.runs().into_iter();
    Ok(runs
        .filter(|run| run.end.is_none())
        .map(|run| run.name)
        .collect())
}

/// Waits until exactly these run.
pub fn only_run(case: &Case<'_>, units: &[String]) -> Result<()> {
    let mut last = Vec::new();
    wait_for(&format!("{units:?} alone to run"), SOON, || {
        last = running(case)?;
        last.sort();
        let mut wanted = units.to_vec();
        wanted.sort();
        Ok((last == wanted).then_some(()))
    })
    .map_err(|error| error.context(format!("these run: {last:?}")))
}

/// Releases whatever runs until the batch is over.
pub fn run_out(case: &Case<'_>, batch: &str) -> Result<Row> {
    wait_for(&format!("the end of batch {batch}"), SOON, || {
        for unit in running(case)? {
            case.release(&unit)?;
        }
        let row = case.batch(batch)?;
        Ok((row.number("ended") > 0).then_some(row))
    })
}

/// Each of these has run once.
pub fn each_once(case: &Case<'_>, units: &[String]) -> Result<()> {
    let log = case.log()?;
    for unit in units {
        ensure!(
            log.count(unit) == 1,
            "{unit} has run {} times",
            log.count(unit)
        );
    }
    ensure!(log.order().len() == units.len(), "{:?}", log.order());
    Ok(())
}

fn submitted_instances_run_as_far_as_there_is_room_in_order_and_each_once(
    case: &Case<'_>,
) -> Result<()> {
    slots(case, Service::template("imp"), 2, "")?;
    let units = instances("imp", 1..=5);
    let said = case.submit("--batch five", &units)?;
    ensure!(said.contains("5 queued"), "{said}");
    only_run(case, &units[..2])?;
    let entries = case.entries_become("imp", |rows| {
        rows.len() == 5 && rows.iter().filter(|r| r.text("state") == "running").count() == 2
    })?;
    let mut waiting: Vec<(u64, &str)> = entries
        .iter()
        .filter(|row| row.text("state") == "queued")
        .map(|row| (row.number("position"), row.text("unit")))
        .collect();
    waiting.sort_unstable();
    ensure!(
        waiting
            .iter()
            .map(|(_, unit)| *unit)
            .eq(units[2..].iter().map(String::as_str)),
        "{entries:#?}"
    );
    ensure!(
        entries.iter().all(|row| row.text("by").contains("root")),
        "{entries:#?}"
    );
    // An instance is started only when there is room: nothing of it waits at its gate.
    ensure!(case.queue()?.is_empty(), "{:?}", case.queue()?);
    kill_daemon(case)?;
    case.release(&units[1])?;
    only_run(case, &[units[0].clone(), units[2].clone()])?;
    let batch = case.batch("five")?;
    ensure!(
        batch.number("total") == 5 && batch.number("done") == 1 && batch.number("running") == 2,
        "{batch:#?}"
    );
    let batch = run_out(case, "five")?;
    ensure!(
        batch.number("done") == 5 && batch.number("failed") == 0 && batch.number("waiting") == 0,
        "{batch:#?}"
    );
    each_once(case, &units)?;
    let list = case.sh("interlockctl queue batches")?;
    ensure!(list.contains("five"), "{list}");
    Ok(())
}

fn higher_priority_is_started_first_and_can_be_given_later(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let units = instances("imp", 1..=6);
    case.submit("--batch low", &units[..4])?;
    only_run(case, &units[..1])?;
    case.submit("--batch high --priority 10", &units[4..5])?;
    case.submit("--batch lowest --priority -10", &units[5..])?;
    // 5, 2, 3, 4, 6 wait; then 4 goes before 2 and 3, and 6 before all.
    case.sh("interlockctl queue move imp@4.service --first; interlockctl queue move imp@6.service --priority 20")?;
    let mut order = vec![units[0].clone()];
    for next in [6, 5, 4, 2, 3] {
        case.release(order.last().map_or("", String::as_str))?;
        let next = format!("imp@{next}.service");
        only_run(case, std::slice::from_ref(&next))?;
        order.push(next);
    }
    run_out(case, "low")?;
    each_once(case, &units)
}

fn what_is_queued_already_is_not_queued_twice(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let units = instances("imp", 1..=3);
    case.submit("--batch once", &units)?;
    only_run(case, &units[..1])?;
    let said = case.submit("--batch again", &units[1..])?;
    ensure!(said.contains("2 were queued already"), "{said}");
    run_out(case, "once")?;
    case.entries_become("imp", <[Row]>::is_empty)?;
    each_once(case, &units)
}

fn thousands_are_queued_from_standard_input_and_durable_at_once(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    case.start(&["imp@0.service"])?;
    case.begun("imp@0.service")?;
    case.sh("mkdir -p /run/testbed; (echo '# comment'; echo; seq -f imp@%g.service 3000) >/run/testbed/units")?;
    let said = case.sh(
        "interlockctl submit --batch thousands </run/testbed/units &&
         kill -KILL $(systemctl show --value -p MainPID interlockd.service)",
    )?;
    ensure!(said.contains("3000 queued"), "{said}");
    let batch = wait_for("the daemon to be back", SOON, || {
        Ok(case.batch("thousands").ok())
    })?;
    ensure!(
        batch.number("total") == 3000 && batch.number("waiting") == 3000,
        "{batch:#?}"
    );
    ensure!(case.entries("imp")?.len() == 3000);
    let said = case.sh("interlockctl queue cancel --batch thousands")?;
    ensure!(said.contains("3000"), "{said}");
    case.release("imp@0.service")?;
    let batch = case.batch_ends("thousands")?;
    ensure!(
        batch.number("cancelled") == 3000 && batch.number("done") == 0,
        "{batch:#?}"
    );
    ensure!(case.log()?.order() == ["imp@0.service"]);
    Ok(())
}

fn lowered_capacity_drains_and_kills_nothing(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 4, "")?;
    let units = instances("imp", 1..=8);
    case.submit("--batch drained", &units)?;
    only_run(case, &units[..4])?;
    case.sh("interlockctl capacity slots 2 --reason 'the disk is slow'")?;
    case.release(&units[0])?;
    case.release(&units[1])?;
    // A kill of the daemon changes nothing of it.
    kill_daemon(case)?;
    let rows = case.call(ROOT, QUEUE, "ListCapacities")?;
    ensure!(
        rows[0][0][0] == "slots" && rows[0][0][1] == 2 && rows[0][0][2] == 4,
        "{rows}"
    );
    case.release(&units[2])?;
    only_run(case, &[units[3].clone(), units[4].clone()])?;
    case.sh("interlockctl capacity slots policy")?;
    only_run(case, &units[3..7])?;
    run_out(case, "drained")?;
    each_once(case, &units)?;
    // Two of the first four were left, and from then on never more than two until it was taken back.
    let log = case.log()?;
    let users: Vec<(&str, u32)> = units.iter().map(|unit| (unit.as_str(), 1)).collect();
    ensure!(log.overlap(&users, 4).is_none());
    let fifth = log.runs();
    let third_end = fifth.iter().find(|run| run.name == units[2]);
    let fifth_begin = fifth.iter().find(|run| run.name == units[4]);
    ensure!(
        third_end.and_then(|run| run.end) < fifth_begin.map(|run| run.begin),
        "5 began before 3 had ended: {fifth:?}"
    );
    let killed = case.journal("_PID=1 | grep 'imp@.*code=killed'; true")?;
    ensure!(killed.is_empty(), "something was killed: {killed}");
    Ok(())
}

fn pause_with_drain_lets_finish_what_runs_and_starts_nothing(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 2, "")?;
    let units = instances("imp", 1..=4);
    case.submit("--batch polite", &units)?;
    only_run(case, &units[..2])?;
    let mut pause = case.spawn("interlockctl queue pause --drain --reason 'going home'")?;
    wait_for("the queue to be paused", SOON, || {
        let paused = case.call(ROOT, QUEUE, "ListPaused")?;
        Ok(paused.to_string().contains("going home").then_some(()))
    })?;
    case.release(&units[0])?;
    ensure!(pause.is_running()?, "it didn't wait for what runs");
    case.release(&units[1])?;
    let output = pause.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    ensure!(running(case)?.is_empty(), "{:?}", running(case)?);
    each_once(case, &units[..2])?;
    let entries = case.entries("imp")?;
    ensure!(
        entries.len() == 2
            && entries
                .iter()
                .all(|r| r.text("detail").contains("going home")),
        "{entries:#?}"
    );
    kill_daemon(case)?;
    case.entries_become("imp", |rows| rows.len() == 2)?;
    each_once(case, &units[..2])?;
    case.sh("interlockctl queue resume")?;
    run_out(case, "polite")?;
    each_once(case, &units)
}

fn cancelled_entries_never_start_and_running_ones_are_left(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let units = instances("imp", 1..=4);
    case.submit("--batch some", &units)?;
    only_run(case, &units[..1])?;
    case.sh("interlockctl queue cancel imp@1.service imp@2.service; true")?;
    ensure!(case.log()?.is_running(&units[0]), "the running one is gone");
    case.entries_become("imp", |rows| rows.len() == 3)?;
    let batch = run_out(case, "some")?;
    ensure!(
        batch.number("done") == 3 && batch.number("cancelled") == 1,
        "{batch:#?}"
    );
    each_once(
        case,
        &[units[0].clone(), units[2].clone(), units[3].clone()],
    )
}

fn start_by_somebody_else_serves_the_queued_entry(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let units = instances("imp", 1..=3);
    case.submit("--batch served", &units)?;
    only_run(case, &units[..1])?;
    // By systemctl: it waits at its gate, and runs there before what is only queued.
    case.start(&["imp@3.service"])?;
    case.queued(&["imp@3.service"])?;
    case.release(&units[0])?;
    only_run(case, &units[2..])?;
    let batch = run_out(case, "served")?;
    ensure!(batch.number("done") == 3, "{batch:#?}");
    case.entries_become("imp", <[Row]>::is_empty)?;
    each_once(case, &units)
}

fn queued_entries_wait_for_the_end_of_a_deployment(case: &Case<'_>) -> Result<()> {
    slots(
        case,
        Service::template("imp"),
        2,
        "[groups.g]\ntasks = [\"imp\"]\n",
    )?;
    let id = case.deploy("g")?;
    let units = instances("imp", 1..=2);
    case.submit("--batch held", &units)?;
    case.entries_become("imp", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row.text("detail").contains(&id))
    })?;
    kill_daemon(case)?;
    case.entries_become("imp", |rows| {
        rows.len() == 2 && rows.iter().all(|row| row.text("detail").contains(&id))
    })?;
    ensure!(case.log()?.order().is_empty());
    case.end_deployment(&id)?;
    only_run(case, &units)?;
    run_out(case, "held")?;
    each_once(case, &units)
}

fn failed_instances_are_counted_and_do_not_stop_the_batch(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("bad").runs(0.0).exits(3), 1, "")?;
    let units = instances("bad", 1..=3);
    case.submit("--batch failing", &units)?;
    let batch = case.batch_ends("failing")?;
    ensure!(
        batch.number("failed") == 3 && batch.number("done") == 0,
        "{batch:#?}"
    );
    case.sh("systemctl reset-failed 'bad@*'")?;
    each_once(case, &units)
}

fn submitting_waits_for_the_end_when_asked_to(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let mut submit =
        case.spawn("interlockctl submit --wait --batch awaited imp@1.service imp@2.service")?;
    for unit in instances("imp", 1..=2) {
        case.begun(&unit)?;
        ensure!(submit.is_running()?, "it didn't wait");
        case.release(&unit)?;
    }
    let output = submit.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    Ok(())
}

fn entries_of_a_task_that_the_policy_loses_run_when_it_has_it_again(case: &Case<'_>) -> Result<()> {
    let with = "[resources.slots]\n[tasks.imp]\nunit = \"imp@.service\"\nuses = [\"slots\"]\n";
    case.services(&[Service::template("imp")])?;
    case.policy(with)?;
    let units = instances("imp", 1..=3);
    case.submit("--batch lost", &units)?;
    only_run(case, &units[..1])?;
    case.policy("[resources.slots]\n")?;
    case.release(&units[0])?;
    case.sh("interlockctl queue list | grep -F 'no longer in the policy'")?;
    ensure!(case.log()?.order().len() == 1, "{:?}", case.log()?.order());
    case.policy(with)?;
    for unit in &units[1..] {
        case.release(unit)?;
    }
    each_once(case, &units)
}
