//! Starts that are given up: when-busy, max-wait, a window's end. Nothing fails, timers go on, all is counted.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::gate;

cases![
    busy_task_with_skip_is_neither_run_nor_failed,
    skip_that_is_free_runs,
    busy_task_with_fail_fails_its_start,
    calendar_timer_of_a_skipped_task_goes_on,
    monotonic_timers_of_a_skipped_task_go_on,
    start_that_waits_longer_than_max_wait_is_skipped,
    max_wait_survives_a_restart_of_the_daemon,
    task_that_a_socket_activates_is_only_ever_queued,
    task_that_a_path_activates_is_only_ever_queued,
    skip_frees_what_required_the_task,
    skips_are_counted_over_restarts_of_the_daemon,
];

/// a runs; b has these lines in the policy.
fn busy(case: &Case<'_>, lines: &str) -> Result<()> {
    case.services(&[
        Service::oneshot("a"),
        Service::oneshot("b")
            .runs(0.0)
            .unit("OnFailure=alarm.service")
            .unit("StartLimitIntervalSec=0"),
        Service::oneshot("alarm").runs(0.0),
        Service::oneshot("c").runs(0.0),
    ])?;
    case.policy(&format!(
        "[resources.r]\n{}{}{}",
        task_policy("a", "a", "uses = [\"r\"]"),
        task_policy("b", "b", &format!("uses = [\"r\"]\n{lines}")),
        task_policy("c", "c", "uses = [\"r\"]\nmax-wait = \"1s\""),
    ))?;
    case.start(&["a.service"])?;
    case.begun("a.service")
}

/// Waits until so many starts of b were given up.
fn skipped(case: &Case<'_>, times: u64) -> Result<()> {
    wait_for(&format!("{times} skips"), SOON, || {
        Ok((case.why("b")?["skips"].as_u64() >= Some(times)).then_some(()))
    })
}

fn nothing_failed(case: &Case<'_>) -> Result<()> {
    ensure!(case.property("b.service", "ActiveState")? == "inactive");
    ensure!(case.property("b.service", "Result")? == "success");
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    ensure!(case.log()?.count("alarm.service") == 0, "OnFailure= fired");
    Ok(())
}

fn busy_task_with_skip_is_neither_run_nor_failed(case: &Case<'_>) -> Result<()> {
    busy(case, "when-busy = \"skip\"")?;
    let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
    case.try_start("b.service")?;
    skipped(case, before + 1)?;
    nothing_failed(case)?;
    let why = case.why("b")?;
    ensure!(why["skips"] == before + 1, "{why}");
    let reason = why["last_skip_reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(
        reason.contains("a.service") && reason.contains("when-busy"),
        "{reason:?}"
    );
    let journal = case.journal("UNIT=b.service + _SYSTEMD_UNIT=interlockd.service")?;
    ensure!(journal.contains("b.service was given up"), "{journal}");
    ensure!(case.property(&gate("b"), "ActiveState")? == "inactive");
    case.release("a.service")?;
    ensure!(case.log()?.count("b.service") == 0);
    Ok(())
}

fn skip_that_is_free_runs(case: &Case<'_>) -> Result<()> {
    busy(case, "when-busy = \"skip\"")?;
    case.release("a.service")?;
    case.becomes(&gate("a"), "inactive")?;
    ensure!(case.try_start("b.service")?.success());
    case.ran("b.service", 1)
}

fn busy_task_with_fail_fails_its_start(case: &Case<'_>) -> Result<()> {
    busy(case, "when-busy = \"fail\"")?;
    let output = case.try_start("b.service")?;
    ensure!(output.status == Some(1), "{output:?}");
    case.ran("alarm.service", 1)?;
    ensure!(case.log()?.count("b.service") == 0);
    case.release("a.service")
}

fn calendar_timer_of_a_skipped_task_goes_on(case: &Case<'_>) -> Result<()> {
    case.unit("b.timer", "[Timer]\nOnCalendar=*:*:*\nAccuracySec=1ms\n")?;
    busy(case, "when-busy = \"skip\"")?;
    let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
    case.start(&["b.timer"])?;
    skipped(case, before + 3)?;
    nothing_failed(case)?;
    ensure!(case.property("b.timer", "ActiveState")? == "active");
    case.release("a.service")?;
    wait_for("a run", SOON, || {
        Ok((case.log()?.count("b.service") >= 1).then_some(()))
    })?;
    case.stop(&["b.timer"])
}

fn monotonic_timers_of_a_skipped_task_go_on(case: &Case<'_>) -> Result<()> {
    for line in ["OnUnitInactiveSec=1s", "OnUnitActiveSec=1s"] {
        case.unit(
            "b.timer",
            &format!("[Timer]\nOnActiveSec=0\n{line}\nAccuracySec=1ms\n"),
        )?;
        busy(case, "when-busy = \"skip\"")?;
        let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
        case.start(&["b.timer"])?;
        skipped(case, before + 1)?;
        nothing_failed(case)?;
        ensure!(case.property("b.timer", "ActiveState")? == "active");
        case.release("a.service")?;
        // After a run the timer counts from it, and is skipped again and again.
        case.try_start("b.service")?;
        wait_for("two runs", SOON, || {
            Ok((case.log()?.count("b.service") >= 2).then_some(()))
        })?;
        case.start(&["a.service"])?;
        case.begun("a.service")?;
        let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
        skipped(case, before + 2)?;
        ensure!(
            case.property("b.timer", "ActiveState")? == "active",
            "{line}"
        );
        case.stop(&["b.timer"])?;
        case.release("a.service")?;
        case.sh(": >/var/lib/testbed/log")?;
    }
    Ok(())
}

fn start_that_waits_longer_than_max_wait_is_skipped(case: &Case<'_>) -> Result<()> {
    busy(case, "max-wait = \"1s\"")?;
    let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    skipped(case, before + 1)?;
    case.queued(&[])?;
    nothing_failed(case)?;
    let reason = case.why("b")?["last_skip_reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(reason.contains("max-wait"), "{reason:?}");
    case.release("a.service")?;
    ensure!(case.log()?.count("b.service") == 0);
    Ok(())
}

fn max_wait_survives_a_restart_of_the_daemon(case: &Case<'_>) -> Result<()> {
    busy(case, "max-wait = \"2s\"")?;
    let before = case.why("b")?["skips"].as_u64().unwrap_or(0);
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    super::support::kill_daemon(case)?;
    skipped(case, before + 1)?;
    nothing_failed(case)?;
    case.release("a.service")
}

fn only_queued(case: &Case<'_>, trigger: &str) -> Result<()> {
    case.sh(trigger)?;
    case.queued(&["b.service"])?;
    let skips = case.why("b")?["skips"].as_u64().unwrap_or(0);
    // c came later and may wait as long; when it has been given up, b would have been.
    case.start(&["c.service"])?;
    wait_for("c to be skipped", SOON, || {
        Ok((case.why("c")?["skips"].as_u64() >= Some(1)).then_some(()))
    })?;
    case.queued(&["b.service"])?;
    ensure!(
        case.why("b")?["skips"].as_u64().unwrap_or(0) == skips,
        "a start was skipped"
    );
    case.release("a.service")?;
    case.ran("b.service", 1)
}

fn task_that_a_socket_activates_is_only_ever_queued(case: &Case<'_>) -> Result<()> {
    case.unit(
        "b.socket",
        "[Socket]\nListenFIFO=/run/b.fifo\nFlushPending=yes\n",
    )?;
    busy(case, "when-busy = \"skip\"")?;
    case.start(&["b.socket"])?;
    case.becomes("b.socket", "active")?;
    only_queued(case, "echo go >/run/b.fifo")?;
    ensure!(case.property("b.socket", "Result")? == "success");
    case.stop(&["b.socket"])
}

fn task_that_a_path_activates_is_only_ever_queued(case: &Case<'_>) -> Result<()> {
    case.unit("b.path", "[Path]\nPathExists=/run/b.trigger\n")?;
    case.unit(
        "b.service.d/trigger.conf",
        "[Service]\nExecStartPre=/bin/rm -f /run/b.trigger\n",
    )?;
    busy(case, "max-wait = \"1s\"")?;
    case.start(&["b.path"])?;
    case.becomes("b.path", "active")?;
    only_queued(case, "touch /run/b.trigger")?;
    ensure!(case.property("b.path", "Result")? == "success");
    case.stop(&["b.path"])
}

fn skip_frees_what_required_the_task(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("y")
        .runs(0.0)
        .unit("Requires=b.service")
        .unit("After=b.service")])?;
    busy(case, "when-busy = \"skip\"")?;
    let output = case.try_start("y.service")?;
    ensure!(!output.success(), "y started though b did not");
    case.release("a.service")?;
    ensure!(case.log()?.count("y.service") == 0);
    Ok(())
}

fn skips_are_counted_over_restarts_of_the_daemon(case: &Case<'_>) -> Result<()> {
    busy(case, "when-busy = \"skip\"")?;
    case.try_start("b.service")?;
    let counted = case.why("b")?;
    ensure!(counted["skips"].as_u64() >= Some(1), "{counted}");
    case.sh("systemctl restart interlockd.service")?;
    let after = case.why("b")?;
    ensure!(after["skips"] == counted["skips"], "{after}");
    ensure!(
        after["last_skip_reason"] == counted["last_skip_reason"],
        "{after}"
    );
    case.release("a.service")
}
