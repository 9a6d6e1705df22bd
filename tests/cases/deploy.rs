//! A deployment over seven tasks, one for each action: each does what its action says.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::deploy_support::{
    group_policy, message, paused, rests, run_all, running_group, runs_on,
};

deploy_cases![
    seven_actions_in_one_deployment,
    starts_during_a_deployment_wait_and_run_once_after_its_end,
    what_outlived_a_deployment_is_stale_until_its_run_ends,
    group_at_rest_is_ready_at_once,
    deployment_without_a_policy_for_it_is_refused,
];

const SEVEN: [(&str, &str); 7] = [
    ("w", "wait"),
    ("f", "freeze"),
    ("s", "stop"),
    ("r", "restart"),
    ("c", "checkpoint"),
    ("p", "protect"),
    ("i", "ignore"),
];

fn seven_actions_in_one_deployment(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("w"),
        Service::oneshot("f").counts(),
        // systemd calls a oneshot that was stopped failed.
        Service::oneshot("s"),
        Service::oneshot("r"),
        Service::exec("c"),
        Service::oneshot("p"),
        Service::exec("i"),
    ])?;
    case.policy(&group_policy(&SEVEN, ""))?;
    run_all(case, &SEVEN.map(|(name, _)| name))?;
    let deploy = case.deploy_run("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "w.service", "waiting")?;
    case.member_is(&id, "p.service", "waiting")?;
    case.member_is(&id, "f.service", "frozen")?;
    case.member_is(&id, "s.service", "stopped")?;
    case.member_is(&id, "r.service", "stopped")?;
    case.member_is(&id, "i.service", "ignored")?;
    case.becomes("c.service", "inactive")?;
    ensure!(case.deployment(&id)?.state == "settling");
    case.release("w.service")?;
    case.member_is(&id, "w.service", "ended")?;
    ensure!(
        case.log()?.count("deploy") == 0,
        "it is ready though a protected task runs"
    );
    case.release("p.service")?;

    case.begun("deploy")?;
    let ready = case.now()?;
    let deployment = case.deployment_is(&id, "ready")?;
    ensure!(
        deployment.reason == "release 7" && deployment.owner.contains("uid 0"),
        "{deployment:#?}"
    );
    for (name, action) in SEVEN {
        let member = deployment.member(&format!("{name}.service"));
        ensure!(
            member.is_some_and(|member| member.action == action && member.task == name),
            "{member:?}"
        );
    }
    ensure!(case.is_frozen("f.service")?);
    ensure!(case.why("f")?["state"] == "frozen", "{}", case.why("f")?);
    rests(case, &[("w", 1), ("s", 1), ("r", 1), ("c", 1), ("p", 1)])?;
    runs_on(case, &[("i", 1)])?;
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());

    let end = case.now()?;
    case.release("deploy")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    ensure!(case.deployment(&id)?.state == "ended");
    rests(case, &[("w", 1), ("s", 1), ("p", 1)])?;
    runs_on(case, &[("f", 1), ("r", 2), ("c", 2), ("i", 1)])?;
    case.counts("f.service")?;
    paused(case, "f", ready, end)?;

    // Only what was checkpointed is told, and its next run isn't.
    ensure!(case.told_to_resume("c.service")? == Some(id.clone()));
    ensure!(case.told_to_resume("r.service")?.is_none());
    case.release("c.service")?;
    case.becomes("c.service", "inactive")?;
    case.sh("rm /var/lib/testbed/resumed")?;
    run_all(case, &["c"])?;
    ensure!(
        case.told_to_resume("c.service")?.is_none(),
        "an ordinary run was told to resume"
    );
    Ok(())
}

fn starts_during_a_deployment_wait_and_run_once_after_its_end(case: &Case<'_>) -> Result<()> {
    let tasks = [
        ("t", "wait"),
        ("q", "stop"),
        ("d", "wait"),
        ("s", "stop"),
        ("r", "restart"),
    ];
    case.services(&[
        Service::oneshot("t").runs(0.0),
        Service::oneshot("q").runs(0.0),
        Service::oneshot("d").runs(0.0),
        Service::exec("s"),
        Service::exec("r"),
        Service::oneshot("other")
            .runs(0.0)
            .unit("Requires=d.service")
            .unit("After=d.service"),
    ])?;
    case.unit("t.timer", "[Timer]\nOnActiveSec=50ms\nAccuracySec=1ms\n")?;
    case.policy(&group_policy(&tasks, ""))?;
    run_all(case, &["s", "r"])?;
    let id = case.deploy("g")?;
    // A timer, a start by hand that waits, a dependency, what it stopped itself, and all of it again.
    case.start(&["t.timer"])?;
    let mut by_hand = case.starting(&["q.service"])?;
    let mut dependent = case.starting(&["other.service"])?;
    for task in ["t", "q", "d"] {
        case.held_by(task, &id)?;
    }
    let mut again = case.starting(&["q.service", "s.service", "r.service"])?;
    case.held_by("s", &id)?;
    case.held_by("r", &id)?;
    let why = case.sh("interlockctl why q")?;
    ensure!(why.contains("release 7"), "{why}");
    for start in [&mut by_hand, &mut dependent, &mut again] {
        ensure!(start.is_running()?, "a start went through");
    }
    let log = case.log()?;
    for name in ["t", "q", "d", "other"] {
        ensure!(log.count(&format!("{name}.service")) == 0, "{name} ran");
    }
    case.end_deployment(&id)?;
    for start in [by_hand, dependent, again] {
        let output = start.wait(SOON)?;
        ensure!(output.success(), "{output:?}");
    }
    for name in ["t", "q", "d", "other"] {
        case.ran(&format!("{name}.service"), 1)?;
    }
    runs_on(case, &[("s", 2), ("r", 2)])?;
    case.stop(&["t.timer"])
}

fn what_outlived_a_deployment_is_stale_until_its_run_ends(case: &Case<'_>) -> Result<()> {
    let tasks = [("f", "freeze"), ("i", "ignore"), ("r", "restart")];
    running_group(case, &tasks, "")?;
    let stale = |task: &str| case.task_property(task, "StaleSince");
    let id = case.deploy("g")?;
    case.end_deployment(&id)?;
    ensure!(stale("f")? == id && stale("i")? == id);
    ensure!(stale("r")?.is_empty(), "r was started anew");
    let status = case.sh("interlockctl status --full; interlockctl why f")?;
    ensure!(status.contains(&id), "nothing says it: {status}");
    case.journalled(message::STALE, &["f.service", &id])?;
    // The first one that it outlived counts; and a new daemon remembers.
    let second = case.deploy("g")?;
    super::support::kill_daemon(case)?;
    case.end_deployment(&second)?;
    ensure!(stale("f")? == id, "{} instead of {id}", stale("f")?);
    // New code in the next run.
    case.release("f.service")?;
    interlock_tests::wait::wait_for("f to be no longer stale", SOON, || {
        Ok(stale("f")?.is_empty().then_some(()))
    })?;
    run_all(case, &["f"])?;
    ensure!(stale("f")?.is_empty());
    Ok(())
}

fn group_at_rest_is_ready_at_once(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.policy(&group_policy(
        &[("a", "stop"), ("b", "freeze")],
        "grace = \"30s\"",
    ))?;
    let deployment = case.deployment(&case.deploy("g")?)?;
    ensure!(
        deployment.members.is_empty() && deployment.ready_since - deployment.since < 2_000_000,
        "{deployment:#?}"
    );
    case.start(&["a.service"])?;
    case.held_by("a", &deployment.id)?;
    // A wait that is given up is no reason to start it afterwards.
    case.stop(&["a.service"])?;
    case.end_deployment(&deployment.id)?;
    rests(case, &[("a", 0), ("b", 0)])
}

fn deployment_without_a_policy_for_it_is_refused(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.policy(&group_policy(&[("a", "stop")], ""))?;
    let output = case.try_sh("interlockctl deploy run --group wiki -- touch /run/deployed")?;
    ensure!(!output.success() && output.status != Some(75), "{output:?}");
    // Which ones there are.
    ensure!(
        output.stderr.contains("wiki") && output.stderr.contains('g'),
        "{output:?}"
    );
    ensure!(!case.exists("/run/deployed")?);
    let output = case.try_call(
        interlock_tests::deployment::ROOT,
        interlock_tests::deployment::MANAGER,
        "BeginDeployment 'ssa{sv}' wiki '' 0",
    )?;
    ensure!(
        !output.success() && output.stderr.contains("wiki"),
        "{output:?}"
    );
    Ok(())
}
