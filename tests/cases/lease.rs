//! How a lease stays true: when it begins, when it ends, and what a restarted daemon makes of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::{Service, TASK_PROGRAM};
use interlock_tests::wait::wait_for;

use super::support::{
    gate, kill_daemon, line_up, main_pid, release_in_turn, start_in_turn, without_daemon,
};

cases![
    lease_lasts_until_the_tasks_cgroup_is_empty,
    queued_unit_that_requires_the_task_keeps_no_lease,
    gate_that_systemd_gave_up_to_stop_is_closed_by_the_daemon,
    task_started_again_at_its_end_overlaps_nobody,
    adopted_task_holds_its_lease_until_it_ends,
    remain_after_exit_holds_nothing,
    auto_restart_holds_through_the_pause,
    active_gate_is_a_lease_for_a_restarted_daemon,
    restarted_daemon_counts_a_gate_that_has_not_reconnected,
    ten_waiters_keep_their_order_over_a_crash,
    task_that_ends_while_the_daemon_is_down_frees_its_resource,
    task_that_starts_while_the_daemon_is_down_waits,
    gate_without_a_job_reserves_nothing,
    task_ordered_before_sysinit_is_refused_by_the_policy,
    daemon_reexec_while_tasks_end_overlaps_nothing,
];

fn lease_lasts_until_the_tasks_cgroup_is_empty(case: &Case<'_>) -> Result<()> {
    // A service whose main process is gone and whose stop leaves a child.
    let service = Service::exec("a")
        .command(&format!(
            "/bin/sh -c '{TASK_PROGRAM} child hold & exec {TASK_PROGRAM} a.service hold'"
        ))
        .service("KillMode=process");
    case.services(&[service, Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    start_in_turn(case, &["a", "b"])?;
    case.begun("child")?;
    case.stop(&["a.service"])?;
    case.becomes(&gate("a"), "inactive")?;
    case.queued(&["b.service"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran beside a's child"
    );
    // The same for a daemon that finds it so.
    kill_daemon(case)?;
    case.queued(&["b.service"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran beside a's child"
    );
    case.release("child")?;
    case.release("b.service")?;
    case.sh("systemctl reset-failed")?;
    case.no_overlap(&["child", "b.service"])
}

fn queued_unit_that_requires_the_task_keeps_no_lease(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a").runs(0.0),
        Service::oneshot("long"),
        // While this one is queued it requires a, so a's gate can't be stopped the ordinary way.
        Service::oneshot("y")
            .runs(0.0)
            .unit("Requires=a.service")
            .unit("After=a.service long.service"),
        Service::oneshot("b").runs(0.0),
    ])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["long.service", "y.service"])?;
    case.begun("long.service")?;
    case.ran("a.service", 1)?;
    case.start(&["b.service"])?;
    case.ran("b.service", 1)?;
    ensure!(case.log()?.count("y.service") == 0);
    case.release("long.service")?;
    case.ran("y.service", 1)
}

fn gate_that_systemd_gave_up_to_stop_is_closed_by_the_daemon(case: &Case<'_>) -> Result<()> {
    let quick = |name| {
        Service::oneshot(name)
            .runs(0.0)
            .unit("StartLimitIntervalSec=0")
    };
    case.services(&[quick("a"), quick("b")])?;
    // Keeps a and its gate loaded, and with them the count of its stops: after sixteen in ten seconds
    // systemd stops it no more, though nobody needs it.
    case.unit("a.timer", "[Timer]\nOnCalendar=2100-01-01\n")?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.timer"])?;
    case.sh("for i in $(seq 25); do systemctl start a.service || exit 1; done")?;
    case.start(&["b.service"])?;
    wait_for("b to run", Duration::from_secs(4), || {
        Ok((case.log()?.count("b.service") == 1).then_some(()))
    })?;
    case.ran("a.service", 25)?;
    case.stop(&["a.timer"])
}

fn task_started_again_at_its_end_overlaps_nobody(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a")
            .runs(0.0)
            .unit("StartLimitIntervalSec=0"),
        Service::oneshot("b")
            .runs(0.0)
            .unit("StartLimitIntervalSec=0"),
    ])?;
    case.exclusive(&["a", "b"])?;
    // Starts without waiting fall into every moment of the former run's end.
    case.sh("for i in $(seq 100); do
             systemctl start --no-block a.service
             [ $((i % 5)) = 0 ] && systemctl start --no-block b.service
         done
         systemctl start a.service b.service")?;
    let log = case.log()?;
    ensure!(
        log.count("a.service") >= 2 && log.count("b.service") >= 1,
        "{log:?}"
    );
    case.no_overlap(&["a.service", "b.service"])
}

fn adopted_task_holds_its_lease_until_it_ends(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("a"), Service::oneshot("b")])?;
    case.reload_systemd()?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.exclusive(&["a", "b"])?;
    case.becomes(&gate("a"), "active")?;
    // Also for a daemon that wasn't there when the policy came.
    kill_daemon(case)?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    ensure!(
        case.log()?.count("a.service") == 1,
        "the adoption restarted the task"
    );
    release_in_turn(case, &["a", "b"])
}

fn remain_after_exit_holds_nothing(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a")
            .runs(0.0)
            .service("RemainAfterExit=yes"),
        Service::oneshot("b").runs(0.0),
    ])?;
    case.exclusive(&["a", "b"])?;
    ensure!(case.try_start("a.service")?.success());
    ensure!(case.property("a.service", "SubState")? == "exited");
    ensure!(case.try_start("b.service")?.success());
    ensure!(
        case.property("a.service", "SubState")? == "exited",
        "b's run cost a its state"
    );
    // Again, after a restart of the daemon, and a itself.
    kill_daemon(case)?;
    ensure!(case.try_start("b.service")?.success());
    ensure!(case.sh("systemctl restart a.service").is_ok());
    case.ran("a.service", 2)?;
    case.ran("b.service", 2)?;
    case.stop(&["a.service"])
}

fn auto_restart_holds_through_the_pause(case: &Case<'_>) -> Result<()> {
    let failing = Service::exec("a")
        .runs(0.1)
        .exits(1)
        .unit("StartLimitBurst=2")
        .unit("StartLimitIntervalSec=60")
        .service("Restart=on-failure")
        .service("RestartSec=1s");
    case.services(&[failing, Service::oneshot("b").runs(0.1)])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.start(&["b.service"])?;
    case.ran("a.service", 2)?;
    case.ran("b.service", 1)?;
    case.no_overlap(&["a.service", "b.service"])?;
    case.failed("a.service")
}

fn active_gate_is_a_lease_for_a_restarted_daemon(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    case.services(&[Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    kill_daemon(case)?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn restarted_daemon_counts_a_gate_that_has_not_reconnected(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    // b's gate can't reconnect: perhaps its grant was on the way when the daemon died.
    let process = main_pid(case, &gate("b"))?;
    case.sh(&format!("kill -STOP {process}"))?;
    kill_daemon(case)?;
    case.release("a.service")?;
    case.sh("interlockctl queue")?;
    ensure!(
        case.log()?.count("c.service") == 0,
        "c was let in past b's unanswered request"
    );
    case.sh(&format!("kill -CONT {process}"))?;
    case.release("b.service")?;
    case.release("c.service")?;
    case.no_overlap(&["a.service", "b.service", "c.service"])
}

fn ten_waiters_keep_their_order_over_a_crash(case: &Case<'_>) -> Result<()> {
    // Not in the order of their names.
    let names = ["q", "d", "m", "a", "z", "k", "b", "x", "c", "p", "e"];
    line_up(case, &names)?;
    let before = case.queue()?;
    kill_daemon(case)?;
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    case.queued(&before)?;
    release_in_turn(case, &names)
}

fn task_that_ends_while_the_daemon_is_down_frees_its_resource(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    without_daemon(case, || {
        case.release("a.service")?;
        case.becomes(&gate("a"), "inactive")
    })?;
    case.release("b.service")?;
    case.ran("a.service", 1)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn task_that_starts_while_the_daemon_is_down_waits(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    case.services(&[Service::oneshot("b"), Service::oneshot("c")])?;
    case.exclusive(&["a", "b", "c"])?;
    without_daemon(case, || {
        case.start(&["b.service"])?;
        case.becomes(&gate("b"), "activating")?;
        case.start(&["c.service"])?;
        case.becomes(&gate("c"), "activating")?;
        ensure!(case.log()?.count("b.service") == 0);
        Ok(())
    })?;
    case.queued(&["b.service", "c.service"])?;
    release_in_turn(case, &["a", "b", "c"])
}

fn gate_without_a_job_reserves_nothing(case: &Case<'_>) -> Result<()> {
    // Two shares. a holds one; the jobless gate asks for both, and c for one comes after it.
    let services = ["a", "big", "c"].map(Service::oneshot);
    case.services(&services)?;
    case.policy(&format!(
        "[resources.r]\ncapacity = 2\n{}{}{}",
        task_policy("a", "a", "uses = [\"r\"]"),
        task_policy("big", "big", "uses = { r = \"all\" }"),
        task_policy("c", "c", "uses = [\"r\"]"),
    ))?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.sh(&format!("systemctl start --no-block '{}'", gate("big")))?;
    case.becomes(&gate("big"), "activating")?;
    case.start(&["c.service"])?;
    case.begun("c.service")?;
    case.release("c.service")?;
    case.release("a.service")?;
    ensure!(case.log()?.count("big.service") == 0);
    Ok(())
}

fn task_ordered_before_sysinit_is_refused_by_the_policy(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("early")
        .runs(0.0)
        .unit("DefaultDependencies=no")
        .unit("Before=sysinit.target")])?;
    case.fragment("10-case.toml", &exclusive_policy(&["early"]))?;
    let output = case.try_sh("interlockctl verify")?;
    ensure!(output.status == Some(3), "{output:?}");
    ensure!(output.text().contains("basic.target"), "{}", output.text());
    // Refused, but not blocked: that would hold up the boot.
    case.reload_systemd()?;
    ensure!(case.try_start("early.service")?.success());
    Ok(())
}

fn daemon_reexec_while_tasks_end_overlaps_nothing(case: &Case<'_>) -> Result<()> {
    // During a re-execution calls to systemd fail, and an error must not be taken for "has ended".
    let names = ["a", "b", "c", "d", "e", "f"];
    let services: Vec<Service> = names
        .iter()
        .map(|name| Service::oneshot(name).runs(0.15))
        .collect();
    case.services(&services)?;
    case.exclusive(&names)?;
    let units: Vec<String> = names.iter().map(|name| format!("{name}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    case.start(&units)?;
    for _ in 0..6 {
        case.sh("systemctl daemon-reexec")?;
    }
    for unit in &units {
        case.ran(unit, 1)?;
    }
    case.no_overlap(&units)
}
