//! What a task at its gate does: waiting, leaving, being started again.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::{gate, job_of, line_up, release_in_turn, start_in_turn};

cases![
    second_task_waits_until_the_first_one_ends,
    waiters_are_served_in_the_order_in_which_they_came,
    tasks_of_different_resources_run_side_by_side,
    repeated_starts_of_a_waiting_task_are_one_run,
    stop_of_a_waiting_task_removes_it_from_the_queue_at_once,
    waiter_leaves_the_queue_when_its_job_is_cancelled,
    restart_of_a_running_task_ends_with_it_running_once,
    restart_of_a_running_task_queues_behind_who_waits,
    restart_of_a_waiting_task_runs_it_once,
    try_restart_and_reload_or_restart_keep_tasks_apart,
    waiting_survives_daemon_reload,
    waiting_survives_daemon_reexec,
    gate_says_whom_it_waits_for,
    template_instances_share_their_templates_resource,
    names_that_need_escaping_have_gates,
    an_alias_in_the_policy_guards_the_real_unit_once,
    start_by_an_alias_waits_like_any_other,
];

fn second_task_waits_until_the_first_one_ends(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    ensure!(case.property(&gate("a"), "ActiveState")? == "active");
    ensure!(case.property(&gate("b"), "ActiveState")? == "activating");
    ensure!(case.property("b.service", "ActiveState")? == "inactive");
    release_in_turn(case, &["a", "b"])
}

fn waiters_are_served_in_the_order_in_which_they_came(case: &Case<'_>) -> Result<()> {
    let names = ["d", "b", "e", "a", "c"];
    line_up(case, &names)?;
    release_in_turn(case, &names)
}

fn tasks_of_different_resources_run_side_by_side(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.policy(&format!(
        "[resources.r]\n[resources.s]\n{}{}",
        task_policy("a", "a", "uses = [\"r\"]"),
        task_policy("b", "b", "uses = [\"s\"]")
    ))?;
    case.start(&["a.service", "b.service"])?;
    case.begun("a.service")?;
    case.begun("b.service")?;
    case.release("a.service")?;
    case.release("b.service")
}

fn repeated_starts_of_a_waiting_task_are_one_run(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    for _ in 0..3 {
        case.start(&["b.service"])?;
    }
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn stop_of_a_waiting_task_removes_it_from_the_queue_at_once(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.stop(&["b.service"])?;
    case.queued(&["c.service"])?;
    ensure!(case.property(&gate("b"), "ActiveState")? == "inactive");
    release_in_turn(case, &["a", "c"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran though it was stopped while it waited"
    );
    Ok(())
}

fn waiter_leaves_the_queue_when_its_job_is_cancelled(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    let job = job_of(case, "b.service")?;
    case.sh(&format!("systemctl cancel {job}"))?;
    // b's gate may still be there, but it must not be in c's way.
    release_in_turn(case, &["a", "c"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran though its start was cancelled"
    );
    Ok(())
}

fn restart_of_a_running_task_ends_with_it_running_once(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("a"), Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.sh("systemctl restart a.service")?;
    case.begun("a.service")?;
    let log = case.log()?;
    ensure!(log.count("a.service") == 2, "{log:?}");
    ensure!(case.property("a.service", "ActiveState")? == "active");
    ensure!(case.property(&gate("a"), "ActiveState")? == "active");
    // And it holds its lease.
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    case.release("a.service")?;
    case.release("b.service")?;
    case.ran("a.service", 2)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn restart_of_a_running_task_queues_behind_who_waits(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let restart = case.spawn("systemctl restart a.service")?;
    case.begun("b.service")?;
    case.queued(&["a.service"])?;
    case.release("b.service")?;
    case.release("a.service")?;
    ensure!(restart.wait(SOON)?.success());
    case.ran("a.service", 2)?;
    case.ran("b.service", 1)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn restart_of_a_waiting_task_runs_it_once(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.sh("systemctl restart --no-block b.service")?;
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn try_restart_and_reload_or_restart_keep_tasks_apart(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("a"), Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    start_in_turn(case, &["a", "b"])?;
    case.sh("systemctl try-restart --no-block a.service")?;
    case.begun("b.service")?;
    // Not running, but its start waits.
    case.sh("systemctl reload-or-restart --no-block a.service")?;
    case.queued(&["a.service"])?;
    case.release("b.service")?;
    case.release("a.service")?;
    case.ran("a.service", 2)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn waiting_survives_daemon_reload(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.reload_systemd()?;
    case.queued(&["b.service", "c.service"])?;
    release_in_turn(case, &["a", "b", "c"])
}

fn waiting_survives_daemon_reexec(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.sh("systemctl daemon-reexec")?;
    case.queued(&["b.service", "c.service"])?;
    release_in_turn(case, &["a", "b", "c"])
}

fn gate_says_whom_it_waits_for(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    wait_for("the gate's status", SOON, || {
        let text = case.property(&gate("c"), "StatusText")?;
        Ok((text.contains('r') && text.contains("a.service")).then_some(()))
    })?;
    let status = case.sh("interlockctl status")?;
    ensure!(
        status.lines().all(|line| line.chars().count() <= 80),
        "wider than 80:\n{status}"
    );
    release_in_turn(case, &["a", "b", "c"])
}

fn template_instances_share_their_templates_resource(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("imp@")])?;
    case.policy(&format!(
        "[resources.slots]\ncapacity = 2\n{}",
        task_policy("imp", "imp@", "uses = [\"slots\"]")
    ))?;
    // A slash, a dash and a second @ in the instance.
    let units = [
        "imp@one.service",
        "imp@a-b.service",
        "imp@p@q.service",
        r"imp@x\x2fy.service",
    ];
    for unit in &units[..2] {
        case.start(&[unit])?;
        case.begun(unit)?;
    }
    case.start(&[units[2]])?;
    case.queued(&[units[2]])?;
    case.start(&[units[3]])?;
    case.queued(&units[2..])?;
    for unit in units {
        case.release(unit)?;
    }
    let users: Vec<(&str, u32)> = units.iter().map(|unit| (*unit, 1)).collect();
    case.within(&users, 2)
}

fn names_that_need_escaping_have_gates(case: &Case<'_>) -> Result<()> {
    let names = [r"we\x20ird", "a-b.c", r"\xc3\xbcnit", "with:colon"];
    let services: Vec<Service> = names.iter().map(|name| Service::oneshot(name)).collect();
    case.services(&services)?;
    case.policy(&exclusive_policy(&names))?;
    start_in_turn(case, &names)?;
    release_in_turn(case, &names)
}

fn an_alias_in_the_policy_guards_the_real_unit_once(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("real"), Service::oneshot("b")])?;
    case.sh("ln -s real.service /etc/systemd/system/other.service")?;
    case.exclusive(&["other", "b"])?;
    case.start(&["real.service"])?;
    case.begun("real.service")?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    let gates =
        case.sh("systemctl list-units --all --plain --no-legend 'interlock-gate@*' | wc -l")?;
    ensure!(gates == "2", "{gates} gates for two tasks");
    release_in_turn(case, &["real", "b"])
}

fn start_by_an_alias_waits_like_any_other(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("real"), Service::oneshot("b")])?;
    case.sh("ln -s real.service /etc/systemd/system/other.service")?;
    case.exclusive(&["real", "b"])?;
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    case.start(&["other.service"])?;
    case.queued(&["real.service"])?;
    let why = case.why("other")?;
    ensure!(
        why["unit"] == "real.service" && why["state"] == "waiting",
        "{why}"
    );
    release_in_turn(case, &["b", "real"])
}
