//! Two deployments at a time, what operators do in between, and tasks that deployments would starve.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::{
    group_policy, message, named_group_policy, paused, rests, run_all, running_group, runs_on,
    settles_as,
};
use super::support::{fill, kill_daemon, make_room, with_small_disk};

deploy_cases![
    tasks_resume_when_the_last_of_two_deployments_ends,
    groups_that_share_tasks_resume_each_when_nobody_wants_it_at_rest,
    second_deployment_that_is_refused_leaves_the_first_in_peace,
    operators_stop_of_a_frozen_task_wins_at_once,
    what_an_operator_stops_in_between_stays_stopped,
    operators_stop_of_a_waiting_start_cancels_it,
    task_that_was_interrupted_too_often_is_protected,
    interruptions_of_long_ago_do_not_count,
    policy_that_changes_during_a_deployment_harms_nobody,
    task_that_one_deployment_has_frozen_is_stopped_or_restarted_by_another,
    deployment_that_can_not_be_written_down_is_undone_alone,
    deployment_that_was_over_last_is_known_however_early_it_began,
];

const TASKS: [(&str, &str); 4] = [
    ("f", "freeze"),
    ("s", "stop"),
    ("r", "restart"),
    ("c", "checkpoint"),
];

fn tasks_resume_when_the_last_of_two_deployments_ends(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let first = case.deploy("g")?;
    let ready = case.now()?;
    let second = case.deploy("g")?;
    ensure!(first != second);
    let start = case.starting(&["s.service"])?;
    case.held_by("s", &first)?;
    // Whichever ends first, and over a crash.
    case.end_deployment(&first)?;
    kill_daemon(case)?;
    case.deployment_is(&second, "ready")?;
    case.held_by("s", &second)?;
    ensure!(case.is_frozen("f.service")?);
    ensure!(case.sh("interlockctl deploy end; echo $?")?.ends_with('0'));
    paused(case, "f", ready, ready + 0.1)?;
    ensure!(start.wait(SOON)?.success());
    runs_on(case, &[("f", 1), ("s", 2), ("r", 2), ("c", 2)])?;
    ensure!(case.task_property("f", "StaleSince")? == first);
    Ok(())
}

fn groups_that_share_tasks_resume_each_when_nobody_wants_it_at_rest(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::exec("f").counts(),
        Service::exec("r"),
        Service::exec("own"),
        Service::exec("other"),
    ])?;
    let shared = [
        ("f", "freeze"),
        ("r", "restart"),
        ("own", "restart"),
        ("other", "stop"),
    ];
    case.policy(&format!(
        "{}[groups.h]\ntasks = [\"f\", \"r\", \"other\"]\n",
        group_policy(&shared, "").replace(", \"other\"]", "]")
    ))?;
    run_all(case, &["f", "r", "own", "other"])?;
    let g = case.deploy("g")?;
    runs_on(case, &[("other", 1)])?;
    let h = case.deploy("h")?;
    rests(case, &[("r", 1), ("own", 1), ("other", 1)])?;
    case.end_deployment(&g)?;
    runs_on(case, &[("own", 2)])?;
    rests(case, &[("r", 1)])?;
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(&h)?;
    runs_on(case, &[("f", 1), ("r", 2), ("own", 2)])?;
    rests(case, &[("other", 1)])
}

fn second_deployment_that_is_refused_leaves_the_first_in_peace(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    case.services(&[Service::exec("w")])?;
    case.policy(&format!(
        "{}[groups.h]\ntasks = [\"f\", \"r\", \"w\"]\nmax-wait = \"300ms\"\n",
        group_policy(&TASKS, "")
            + &super::deploy_support::named_group_policy("x", &[("w", "wait")], "")
    ))?;
    run_all(case, &["w"])?;
    let id = case.deploy("g")?;
    let ready = case.now()?;
    let output = case.deploying("h", "")?.wait(SOON)?;
    ensure!(output.status == Some(75), "{output:?}");
    // What the second found at rest isn't its to wake.
    ensure!(case.is_frozen("f.service")?);
    rests(case, &[("s", 1), ("r", 1), ("c", 1)])?;
    ensure!(case.deployment(&id)?.state == "ready");
    let end = case.now()?;
    case.end_deployment(&id)?;
    runs_on(case, &[("f", 1), ("r", 2), ("c", 2), ("w", 1)])?;
    paused(case, "f", ready, end)
}

fn operators_stop_of_a_frozen_task_wins_at_once(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[("f", "freeze"), ("e", "freeze"), ("k", "freeze")],
        "",
    )?;
    let id = case.deploy("g")?;
    // A process that can't run can't end: somebody has to thaw it first.
    case.sh("timeout 5 systemctl stop f.service")?;
    ensure!(case.property("f.service", "Result")? == "success");
    ensure!(!case.log()?.is_running("f.service"), "it was killed");
    // In its own way: by a signal.
    case.sh("systemctl kill e.service")?;
    case.sh("systemctl kill --signal=KILL k.service")?;
    case.becomes("k.service", "failed")?;
    case.sh("systemctl reset-failed k.service; /usr/local/libexec/testbed/task k.service end")?;
    case.end_deployment(&id)?;
    rests(case, &[("f", 1)])?;
    case.becomes("e.service", "inactive")?;
    case.becomes("k.service", "inactive")
}

fn what_an_operator_stops_in_between_stays_stopped(case: &Case<'_>) -> Result<()> {
    running_group(
        case,
        &[("r", "restart"), ("c", "checkpoint"), ("x", "restart")],
        "",
    )?;
    let id = case.deploy("g")?;
    rests(case, &[("r", 1), ("c", 1), ("x", 1)])?;
    case.stop(&["r.service", "c.service"])?;
    // Neither a daemon that is killed nor one that is restarted forgets it.
    kill_daemon(case)?;
    case.deployment_is(&id, "ready")?;
    case.end_deployment(&id)?;
    rests(case, &[("r", 1), ("c", 1)])?;
    runs_on(case, &[("x", 2)])
}

fn operators_stop_of_a_waiting_start_cancels_it(case: &Case<'_>) -> Result<()> {
    running_group(case, &[("r", "restart")], "")?;
    let id = case.deploy("g")?;
    let start = case.starting(&["r.service"])?;
    case.held_by("r", &id)?;
    case.stop(&["r.service"])?;
    ensure!(!start.wait(SOON)?.success());
    settles_as(case, "r", "inactive")?;
    case.end_deployment(&id)?;
    rests(case, &[("r", 1)])
}

fn task_that_was_interrupted_too_often_is_protected(case: &Case<'_>) -> Result<()> {
    // No other case has interrupted these.
    let often = "max-interruptions = 2, interruption-period = \"1h\"";
    let (stop, freeze) = (
        format!("action = \"restart\", {often}"),
        format!("action = \"freeze\", {often}"),
    );
    running_group(
        case,
        &[("dump", stop.as_str()), ("report", freeze.as_str())],
        "",
    )?;
    for times in 2..=3 {
        let id = case.deploy("g")?;
        case.end_deployment(&id)?;
        runs_on(case, &[("dump", times), ("report", 1)])?;
    }
    // Also for a new daemon.
    kill_daemon(case)?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    for unit in ["dump.service", "report.service"] {
        let member = case.member_is(&id, unit, "waiting")?;
        ensure!(
            member.action == "protect"
                && ["since", "until", "interrupt"]
                    .iter()
                    .all(|word| member.detail.contains(word)),
            "{member:?}"
        );
    }
    runs_on(case, &[("dump", 3), ("report", 1)])?;
    case.journalled(message::PROTECTED, &["dump.service"])?;
    case.release("dump.service")?;
    case.release("report.service")?;
    ensure!(deploy.wait(SOON)?.success());
    case.end_deployment(&id)?;
    rests(case, &[("dump", 3), ("report", 1)])
}

fn interruptions_of_long_ago_do_not_count(case: &Case<'_>) -> Result<()> {
    let once = "action = \"restart\", max-interruptions = 1, interruption-period = \"1s\"";
    running_group(case, &[("old", once)], "")?;
    let id = case.deploy("g")?;
    case.end_deployment(&id)?;
    runs_on(case, &[("old", 2)])?;
    // Protected by now, until the period is over.
    let id = wait_for("old to be no longer protected", SOON, || {
        let output = case.deploying("g", "--max-wait 0.1s")?.wait(SOON)?;
        Ok(output.success().then(|| output.stdout.trim().to_owned()))
    })?;
    rests(case, &[("old", 2)])?;
    case.end_deployment(&id)?;
    runs_on(case, &[("old", 3)])
}

fn policy_that_changes_during_a_deployment_harms_nobody(case: &Case<'_>) -> Result<()> {
    running_group(case, &TASKS, "")?;
    let id = case.deploy("g")?;
    let ready = case.now()?;
    case.services(&[Service::exec("new")])?;
    // f's action is another one, r and the group's name are gone, one is new.
    case.policy(&named_group_policy(
        "h",
        &[("f", "stop"), ("s", "stop"), ("c", "wait"), ("new", "wait")],
        "",
    ))?;
    ensure!(case.is_frozen("f.service")?);
    kill_daemon(case)?;
    case.deployment_is(&id, "ready")?;
    let end = case.now()?;
    case.end_deployment(&id)?;
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("f", 1), ("r", 2), ("c", 2)])?;
    paused(case, "f", ready, end)
}

fn task_that_one_deployment_has_frozen_is_stopped_or_restarted_by_another(
    case: &Case<'_>,
) -> Result<()> {
    running_group(
        case,
        &[("s", "freeze"), ("r", "freeze"), ("f", "freeze")],
        "",
    )?;
    let first = case.deploy("g")?;
    let frozen = case.now()?;
    case.policy(&named_group_policy(
        "h",
        &[("s", "stop"), ("r", "restart"), ("f", "freeze")],
        "",
    ))?;
    // PID 1 waits for what is frozen until the stop's time limit, or refuses to stop it.
    let second = case.sh("timeout 20 interlockctl deploy begin --group h --expires 10min")?;
    rests(case, &[("s", 1), ("r", 1)])?;
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(&second)?;
    // The first has them at rest until its own end.
    rests(case, &[("s", 1), ("r", 1)])?;
    ensure!(case.is_frozen("f.service")?);
    let end = case.now()?;
    case.end_deployment(&first)?;
    rests(case, &[("s", 1)])?;
    runs_on(case, &[("r", 2), ("f", 1)])?;
    paused(case, "f", frozen, end)
}

fn deployment_that_can_not_be_written_down_is_undone_alone(case: &Case<'_>) -> Result<()> {
    case.services(&["s", "w", "r"].map(Service::exec))?;
    case.policy(&format!(
        "{}{}",
        named_group_policy("g", &[("s", "restart")], ""),
        named_group_policy("h", &[("w", "wait"), ("r", "restart")], "")
    ))?;
    run_all(case, &["s", "w", "r"])?;
    with_small_disk(case, "4m", || {
        let ready = case.deploy("g")?;
        let settling = case.deploying("h", "")?;
        let live = case.live_deployment("h")?;
        case.member_is(&live.id, "r.service", "stopped")?;
        fill(case)?;
        // The one that has to write down what it sees now is given up; the other has nothing to do.
        case.release("w.service")?;
        let output = settling.wait(SOON)?;
        ensure!(!output.success(), "{output:?}");
        runs_on(case, &[("r", 2)])?;
        ensure!(case.deployment(&ready)?.state == "ready");
        rests(case, &[("s", 1)])?;
        make_room(case)?;
        case.deployment_is(&live.id, "failed")?;
        case.end_deployment(&ready)?;
        runs_on(case, &[("s", 2)])
    })
}

fn deployment_that_was_over_last_is_known_however_early_it_began(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("s"), Service::exec("w")])?;
    case.policy(&format!(
        "{}{}",
        named_group_policy("g", &[("s", "stop")], ""),
        named_group_policy("h", &[("w", "stop")], "")
    ))?;
    let long = case.deploy("h")?;
    // More than are remembered once they are over.
    case.sh("for number in $(seq 21); do interlockctl deploy run --group g -- true || exit; done")?;
    case.sh(&format!("timeout 20 interlockctl deploy end {long}"))?;
    kill_daemon(case)?;
    let known = case.sh("interlockctl deploy list --all --json")?;
    ensure!(known.contains(&format!("\"{long}\"")), "{known}");
    Ok(())
}
