//! Every line of the gate's unit, of the drop-in, the socket and the daemon's unit: what breaks without it.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;

use super::support::{daemon_is_back, gate, kill_daemon, line_up, main_pid, release_in_turn};

cases![
    part_of_lets_a_stop_of_the_task_end_its_wait,
    wants_brings_a_stopped_socket_back,
    gate_starts_only_when_the_socket_listens,
    stop_when_unneeded_gives_the_lease_back_without_the_daemon,
    no_default_dependencies_leave_a_task_out_of_shutdown_that_keeps_out_itself,
    ignore_on_isolate_keeps_gates,
    no_start_limit_lets_forty_quick_starts_run,
    collect_mode_leaves_no_failed_gates,
    type_notify_opens_on_a_grant_only,
    remain_after_exit_holds_the_lease_without_a_process,
    no_start_timeout_ends_a_wait,
    log_level_keeps_gates_out_of_the_journal,
    a_stop_of_the_socket_stops_no_task,
    a_new_drop_in_kills_no_running_task,
    restart_always_brings_the_daemon_back_from_every_end,
    no_start_limit_of_the_daemon_takes_the_socket_down,
];

fn part_of_lets_a_stop_of_the_task_end_its_wait(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let pid = main_pid(case, &gate("b"))?;
    // Nobody but systemd itself is there to end it.
    let daemon = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -STOP {daemon}"))?;
    let stopped = case.stop(&["b.service"]);
    let gone = case.wait_until(&format!("! kill -0 {pid} 2>/dev/null"));
    case.sh(&format!("kill -CONT {daemon}"))?;
    stopped?;
    gone?;
    release_in_turn(case, &["a"])
}

fn wants_brings_a_stopped_socket_back(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    case.sh("systemctl stop interlock.socket interlockd.service")?;
    case.start(&["a.service"])?;
    case.ran("a.service", 1)?;
    ensure!(case.property("interlock.socket", "ActiveState")? == "active");
    Ok(())
}

fn gate_starts_only_when_the_socket_listens(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    case.unit(
        "interlock.socket.d/slow.conf",
        "[Socket]\nExecStartPre=/bin/sleep 0.3\n",
    )?;
    case.exclusive(&["a"])?;
    case.sh("systemctl stop interlock.socket interlockd.service")?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    let time =
        |unit: &str, property: &str| -> Result<u64> { Ok(case.property(unit, property)?.parse()?) };
    let listens = time("interlock.socket", "ActiveEnterTimestampMonotonic")?;
    let starts = time(&gate("a"), "ExecMainStartTimestampMonotonic")?;
    ensure!(
        starts >= listens,
        "the gate's process ran before the socket listened"
    );
    case.release("a.service")
}

fn stop_when_unneeded_gives_the_lease_back_without_the_daemon(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    case.exclusive(&["a"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    let daemon = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -STOP {daemon}"))?;
    let released = case
        .release("a.service")
        .and_then(|()| case.becomes(&gate("a"), "inactive"));
    case.sh(&format!("kill -CONT {daemon}"))?;
    released
}

fn no_default_dependencies_leave_a_task_out_of_shutdown_that_keeps_out_itself(
    case: &Case<'_>,
) -> Result<()> {
    let own = Service::oneshot("own")
        .unit("DefaultDependencies=no")
        .unit("After=basic.target");
    case.services(&[own])?;
    case.exclusive(&["own"])?;
    case.start(&["own.service"])?;
    case.begun("own.service")?;
    // Conflicts= of a unit that this one requires would stop it as well.
    for unit in ["own.service", &gate("own")] {
        let conflicts = case.sh(&format!("systemctl show -P Conflicts '{unit}'"))?;
        ensure!(
            !conflicts.contains("shutdown.target"),
            "{unit}: {conflicts}"
        );
    }
    case.release("own.service")
}

fn ignore_on_isolate_keeps_gates(case: &Case<'_>) -> Result<()> {
    let isolated = |name| Service::oneshot(name).unit("IgnoreOnIsolate=yes");
    case.services(&[isolated("a"), isolated("b")])?;
    case.exclusive(&["a", "b"])?;
    super::support::start_in_turn(case, &["a", "b"])?;
    case.sh("systemctl isolate multi-user.target")?;
    if case.version().number() >= 257 {
        case.queued(&["b.service"])?;
        return release_in_turn(case, &["a", "b"]);
    }
    // 252 stops a unit that something which isn't kept requires, whatever it says itself; what
    // must hold is that nothing is stuck and nothing overlaps.
    case.drain(&["a.service", "b.service"])?;
    case.sh("systemctl reset-failed")?;
    case.no_overlap(&["a.service", "b.service"])
}

fn no_start_limit_lets_forty_quick_starts_run(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")
        .runs(0.0)
        .unit("StartLimitIntervalSec=0")])?;
    // Keeps the task loaded and with it its gate, or systemd would forget how often that was started.
    case.unit("a.timer", "[Timer]\nOnCalendar=2100-01-01\n")?;
    case.exclusive(&["a"])?;
    case.start(&["a.timer"])?;
    case.sh("for i in $(seq 40); do systemctl start a.service || exit 1; done")?;
    case.ran("a.service", 40)?;
    case.stop(&["a.timer"])
}

fn collect_mode_leaves_no_failed_gates(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    // The daemon would forgive it; without one it is systemd alone that collects it.
    let daemon = main_pid(case, "interlockd.service")?;
    let process = main_pid(case, &gate("b"))?;
    case.sh(&format!("kill -STOP {daemon}; kill -KILL {process}"))?;
    let collected = case.wait_until(&format!(
        "! systemctl list-units --all --full --no-legend | grep -F '{}'",
        gate("b")
    ));
    case.sh(&format!("kill -CONT {daemon}"))?;
    collected?;
    case.release("a.service")?;
    case.drain(&["b.service"])
}

fn type_notify_opens_on_a_grant_only(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let process = main_pid(case, &gate("b"))?;
    case.sh(&format!("systemctl kill --signal=TERM '{}'", gate("b")))?;
    case.wait_until(&format!("! kill -0 {process} 2>/dev/null"))?;
    case.sh("interlockctl queue")?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "a signal opened the gate"
    );
    // The daemon queues the start again that was lost by it, or it is given up.
    case.release("a.service")?;
    case.drain(&["b.service"])?;
    case.no_overlap(&["a.service", "b.service"])
}

fn remain_after_exit_holds_the_lease_without_a_process(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    ensure!(case.property(&gate("a"), "SubState")? == "exited");
    ensure!(case.property(&gate("a"), "MainPID")? == "0");
    release_in_turn(case, &["a", "b"])
}

fn no_start_timeout_ends_a_wait(case: &Case<'_>) -> Result<()> {
    case.write(
        "/etc/systemd/system.conf.d/timeout.conf",
        "[Manager]\nDefaultTimeoutStartSec=1\n",
    )?;
    case.sh("systemctl daemon-reexec")?;
    // A oneshot, unlike a gate, has no limit by default; so the wait of one shows that time passes.
    let result = line_up(case, &["a", "b"]).and_then(|()| {
        let process = main_pid(case, &gate("b"))?;
        case.unit(
            "slow.service",
            "[Service]\nType=notify\nExecStart=/bin/sleep 60\n",
        )?;
        case.reload_systemd()?;
        // This one is ended by the limit, and began to wait later than b's gate.
        case.try_start("slow.service")?;
        case.failed("slow.service")?;
        let same = main_pid(case, &gate("b"))? == process;
        ensure!(
            same,
            "the limit ended the wait, even if the start was queued again"
        );
        release_in_turn(case, &["a", "b"])
    });
    case.sh("rm -rf /etc/systemd/system.conf.d; systemctl daemon-reexec")?;
    result
}

fn log_level_keeps_gates_out_of_the_journal(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    case.start(&["a.service"])?;
    case.ran("a.service", 1)?;
    case.leaves_nothing()?;
    let journal = case.journal(&format!("UNIT='{}'", gate("a")))?;
    ensure!(
        journal.is_empty(),
        "systemd logs about the gate:\n{journal}"
    );
    Ok(())
}

fn a_stop_of_the_socket_stops_no_task(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.sh("systemctl stop interlock.socket")?;
    ensure!(case.log()?.is_running("a.service"));
    ensure!(case.property(&gate("a"), "ActiveState")? == "active");
    // The daemon has the socket open, so waiters wait on and newcomers reach it.
    let result = release_in_turn(case, &["a", "b"]);
    case.sh("systemctl restart interlockd.service")?;
    ensure!(case.property("interlock.socket", "ActiveState")? == "active");
    result
}

fn a_new_drop_in_kills_no_running_task(case: &Case<'_>) -> Result<()> {
    let units = ["a.service", "b.service"];
    case.services(&[Service::oneshot("a"), Service::exec("b")])?;
    case.reload_systemd()?;
    case.start(&units)?;
    for unit in units {
        case.begun(unit)?;
    }
    case.policy(&format!(
        "[resources.r]\n[resources.s]\n{}{}",
        task_policy("a", "a", "uses = [\"r\"]"),
        task_policy("b", "b", "uses = [\"s\"]")
    ))?;
    for unit in units {
        ensure!(case.log()?.is_running(unit), "the reload ended {unit}");
        case.release(unit)?;
        case.ran(unit, 1)?;
    }
    Ok(())
}

fn restart_always_brings_the_daemon_back_from_every_end(case: &Case<'_>) -> Result<()> {
    // Nobody waits, so no gate's request brings it back.
    line_up(case, &["a"])?;
    for signal in ["TERM", "KILL", "ABRT", "INT"] {
        let pid = main_pid(case, "interlockd.service")?;
        case.sh(&format!("kill -{signal} {pid}"))?;
        daemon_is_back(case, &pid)?;
    }
    case.services(&[Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn no_start_limit_of_the_daemon_takes_the_socket_down(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    for _ in 0..15 {
        kill_daemon(case)?;
    }
    ensure!(case.property("interlock.socket", "ActiveState")? == "active");
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}
