//! Retries that wait: kept whatever happens meanwhile, and held by whatever holds starts.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;

use super::flaky::{self, plan};
use super::retry::{alone, delayed, hard, settled, task};
use super::support::kill_daemon;

cases![
    retry_is_kept_over_a_kill_of_the_daemon,
    retry_is_kept_over_a_reboot,
    retry_waits_for_the_end_of_a_deployment,
    retry_waits_while_the_queue_is_paused,
    retry_that_its_window_has_no_time_for_is_not_made,
    retry_can_be_cancelled,
    stop_takes_a_retry_back_and_nothing_else_does,
];

fn retry_is_kept_over_a_kill_of_the_daemon(case: &Case<'_>) -> Result<()> {
    alone(
        case,
        "kept",
        "attempts = 3, delay = \"2s\"",
        &[(1, "try later")],
    )?;
    case.start(&["kept.service"])?;
    let before = delayed(case, "kept")?;
    kill_daemon(case)?;
    let after = delayed(case, "kept")?;
    ensure!(
        before.number("not-before") == after.number("not-before")
            && after.number("attempt") == before.number("attempt"),
        "{before:#?}\n{after:#?}"
    );
    case.ran("kept.service", 2)?;
    settled(case, "kept")?;
    let past = case.past_runs("kept", 2)?;
    ensure!(past[1].number("attempt") == 2, "{past:#?}");
    let log = case.log()?.runs();
    let gap = log[1].begin - log[0].end.unwrap_or(f64::INFINITY);
    ensure!(gap >= 2.0, "it was tried again after {gap} s");
    Ok(())
}

fn retry_is_kept_over_a_reboot(case: &Case<'_>) -> Result<()> {
    alone(
        case,
        "rebooted",
        "attempts = 3, delay = \"4s\"",
        &[(1, "try later")],
    )?;
    // What is in /run isn't there afterwards.
    case.sh("systemctl start rebooted.service; true")?;
    delayed(case, "rebooted")?;
    case.sh("cp /run/testbed/flaky /etc/systemd/system/flaky.sh
             sed -i s,/run/testbed/flaky,/etc/systemd/system/flaky.sh, /etc/systemd/system/rebooted.service")?;
    case.reboot()?;
    case.ran("rebooted.service", 2)?;
    settled(case, "rebooted")?;
    let past = case.past_runs("rebooted", 2)?;
    ensure!(past[1].number("attempt") == 2, "{past:#?}");
    Ok(())
}

fn retry_waits_for_the_end_of_a_deployment(case: &Case<'_>) -> Result<()> {
    flaky::provide(case)?;
    case.services(&[flaky::service("held")])?;
    case.policy(&format!(
        "[resources.r]\n{}[groups.g]\ntasks = [\"held\"]\n",
        task("held", "attempts = 3, delay = \"500ms\"")
    ))?;
    plan(case, "held.service", &[(1, "try later")])?;
    case.start(&["held.service"])?;
    delayed(case, "held")?;
    let id = case.deploy("g")?;
    // It is due, and says who keeps it.
    case.entries_become("held", |rows| {
        rows.len() == 1 && rows[0].text("detail").contains(&id)
    })?;
    case.ran("held.service", 1)?;
    case.end_deployment(&id)?;
    case.ran("held.service", 2)?;
    settled(case, "held")
}

fn retry_waits_while_the_queue_is_paused(case: &Case<'_>) -> Result<()> {
    alone(
        case,
        "paused",
        "attempts = 3, delay = \"300ms\"",
        &[(1, "try later")],
    )?;
    case.sh("interlockctl queue pause paused --reason 'night shift'")?;
    case.start(&["paused.service"])?;
    case.entries_become("paused", |rows| {
        rows.len() == 1 && rows[0].text("detail").contains("night shift")
    })?;
    kill_daemon(case)?;
    case.entries_become("paused", |rows| {
        rows.len() == 1 && rows[0].text("detail").contains("night shift")
    })?;
    case.ran("paused.service", 1)?;
    case.sh("interlockctl queue resume paused")?;
    case.ran("paused.service", 2)?;
    settled(case, "paused")
}

fn retry_can_be_cancelled(case: &Case<'_>) -> Result<()> {
    alone(
        case,
        "given-up",
        "attempts = 3, delay = \"1h\", max-delay = \"1h\"",
        &[(1, "try later")],
    )?;
    case.start(&["given-up.service"])?;
    let row = delayed(case, "given-up")?;
    ensure!(row.text("state") == "delayed", "{row:#?}");
    let output = case.as_alice("interlockctl queue cancel given-up.service")?;
    ensure!(output.status == Some(77), "{output:?}");
    case.sh("interlockctl queue cancel given-up.service")?;
    settled(case, "given-up")?;
    case.failed("given-up.service")
}

fn stop_takes_a_retry_back_and_nothing_else_does(case: &Case<'_>) -> Result<()> {
    alone(
        case,
        "stopped",
        "attempts = 3, delay = \"1h\", max-delay = \"1h\"",
        &[(1, "try later")],
    )?;
    case.start(&["stopped.service"])?;
    delayed(case, "stopped")?;
    // As packages do with all of their services; and what else has a job, or looks as if.
    case.sh(
        "systemctl try-restart stopped.service; systemctl reload stopped.service || true
             systemctl kill stopped.service || true; systemctl daemon-reload
             systemctl set-property --runtime stopped.service CPUWeight=50; systemctl daemon-reexec
             systemctl try-reload-or-restart stopped.service",
    )?;
    delayed(case, "stopped")?;
    kill_daemon(case)?;
    delayed(case, "stopped")?;
    case.sh("systemctl stop stopped.service")?;
    settled(case, "stopped")?;
    case.sh("systemctl revert stopped.service 2>/dev/null; rm -rf /run/systemd/system.control/stopped.service.d")?;
    case.failed("stopped.service")
}

fn retry_that_its_window_has_no_time_for_is_not_made(case: &Case<'_>) -> Result<()> {
    let retry = "attempts = 3, delay = \"1h\", max-delay = \"1h\"";
    alone(case, "nightly", retry, &[(1, "try later")])?;
    case.policy(&format!(
        "[resources.r]\n{}[windows.night]\ncalendar = \"*-*-* 02:00\"\nmax-duration = \"10min\"\norder = [\"nightly\"]\n",
        task("nightly", retry)
    ))?;
    case.start(&["interlock-window-night.target"])?;
    hard(case, "nightly", 1)?;
    let past = case.past_runs("nightly", 1)?;
    ensure!(past[0].text("verdict").contains("window"), "{past:#?}");
    settled(case, "nightly")?;
    case.stop(&["interlock-window-night.timer"])?;
    case.failed("nightly.service")
}
