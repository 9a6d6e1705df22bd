//! The front doors: interlockctl deploy, and interlock-deploy@GROUP.service.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::{BUSY, rests, running_group, runs_on};
use super::support::{kill_daemon, main_pid};

deploy_cases![
    run_passes_the_commands_status_and_environment_on,
    run_that_is_interrupted_while_it_settles_undoes,
    run_passes_signals_on_to_its_command,
    run_shows_who_is_waited_for,
    list_and_show_tell_what_is_going_on,
    service_holds_a_deployment_while_it_is_active,
    service_that_is_stopped_while_interlockd_restarts_ends_its_deployment,
    service_whose_process_is_killed_ends_its_deployment,
    service_that_is_refused_fails_to_start,
    every_step_is_signalled,
];

fn run_passes_the_commands_status_and_environment_on(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("r", "restart")], "")?;
    let run = |command: &str| {
        case.try_sh(&format!(
            "interlockctl deploy run --group g --reason 'x y' -- {command}"
        ))
    };
    let output =
        run("sh -c 'echo $INTERLOCK_DEPLOYMENT $INTERLOCK_GROUP; ls -l /proc/self/fd/; exit 7'")?;
    ensure!(output.status == Some(7), "{output:?}");
    let (id, _) = case.deployments()?.pop().context("none")?;
    ensure!(
        output.stdout.lines().next() == Some(&format!("{id} g")),
        "{output:?}"
    );
    // Or the deployment would last as long as any process that the command leaves.
    ensure!(!output.stdout.contains("/run/interlock"), "{output:?}");
    ensure!(case.deployment(&id)?.state == "ended");
    runs_on(case, &[("r", 2)])?;
    ensure!(run("sh -c 'kill -KILL $$'")?.status == Some(137));
    runs_on(case, &[("r", 3)])?;
    ensure!(run("true")?.status == Some(0));
    runs_on(case, &[("r", 4)])?;
    let output = run("/nowhere/deploy.sh")?;
    ensure!(
        !output.success() && output.stderr.contains("/nowhere/deploy.sh"),
        "{output:?}"
    );
    runs_on(case, &[("r", 5)])
}

fn run_that_is_interrupted_while_it_settles_undoes(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[
            ("w", "wait"),
            ("f", "freeze"),
            ("s", "stop"),
            ("r", "restart"),
        ],
        "",
    )?;
    for (round, signal, status) in [(2, "INT", 130), (3, "TERM", 143), (4, "HUP", 129)] {
        let deploy = case.deploy_run("g", "")?;
        let id = case.live_deployment("g")?.id;
        case.member_is(&id, "f.service", "frozen")?;
        case.member_is(&id, "s.service", "stopped")?;
        case.member_is(&id, "r.service", "stopped")?;
        case.sh(&format!("pkill -{signal} -x interlockctl"))?;
        let output = deploy.wait(SOON)?;
        ensure!(output.status == Some(status), "{signal}: {output:?}");
        runs_on(case, &[("w", 1), ("f", 1), ("s", round), ("r", round)])?;
    }
    ensure!(case.log()?.count("deploy") == 0, "the command was run");
    Ok(())
}

fn run_passes_signals_on_to_its_command(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("r", "restart")], "")?;
    let deploy = case.deploy_run("g", "")?;
    case.begun("deploy")?;
    case.sh("pkill -TERM -x interlockctl")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.status == Some(143), "{output:?}");
    ensure!(!case.log()?.is_running("deploy"), "it runs on");
    let (id, _) = case.deployments()?.pop().context("none")?;
    ensure!(case.deployment(&id)?.state == "ended");
    runs_on(case, &[("r", 2)])
}

fn run_shows_who_is_waited_for(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[("w", "wait"), ("s", "stop")],
        "max-wait = \"10min\"",
    )?;
    // util-linux' script gives it a terminal.
    let deploy = case.spawn(
        "exec script -qefc 'stty rows 24 cols 100; exec interlockctl deploy run --group g -- echo deployed' /run/typescript",
    )?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "s.service", "stopped")?;
    case.wait_until("grep -a -E '\\bw(\\.service)?\\b' /run/typescript | grep -aq -i wait")?;
    case.release("w.service")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    let shown = case.sh("cat /run/typescript; rm /run/typescript")?;
    ensure!(shown.contains("deployed"), "{shown}");
    // And where there is no terminal, what matters stands in lines of their own.
    Ok(())
}

fn list_and_show_tell_what_is_going_on(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("f", "freeze"), ("s", "stop")], "")?;
    let id = case.deploy("g")?;
    for command in ["list", &format!("show {id}")] {
        let shown = case.sh(&format!("interlockctl deploy {command}"))?;
        for word in [&id, "release 7", "ready"] {
            ensure!(shown.contains(word), "no {word:?} in {command}: {shown}");
        }
        let json = case.sh(&format!("interlockctl deploy {command} --json"))?;
        let _: serde_json::Value = serde_json::from_str(&json).context(json.clone())?;
        ensure!(json.contains(&id), "{json}");
    }
    let shown = case.sh(&format!("interlockctl deploy show {id}"))?;
    for word in ["freeze", "frozen", "stopped"] {
        ensure!(shown.contains(word), "no {word:?}: {shown}");
    }
    let status = case.sh("interlockctl status --full")?;
    ensure!(status.contains("frozen"), "{status}");
    case.sh("interlockctl deploy end")?;
    ensure!(!case.sh("interlockctl deploy list")?.contains(&id));
    ensure!(case.sh("interlockctl deploy list --all")?.contains(&id));
    ensure!(
        case.sh(&format!("interlockctl deploy show {id}"))?
            .contains("ended")
    );
    let output = case.try_sh("interlockctl deploy show nothing")?;
    ensure!(
        !output.success() && output.stderr.contains("nothing"),
        "{output:?}"
    );
    Ok(())
}

const SERVICE: &str = "interlock-deploy@g.service";

fn service_holds_a_deployment_while_it_is_active(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[("w", "wait"), ("f", "freeze"), ("r", "restart")],
        "",
    )?;
    let mut start = case.starting(&[SERVICE])?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "f.service", "frozen")?;
    // What it waits for is what systemctl status shows.
    case.wait_until(&format!(
        "systemctl show -P StatusText '{SERVICE}' | grep -q '\\bw\\b'"
    ))?;
    ensure!(start.is_running()? && case.property(SERVICE, "ActiveState")? == "activating");
    case.release("w.service")?;
    let output = start.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    ensure!(case.deployment(&id)?.state == "ready");
    // It outlives the daemon.
    kill_daemon(case)?;
    ensure!(case.deployment_is(&id, "ready")?.expires == 0);
    ensure!(case.property(SERVICE, "ActiveState")? == "active");
    case.stop(&[SERVICE])?;
    ensure!(case.deployment(&id)?.state == "ended");
    ensure!(case.property(SERVICE, "Result")? == "success");
    runs_on(case, &[("f", 1), ("r", 2)])?;
    // Ended by somebody else, it goes.
    case.sh(&format!(
        "systemctl start {SERVICE}; interlockctl deploy end"
    ))?;
    case.becomes(SERVICE, "inactive")?;
    runs_on(case, &[("f", 1), ("r", 3)])
}

fn service_that_is_stopped_while_interlockd_restarts_ends_its_deployment(
    case: &Case<'_>,
) -> Result<()> {
    running_group(case, &[("f", "freeze"), ("r", "restart")], "")?;
    case.sh(&format!("systemctl start {SERVICE}"))?;
    let id = case.live_deployment("g")?.id;
    // The stop comes while systemd waits to start interlockd again.
    let slow = "/run/systemd/system/interlockd.service.d/slow.conf";
    case.write(slow, "[Service]\nRestartSec=1s\n")?;
    case.sh("systemctl daemon-reload")?;
    let stopped = case.sh(&format!(
        "systemctl kill --signal=KILL interlockd.service; timeout 30 systemctl stop {SERVICE}"
    ));
    case.sh(&format!(
        "rm -r {}; systemctl daemon-reload",
        slow.trim_end_matches("/slow.conf")
    ))?;
    stopped?;
    ensure!(case.deployment(&id)?.state == "ended");
    runs_on(case, &[("f", 1), ("r", 2)])
}

fn service_whose_process_is_killed_ends_its_deployment(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("f", "freeze"), ("r", "restart")], "")?;
    case.sh(&format!("systemctl start {SERVICE}"))?;
    let id = case.live_deployment("g")?.id;
    let pid = main_pid(case, SERVICE)?;
    case.sh(&format!("kill -KILL {pid}"))?;
    case.deployment_is(&id, "failed")?;
    runs_on(case, &[("f", 1), ("r", 2)])?;
    case.failed(SERVICE)
}

fn service_that_is_refused_fails_to_start(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[("w", "wait"), ("f", "freeze")],
        "max-wait = \"300ms\"",
    )?;
    let output = case.try_start(SERVICE)?;
    ensure!(!output.success(), "{output:?}");
    ensure!(case.property(SERVICE, "ExecMainStatus")? == BUSY.unwrap_or(0).to_string());
    case.failed(SERVICE)?;
    runs_on(case, &[("w", 1), ("f", 1)])?;
    // A stop while it settles is no failure of anybody.
    case.policy(&super::deploy_support::group_policy(
        &[("w", "wait"), ("f", "freeze")],
        "",
    ))?;
    case.start(&[SERVICE])?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "f.service", "frozen")?;
    case.stop(&[SERVICE])?;
    runs_on(case, &[("w", 1), ("f", 1)])?;
    case.sh(&format!(
        "systemctl reset-failed {SERVICE} 2>/dev/null; true"
    ))
    .map(drop)
}

fn every_step_is_signalled(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("f", "freeze"), ("s", "stop"), ("w", "wait")], "")?;
    let monitor = case
        .spawn("timeout 30 busctl monitor --json=short org.interlock.Interlock1 >/run/signals")?;
    case.wait_until("interlockctl queue >/dev/null; grep -q GetQueue /run/signals")?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "w.service", "waiting")?;
    case.release("w.service")?;
    ensure!(deploy.wait(SOON)?.success());
    case.end_deployment(&id)?;
    let step = |unit: &str, state: &str| {
        case.wait_until(&format!(
            "grep -F '\"Step\"' /run/signals | grep -F '\"{unit}.service\"' | grep -F '\"{state}\"'"
        ))
    };
    for (unit, state) in [
        ("w", "waiting"),
        ("w", "ended"),
        ("f", "frozen"),
        ("f", "resumed"),
        ("s", "stopped"),
    ] {
        step(unit, state)?;
    }
    case.wait_until(&format!(
        "grep -F '\"DeploymentNew\"' /run/signals | grep -F '\"{id}\"'"
    ))?;
    for state in ["ready", "ended"] {
        wait_for(state, SOON, || {
            let found = case.try_sh(&format!(
                "grep PropertiesChanged /run/signals | grep -F Interlock1.Deployment |
                     grep -F '\"State\":{{\"type\":\"s\",\"data\":\"{state}\"}}'"
            ))?;
            Ok(found.success().then_some(()))
        })?;
    }
    drop(monitor);
    case.sh("rm /run/signals")?;
    rests(case, &[("s", 1), ("w", 1)])
}
