//! Tasks that systemd doesn't run, since a condition or an assertion of the unit's owner isn't met.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, Row, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

cases![
    submission_that_a_condition_leaves_out_is_done_and_not_tried_for_ever,
    start_that_fails_the_owners_assertion_is_not_made_again,
];

const NEEDED: &str = "/run/testbed-needed";

/// A task of this name with this line about [`NEEDED`] in its unit, and another one of the same resource.
fn tasks(case: &Case<'_>, name: &str, line: &str, lines: &str) -> Result<()> {
    case.services(&[
        Service::oneshot(name)
            .runs(0.05)
            .unit(&format!("{line}={NEEDED}")),
        Service::oneshot("other").runs(0.05),
    ])?;
    case.policy(&format!(
        "[resources.r]\n{}{}",
        task_policy(name, name, &format!("uses = [\"r\"]\n{lines}")),
        task_policy("other", "other", "uses = [\"r\"]")
    ))
}

/// The result of the last of these runs.
fn last(runs: &[Row]) -> &str {
    runs.last().map_or("", |run| run.text("result"))
}

fn submission_that_a_condition_leaves_out_is_done_and_not_tried_for_ever(
    case: &Case<'_>,
) -> Result<()> {
    tasks(
        case,
        "needy",
        "ConditionPathExists",
        "retry = { attempts = 3, delay = \"1s\" }",
    )?;
    let batch = case.spawn("interlockctl submit --wait needy")?.wait(SOON)?;
    ensure!(batch.success(), "{}", batch.text());
    // PID 1 may have forgotten the unit before it could be asked; then it was tried once more, till that was known.
    let runs = case.past_runs("needy", 1)?;
    ensure!(last(&runs) == "not-started", "{runs:?}");
    ensure!(case.try_start("other.service")?.success());
    case.sh(&format!("touch {NEEDED}"))?;
    ensure!(case.try_start("needy.service")?.success());
    case.ran("needy.service", 1)?;
    let runs = case.past_runs("needy", runs.len() + 1)?;
    ensure!(last(&runs) == "success", "{runs:?}");
    case.sh(&format!("rm {NEEDED}")).map(drop)
}

fn start_that_fails_the_owners_assertion_is_not_made_again(case: &Case<'_>) -> Result<()> {
    tasks(case, "proud", "AssertPathExists", "")?;
    let start = case.try_start("proud.service")?;
    ensure!(!start.success(), "{}", start.text());
    let batch = case.spawn("interlockctl submit --wait proud")?.wait(SOON)?;
    ensure!(!batch.success(), "{}", batch.text());
    // Whatever is tried again would be before this one, and is over when it has run.
    ensure!(case.try_start("other.service")?.success());
    let runs = case.past_runs("proud", 2)?;
    ensure!(last(&runs) == "assert", "{runs:?}");
    case.sh(&format!("touch {NEEDED}"))?;
    ensure!(case.try_start("proud.service")?.success());
    case.ran("proud.service", 1)?;
    case.sh(&format!("rm {NEEDED}")).map(drop)
}
