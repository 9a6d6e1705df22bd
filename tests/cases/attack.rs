//! Against the gate itself: no overlap, nothing stuck, nothing failed that did not fail.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::{Service, TASK_PROGRAM};

use super::support::{gate, line_up, main_pid, release_in_turn, start_in_turn};

cases![
    signals_to_a_waiting_gate_do_not_open_it,
    sigkill_of_a_waiting_gates_process_does_not_open_it,
    start_that_ignores_dependencies_is_refused,
    start_that_ignores_requirements_is_refused,
    stop_of_a_waiting_gate_does_not_let_its_task_run,
    stop_of_a_running_tasks_gate_frees_the_resource_only_after_the_task,
    restart_of_a_running_tasks_gate_overlaps_nothing,
    mask_of_a_waiting_task_leaves_nothing_stuck,
    isolate_leaves_nothing_stuck,
    job_timeout_of_a_waiting_task_frees_its_place,
    forty_quick_starts_of_two_tasks_all_run_and_never_overlap,
    task_that_requires_another_of_the_same_resource,
    task_that_requires_and_follows_another_of_the_same_resource,
    task_that_wants_another_of_the_same_resource,
    task_that_conflicts_with_another_of_the_same_resource,
    task_that_conflicts_with_a_waiting_one,
    restart_on_failure_runs_as_often_as_without_a_gate,
    exec_stop_post_of_a_task_that_ran_well_is_no_failure,
    children_left_behind_keep_the_resource,
    task_that_ran_before_the_policy_came_is_respected,
    policy_dropped_while_its_task_runs_frees_nothing_early,
    start_of_a_gate_by_hand_harms_nobody,
    lease_file_removed_or_forged_by_hand_overlaps_nothing,
    kill_of_the_running_task_frees_the_resource,
];

fn signals_to_a_waiting_gate_do_not_open_it(case: &Case<'_>) -> Result<()> {
    for signal in ["TERM", "INT", "HUP", "USR1", "CONT", "PIPE"] {
        line_up(case, &["a", "b"])?;
        case.sh(&format!("systemctl kill --signal={signal} '{}'", gate("b")))?;
        // It may go on waiting or fail its task's start, but not let it run.
        case.sh("interlockctl queue")?;
        ensure!(
            case.log()?.count("b.service") == 0,
            "SIG{signal} opened the gate"
        );
        case.stop(&["b.service"])?;
        case.release("a.service")?;
        case.sh(": >/var/lib/testbed/log")?;
    }
    Ok(())
}

fn sigkill_of_a_waiting_gates_process_does_not_open_it(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    let pid = main_pid(case, &gate("b"))?;
    case.sh(&format!("kill -KILL {pid}"))?;
    // The daemon queues the start again that was lost by it: no run is lost, but its place is.
    case.queued(&["c.service", "b.service"])?;
    release_in_turn(case, &["a", "c", "b"])
}

fn refused(case: &Case<'_>, mode: &str) -> Result<()> {
    line_up(case, &["a"])?;
    case.services(&[Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    let output = case.try_sh(&format!("systemctl start --job-mode={mode} b.service"))?;
    ensure!(!output.success(), "the start came through");
    release_in_turn(case, &["a"])?;
    // A failed assertion fails the start, not the unit.
    ensure!(case.property("b.service", "ActiveState")? == "inactive");
    // And while it waits.
    case.sh(": >/var/lib/testbed/log")?;
    start_in_turn(case, &["a", "b"])?;
    let output = case.try_sh(&format!(
        "systemctl start --no-block --job-mode={mode} b.service"
    ))?;
    case.sh("interlockctl queue")?;
    ensure!(case.log()?.count("b.service") == 0, "{}", output.text());
    case.stop(&["b.service"])?;
    release_in_turn(case, &["a"])
}

fn start_that_ignores_dependencies_is_refused(case: &Case<'_>) -> Result<()> {
    refused(case, "ignore-dependencies")
}

fn start_that_ignores_requirements_is_refused(case: &Case<'_>) -> Result<()> {
    refused(case, "ignore-requirements")
}

fn stop_of_a_waiting_gate_does_not_let_its_task_run(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.stop(&[&gate("b")])?;
    case.queued(&["c.service"])?;
    release_in_turn(case, &["a", "c"])?;
    ensure!(case.property("b.service", "ActiveState")? == "inactive");
    Ok(())
}

fn stop_of_a_running_tasks_gate_frees_the_resource_only_after_the_task(
    case: &Case<'_>,
) -> Result<()> {
    // a takes a while to stop.
    let slow_stop =
        Service::oneshot("a").service(&format!("ExecStopPost={TASK_PROGRAM} a-stopping 0.3"));
    case.services(&[slow_stop, Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    start_in_turn(case, &["a", "b"])?;
    case.stop(&[&gate("a")])?;
    case.release("b.service")?;
    case.no_overlap(&["a.service", "b.service"])?;
    case.no_overlap(&["a-stopping", "b.service"])?;
    case.failed("a.service")
}

fn restart_of_a_running_tasks_gate_overlaps_nothing(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.sh(&format!("systemctl restart --no-block '{}'", gate("a")))?;
    case.release("b.service")?;
    case.no_overlap(&["a.service", "b.service"])?;
    // PID 1 restarts a with its gate.
    case.drain(&["a.service", "b.service"])?;
    case.no_overlap(&["a.service", "b.service"])?;
    case.sh("systemctl reset-failed").map(drop)
}

fn mask_of_a_waiting_task_leaves_nothing_stuck(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    // Where a mask in /etc comes before it.
    case.write(
        "/run/systemd/system/b.service",
        &Service::oneshot("b").text(),
    )?;
    case.exclusive(&["a", "b"])?;
    start_in_turn(case, &["a", "b"])?;
    case.sh("systemctl mask b.service")?;
    case.release("a.service")?;
    let end = case.drain(&["b.service"]);
    case.sh("systemctl unmask b.service; rm /run/systemd/system/b.service")?;
    end?;
    case.no_overlap(&["a.service", "b.service"])
}

fn isolate_leaves_nothing_stuck(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    // Stops whatever multi-user.target doesn't want: the tasks, and with them their waiting.
    case.sh("systemctl isolate multi-user.target")?;
    case.queued(&[])?;
    ensure!(case.log()?.count("b.service") == 0);
    case.failed("a.service")?;
    // And the gates work as before.
    case.sh(": >/var/lib/testbed/log")?;
    start_in_turn(case, &["a", "b"])?;
    release_in_turn(case, &["a", "b"])
}

fn job_timeout_of_a_waiting_task_frees_its_place(case: &Case<'_>) -> Result<()> {
    let hasty = Service::oneshot("b").unit("JobTimeoutSec=1");
    case.services(&[Service::oneshot("a"), hasty, Service::oneshot("c")])?;
    case.exclusive(&["a", "b", "c"])?;
    start_in_turn(case, &["a", "b", "c"])?;
    case.wait_until("! systemctl list-jobs --no-legend | grep -F b.service")?;
    release_in_turn(case, &["a", "c"])?;
    ensure!(case.property("b.service", "ActiveState")? == "inactive");
    Ok(())
}

fn forty_quick_starts_of_two_tasks_all_run_and_never_overlap(case: &Case<'_>) -> Result<()> {
    let quick = |name| {
        Service::oneshot(name)
            .runs(0.0)
            .unit("StartLimitIntervalSec=0")
    };
    case.services(&[quick("a"), quick("b")])?;
    case.exclusive(&["a", "b"])?;
    case.sh(
        "starts() { for i in $(seq 40); do systemctl start $1.service || exit 1; done; }
         starts a & one=$!; starts b & two=$!; wait $one && wait $two",
    )?;
    case.ran("a.service", 40)?;
    case.ran("b.service", 40)?;
    case.no_overlap(&["a.service", "b.service"])
}

/// b has these lines about a, and is started.
fn related(case: &Case<'_>, lines: &[&str]) -> Result<()> {
    let b = lines
        .iter()
        .fold(Service::oneshot("b").runs(0.2), |b, line| b.unit(line));
    case.services(&[Service::oneshot("a").runs(0.2), b])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["b.service"])?;
    case.ran("a.service", 1)?;
    case.ran("b.service", 1)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn task_that_requires_another_of_the_same_resource(case: &Case<'_>) -> Result<()> {
    related(case, &["Requires=a.service"])
}

fn task_that_requires_and_follows_another_of_the_same_resource(case: &Case<'_>) -> Result<()> {
    related(case, &["Requires=a.service", "After=a.service"])
}

fn task_that_wants_another_of_the_same_resource(case: &Case<'_>) -> Result<()> {
    related(case, &["Wants=a.service"])
}

fn task_that_conflicts_with_another_of_the_same_resource(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::exec("a"),
        Service::oneshot("b")
            .unit("Conflicts=a.service")
            .unit("After=a.service"),
    ])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    // Its owner's word: a is stopped for it.
    case.start(&["b.service"])?;
    case.release("b.service")?;
    case.ran("a.service", 1)?;
    case.no_overlap(&["a.service", "b.service"])
}

fn task_that_conflicts_with_a_waiting_one(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a"),
        Service::oneshot("b"),
        Service::oneshot("c").unit("Conflicts=b.service"),
    ])?;
    case.exclusive(&["a", "b", "c"])?;
    start_in_turn(case, &["a", "b"])?;
    case.start(&["c.service"])?;
    case.queued(&["c.service"])?;
    release_in_turn(case, &["a", "c"])
}

fn restart_on_failure_runs_as_often_as_without_a_gate(case: &Case<'_>) -> Result<()> {
    let failing = |name| {
        Service::exec(name)
            .runs(0.0)
            .exits(1)
            .unit("StartLimitBurst=3")
            .unit("StartLimitIntervalSec=60")
            .service("Restart=on-failure")
            .service("RestartSec=50ms")
            .service("ExecStopPost=/bin/true")
    };
    case.services(&[failing("free"), failing("a")])?;
    case.exclusive(&["a"])?;
    case.start(&["free.service"])?;
    case.ran("free.service", 3)?;
    case.failed("free.service")?;
    case.start(&["a.service"])?;
    case.ran("a.service", 3)?;
    case.failed("a.service")
}

fn exec_stop_post_of_a_task_that_ran_well_is_no_failure(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a")
            .runs(0.0)
            .service(&format!("ExecStopPost={TASK_PROGRAM} a-post 0.1")),
        Service::oneshot("b")
            .runs(0.0)
            .unit("Requires=a.service")
            .unit("After=a.service"),
    ])?;
    case.exclusive(&["a"])?;
    let output = case.try_start("b.service")?;
    ensure!(output.success(), "{}", output.text());
    case.ran("a-post", 1)?;
    let output = case.try_start("a.service")?;
    ensure!(output.success(), "{}", output.text());
    case.ran("a-post", 2)
}

fn children_left_behind_keep_the_resource(case: &Case<'_>) -> Result<()> {
    let forking = Service::oneshot("a")
        .command(&format!("/bin/sh -c '{TASK_PROGRAM} child hold & exit 0'"))
        .service("KillMode=process");
    case.services(&[forking, Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    let output = case.try_start("a.service")?;
    ensure!(output.success(), "{}", output.text());
    case.begun("child")?;
    case.becomes("a.service", "inactive")?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    ensure!(case.log()?.count("b.service") == 0);
    case.release("child")?;
    case.release("b.service")?;
    case.no_overlap(&["child", "b.service"])
}

fn task_that_ran_before_the_policy_came_is_respected(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.reload_systemd()?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.exclusive(&["a", "b"])?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    ensure!(case.log()?.count("b.service") == 0);
    release_in_turn(case, &["a", "b"])
}

fn policy_dropped_while_its_task_runs_frees_nothing_early(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.exclusive(&["b"])?;
    case.queued(&["b.service"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran while a still did"
    );
    release_in_turn(case, &["a", "b"])?;
    // Now it is nobody's business when a runs.
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.reload_systemd()?;
    ensure!(case.try_start("a.service")?.success());
    Ok(())
}

fn start_of_a_gate_by_hand_harms_nobody(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.services(&[Service::oneshot("c")])?;
    case.exclusive(&["a", "b", "c"])?;
    // A gate whose task has no job: it reserves nothing, and is given back at once.
    case.sh(&format!("systemctl start --no-block '{}'", gate("c")))?;
    // And one of a unit that isn't under the policy at all.
    case.sh("systemctl start --no-block 'interlock-gate@nobody.service.service'")?;
    release_in_turn(case, &["a", "b"])?;
    case.becomes(&gate("c"), "inactive")?;
    case.sh("systemctl stop 'interlock-gate@*'; systemctl reset-failed")
        .map(drop)
}

fn lease_file_removed_or_forged_by_hand_overlaps_nothing(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.sh("touch /run/interlock/lease/b.service; rm -f /run/interlock/lease/a.service")?;
    release_in_turn(case, &["a", "b", "c"])
}

fn kill_of_the_running_task_frees_the_resource(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.sh("systemctl kill --signal=KILL a.service")?;
    case.release("b.service")?;
    case.failed("a.service")
}
