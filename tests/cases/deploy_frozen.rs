//! What others do to a task that stands still.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::{group_policy, run_all};

cases![commands_that_pid1_starts_for_a_frozen_task_hold_up_nobody];

/// PID 1 starts ExecReload= in the task's control group. Where it waits for that process to begin (systemd 254 and
/// later), it would stand still with the task, and with it the host.
fn commands_that_pid1_starts_for_a_frozen_task_hold_up_nobody(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("f").counts().service("ExecReload=/bin/true")])?;
    case.policy(&group_policy(&[("f", "freeze")], ""))?;
    run_all(case, &["f"])?;
    let id = case.deploy("g")?;
    let group = case.sh("systemctl show -P ControlGroup f.service")?;
    let frozen = format!("grep -x 'frozen 1' /sys/fs/cgroup{group}/cgroup.events");
    case.sh(&frozen)?;
    case.sh("systemctl reload --no-block f.service")?;
    for _ in 0..3 {
        let answer = case.try_sh("timeout 20 systemctl show -P ActiveState f.service")?;
        ensure!(answer.success(), "PID 1 stands still: {answer:?}");
    }
    // Nothing of the task went on for it.
    wait_for("the task to stand still", SOON, || {
        Ok(case.try_sh(&frozen)?.success().then_some(()))
    })?;
    case.end_deployment(&id)?;
    case.becomes("f.service", "active")?;
    let reload = "systemctl list-jobs --no-legend | grep f.service";
    wait_for("the reload to be done", SOON, || {
        Ok((!case.try_sh(reload)?.success()).then_some(()))
    })?;
    case.release("f.service")
}
