//! Situations that cases about deployments begin with.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::command::Output;
use interlock_tests::deployment::Deployment;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::unit;

/// Exit status of interlockctl when a group could not be settled.
pub const BUSY: Option<i32> = Some(75);

/// Ids of messages in the journal, see interlockd(8).
pub mod message {
    /// A task outlived a deployment.
    pub const STALE: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0c";
    /// A task is protected, since it was interrupted too often.
    pub const PROTECTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0d";
    /// A task was frozen, and no deployment wants it so.
    pub const THAWED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0e";
}

/// A group `g` of tasks, with these lines of its own. Of each task: its unit (without `.service`), and
/// what a deployment does to it, either an action alone or all that stands in `on-deploy = { … }`.
pub fn group_policy(tasks: &[(&str, &str)], lines: &str) -> String {
    named_group_policy("g", tasks, lines)
}

/// The same with a group of another name.
pub fn named_group_policy(group: &str, tasks: &[(&str, &str)], lines: &str) -> String {
    let policies = tasks
        .iter()
        .map(|(unit, action)| task_policy(unit.trim_end_matches('@'), unit, &on_deploy(action)));
    let names: Vec<String> = tasks
        .iter()
        .map(|(unit, _)| format!("\"{}\"", unit.trim_end_matches('@')))
        .collect();
    format!(
        "{}[groups.{group}]\ntasks = [{}]\n{lines}\n",
        policies.collect::<String>(),
        names.join(", ")
    )
}

/// The line `on-deploy`.
pub fn on_deploy(action: &str) -> String {
    let content = match action {
        "checkpoint" => "action = \"checkpoint\", signal = \"SIGUSR1\"".to_owned(),
        _ if action.contains('=') => action.to_owned(),
        _ => format!("action = \"{action}\""),
    };
    format!("on-deploy = {{ {content} }}")
}

/// Tasks of a group `g` that all run, each until it is released; one that is frozen counts.
pub fn running_group(case: &Case<'_>, tasks: &[(&str, &str)], lines: &str) -> Result<()> {
    let services: Vec<Service> = tasks
        .iter()
        .map(|(name, action)| {
            let service = Service::exec(name);
            if action.contains("freeze") {
                service.counts()
            } else {
                service
            }
        })
        .collect();
    case.services(&services)?;
    case.policy(&group_policy(tasks, lines))?;
    let names: Vec<&str> = tasks.iter().map(|(name, _)| *name).collect();
    run_all(case, &names)
}

/// Starts these units and waits until all of them run.
pub fn run_all(case: &Case<'_>, names: &[&str]) -> Result<()> {
    let units: Vec<String> = names.iter().map(|name| unit(name)).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    case.start(&units)?;
    units.iter().try_for_each(|unit| case.begun(unit))
}

/// Asserts that these run again, or still, not frozen, and have begun so often since the case began.
pub fn runs_on(case: &Case<'_>, begun: &[(&str, usize)]) -> Result<()> {
    for (name, times) in begun {
        let unit = unit(name);
        case.begun(&unit)
            .with_context(|| format!("{name} doesn't run"))?;
        let count = case.log()?.count(&unit);
        ensure!(
            count == *times,
            "{name} has begun {count} times, not {times}"
        );
        ensure!(!case.is_frozen(&unit)?, "{name} is frozen");
    }
    Ok(())
}

/// Asserts that these don't run, and have run so often since the case began.
pub fn rests(case: &Case<'_>, ran: &[(&str, usize)]) -> Result<()> {
    for (name, times) in ran {
        let unit = unit(name);
        case.becomes(&unit, "inactive")?;
        let count = case.log()?.count(&unit);
        ensure!(
            count == *times && !case.log()?.is_running(&unit),
            "{name} has run {count} times, not {times}"
        );
        ensure!(case.property(&unit, "Result")? == "success");
    }
    Ok(())
}

/// Asserts that a deployment was refused as busy, and that this was said of it.
pub fn refused(case: &Case<'_>, output: &Output, words: &[&str]) -> Result<Deployment> {
    ensure!(
        output.status == BUSY,
        "it should have been refused as busy: {output:?}"
    );
    let (id, _) = case
        .deployments()?
        .pop()
        .context("it isn't among the ended ones")?;
    let deployment = case.deployment_is(&id, "failed")?;
    ensure!(deployment.ready_since == 0, "{deployment:#?}");
    for word in words {
        ensure!(
            output.stderr.contains(word),
            "no {word:?} in what is said: {}",
            output.stderr
        );
        ensure!(
            deployment.detail.contains(word),
            "no {word:?} in its detail: {}",
            deployment.detail
        );
    }
    Ok(deployment)
}

/// Asserts that a counting task was at rest from one moment to another and lost nothing.
pub fn paused(case: &Case<'_>, name: &str, from: f64, to: f64) -> Result<()> {
    let counter = case.counter(&unit(name))?;
    if let Some(gap) = counter.gap() {
        anyhow::bail!("{name} lost something: {gap}");
    }
    let written = counter.between(from, to);
    ensure!(
        written.is_empty(),
        "{name} wrote at {written:?} though it was to be frozen from {from} to {to}"
    );
    Ok(())
}

/// Waits until the unit has no job and is in this state; a stop may still be on its way.
pub fn settles_as(case: &Case<'_>, name: &str, state: &str) -> Result<()> {
    wait_for(&format!("{name} to be {state} for good"), SOON, || {
        let unit = unit(name);
        let found = case.sh(&format!(
            "systemctl show --value -p Job -p ActiveState -- '{unit}' | xargs"
        ))?;
        Ok((found == format!("0 {state}") || found == state).then_some(()))
    })
}
