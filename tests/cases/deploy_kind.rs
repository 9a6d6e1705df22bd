//! Units of every kind, and what rules freezing out.

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::deploy_support::{group_policy, paused, refused, rests, run_all, runs_on};

deploy_cases![
    units_of_every_kind_are_frozen_and_go_on,
    units_of_every_kind_are_restarted,
    instances_of_a_template_are_settled_each,
    watchdog_rules_freezing_out,
    service_that_restarts_itself_stays_at_rest,
    unit_that_remains_after_its_exit_is_at_rest,
];

/// Unit file, unit, and its `Type=`.
const KINDS: [(&str, &str, &str); 5] = [
    ("one", "one", "oneshot"),
    ("simple", "simple", "simple"),
    ("exec", "exec", "exec"),
    ("notify", "notify", "notify"),
    ("imp@", "imp@x", "oneshot"),
];

/// All kinds run, and this is what a deployment does to them.
fn all_kinds(case: &Case<'_>, action: &str) -> Result<()> {
    case.services(&KINDS.map(|(file, _, kind)| Service::oneshot(file).of_type(kind).counts()))?;
    case.policy(&group_policy(&KINDS.map(|(file, _, _)| (file, action)), ""))?;
    run_all(case, &KINDS.map(|(_, unit, _)| unit))
}

fn units_of_every_kind_are_frozen_and_go_on(case: &Case<'_>) -> Result<()> {
    all_kinds(case, "freeze")?;
    let id = case.deploy("g")?;
    let ready = case.now()?;
    for (_, name, _) in KINDS {
        ensure!(case.is_frozen(&format!("{name}.service"))?, "{name} isn't");
        case.member_is(&id, &format!("{name}.service"), "frozen")?;
    }
    let end = case.now()?;
    case.end_deployment(&id)?;
    for (_, name, _) in KINDS {
        runs_on(case, &[(name, 1)])?;
        case.counts(&format!("{name}.service"))?;
        paused(case, name, ready, end)?;
        case.release(&format!("{name}.service"))?;
        rests(case, &[(name, 1)])?;
    }
    Ok(())
}

fn units_of_every_kind_are_restarted(case: &Case<'_>) -> Result<()> {
    all_kinds(case, "restart")?;
    let id = case.deploy("g")?;
    for (_, name, _) in KINDS {
        rests(case, &[(name, 1)])?;
    }
    case.end_deployment(&id)?;
    for (_, name, _) in KINDS {
        runs_on(case, &[(name, 2)])?;
    }
    Ok(())
}

fn instances_of_a_template_are_settled_each(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::template("imp"), Service::template("w").runs(0.0)])?;
    case.policy(&group_policy(&[("imp@", "restart"), ("w@", "wait")], ""))?;
    let instances = ["imp@1", "imp@two", "imp@a\\x2db"];
    run_all(case, &instances)?;
    let id = case.deploy("g")?;
    for name in instances {
        rests(case, &[(name, 1)])?;
        case.member_is(&id, &format!("{name}.service"), "stopped")?;
    }
    // One that nobody knew of before.
    let mut start = case.starting(&["w@new.service"])?;
    case.held_by("w@new", &id)?;
    ensure!(start.is_running()?);
    case.end_deployment(&id)?;
    for name in instances {
        runs_on(case, &[(name, 2)])?;
    }
    ensure!(start.wait(SOON)?.success());
    case.ran("w@new.service", 1)
}

fn watchdog_rules_freezing_out(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("s")
            .of_type("notify")
            .service("WatchdogSec=1h"),
        Service::oneshot("w")
            .of_type("notify")
            .service("WatchdogSec=1h"),
    ])?;
    case.policy(&group_policy(
        &[
            ("s", "action = \"freeze\", fallback = \"stop\""),
            ("w", "freeze"),
        ],
        "",
    ))?;
    run_all(case, &["s", "w"])?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    // At once: max-wait is ten minutes.
    let stopped = case.member_is(&id, "s.service", "stopped")?;
    ensure!(
        stopped.action == "stop" && stopped.detail.contains("WatchdogSec="),
        "{stopped:?}"
    );
    let waiting = case.member_is(&id, "w.service", "waiting")?;
    ensure!(waiting.detail.contains("WatchdogSec="), "{waiting:?}");
    ensure!(!case.is_frozen("w.service")?);
    case.release("w.service")?;
    ensure!(deploy.wait(SOON)?.success());
    case.end_deployment(&id)?;
    // And where it doesn't end: refused, with the reason.
    run_all(case, &["w"])?;
    let output = case.deploying("g", "--max-wait 0.2s")?.wait(SOON)?;
    refused(case, &output, &["w.service"])?;
    runs_on(case, &[("w", 2)])
}

fn service_that_restarts_itself_stays_at_rest(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::exec("s")
            .service("Restart=always")
            .service("RestartSec=50ms"),
        Service::exec("r")
            .service("Restart=always")
            .service("RestartSec=50ms"),
        // Between two attempts when the deployment comes.
        Service::exec("again")
            .runs(0.0)
            .exits(1)
            .service("Restart=on-failure")
            .service("RestartSec=1s"),
    ])?;
    case.policy(&group_policy(
        &[("s", "stop"), ("r", "restart"), ("again", "wait")],
        "",
    ))?;
    run_all(case, &["s", "r"])?;
    case.start(&["again.service"])?;
    case.wait_until("systemctl show -P SubState again.service | grep -q auto-restart")?;
    let id = case.deploy("g")?;
    rests(case, &[("s", 1), ("r", 1)])?;
    let ran = case.log()?.count("again.service");
    case.held_by("again", &id)?;
    rests(case, &[("s", 1), ("r", 1)])?;
    ensure!(case.log()?.count("again.service") == ran, "an attempt ran");
    case.end_deployment(&id)?;
    runs_on(case, &[("r", 2)])?;
    case.wait_until(&format!(
        "[ $(grep -c 'begin again.service' /var/lib/testbed/log) -gt {ran} ]"
    ))?;
    case.stop(&["again.service", "r.service"])
}

fn unit_that_remains_after_its_exit_is_at_rest(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")
        .runs(0.0)
        .service("RemainAfterExit=yes")])?;
    case.policy(&group_policy(&[("a", "restart")], ""))?;
    ensure!(case.try_start("a.service")?.success());
    let id = case.deploy("g")?;
    case.end_deployment(&id)?;
    ensure!(case.property("a.service", "ActiveState")? == "active");
    ensure!(
        case.log()?.count("a.service") == 1,
        "nothing ran, so nothing is to be run again"
    );
    case.stop(&["a.service"])
}
