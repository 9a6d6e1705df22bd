//! Each action by itself, and what becomes of those that can't be done.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::deploy_support::{
    group_policy, on_deploy, refused, rests, run_all, running_group, runs_on,
};

deploy_cases![
    checkpoint_may_be_a_command,
    checkpoint_that_does_not_come_falls_back,
    short_runs_end_by_themselves_within_the_grace,
    refused_deployment_undoes_everything,
    protected_task_refuses_a_deployment,
    fallback_is_what_happens_after_max_wait,
    max_wait_of_the_command_counts_before_the_groups,
    service_without_a_gate_is_restarted_and_never_held,
    task_that_fails_at_its_stop_is_forgiven,
];

/// Which run of checkpoint commands was told what.
const TOLD: &str = "/run/testbed-checkpoint";

fn checkpoint_may_be_a_command(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("c")])?;
    case.policy(&group_policy(
        &[(
            "c",
            "action = \"checkpoint\", command = [\"/bin/sh\", \"-c\", \
             \"env >/run/testbed-checkpoint; exec systemctl kill --signal=USR1 $INTERLOCK_UNIT\"]",
        )],
        "",
    ))?;
    run_all(case, &["c"])?;
    let id = case.deploy("g")?;
    rests(case, &[("c", 1)])?;
    let told = case.sh(&format!("cat {TOLD}; rm {TOLD}"))?;
    for line in [
        format!("INTERLOCK_DEPLOYMENT={id}"),
        "INTERLOCK_GROUP=g".into(),
        "INTERLOCK_TASK=c".into(),
        "INTERLOCK_UNIT=c.service".into(),
    ] {
        ensure!(told.lines().any(|told| told == line), "no {line}: {told}");
    }
    case.end_deployment(&id)?;
    runs_on(case, &[("c", 2)])?;
    ensure!(case.told_to_resume("c.service")? == Some(id));
    Ok(())
}

fn checkpoint_that_does_not_come_falls_back(case: &Case<'_>) -> Result<()> {
    // SIGCONT means nothing to it.
    let deaf = "action = \"checkpoint\", signal = \"SIGCONT\", fallback";
    let tasks = [
        ("a", format!("{deaf} = \"stop\"")),
        ("b", format!("{deaf} = \"restart\"")),
        ("f", format!("{deaf} = \"freeze\"")),
        ("i", format!("{deaf} = \"ignore\"")),
    ];
    let tasks: Vec<(&str, &str)> = tasks
        .iter()
        .map(|(name, action)| (*name, action.as_str()))
        .collect();
    running_group(case, &tasks, "max-wait = \"1s\"")?;
    let id = case.deploy("g")?;
    let deployment = case.deployment(&id)?;
    for (unit, action) in [
        ("a.service", "stop"),
        ("b.service", "restart"),
        ("f.service", "freeze"),
        ("i.service", "ignore"),
    ] {
        let member = deployment.member(unit);
        ensure!(
            member.is_some_and(|member| member.action == action),
            "{deployment:#?}"
        );
    }
    rests(case, &[("a", 1), ("b", 1)])?;
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(&id)?;
    rests(case, &[("a", 1)])?;
    runs_on(case, &[("b", 2), ("f", 1), ("i", 1)])?;
    ensure!(
        case.told_to_resume("b.service")?.is_none(),
        "b didn't come to its checkpoint"
    );
    Ok(())
}

fn short_runs_end_by_themselves_within_the_grace(case: &Case<'_>) -> Result<()> {
    let tasks = [("s", "stop"), ("r", "restart"), ("f", "freeze")];
    running_group(case, &tasks, "grace = \"60s\"")?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    for (name, _) in tasks {
        case.member_is(&id, &format!("{name}.service"), "running")?;
    }
    for (name, _) in tasks {
        case.release(&format!("{name}.service"))?;
    }
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    let deployment = case.deployment(&id)?;
    // Nothing was left to do before the grace was over.
    ensure!(
        deployment.ready_since - deployment.since < 30_000_000,
        "{deployment:#?}"
    );
    for (name, _) in tasks {
        case.member_is(&id, &format!("{name}.service"), "ended")?;
    }
    case.end_deployment(&id)?;
    // They had ended: none runs again.
    rests(case, &[("s", 1), ("r", 1), ("f", 1)])
}

/// w isn't done in time; f, s, r and c have come to rest by then.
const BUSY: [(&str, &str); 5] = [
    ("w", "wait"),
    ("f", "freeze"),
    ("s", "stop"),
    ("r", "restart"),
    ("c", "checkpoint"),
];

fn refused_deployment_undoes_everything(case: &Case<'_>) -> Result<()> {
    running_group(case, &BUSY, "max-wait = \"5s\"")?;
    let deploy = case.deploy_run("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "f.service", "frozen")?;
    for unit in ["s.service", "r.service", "c.service"] {
        case.becomes(unit, "inactive")?;
    }
    refused(case, &deploy.wait(SOON)?, &["w.service"])?;
    ensure!(case.log()?.count("deploy") == 0, "the command was run");
    // As if nothing had been: also those that are stopped otherwise.
    runs_on(case, &[("w", 1), ("f", 1), ("s", 2), ("r", 2), ("c", 2)])?;
    case.counts("f.service")?;
    let gap = case.counter("f.service")?.gap();
    ensure!(gap.is_none(), "{gap:?}");
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    // Nothing stands in the way of the next one.
    case.release("w.service")?;
    let id = case.deploy("g")?;
    case.end_deployment(&id)?;
    runs_on(case, &[("f", 1), ("r", 3), ("c", 3)])
}

fn protected_task_refuses_a_deployment(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("p", "protect"), ("f", "freeze")], "")?;
    let output = case.deploying("g", "--max-wait 0.5s")?.wait(SOON)?;
    ensure!(output.stdout.is_empty(), "an id though it isn't ready");
    refused(case, &output, &["p.service"])?;
    runs_on(case, &[("p", 1), ("f", 1)])?;
    // Its end is all that is needed.
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "p.service", "waiting")?;
    case.release("p.service")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success() && output.stdout.trim() == id, "{output:?}");
    case.end_deployment(&id)
}

fn fallback_is_what_happens_after_max_wait(case: &Case<'_>) -> Result<()> {
    let wait = |fallback: &str| format!("action = \"wait\", fallback = \"{fallback}\"");
    let (stop, freeze, ignore) = (wait("stop"), wait("freeze"), wait("ignore"));
    let tasks = [("s", stop.as_str()), ("f", &freeze), ("i", &ignore)];
    running_group(case, &tasks, "max-wait = \"1s\"")?;
    let deployment = case.deployment(&case.deploy("g")?)?;
    ensure!(
        deployment.deadline == 0 && deployment.ready_since >= deployment.since + 1_000_000,
        "{deployment:#?}"
    );
    rests(case, &[("s", 1)])?;
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(&deployment.id)?;
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("f", 1), ("i", 1)])
}

fn max_wait_of_the_command_counts_before_the_groups(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("w", "wait")], "max-wait = \"1h\"")?;
    let output = case.deploying("g", "--max-wait 0.2s")?.wait(SOON)?;
    refused(case, &output, &["w.service"])?;
    let output = case.deploying("g", "--max-wait soon")?.wait(SOON)?;
    ensure!(!output.success() && output.status != Some(75), "{output:?}");
    runs_on(case, &[("w", 1)])
}

fn service_without_a_gate_is_restarted_and_never_held(case: &Case<'_>) -> Result<()> {
    case.services(&["runner", "idle"].map(Service::exec))?;
    let lines = format!("gated = false\n{}", on_deploy("restart"));
    case.policy(&format!(
        "{}{}[groups.g]\ntasks = [\"runner\", \"idle\"]\n",
        task_policy("runner", "runner", &lines),
        task_policy("idle", "idle", &lines),
    ))?;
    run_all(case, &["runner"])?;
    let id = case.deploy("g")?;
    rests(case, &[("runner", 1)])?;
    // An admin's word counts at once.
    let output = case.try_start("idle.service")?;
    ensure!(output.success(), "{output:?}");
    runs_on(case, &[("idle", 1)])?;
    case.end_deployment(&id)?;
    runs_on(case, &[("runner", 2), ("idle", 1)])
}

fn task_that_fails_at_its_stop_is_forgiven(case: &Case<'_>) -> Result<()> {
    case.services(&[
        // Needs SIGKILL.
        Service::exec("s")
            .service("KillSignal=SIGCONT")
            .service("TimeoutStopSec=300ms"),
        Service::exec("r").service("ExecStop=/bin/false"),
        Service::oneshot("o").unit("OnFailure=alarm.service"),
        Service::oneshot("alarm").runs(0.0),
    ])?;
    case.policy(&group_policy(
        &[("s", "stop"), ("r", "restart"), ("o", "restart")],
        "",
    ))?;
    run_all(case, &["s", "r", "o"])?;
    let id = case.deploy("g")?;
    for name in ["s", "r", "o"] {
        case.becomes(&format!("{name}.service"), "inactive")?;
    }
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    // It couldn't write that down itself.
    case.sh("/usr/local/libexec/testbed/task s.service end")?;
    case.end_deployment(&id)?;
    ensure!(case.log()?.count("s.service") == 1);
    ensure!(case.property("s.service", "Result")? == "success");
    runs_on(case, &[("r", 2), ("o", 2)])?;
    // That it fails by itself isn't forgiven.
    case.release("r.service")?;
    case.failed("r.service")
}
