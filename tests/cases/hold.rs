//! Holds of tasks by operators: "don't run this until …", and "skip the next run".

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, Row, task_policy};
use interlock_tests::deployment::{MANAGER, NAME, ROOT};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::group_policy;
use super::queue::{instances, slots};
use super::support::{
    fill, gate, kill_daemon, main_pid, make_room, with_small_disk, without_daemon,
};

cases![
    held_task_waits_keeps_nothing_from_others_and_runs_once_when_it_is_released,
    hold_ends_by_the_clock_also_while_interlockd_is_down,
    template_is_held_as_a_whole_or_by_instance_and_entries_of_the_queue_wait,
    skipped_starts_are_given_up_and_counted_and_nothing_fails,
    start_that_waits_already_is_the_next_one_to_be_skipped,
    start_that_meets_a_gate_which_is_being_refused_is_queued_again,
    held_task_preempts_nobody_before_it_is_released,
    restart_by_systemd_is_held_and_is_no_new_start,
    deployment_and_hold_of_one_task_both_have_to_end,
    what_a_deployment_starts_again_is_no_new_start,
    hold_of_a_task_that_the_policy_loses_lets_go_and_comes_back_with_it,
    skip_that_can_not_be_written_down_waits_until_it_can,
    holds_are_for_operators_and_need_a_reason_and_a_task,
];

const HELD: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a17";
const RELEASED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a18";

/// What is held, as `ListHolds` has it.
fn holds(case: &Case<'_>) -> Result<Vec<Row>> {
    case.rows(MANAGER, "ListHolds")
}

/// Waits until the task waits for an operator.
fn is_held(case: &Case<'_>, task: &str) -> Result<()> {
    case.held_by(task, "the hold by root")
}

/// Waits until a task has begun so often, and runs.
fn runs_again(case: &Case<'_>, unit: &str, times: usize) -> Result<()> {
    wait_for(&format!("run {times} of {unit}"), SOON, || {
        let log = case.log()?;
        Ok((log.count(unit) == times && log.is_running(unit)).then_some(()))
    })
}

/// How many starts of a task were given up for this reason: the history has those of other cases as well.
fn skips(case: &Case<'_>, task: &str, reason: &str) -> Result<usize> {
    let past = case.past(&format!("{task}.service"))?.into_iter();
    let skips =
        past.filter(|row| row.text("result") == "skipped" && row.text("reason").contains(reason));
    Ok(skips.count())
}

fn held_task_waits_keeps_nothing_from_others_and_runs_once_when_it_is_released(
    case: &Case<'_>,
) -> Result<()> {
    case.services(&["a", "b"].map(Service::oneshot))?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.sh("interlockctl hold a --reason 'the disk is being copied'")?;
    case.journalled(HELD, &["a.service", "the disk is being copied"])?;
    // A hold is no stop.
    ensure!(case.why("a")?["state"] == "running", "{}", case.why("a")?);
    case.release("a.service")?;
    case.start(&["a.service"])?;
    is_held(case, "a")?;
    let why = case.sh("interlockctl why a")?;
    ensure!(
        why.contains("the disk is being copied") && why.contains("interlockctl release t0-a"),
        "{why}"
    );
    // Later, and nothing is kept from it.
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    kill_daemon(case)?;
    is_held(case, "a")?;
    let listed = case.sh("interlockctl holds")?;
    ensure!(listed.contains("the disk is being copied"), "{listed}");
    case.release("b.service")?;
    is_held(case, "a")?;
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    case.sh("interlockctl release a")?;
    case.journalled(RELEASED, &["a.service", "released by root"])?;
    case.queued(&["a.service"])?;
    case.release("b.service")?;
    case.release("a.service")?;
    case.no_overlap(&["a.service", "b.service"])?;
    ensure!(case.log()?.count("a.service") == 2, "not once after it");
    let again = case.try_sh("interlockctl release a")?;
    ensure!(again.status == Some(4), "{again:?}");
    Ok(())
}

fn hold_ends_by_the_clock_also_while_interlockd_is_down(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    case.sh("interlockctl hold a --reason soon --for 400ms && systemctl start --no-block a")?;
    case.ran("a.service", 1)?;
    case.journalled(RELEASED, &["a.service", "expired"])?;
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    case.sh("interlockctl hold a --reason later --until \"$(date -d '+2 seconds' '+%F %T')\" && systemctl start --no-block a")?;
    without_daemon(case, || {
        ensure!(
            case.log()?.count("a.service") == 1,
            "it ran while it was held"
        );
        case.sh("while [ $(date +%s) -lt $(($(stat -c %Y /run/down) + 3)) ]; do read -rt 0.05 <> <(:) || true; done")
            .map(drop)
    })?;
    case.ran("a.service", 2)?;
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    Ok(())
}

fn template_is_held_as_a_whole_or_by_instance_and_entries_of_the_queue_wait(
    case: &Case<'_>,
) -> Result<()> {
    slots(case, Service::template("imp").runs(0.0), 4, "")?;
    let units = instances("imp", 1..=3);
    case.sh("interlockctl hold imp@2 --reason broken")?;
    case.submit("--batch three", &units)?;
    case.ran("imp@1.service", 1)?;
    case.ran("imp@3.service", 1)?;
    let left = case.entries_become("imp", |rows| rows.len() == 1)?;
    ensure!(
        left[0].text("state") == "queued" && left[0].text("detail").contains("broken"),
        "{left:#?}"
    );
    // Straight at the gate it waits as well, and so does any other when all are held.
    case.sh("interlockctl hold imp --reason all")?;
    case.start(&["imp@2.service", "imp@4.service"])?;
    for task in ["imp@2", "imp@4"] {
        is_held(case, task)?;
    }
    kill_daemon(case)?;
    let said = case.sh("interlockctl release imp@2")?;
    ensure!(said.contains("all of imp is still held"), "{said}");
    is_held(case, "imp@2")?;
    case.sh("interlockctl release imp")?;
    case.ran("imp@2.service", 1)?;
    case.ran("imp@4.service", 1)?;
    let batch = case.batch_ends("three")?;
    ensure!(batch.number("done") == 3, "{batch:#?}");
    Ok(())
}

fn skipped_starts_are_given_up_and_counted_and_nothing_fails(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a")
            .runs(0.0)
            .unit("OnFailure=bad.service"),
        Service::oneshot("bad").runs(0.0),
        Service::oneshot("next").runs(0.0).unit("After=a.service"),
    ])?;
    case.unit(
        "a.timer",
        "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=100ms\nAccuracySec=1ms\n",
    )?;
    case.exclusive(&["a", "next"])?;
    case.sh("interlockctl hold a --skip-next=2 --reason 'nothing to do'")?;
    // Whoever comes after it in the same transaction isn't held up.
    case.start_together(&["a.service", "next.service"])?;
    case.ran("next.service", 1)?;
    wait_for("the first one to be skipped", SOON, || {
        Ok((skips(case, "a", "nothing to do")? == 1).then_some(()))
    })?;
    kill_daemon(case)?;
    let left = holds(case)?;
    ensure!(
        left.len() == 1 && left[0].number("skip-next") == 1,
        "{left:#?}"
    );
    case.sh("systemctl start a.timer")?;
    case.ran("a.service", 1)?;
    // The timer has survived the skip before.
    case.sh("systemctl stop a.timer")?;
    ensure!(skips(case, "a", "nothing to do")? == 2, "not two skipped");
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    ensure!(case.log()?.count("bad.service") == 0, "OnFailure= fired");
    // What was submitted is skipped as well, and not tried again.
    case.sh("interlockctl hold a --skip-next --reason 'nor now'")?;
    let before = case.log()?.count("a.service");
    case.submit("--batch one", &["a.service".to_owned()])?;
    let batch = case.batch_ends("one")?;
    ensure!(batch.number("cancelled") == 1, "{batch:#?}");
    ensure!(case.log()?.count("a.service") == before, "it has run");
    Ok(())
}

fn start_that_waits_already_is_the_next_one_to_be_skipped(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b"].map(Service::oneshot))?;
    case.exclusive(&["a", "b"])?;
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    let waits = case.starting(&["a.service"])?;
    case.queued(&["a.service"])?;
    case.sh("interlockctl hold a --skip-next --reason unwanted")?;
    let ended = waits.wait(SOON)?;
    ensure!(!ended.success(), "{ended:?}");
    case.release("b.service")?;
    case.start(&["a.service"])?;
    case.release("a.service")?;
    ensure!(case.log()?.count("a.service") == 1, "not just the second");
    Ok(())
}

fn start_that_meets_a_gate_which_is_being_refused_is_queued_again(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    case.sh("interlockctl hold a --reason first")?;
    let first = case.starting(&["a.service"])?;
    is_held(case, "a")?;
    // Its process is told, and can't end yet.
    let pid = main_pid(case, &gate("a"))?;
    case.sh(&format!("kill -STOP {pid}"))?;
    case.sh("interlockctl hold a --skip-next --reason then")?;
    ensure!(!first.wait(SOON)?.success(), "it was not skipped");
    case.start(&["a.service"])?;
    case.sh(&format!("kill -CONT {pid}"))?;
    is_held(case, "a")?;
    case.sh("interlockctl release a")?;
    case.ran("a.service", 1)?;
    ensure!(skips(case, "a", "skipped: then")? == 1, "not one skipped");
    Ok(())
}

fn held_task_preempts_nobody_before_it_is_released(case: &Case<'_>) -> Result<()> {
    case.services(&["low", "high"].map(Service::oneshot))?;
    case.policy(&format!(
        "[resources.r]\ncapacity = 1\n{}{}",
        task_policy("low", "low", "uses = [\"r\"]"),
        task_policy("high", "high", "uses = [\"r\"]\npreempts = [\"low\"]")
    ))?;
    case.start(&["low.service"])?;
    case.begun("low.service")?;
    case.sh("interlockctl hold high --reason later")?;
    case.start(&["high.service"])?;
    is_held(case, "high")?;
    kill_daemon(case)?;
    is_held(case, "high")?;
    ensure!(case.log()?.is_running("low.service"), "stopped for nothing");
    case.sh("interlockctl release high")?;
    case.release("high.service")?;
    ensure!(case.log()?.count("high.service") == 1, "not once");
    Ok(())
}

fn restart_by_systemd_is_held_and_is_no_new_start(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("a")
        .exits(3)
        .service("Restart=on-failure\nRestartSec=200ms")
        .unit("StartLimitIntervalSec=0")])?;
    case.exclusive(&["a"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.sh("interlockctl hold a --skip-next --reason 'not tonight'")?;
    case.release("a.service")?;
    runs_again(case, "a.service", 2)?;
    let left = holds(case)?;
    ensure!(left.len() == 1, "the restart was skipped: {left:#?}");
    case.sh("interlockctl hold a --reason 'now it waits'")?;
    case.release("a.service")?;
    is_held(case, "a")?;
    ensure!(case.log()?.count("a.service") == 2, "it was restarted");
    case.sh("interlockctl release a")?;
    runs_again(case, "a.service", 3)?;
    case.stop(&["a.service"])
}

/// A group whose one task is stopped and started again.
fn restarted(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("r")])?;
    case.policy(&group_policy(&[("r", "restart")], ""))?;
    case.start(&["r.service"])?;
    case.begun("r.service")
}

fn deployment_and_hold_of_one_task_both_have_to_end(case: &Case<'_>) -> Result<()> {
    restarted(case)?;
    case.sh("interlockctl hold r --reason 'until tomorrow'")?;
    let deployment = case.deploy("g")?;
    case.end_deployment(&deployment)?;
    // It has its turn, and the deployment doesn't wait for that.
    case.deployment_is(&deployment, "ended")?;
    is_held(case, "r")?;
    let deployment = case.deploy("g")?;
    case.sh("interlockctl release r")?;
    case.held_by("r", &deployment)?;
    ensure!(case.log()?.count("r.service") == 1, "it was started");
    case.end_deployment(&deployment)?;
    runs_again(case, "r.service", 2)?;
    case.stop(&["r.service"])
}

fn what_a_deployment_starts_again_is_no_new_start(case: &Case<'_>) -> Result<()> {
    restarted(case)?;
    case.sh("interlockctl hold r --skip-next --reason 'the next one'")?;
    let deployment = case.deploy("g")?;
    case.end_deployment(&deployment)?;
    case.deployment_is(&deployment, "ended")?;
    runs_again(case, "r.service", 2)?;
    ensure!(holds(case)?.len() == 1, "{:?}", holds(case)?);
    case.stop(&["r.service"])?;
    let skipped = case.try_start("r.service")?;
    ensure!(!skipped.success(), "{skipped:?}");
    ensure!(case.log()?.count("r.service") == 2, "it was not skipped");
    Ok(())
}

fn hold_of_a_task_that_the_policy_loses_lets_go_and_comes_back_with_it(
    case: &Case<'_>,
) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    case.sh("interlockctl hold a --reason later")?;
    case.start(&["a.service"])?;
    is_held(case, "a")?;
    case.exclusive(&["b"])?;
    case.begun("a.service")?;
    let left = case.sh("interlockctl holds --full")?;
    ensure!(left.contains("not in the policy"), "{left}");
    case.release("a.service")?;
    kill_daemon(case)?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    is_held(case, "a")?;
    case.exclusive(&["b"])?;
    // Also what the policy doesn't have can be released, by the name that it had.
    case.sh("interlockctl release a")?;
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    case.release("a.service")?;
    ensure!(case.log()?.count("a.service") == 2, "not once each");
    Ok(())
}

fn skip_that_can_not_be_written_down_waits_until_it_can(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    with_small_disk(case, "2m", || {
        case.sh("interlockctl hold a --skip-next --reason 'the disk is full'")?;
        fill(case)?;
        skip_waits(case)
    })
}

fn skip_waits(case: &Case<'_>) -> Result<()> {
    let starting = case.starting(&["a.service"])?;
    case.held_by("a", "can't be written down")?;
    // A hold that can't be kept isn't promised.
    let refused = case.try_sh("interlockctl hold a --reason more")?;
    ensure!(!refused.success(), "{refused:?}");
    kill_daemon(case)?;
    ensure!(case.log()?.count("a.service") == 0, "it ran");
    make_room(case)?;
    let ended = starting.wait(SOON)?;
    ensure!(!ended.success(), "{ended:?}");
    case.sh("systemctl start a.service")?;
    ensure!(case.log()?.count("a.service") == 1, "not just the second");
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    Ok(())
}

fn holds_are_for_operators_and_need_a_reason_and_a_task(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("upcp").runs(0.0),
        Service::oneshot("free").runs(0.0),
        Service::oneshot("spool").runs(0.0),
    ])?;
    case.unit("spool.path", "[Path]\nPathExists=/run/testbed/spool\n")?;
    case.policy(&format!(
        "{}{}{}",
        task_policy("upcp", "upcp", ""),
        task_policy("free", "free", "gated = false"),
        task_policy("spool", "spool", "")
    ))?;
    for (command, status, words) in [
        ("hold upc --reason x", 4, "Did you mean upcp"),
        ("hold upcp", 2, "--reason"),
        ("hold upcp --reason ' '", 2, "needs a reason"),
        ("hold upcp --reason x --until yesterday", 2, "in the past"),
        ("hold free --reason x", 2, "not gated"),
        ("release upcp", 4, "isn't held"),
    ] {
        let output = case.try_sh(&format!("interlockctl {command}"))?;
        ensure!(
            output.status == Some(status) && output.stderr.contains(words),
            "{command}: {output:?}"
        );
    }
    case.sh("systemctl start spool.path")?;
    let output = case.try_sh("interlockctl hold spool --skip-next --reason x")?;
    case.sh("systemctl stop spool.path")?;
    ensure!(output.stderr.contains("spool.path"), "{output:?}");
    for call in ["HoldTask 'ssa{sv}' upcp x 0", "ReleaseTask s upcp"] {
        let output = case.as_alice(&format!("busctl call {NAME} {ROOT} {MANAGER} {call}"))?;
        ensure!(
            output.stderr.to_lowercase().contains("denied"),
            "{call}: {output:?}"
        );
    }
    let looked = case.as_alice("interlockctl holds")?;
    ensure!(looked.success(), "{looked:?}");
    ensure!(holds(case)?.is_empty(), "{:?}", holds(case)?);
    Ok(())
}
