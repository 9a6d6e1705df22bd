//! A policy that changes while tasks run and wait.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::{kill_daemon, line_up, main_pid, release_in_turn};

cases![
    reload_of_the_daemon_keeps_leases_and_waiters,
    policy_that_shrinks_a_capacity_kills_nothing,
    weight_that_grows_while_its_task_waits_is_respected,
    resource_renamed_while_tasks_run_overlaps_nothing,
    command_that_loses_its_policy_runs_to_its_end,
];

fn reload_of_the_daemon_keeps_leases_and_waiters(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    let daemon = main_pid(case, "interlockd.service")?;
    for reload in ["interlockctl reload", "systemctl reload interlockd.service"] {
        case.sh(reload)?;
        case.queued(&["b.service", "c.service"])?;
    }
    ensure!(main_pid(case, "interlockd.service")? == daemon);
    release_in_turn(case, &["a", "b", "c"])
}

fn slots(capacity: u32, names: &[&str]) -> String {
    let tasks = names
        .iter()
        .map(|name| task_policy(name, name, "uses = [\"r\"]"));
    format!(
        "[resources.r]\ncapacity = {capacity}\n{}",
        tasks.collect::<String>()
    )
}

fn policy_that_shrinks_a_capacity_kills_nothing(case: &Case<'_>) -> Result<()> {
    let names = ["a", "b", "c", "d", "e"];
    let services = names.map(Service::oneshot);
    case.services(&services)?;
    case.policy(&slots(3, &names))?;
    for unit in ["a.service", "b.service", "c.service"] {
        case.start(&[unit])?;
        case.begun(unit)?;
    }
    case.start(&["d.service"])?;
    case.queued(&["d.service"])?;
    case.policy(&slots(1, &names))?;
    for unit in ["a.service", "b.service", "c.service"] {
        ensure!(case.log()?.is_running(unit), "{unit} was ended");
    }
    // Three hold a resource of one: two of them have to end before d, and then the third.
    case.release("b.service")?;
    case.release("a.service")?;
    case.start(&["e.service"])?;
    case.queued(&["d.service", "e.service"])?;
    ensure!(
        case.log()?.count("d.service") == 0,
        "granted while the resource was over-full"
    );
    // The same for a daemon that finds it so.
    kill_daemon(case)?;
    case.queued(&["d.service", "e.service"])?;
    for unit in ["c.service", "d.service", "e.service"] {
        case.release(unit)?;
    }
    case.no_overlap(&["c.service", "d.service", "e.service"])
}

fn weight_that_grows_while_its_task_waits_is_respected(case: &Case<'_>) -> Result<()> {
    let services = ["a", "b", "c"].map(Service::oneshot);
    case.services(&services)?;
    let policy = |weight: u32| {
        format!(
            "[resources.r]\ncapacity = 2\n{}{}{}",
            task_policy("a", "a", "uses = [\"r\"]"),
            task_policy("b", "b", "uses = [\"r\"]"),
            task_policy("c", "c", &format!("uses = {{ r = {weight} }}")),
        )
    };
    case.policy(&policy(1))?;
    for unit in ["a.service", "b.service"] {
        case.start(&[unit])?;
        case.begun(unit)?;
    }
    case.start(&["c.service"])?;
    case.queued(&["c.service"])?;
    case.policy(&policy(2))?;
    case.release("a.service")?;
    case.queued(&["c.service"])?;
    case.release("b.service")?;
    case.release("c.service")?;
    case.within(&[("a.service", 1), ("b.service", 1), ("c.service", 2)], 2)
}

fn resource_renamed_while_tasks_run_overlaps_nothing(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let renamed = exclusive_policy(&["a", "b"])
        .replace("resources.r", "resources.s")
        .replace("\"r\"", "\"s\"");
    case.policy(&renamed)?;
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn command_that_loses_its_policy_runs_to_its_end(case: &Case<'_>) -> Result<()> {
    let limits = "/etc/systemd/system.conf.d/limits.conf";
    case.sh(&format!(
        "mkdir -p $(dirname {limits}); printf '[Manager]\nDefaultTimeoutStartSec=2s\n' >{limits}"
    ))?;
    let result = loses_its_policy(case);
    case.sh(&format!("rm {limits}; systemctl daemon-reload"))?;
    result
}

fn loses_its_policy(case: &Case<'_>) -> Result<()> {
    case.policy(
        "[resources.r]\n[tasks.c]\ncommand = [\"/usr/bin/sleep\", \"5\"]\nuses = [\"r\"]\n",
    )?;
    let starting = case.starting(&["c.service"])?;
    wait_for("the command to run", SOON, || {
        let state = case.sh("systemctl show -P SubState c.service")?;
        Ok((state == "start").then_some(()))
    })?;
    case.policy("")?;
    kill_daemon(case)?;
    case.sh("systemctl daemon-reload")?;
    let again = case.try_sh("systemctl show -P TimeoutStartUSec c.service")?;
    ensure!(again.stdout.trim() == "infinity", "{again:?}");
    let ended = starting.wait(SOON)?;
    ensure!(ended.success(), "the run was ended: {ended:?}");
    // What is left of it can't run unguarded.
    let again = case.try_sh("systemctl start c.service")?;
    ensure!(!again.success(), "it was started without a policy");
    wait_for("the unit's file to be forgotten", SOON, || {
        let kept = case.sh("ls /run/interlock/units")?;
        Ok(kept.is_empty().then_some(()))
    })?;
    case.sh("systemctl daemon-reload")?;
    let left = case.sh("systemctl show -P LoadState c.service")?;
    ensure!(left == "not-found", "{left}");
    Ok(())
}
