//! Repairs that operators run: beside other work, never while the unit runs that they repair, and not for everybody.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::command::Output;
use interlock_tests::deployment::{MANAGER, NAME, ROOT};
use interlock_tests::service::{Service, TASK_PROGRAM};
use interlock_tests::wait::{SOON, wait_for};

use super::support::kill_daemon;

cases![
    action_never_runs_while_its_unit_does_and_beside_all_others,
    action_waits_for_what_its_task_uses,
    action_says_what_it_is_for_and_who_wants_it,
    restarted_daemon_knows_actions_again,
    systemd_reloaded_changes_no_argument_of_an_action_that_waits,
    hostile_instances_and_what_is_not_there_are_refused,
    action_from_inside_its_own_task_is_refused,
    deployment_holds_actions_of_its_tasks,
    deployment_waits_for_an_action_that_runs,
    operator_without_permission_runs_no_action,
];

const RULE: &str = "/etc/polkit-1/rules.d/50-case.rules";
const RAN: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a12";

/// A template task with repairs; `lines` are more of the task.
fn import(case: &Case<'_>, lines: &str) -> Result<()> {
    case.write(
        "/usr/local/bin/show",
        "#!/bin/sh\nenv | grep ^INTERLOCK_ | sort >/run/testbed-show\nprintf '<%s>' \"$@\" >>/run/testbed-show\n",
    )?;
    case.sh("chmod 755 /usr/local/bin/show; rm -f /run/testbed-show")?;
    case.services(&[Service::template("import")])?;
    case.policy(&format!(
        "[resources.slots]
         capacity = 2
         [tasks.import]
         unit = 'import@.service'
         uses = ['slots']
         {lines}
         [tasks.import.actions]
         repair = {{ command = ['{TASK_PROGRAM}', 'repair-%i', 'hold'] }}
         show = {{ command = ['/usr/local/bin/show', 'on', '%i', '--path=%I', '%n', '100%%'] }}
         guarded = {{ command = ['/usr/local/bin/show', '--', '%i'] }}
         fails = {{ command = ['/bin/false'] }}
         [tasks.plain]
         command = ['/bin/true']
         [groups.g]
         tasks = ['import']\n"
    ))
}

fn call(task: &str, action: &str, reason: &str) -> String {
    format!("busctl call {NAME} {ROOT} {MANAGER} RunAction sss '{task}' '{action}' '{reason}'")
}

/// Runs an action; gives its unit.
fn run(case: &Case<'_>, task: &str, action: &str, reason: &str) -> Result<String> {
    let answer = case.sh(&call(task, action, reason))?;
    let unit = answer.split('"').nth(1);
    Ok(unit.context("no unit in the answer")?.to_owned())
}

fn refused(output: &Output, words: &str) -> Result<()> {
    ensure!(
        !output.success() && output.stderr.contains(words),
        "{words:?}: {output:?}"
    );
    Ok(())
}

/// Waits until the reason why a unit waits is this.
fn waits_for(case: &Case<'_>, unit: &str, reason: &str) -> Result<()> {
    let mut seen = String::new();
    wait_for(&format!("{unit} to wait for {reason}"), SOON, || {
        seen = case.sh("interlockctl queue --json")?;
        let json: serde_json::Value = serde_json::from_str(&seen)?;
        let entries = json["queue"].as_array().context("no queue")?;
        let mut entries = entries.iter();
        let found = entries.find(|it| it["unit"] == unit);
        let reason = found.filter(|it| it["reason"].as_str().is_some_and(|r| r.contains(reason)));
        Ok(reason.map(|_| ()))
    })
    .with_context(|| seen)
}

/// Waits until a transient unit is over.
fn is_over(case: &Case<'_>, unit: &str) -> Result<()> {
    case.wait_until(&format!(
        "[ -z \"$(systemctl list-units --all --plain --no-legend '{unit}' 'interlock-gate@{unit}.service')\" ]"
    ))
}

fn action_never_runs_while_its_unit_does_and_beside_all_others(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    case.start(&["import@a.service"])?;
    case.begun("import@a.service")?;
    let action = run(case, "import@a", "repair", "")?;
    waits_for(case, &action, "Waiting for import@a.service, which runs")?;
    let why = case.sh(&format!("interlockctl why {action}"))?;
    ensure!(
        why.contains("It waits for import@a.service, which runs."),
        "{why}"
    );
    case.release("import@a.service")?;
    case.begun("repair-a")?;
    let status = case.sh("interlockctl status --json")?;
    ensure!(
        status.contains("action repair on import@a.service by root (uid 0)"),
        "{status}"
    );
    // The unit itself waits, another instance doesn't.
    case.start(&["import@a.service", "import@b.service"])?;
    case.begun("import@b.service")?;
    waits_for(
        case,
        "import@a.service",
        "action repair on import@a.service, which runs",
    )?;
    case.release("import@b.service")?;
    // A second one comes after the unit that asked before it.
    let second = run(case, "import@a.service", "repair", "")?;
    case.queued(&["import@a.service", &second])?;
    case.release("repair-a")?;
    case.release("import@a.service")?;
    case.release("repair-a")?;
    case.no_overlap(&["import@a.service", "repair-a"])?;
    is_over(case, &second)
}

fn action_waits_for_what_its_task_uses(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    case.start(&["import@a.service", "import@b.service"])?;
    case.begun("import@a.service")?;
    case.begun("import@b.service")?;
    let action = run(case, "import@c", "repair", "")?;
    waits_for(
        case,
        &action,
        "1 of 2 slots, held by import@a.service and import@b.service",
    )?;
    case.release("import@a.service")?;
    case.release("repair-c")?;
    case.release("import@b.service")?;
    is_over(case, &action)
}

fn action_says_what_it_is_for_and_who_wants_it(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let action = run(
        case,
        "import@srv-a\\x2db",
        "show",
        "half an archive, 50% of $HOME",
    )?;
    is_over(case, &action)?;
    let shown = case.read("/run/testbed-show")?;
    let unit = "import@srv-a\\x2db.service";
    for line in [
        "INTERLOCK_ACTION=show",
        "INTERLOCK_TASK=import",
        &format!("INTERLOCK_UNIT={unit}"),
        "INTERLOCK_BY=root (uid 0)",
        "INTERLOCK_REASON=half an archive, 50% of $HOME",
        "INTERLOCK_HOLDS=slots",
        &format!("<on><srv-a\\x2db><--path=srv/a-b><{unit}><100%>"),
    ] {
        ensure!(shown.lines().any(|it| it == line), "no {line} in {shown}");
    }
    let words = [
        "root (uid 0): half an archive",
        &action,
        "\"ACTION\":\"show\"",
    ];
    case.journalled(RAN, &words)?;
    // The history has it as a run of its own.
    wait_for("the history", SOON, || {
        let rows = case.past(&action)?;
        Ok(rows
            .iter()
            .any(|row| {
                row.text("cause")
                    .contains("by root (uid 0): half an archive")
            })
            .then_some(()))
    })?;
    // One that fails leaves nothing behind but that.
    let action = run(case, "import@a", "fails", "")?;
    is_over(case, &action)
}

fn restarted_daemon_knows_actions_again(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    case.start(&["import@a.service"])?;
    case.begun("import@a.service")?;
    let action = run(case, "import@a", "repair", "")?;
    waits_for(case, &action, "import@a.service, which runs")?;
    kill_daemon(case)?;
    waits_for(case, &action, "import@a.service, which runs")?;
    case.release("import@a.service")?;
    case.begun("repair-a")?;
    kill_daemon(case)?;
    case.start(&["import@a.service"])?;
    waits_for(
        case,
        "import@a.service",
        "action repair on import@a.service, which runs",
    )?;
    case.release("repair-a")?;
    case.release("import@a.service")?;
    case.no_overlap(&["import@a.service", "repair-a"])?;
    is_over(case, &action)
}

fn systemd_reloaded_changes_no_argument_of_an_action_that_waits(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let hold = |unit: &str| -> Result<String> {
        case.start(&[unit])?;
        case.begun(unit)?;
        let action = run(case, unit, "show", "")?;
        waits_for(case, &action, "which runs")?;
        case.reload_systemd()?;
        case.release(unit)?;
        is_over(case, &action)?;
        case.read("/run/testbed-show")
    };
    let shown = hold("import@a\\x22\\x20\\x25n\\x5cq.service")?;
    ensure!(shown.contains("<--path=a\" %n\\q>"), "{shown}");
    // There no way of writing a dollar survives a daemon-reload.
    if case.version().number() < 257 {
        let output = case.try_sh(&call("import@\\x24HOME", "show", ""))?;
        return refused(&output, "has a $ in it");
    }
    let shown = hold("import@\\x24HOME\\x24\\x7bHOME\\x7d.service")?;
    ensure!(shown.contains("<--path=$HOME${HOME}>"), "{shown}");
    Ok(())
}

fn hostile_instances_and_what_is_not_there_are_refused(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let long = format!("import@{}", "x".repeat(240));
    for (task, action, words) in [
        ("import", "show", "import@.service is a template"),
        ("import@.service", "show", "import@.service is a template"),
        (
            "import@a",
            "reboot",
            "it has fails, guarded, repair and show",
        ),
        ("plain", "show", "the policy gives it none"),
        ("nobody", "show", "neither a task of the policy"),
        ("sshd@a", "show", "neither a task of the policy"),
        ("", "show", "neither a task of the policy"),
        ("import@-rf", "show", "would take it for an option"),
        ("import@a\\x00b", "show", "unescaped"),
        ("import@a\\xff", "show", "unescaped"),
        ("import@a\\x0ab", "show", "unescaped"),
        ("import@../a.service", "show", "not a unit"),
        ("import@a b.service", "show", "not a unit"),
        ("import@a;b.service", "show", "not a unit"),
        (&long, "show", "not a unit"),
        ("import@a", "../repair", "it has fails"),
        ("import@a", "", "it has fails"),
    ] {
        let output = case.try_sh(&call(task, action, ""))?;
        refused(&output, words).with_context(|| format!("{task:?} {action:?}"))?;
    }
    let output = case.try_sh(&call("import@a", "show", &"y".repeat(1001)))?;
    refused(&output, "longer than 1000 bytes")?;
    // The policy's author may allow it.
    let action = run(case, "import@-rf", "guarded", "a\nb")?;
    is_over(case, &action)?;
    let shown = case.read("/run/testbed-show")?;
    ensure!(
        shown.contains("<--><-rf>") && shown.contains("INTERLOCK_REASON=a b\n"),
        "{shown}"
    );
    ensure!(!case.sh("interlockctl status")?.contains("interlock-run-"));
    Ok(())
}

fn action_from_inside_its_own_task_is_refused(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let inside = |instance: &str| {
        format!(
            "/bin/sh -c '{} >/run/testbed-answer 2>&1; true'",
            call(instance, "show", "").replace('\'', "\"")
        )
    };
    case.services(&[Service::template("import").command(&inside("import@%i"))])?;
    case.reload_systemd()?;
    case.sh("systemctl start import@a")?;
    let answer = case.read("/run/testbed-answer")?;
    ensure!(
        answer.contains("you run for import@a.service") && answer.contains("wait for its end"),
        "{answer}"
    );
    // That of another instance can be done beside it.
    case.services(&[Service::template("import").command(&inside("import@other"))])?;
    case.reload_systemd()?;
    case.sh("systemctl start import@a")?;
    let answer = case.read("/run/testbed-answer")?;
    ensure!(answer.contains("interlock-run-show-"), "{answer}");
    is_over(case, answer.split('"').nth(1).context("no unit")?)
}

fn deployment_holds_actions_of_its_tasks(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let id = case.deploy("g")?;
    let action = run(case, "import@a", "repair", "")?;
    waits_for(case, &action, &format!("the end of deployment {id}"))?;
    kill_daemon(case)?;
    waits_for(case, &action, &format!("the end of deployment {id}"))?;
    ensure!(case.log()?.count("repair-a") == 0);
    case.end_deployment(&id)?;
    case.release("repair-a")?;
    is_over(case, &action)
}

fn deployment_waits_for_an_action_that_runs(case: &Case<'_>) -> Result<()> {
    // What is done to the task isn't done to its repairs.
    import(case, "on-deploy = { action = 'stop' }")?;
    let action = run(case, "import@a", "repair", "")?;
    case.begun("repair-a")?;
    let mut deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    wait_for("the deployment to wait for the action", SOON, || {
        let deployment = case.deployment(&id)?;
        Ok(deployment.member(&action).map(|_| ()))
    })?;
    kill_daemon(case)?;
    let deployment = case.deployment(&id)?;
    ensure!(
        deployment.state == "settling" && deploy.is_running()?,
        "{deployment:#?}"
    );
    ensure!(case.log()?.is_running("repair-a"), "it was stopped");
    case.release("repair-a")?;
    let output = deploy.wait(SOON)?;
    case.deployment_is(&id, "ready")?;
    case.end_deployment(&id)?;
    case.deployment_is(&id, "ended")?;
    ensure!(output.success() || output.status.is_some(), "{output:?}");
    ensure!(case.log()?.count("repair-a") == 1, "it ran again");
    is_over(case, &action)
}

fn operator_without_permission_runs_no_action(case: &Case<'_>) -> Result<()> {
    import(case, "")?;
    let ask = call("import@a", "show", "mine");
    let output = case.as_alice(&ask)?;
    ensure!(
        !output.success() && output.stderr.to_lowercase().contains("denied"),
        "{output:?}"
    );
    ensure!(!case.exists("/run/testbed-show")?, "it ran");
    let rule = "polkit.addRule(function(action, subject) {
        if (action.id == \"org.interlock.Interlock1.manage\" && subject.user == \"alice\") return polkit.Result.YES;
    });";
    case.sh(&format!(
        "printf '%s' '{rule}' >{RULE}; chmod 644 {RULE}; systemctl restart polkit.service"
    ))?;
    let output = case.as_alice(&ask);
    case.sh(&format!("rm {RULE}; systemctl restart polkit.service"))?;
    let output = output?;
    ensure!(output.success(), "{output:?}");
    is_over(case, output.stdout.split('"').nth(1).context("no unit")?)?;
    let shown = case.read("/run/testbed-show")?;
    ensure!(
        shown.contains("INTERLOCK_BY=alice (uid ") && shown.contains("INTERLOCK_REASON=mine"),
        "{shown}"
    );
    case.journalled(RAN, &["alice (uid ", "mine"])
}
