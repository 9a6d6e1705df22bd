//! As long as whose life a deployment lasts: its holder, its expiry, and whoever takes it over or ends it.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::command::Running;
use interlock_tests::deployment::{Deployment, INTERFACE, MANAGER, ROOT};
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::{rests, running_group, runs_on};
use super::support::{daemon_is_back, kill_daemon, main_pid};

deploy_cases![
    holder_that_is_killed_ends_its_deployment_within_a_second,
    holder_that_dies_while_the_daemon_is_down_is_noticed,
    holder_outlives_the_daemon,
    deployment_expires_as_failed,
    extension_puts_the_expiry_off,
    operator_takes_a_deployment_over,
    operator_ends_a_deployment,
    caller_on_the_bus_holds_it_by_a_file_descriptor,
    expiry_on_the_bus_needs_no_file_descriptor,
    unknown_options_on_the_bus_are_refused,
    task_cannot_wait_for_itself,
];

const TASKS: [(&str, &str); 4] = [
    ("f", "freeze"),
    ("s", "stop"),
    ("r", "restart"),
    ("c", "checkpoint"),
];

/// All tasks are at rest for a `deploy run` whose command runs.
fn held(case: &Case<'_>) -> Result<(Running, Deployment)> {
    running_group(case, &TASKS, "")?;
    let deploy = case.deploy_run("g", "")?;
    case.begun("deploy")?;
    let id = case.live_deployment("g")?.id;
    Ok((deploy, case.deployment_is(&id, "ready")?))
}

/// After the end, however it came.
fn resumed(case: &Case<'_>) -> Result<()> {
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("f", 1), ("r", 2), ("c", 2)])?;
    case.counts("f.service")
}

/// Kills what holds a deployment and gives the moment of it.
fn kill_holder(case: &Case<'_>) -> Result<f64> {
    let said = case.sh(
        "pid=$(pgrep -x interlockctl); echo $EPOCHREALTIME; kill -KILL $pid
         while [ -d /proc/$pid ]; do read -rt 0.005 <> <(:); done; true",
    )?;
    said.parse().with_context(|| said.clone())
}

fn holder_that_is_killed_ends_its_deployment_within_a_second(case: &Case<'_>) -> Result<()> {
    let (deploy, deployment) = held(case)?;
    let killed = kill_holder(case)?;
    let failed = case.deployment_is(&deployment.id, "failed")?;
    ensure!(!failed.detail.is_empty(), "it doesn't say why");
    resumed(case)?;
    drop(deploy);
    // Its command lives on, but it isn't the holder.
    ensure!(case.log()?.is_running("deploy"));
    case.release("deploy")?;
    let thawed = case.counter("f.service")?.next(killed);
    let mut last = thawed.context("f doesn't count")?;
    for name in ["r.service", "c.service"] {
        let runs = case.log()?.runs();
        let run = runs.iter().rfind(|run| run.name == name);
        last = last.max(run.context("it doesn't run")?.begin);
    }
    ensure!(
        last - killed < 1.0,
        "all had resumed {:.3} s after the holder's end only",
        last - killed
    );
    Ok(())
}

fn holder_that_dies_while_the_daemon_is_down_is_noticed(case: &Case<'_>) -> Result<()> {
    let (deploy, deployment) = held(case)?;
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -STOP {pid}"))?;
    kill_holder(case)?;
    drop(deploy);
    case.sh(&format!("kill -KILL {pid}"))?;
    daemon_is_back(case, &pid)?;
    case.deployment_is(&deployment.id, "failed")?;
    resumed(case)?;
    case.release("deploy")
}

fn holder_outlives_the_daemon(case: &Case<'_>) -> Result<()> {
    let (mut deploy, deployment) = held(case)?;
    kill_daemon(case)?;
    case.deployment_is(&deployment.id, "ready")?;
    case.sh("systemctl restart interlockd.service")?;
    case.deployment_is(&deployment.id, "ready")?;
    ensure!(deploy.is_running()?);
    ensure!(case.is_frozen("f.service")?);
    rests(case, &[("s", 1), ("r", 1), ("c", 1)])?;
    // It still counts as held, for a daemon that has never seen its caller.
    case.release("deploy")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    case.deployment_is(&deployment.id, "ended")?;
    resumed(case)
}

fn deployment_expires_as_failed(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let id = case.sh("interlockctl deploy begin --group g --expires 2s")?;
    let deployment = case.deployment(&id)?;
    ensure!(deployment.expires > deployment.since, "{deployment:#?}");
    let ended = case.deployment_is(&id, "failed")?;
    ensure!(
        ended.ended >= deployment.expires && ended.ended < deployment.expires + 1_000_000,
        "{ended:#?}"
    );
    resumed(case)?;
    // For whoever comes back to it.
    let output = case.try_sh(&format!("interlockctl deploy end {id}"))?;
    ensure!(!output.success(), "{output:?}");
    Ok(())
}

fn extension_puts_the_expiry_off(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let id = case.deploy("g")?;
    let before = case.deployment(&id)?.expires;
    case.sh(&format!("interlockctl deploy extend {id} 2h"))?;
    let after = case.deployment(&id)?.expires;
    ensure!(after > before + 3_600_000_000, "{before} {after}");
    // Also nearer, and a new daemon keeps to it.
    case.sh(&format!("interlockctl deploy extend {id} 1s"))?;
    kill_daemon(case)?;
    case.deployment_is(&id, "failed")?;
    resumed(case)?;
    case.release("r.service")?;
    case.release("c.service")?;
    let deploy = case.deploy_run("g", "")?;
    case.begun("deploy")?;
    let id = case.live_deployment("g")?.id;
    let output = case.try_sh(&format!("interlockctl deploy extend {id} 2h"))?;
    ensure!(
        !output.success(),
        "it lives as long as its holder: {output:?}"
    );
    case.release("deploy")?;
    ensure!(deploy.wait(SOON)?.success());
    Ok(())
}

fn operator_takes_a_deployment_over(case: &Case<'_>) -> Result<()> {
    let (deploy, deployment) = held(case)?;
    let id = &deployment.id;
    case.sh(&format!(
        "interlockctl deploy take-over {id} --expires 10min --reason 'the tool hangs'"
    ))?;
    let taken = case.deployment(id)?;
    ensure!(
        taken.state == "ready" && taken.expires > 0 && taken.owner != deployment.owner,
        "{taken:#?}"
    );
    kill_holder(case)?;
    drop(deploy);
    // The former holder doesn't count, for a new daemon either.
    kill_daemon(case)?;
    ensure!(case.deployment_is(id, "ready")?.expires == taken.expires);
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(id)?;
    resumed(case)?;
    case.release("deploy")
}

fn operator_ends_a_deployment(case: &Case<'_>) -> Result<()> {
    let (deploy, deployment) = held(case)?;
    case.sh("interlockctl deploy end --group g --reason 'enough of it'")?;
    let ended = case.deployment(&deployment.id)?;
    ensure!(ended.state == "ended", "{ended:#?}");
    ensure!(
        case.sh(&format!("interlockctl deploy show {}", deployment.id))?
            .contains("enough of it"),
        "the reason is lost"
    );
    resumed(case)?;
    case.release("deploy")?;
    // Whether its command did well is what it tells all the same.
    deploy.wait(SOON).map(drop)?;
    // Ending twice does nothing; with none there is nothing to end.
    case.sh(&format!("interlockctl deploy end {}", deployment.id))?;
    ensure!(!case.try_sh("interlockctl deploy end")?.success());
    resumed(case)
}

/// Holds a deployment as a deploy tool in Python would, until it is told to close, and then ends when told.
const PYTHON: &str = r#"
import dbus, os
bus = dbus.SystemBus()
manager = dbus.Interface(bus.get_object("org.interlock.Interlock1", "/org/interlock/Interlock1"),
                         "org.interlock.Interlock1.Manager")
path, holder = manager.BeginDeployment("g", "from Python", {"max-wait": "1min"})
holder = holder.take()
deployment = bus.get_object("org.interlock.Interlock1", path)
state = deployment.WaitReady(dbus_interface="org.interlock.Interlock1.Deployment", timeout=3600)
print(state, deployment.Get("org.interlock.Interlock1.Deployment", "Id",
                            dbus_interface="org.freedesktop.DBus.Properties"), flush=True)
open("/run/testbed-python").read()
os.close(holder)
print("closed", flush=True)
open("/run/testbed-python").read()
"#;

fn caller_on_the_bus_holds_it_by_a_file_descriptor(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    case.write("/tmp/hold.py", PYTHON)?;
    let python = case.spawn("mkfifo /run/testbed-python; exec python3 /tmp/hold.py")?;
    let id = case.live_deployment("g")?.id;
    let deployment = case.deployment_is(&id, "ready")?;
    ensure!(
        deployment.reason == "from Python" && deployment.expires == 0,
        "{deployment:#?}"
    );
    ensure!(deployment.owner.contains("python3"), "{deployment:#?}");
    rests(case, &[("s", 1), ("r", 1), ("c", 1)])?;
    // Closing it is an end as well, though nobody said so: as failed. The process lives on.
    case.sh("echo close >/run/testbed-python")?;
    case.deployment_is(&id, "failed")?;
    resumed(case)?;
    case.sh("echo end >/run/testbed-python")?;
    let output = python.wait(SOON)?;
    case.sh("rm /tmp/hold.py /run/testbed-python")?;
    ensure!(
        output.success() && output.stdout == format!("ready {id}\nclosed\n"),
        "{output:?}"
    );
    Ok(())
}

fn expiry_on_the_bus_needs_no_file_descriptor(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    // busctl closes what it got as soon as it has printed it.
    let answer = case.call(
        ROOT,
        MANAGER,
        "BeginDeployment 'ssa{sv}' g busctl 2 expires s 10min max-wait t 60000000",
    )?;
    let path = answer[0].as_str().context("no path")?;
    let answer = case.call(path, INTERFACE, "WaitReady")?;
    ensure!(answer[0] == "ready", "{answer}");
    let id = case.live_deployment("g")?.id;
    rests(case, &[("s", 1), ("r", 1), ("c", 1)])?;
    case.call(path, INTERFACE, "Extend v t 3600000000")?;
    case.call(path, INTERFACE, "Extend v s 20min")?;
    case.call(path, INTERFACE, "End s done")?;
    case.deployment_is(&id, "ended")?;
    resumed(case)?;
    // Without an expiry it lives as long as busctl.
    let answer = case.call(ROOT, MANAGER, "BeginDeployment 'ssa{sv}' g '' 0")?;
    let path = answer[0].as_str().context("no path")?;
    wait_for("the end of a deployment without a holder", SOON, || {
        let state = case.sh(&format!(
            "busctl get-property org.interlock.Interlock1 {path} {INTERFACE} State"
        ))?;
        Ok((state == "s \"failed\"").then_some(()))
    })?;
    // busctl may be gone before anything is done to them, or after.
    runs_on(case, &[("f", 1)])?;
    for name in ["r", "c"] {
        case.begun(&format!("{name}.service"))?;
        let count = case.log()?.count(&format!("{name}.service"));
        ensure!((2..=3).contains(&count), "{name} has begun {count} times");
    }
    Ok(())
}

fn unknown_options_on_the_bus_are_refused(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    for option in [
        "expire s 10min",
        "max-wait s soon",
        "expires b true",
        "expires s ''",
    ] {
        let output = case.try_call(
            ROOT,
            MANAGER,
            &format!("BeginDeployment 'ssa{{sv}}' g '' 1 {option}"),
        )?;
        ensure!(!output.success(), "{option} was taken");
        ensure!(
            option.starts_with("expire ") == output.stderr.contains("max-wait")
                || !option.starts_with("expire "),
            "which there are isn't said: {}",
            output.stderr
        );
    }
    let output = case.try_call(ROOT, MANAGER, "GetDeployment s nothing")?;
    ensure!(!output.success(), "{output:?}");
    // Nothing was touched by any of them.
    runs_on(case, &[("f", 1), ("s", 1), ("r", 1), ("c", 1)])
}

fn task_cannot_wait_for_itself(case: &Case<'_>) -> Result<()> {
    let own = "/bin/sh -c 'interlockctl deploy begin --group g --expires 1min 2>/run/said; echo $$? >>/run/said; \
               exec /usr/local/libexec/testbed/task a.service hold'";
    case.services(&[interlock_tests::service::Service::oneshot("a").command(own)])?;
    case.policy(&super::deploy_support::group_policy(&[("a", "wait")], ""))?;
    case.start(&["a.service"])?;
    // It goes on at once.
    case.begun("a.service")?;
    let said = case.sh("cat /run/said; rm /run/said")?;
    ensure!(
        said.contains("a.service") && !said.ends_with("\n0"),
        "{said}"
    );
    case.release("a.service")
}
