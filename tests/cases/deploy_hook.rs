//! Hooks of a group: depool before anything is settled, repool after all has resumed.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::deploy_support::{group_policy, refused, rests, run_all, running_group, runs_on};
use super::support::kill_daemon;

deploy_cases![
    hooks_run_before_all_and_after_all_with_the_deployments_facts,
    failed_hook_refuses_the_deployment_and_undoes,
    hook_that_takes_too_long_is_ended,
    failed_restart_fails_the_deployment_and_leaves_the_host_out,
    after_resume_knows_that_a_deployment_failed,
    failed_after_resume_fails_the_deployment,
    hook_outlives_the_daemon,
];

/// A hook that writes down its run as NAME, and its environment; with further shell words.
const HOOK: &str = "#!/bin/sh
env | grep ^INTERLOCK_ >/run/testbed-hook-$1
/usr/local/libexec/testbed/task $1 ${2:-0} || exit 1
exit ${3:-0}
";

/// Lines of a group with both hooks; of each its span and exit status.
fn hooks(case: &Case<'_>, before: &str, after: &str) -> Result<String> {
    case.write("/usr/local/bin/hook", HOOK)?;
    case.sh("chmod 755 /usr/local/bin/hook; rm -f /run/testbed-hook-*")?;
    let command = |name: &str, rest: &str| {
        let words = rest.split(' ').map(|word| format!(", \"{word}\""));
        format!(
            "[\"/usr/local/bin/hook\", \"{name}\"{}]",
            words.collect::<String>()
        )
    };
    Ok(format!(
        "before-settle = {}\nafter-resume = {}\n",
        command("before", before),
        command("after", after)
    ))
}

fn told(case: &Case<'_>, hook: &str) -> Result<String> {
    case.read(&format!("/run/testbed-hook-{hook}"))
}

const TASKS: [(&str, &str); 3] = [("f", "freeze"), ("s", "stop"), ("r", "restart")];

fn hooks_run_before_all_and_after_all_with_the_deployments_facts(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "hold", "0")?;
    running_group(case, &TASKS, &lines)?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.begun("before")?;
    // Nothing is done to anybody yet, but nobody comes in either.
    let mut start = case.starting(&["s.service", "f.service"])?;
    runs_on(case, &[("f", 1), ("s", 1), ("r", 1)])?;
    let hook = format!("interlock-hook-{id}-before-settle.service");
    ensure!(
        case.property(&hook, "ActiveState")? == "activating"
            || case.property(&hook, "ActiveState")? == "active"
    );
    case.release("before")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    ensure!(start.is_running()? || start.wait(SOON)?.success());
    case.end_deployment(&id)?;
    runs_on(case, &[("f", 1), ("r", 2)])?;
    let log = case.log()?;
    let at = |name: &str, nth: usize| {
        let run = log
            .runs()
            .into_iter()
            .filter(|run| run.name == name)
            .nth(nth);
        run.with_context(|| format!("no run {nth} of {name}"))
    };
    let stopped = at("r.service", 0)?.end.context("r runs on")?;
    ensure!(at("before", 0)?.end.context("before runs on")? <= stopped);
    ensure!(at("after", 0)?.begin >= at("r.service", 1)?.begin);
    ensure!(log.count("before") == 1 && log.count("after") == 1);
    for (hook, result) in [("before", None), ("after", Some("INTERLOCK_RESULT=ended"))] {
        let told = told(case, hook)?;
        for line in [
            &format!("INTERLOCK_DEPLOYMENT={id}"),
            "INTERLOCK_GROUP=g",
            "INTERLOCK_REASON=release 7",
        ]
        .into_iter()
        .chain(result)
        {
            ensure!(
                told.lines().any(|told| told == line),
                "{hook}: no {line}: {told}"
            );
        }
        ensure!(told.contains("INTERLOCK_OWNER="), "{told}");
    }
    Ok(())
}

fn failed_hook_refuses_the_deployment_and_undoes(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "0 1", "0")?;
    running_group(case, &TASKS, &lines)?;
    let output = case.deploy_run("g", "")?.wait(SOON)?;
    let deployment = refused(case, &output, &["before-settle"])?;
    ensure!(case.log()?.count("deploy") == 0, "the command was run");
    runs_on(case, &[("f", 1), ("s", 1), ("r", 1)])?;
    ensure!(case.counter("f.service")?.gap().is_none());
    // It may have depooled half of it.
    case.ran("after", 1)?;
    ensure!(told(case, "after")?.contains("INTERLOCK_RESULT=failed"));
    ensure!(deployment.ended > 0);
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    Ok(())
}

fn hook_that_takes_too_long_is_ended(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "hold", "0")? + "hook-timeout = \"500ms\"\n";
    running_group(case, &TASKS, &lines)?;
    let output = case.deploying("g", "")?.wait(SOON)?;
    refused(case, &output, &["before-settle"])?;
    ensure!(!case.log()?.is_running("before"), "it runs on");
    runs_on(case, &[("f", 1), ("s", 1), ("r", 1)])?;
    case.ran("after", 1)?;
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    Ok(())
}

fn failed_restart_fails_the_deployment_and_leaves_the_host_out(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "0", "0")?;
    case.services(&[
        Service::exec("f").counts(),
        Service::exec("r").service("ExecStartPre=/usr/bin/test ! -e /run/broken"),
        Service::oneshot("o"),
    ])?;
    case.policy(&group_policy(
        &[("f", "freeze"), ("r", "restart"), ("o", "restart")],
        &lines,
    ))?;
    run_all(case, &["f", "r", "o"])?;
    let output = case
        .spawn("interlockctl deploy run --group g -- touch /run/broken")?
        .wait(SOON)?;
    case.sh("rm /run/broken")?;
    ensure!(
        output.status == Some(1) && output.stderr.contains("r.service"),
        "{output:?}"
    );
    let (id, _) = case.deployments()?.pop().context("none")?;
    let deployment = case.deployment_is(&id, "failed")?;
    ensure!(
        deployment.detail.contains("r.service") && deployment.ready_since > 0,
        "{deployment:#?}"
    );
    ensure!(
        deployment
            .member("r.service")
            .is_some_and(|member| member.state == "failed"),
        "{deployment:#?}"
    );
    // The others go on nevertheless.
    runs_on(case, &[("f", 1), ("o", 2)])?;
    ensure!(
        case.log()?.count("after") == 0,
        "a host whose restart failed was put back"
    );
    // And it isn't hidden.
    case.failed("r.service")
}

fn after_resume_knows_that_a_deployment_failed(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "0", "0")?;
    running_group(case, &TASKS, &lines)?;
    let id = case.sh("interlockctl deploy begin --group g --expires 1s")?;
    case.deployment_is(&id, "failed")?;
    case.ran("after", 1)?;
    ensure!(told(case, "after")?.contains("INTERLOCK_RESULT=failed"));
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("f", 1), ("r", 2)])
}

fn failed_after_resume_fails_the_deployment(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "0", "0 3")?;
    running_group(case, &TASKS, &lines)?;
    let output = case.try_sh("interlockctl deploy run --group g -- true")?;
    ensure!(
        output.status == Some(1) && output.stderr.contains("after-resume"),
        "{output:?}"
    );
    let output = case.try_sh("interlockctl deploy run --group g -- sh -c 'exit 4'")?;
    ensure!(output.status == Some(4), "{output:?}");
    runs_on(case, &[("f", 1), ("r", 3)])
}

fn hook_outlives_the_daemon(case: &Case<'_>) -> Result<()> {
    let lines = hooks(case, "hold", "hold")?;
    running_group(case, &TASKS, &lines)?;
    let deploy = case.deploying("g", "")?;
    case.begun("before")?;
    let id = case.live_deployment("g")?.id;
    kill_daemon(case)?;
    case.deployment_is(&id, "settling")?;
    case.release("before")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    let end = case.spawn(&format!("interlockctl deploy end {id}"))?;
    case.begun("after")?;
    kill_daemon(case)?;
    case.deployment_is(&id, "ending")?;
    case.release("after")?;
    let output = end.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    case.ran("before", 1)?;
    case.ran("after", 1)?;
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("f", 1), ("r", 2)])
}
