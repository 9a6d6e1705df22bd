//! Who may change the queue, and what has been said of failures: nobody but root, unless polkit says so; anybody may look.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, QUEUE};
use interlock_tests::command::Output;
use interlock_tests::deployment::{NAME, ROOT};
use interlock_tests::service::Service;

use super::queue::{each_once, instances, only_run, run_out, slots};

cases![
    ordinary_user_may_look_at_the_queue_and_change_nothing,
    polkit_can_allow_a_user_to_submit_and_to_cancel_what_is_his,
];

fn ordinary_user_may_look_at_the_queue_and_change_nothing(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    let units = instances("imp", 1..=2);
    case.submit("--batch mine", &units)?;
    only_run(case, &units[..1])?;
    for command in [
        "queue",
        "queue list",
        "queue batches",
        "capacity",
        "history",
        "failures",
        "history imp --json",
    ] {
        let output = case.as_alice(&format!("interlockctl {command}"))?;
        ensure!(output.success(), "{command}: {output:?}");
    }
    let refused = |command: &str, output: Output| -> Result<()> {
        ensure!(
            output.status == Some(77) || output.stderr.to_lowercase().contains("denied"),
            "{command}: {output:?}"
        );
        Ok(())
    };
    for command in [
        "submit imp@3.service",
        "queue cancel imp@2.service",
        "queue cancel --all",
        "queue move imp@2.service --first",
        "queue pause",
        "queue resume",
        "capacity slots 7",
        "capacity slots policy",
    ] {
        refused(command, case.as_alice(&format!("interlockctl {command}"))?)?;
    }
    for call in [
        "NewBatch s x",
        "Cancel 'asa{sv}' 0 1 all b true",
        "Move assi 1 imp@2.service first 0",
        "Pause ss '' x",
        "Resume s ''",
        "SetCapacity sus slots 7 x",
    ] {
        let output = case.as_alice(&format!("busctl call {NAME} {ROOT} {QUEUE} {call}"))?;
        refused(call, output)?;
    }
    let entries = case.entries("imp")?;
    ensure!(entries.len() == 2, "{entries:#?}");
    run_out(case, "mine")?;
    each_once(case, &units)
}

fn polkit_can_allow_a_user_to_submit_and_to_cancel_what_is_his(case: &Case<'_>) -> Result<()> {
    slots(case, Service::template("imp"), 1, "")?;
    case.submit("--batch roots", &instances("imp", 1..=2))?;
    only_run(case, &instances("imp", 1..=1))?;
    let rule = "/etc/polkit-1/rules.d/50-case.rules";
    case.write(
        rule,
        "polkit.addRule(function (action, subject) {
             if (action.id == 'org.interlock.Interlock1.submit' && subject.user == 'alice')
                 return polkit.Result.YES;
         });\n",
    )?;
    case.sh(&format!(
        "chmod 644 {rule}; systemctl restart polkit.service"
    ))?;
    let outputs = [
        "submit imp@3.service",
        "queue cancel imp@2.service",
        "queue cancel imp@3.service",
    ]
    .map(|command| case.as_alice(&format!("interlockctl {command}")));
    case.sh(&format!("rm {rule}; systemctl restart polkit.service"))?;
    let [submit, roots, own] = outputs;
    let (submit, roots, own) = (submit?, roots?, own?);
    ensure!(submit.success(), "{submit:?}");
    ensure!(roots.status == Some(77), "{roots:?}");
    ensure!(own.success(), "{own:?}");
    run_out(case, "roots")?;
    each_once(case, &instances("imp", 1..=2))
}
