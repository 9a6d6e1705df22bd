//! What a deployment lives through: reloads of systemd, a lost bus, the daemon's end, a reboot.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::deploy_support::{group_policy, message, paused, rests, running_group, runs_on};
use super::support::{daemon_is_back, kill_daemon, main_pid};

deploy_cases![
    reload_and_reexecution_of_systemd_change_nothing,
    restart_of_dbus_changes_nothing,
    daemon_killed_in_a_deployment_goes_on_with_it,
    stop_of_the_daemon_thaws_and_its_start_freezes_again,
    mark_without_a_deployment_is_thawed_at_the_start,
    database_lost_while_tasks_are_frozen_thaws_them,
    reboot_ends_a_held_deployment_and_keeps_one_that_expires,
    frozen_task_that_is_thawed_by_hand_is_no_trouble,
    time_limits_of_a_frozen_unit_go_on,
];

const TASKS: [(&str, &str); 3] = [("f", "freeze"), ("s", "stop"), ("r", "restart")];

/// All is at rest, and a start waits.
fn at_rest(case: &Case<'_>) -> Result<(String, f64)> {
    running_group(case, &TASKS, "")?;
    let id = case.deploy("g")?;
    let ready = case.now()?;
    case.start(&["s.service"])?;
    case.held_by("s", &id)?;
    Ok((id, ready))
}

/// It still is so.
fn still_at_rest(case: &Case<'_>, id: &str) -> Result<()> {
    case.deployment_is(id, "ready")?;
    case.held_by("s", id)?;
    ensure!(case.is_frozen("f.service")?, "f was thawed");
    case.member_is(id, "f.service", "frozen")?;
    let log = case.log()?;
    ensure!(
        log.count("s.service") == 1 && log.count("r.service") == 1,
        "something was started"
    );
    Ok(())
}

/// Ends it; nothing was lost from the moment on at which it became ready.
fn resumes(case: &Case<'_>, id: &str, ready: f64) -> Result<()> {
    let end = case.now()?;
    case.end_deployment(id)?;
    runs_on(case, &[("f", 1), ("s", 2), ("r", 2)])?;
    case.counts("f.service")?;
    paused(case, "f", ready, end)
}

fn reload_and_reexecution_of_systemd_change_nothing(case: &Case<'_>) -> Result<()> {
    let (id, ready) = at_rest(case)?;
    for command in ["daemon-reload", "daemon-reexec", "daemon-reload"] {
        case.sh(&format!("systemctl {command}"))?;
        still_at_rest(case, &id)?;
    }
    case.sh("interlockctl reload")?;
    still_at_rest(case, &id)?;
    resumes(case, &id, ready)
}

fn restart_of_dbus_changes_nothing(case: &Case<'_>) -> Result<()> {
    let (id, ready) = at_rest(case)?;
    case.sh("systemctl restart dbus.service; systemctl restart systemd-logind.service")?;
    still_at_rest(case, &id)?;
    resumes(case, &id, ready)
}

fn daemon_killed_in_a_deployment_goes_on_with_it(case: &Case<'_>) -> Result<()> {
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
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "f.service", "frozen")?;
    case.member_is(&id, "r.service", "stopped")?;
    // While it settles, twice, and while it is ready.
    kill_daemon(case)?;
    case.deployment_is(&id, "settling")?;
    kill_daemon(case)?;
    case.member_is(&id, "w.service", "waiting")?;
    ensure!(case.is_frozen("f.service")?);
    let ready = case.now()?;
    case.release("w.service")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success() && output.stdout.trim() == id, "{output:?}");
    case.start(&["s.service"])?;
    case.held_by("s", &id)?;
    kill_daemon(case)?;
    still_at_rest(case, &id)?;
    resumes(case, &id, ready)
}

fn stop_of_the_daemon_thaws_and_its_start_freezes_again(case: &Case<'_>) -> Result<()> {
    let (id, _) = at_rest(case)?;
    case.sh("systemctl restart interlockd.service")?;
    still_at_rest(case, &id)?;
    case.sh("systemctl stop interlock.socket interlockd.service")?;
    // Nobody would be there to thaw it.
    ensure!(!case.is_frozen("f.service")?);
    case.counts("f.service")?;
    ensure!(case.sh("ls -A /run/interlock/frozen")?.is_empty());
    // But nothing that was held is let in.
    ensure!(case.log()?.count("s.service") == 1);
    case.sh("systemctl start interlock.socket interlockd.service")?;
    still_at_rest(case, &id)?;
    let ready = case.now()?;
    resumes(case, &id, ready)
}

/// Freezes f as interlock would, without any deployment.
fn orphan(case: &Case<'_>) -> Result<()> {
    case.sh("group=$(systemctl show -P ControlGroup f.service)
         mkdir -p /run/interlock/frozen; echo $group >/run/interlock/frozen/f.service
         echo 1 >/sys/fs/cgroup$group/cgroup.freeze")?;
    ensure!(case.is_frozen("f.service")?);
    Ok(())
}

fn mark_without_a_deployment_is_thawed_at_the_start(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("f", "freeze")], "")?;
    orphan(case)?;
    kill_daemon(case)?;
    ensure!(
        !case.is_frozen("f.service")?,
        "it is ready, and f is frozen"
    );
    ensure!(case.sh("ls -A /run/interlock/frozen")?.is_empty());
    case.counts("f.service")?;
    case.journalled(message::THAWED, &["f.service"])?;
    // Marks of units that are gone, or of nothing that there is, harm nobody.
    case.sh(
        "echo /system.slice/gone.service >/run/interlock/frozen/gone.service
         head -c 1000 /dev/urandom >/run/interlock/frozen/garbage; mkdir /run/interlock/frozen/directory
         echo ../../../etc >/run/interlock/frozen/escape.service",
    )?;
    kill_daemon(case)?;
    case.sh("rm -rf /run/interlock/frozen/*")?;
    case.counts("f.service")
}

fn database_lost_while_tasks_are_frozen_thaws_them(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    case.deploy("g")?;
    ensure!(case.is_frozen("f.service")?);
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!(
        "kill -STOP {pid}; rm -f /var/lib/interlock/*; kill -KILL {pid}"
    ))?;
    daemon_is_back(case, &pid)?;
    ensure!(!case.is_frozen("f.service")?);
    ensure!(case.deployments()?.is_empty());
    case.counts("f.service")?;
    // Nobody knows any more that r is to run; but it isn't kept from it either.
    ensure!(
        case.try_sh("timeout 20 systemctl start r.service")?
            .success()
    );
    runs_on(case, &[("f", 1), ("r", 2)])
}

fn reboot_ends_a_held_deployment_and_keeps_one_that_expires(case: &Case<'_>) -> Result<()> {
    case.services(&["r", "held", "s"].map(Service::exec))?;
    case.policy(&format!(
        "{}[groups.h]\ntasks = [\"held\"]\n",
        group_policy(&[("r", "restart"), ("s", "stop"), ("held", "restart")], "")
            .replace(", \"held\"]", "]")
    ))?;
    super::deploy_support::run_all(case, &["r", "held", "s"])?;
    let id = case.deploy("g")?;
    // It dies in the middle of the shutdown, when nothing can be started any more.
    case.sh(
        "systemd-run --quiet --unit=deployer --property=KillSignal=SIGKILL \
             interlockctl deploy run --group h -- /usr/local/libexec/testbed/task deploy hold",
    )?;
    case.begun("deploy")?;
    let held = case.live_deployment("h")?.id;
    case.reboot()?;
    // It couldn't write that down.
    case.sh("/usr/local/libexec/testbed/task deploy end")?;
    case.deployment_is(&held, "failed")?;
    runs_on(case, &[("held", 2)])?;
    case.deployment_is(&id, "ready")?;
    case.start(&["s.service"])?;
    case.held_by("s", &id)?;
    ensure!(case.log()?.count("r.service") == 1);
    case.end_deployment(&id)?;
    runs_on(case, &[("r", 2), ("s", 2), ("held", 2)])
}

fn frozen_task_that_is_thawed_by_hand_is_no_trouble(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let id = case.deploy("g")?;
    case.sh("echo 0 >/sys/fs/cgroup$(systemctl show -P ControlGroup f.service)/cgroup.freeze")?;
    case.end_deployment(&id)?;
    runs_on(case, &[("f", 1), ("r", 2)])?;
    rests(case, &[("s", 1)])?;
    // It may also end before anybody looks.
    let id = case.deploy("g")?;
    case.sh("echo 0 >/sys/fs/cgroup$(systemctl show -P ControlGroup f.service)/cgroup.freeze")?;
    case.release("f.service")?;
    case.end_deployment(&id)?;
    rests(case, &[("f", 1)])
}

fn time_limits_of_a_frozen_unit_go_on(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("f").counts().service("RuntimeMaxSec=1s")])?;
    case.policy(&group_policy(&[("f", "freeze")], ""))?;
    super::deploy_support::run_all(case, &["f"])?;
    let id = case.deploy("g")?;
    ensure!(case.is_frozen("f.service")?);
    // systemd ends it, which it couldn't if it stayed frozen; and nobody starts it again.
    case.becomes("f.service", "failed")?;
    ensure!(
        !case.log()?.is_running("f.service"),
        "it was killed without a word"
    );
    case.end_deployment(&id)?;
    ensure!(case.log()?.count("f.service") == 1);
    case.failed("f.service")
}
