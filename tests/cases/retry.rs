//! Runs that fail: what is tried again, when, how often, and what is told of it.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, Row, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::flaky::{self, plan};
use super::support::kill_daemon;

cases![
    unseen_failure_is_tried_again_at_growing_distances_until_it_succeeds,
    success_begins_a_new_count_of_attempts,
    same_failure_on_every_attempt_is_hard_and_says_so,
    different_failures_are_tried_until_the_attempts_are_used_up,
    failure_that_the_policy_calls_permanent_is_not_tried_again,
    operators_word_about_a_failure_counts_from_then_on,
    run_that_an_operator_stops_is_not_tried_again,
    run_that_was_preempted_is_made_good_for_and_does_not_count,
];

/// A task of this name and unit that uses the exclusive resource `r`, and is tried again like this.
pub fn task(name: &str, retry: &str) -> String {
    task_policy(
        name,
        name,
        &format!("uses = [\"r\"]\nretry = {{ {retry} }}"),
    )
}

/// One such task alone, whose next runs end as planned.
pub fn alone(case: &Case<'_>, name: &str, retry: &str, runs: &[(u8, &str)]) -> Result<()> {
    flaky::provide(case)?;
    case.services(&[flaky::service(name)])?;
    plan(case, &format!("{name}.service"), runs)?;
    case.policy(&format!("[resources.r]\n{}", task(name, retry)))
}

/// Its retry waits.
pub fn delayed(case: &Case<'_>, task: &str) -> Result<Row> {
    let rows = case.entries_become(task, |rows| {
        rows.len() == 1 && rows[0].text("kind") == "retry"
    })?;
    rows.into_iter().next().context("no entry")
}

/// Nothing of it is queued any more.
pub fn settled(case: &Case<'_>, task: &str) -> Result<()> {
    case.entries_become(task, <[Row]>::is_empty).map(drop)
}

/// So many runs have ended, and what is to be done about the last of them has been decided.
fn judged(case: &Case<'_>, task: &str, runs: usize) -> Result<Vec<Row>> {
    wait_for(
        &format!("a verdict about run {runs} of {task}"),
        SOON,
        || {
            let past = case.past_runs(task, runs)?;
            Ok((!past[runs - 1].text("verdict").is_empty()).then_some(past))
        },
    )
}

/// It is known as failed for good, or not.
pub fn hard(case: &Case<'_>, task: &str, units: u64) -> Result<Vec<Row>> {
    case.causes_become(task, |causes| {
        causes.iter().map(|cause| cause.number("hard")).sum::<u64>() == units
    })
}

fn unseen_failure_is_tried_again_at_growing_distances_until_it_succeeds(
    case: &Case<'_>,
) -> Result<()> {
    let runs = [
        (1, "connection 17 to \"mirror-a\" was reset"),
        (1, "connection 4711 to \"mirror-b\" was reset"),
        (1, "no route: 12:30:01"),
        (0, ""),
    ];
    let retry = "attempts = 5, delay = \"300ms\", max-delay = \"10s\"";
    alone(case, "grows", retry, &runs)?;
    case.services(&[Service::oneshot("between").runs(0.0)])?;
    case.policy(&format!(
        "[resources.r]\n{}{}",
        task("grows", retry),
        task_policy("between", "between", "uses = [\"r\"]")
    ))?;
    case.start(&["grows.service"])?;
    // The lease is given back between the attempts.
    delayed(case, "grows")?;
    ensure!(case.try_start("between.service")?.success());
    case.ran("grows.service", 4)?;
    settled(case, "grows")?;
    let log = case.log()?.runs();
    let log: Vec<_> = log.iter().filter(|r| r.name == "grows.service").collect();
    let gaps: Vec<f64> = log
        .windows(2)
        .map(|pair| pair[1].begin - pair[0].end.unwrap_or(f64::INFINITY))
        .collect();
    for (gap, least) in gaps.iter().zip([0.3, 0.6, 1.2]) {
        ensure!(*gap >= least, "distances {gaps:?}");
    }
    let past = case.past_runs("grows", 4)?;
    let attempts: Vec<u64> = past.iter().map(|run| run.number("attempt")).collect();
    ensure!(attempts == [1, 2, 3, 4], "{past:#?}");
    for (run, result) in past
        .iter()
        .zip(["exit-code", "exit-code", "exit-code", "success"])
    {
        ensure!(run.text("result") == result, "{past:#?}");
        ensure!(!run.text("invocation").is_empty(), "{past:#?}");
    }
    ensure!(past[0].signed("exit-status") == Some(1), "{past:#?}");
    ensure!(past[1].text("cause").contains("retry"), "{past:#?}");
    // Numbers and names folded: one cause.
    let causes = hard(case, "grows", 0)?;
    ensure!(causes.len() == 2, "{causes:#?}");
    let reset = causes
        .iter()
        .find(|cause| cause.text("text").contains("was reset"))
        .context("no such cause")?;
    ensure!(reset.number("count") == 2, "{causes:#?}");
    ensure!(reset.text("class").is_empty(), "{causes:#?}");
    ensure!(
        causes.iter().any(|cause| cause.number("recovered") > 0),
        "{causes:#?}"
    );
    let told = case.sh("interlockctl history grows; interlockctl failures grows")?;
    for word in ["exit 1", "success", "was reset"] {
        ensure!(told.contains(word), "no {word} in:\n{told}");
    }
    Ok(())
}

fn success_begins_a_new_count_of_attempts(case: &Case<'_>) -> Result<()> {
    let fails = (1, "the lock is held");
    alone(
        case,
        "anew",
        "attempts = 2, delay = \"100ms\"",
        &[fails, (0, ""), fails, (0, "")],
    )?;
    case.start(&["anew.service"])?;
    case.ran("anew.service", 2)?;
    settled(case, "anew")?;
    case.past_runs("anew", 2)?;
    case.start(&["anew.service"])?;
    case.ran("anew.service", 4)?;
    settled(case, "anew")?;
    let past = case.past_runs("anew", 4)?;
    let attempts: Vec<u64> = past.iter().map(|run| run.number("attempt")).collect();
    ensure!(attempts == [1, 2, 1, 2], "{past:#?}");
    hard(case, "anew", 0).map(drop)
}

fn same_failure_on_every_attempt_is_hard_and_says_so(case: &Case<'_>) -> Result<()> {
    let runs = [
        (3, "package 'a' has no manifest in /srv/a/1"),
        (3, "package 'b' has no manifest in /srv/b/22"),
        (3, "package 'c' has no manifest in /srv/c/333"),
    ];
    alone(case, "same", "attempts = 3, delay = \"100ms\"", &runs)?;
    case.start(&["same.service"])?;
    let causes = hard(case, "same", 1)?;
    ensure!(
        causes.len() == 1 && causes[0].number("count") == 3,
        "{causes:#?}"
    );
    case.ran("same.service", 3)?;
    settled(case, "same")?;
    let past = case.past_runs("same", 3)?;
    let verdict = past[2].text("verdict");
    ensure!(
        verdict.contains("permanent") && verdict.contains('3'),
        "{past:#?}"
    );
    ensure!(!past[0].text("verdict").contains("permanent"), "{past:#?}");
    let told = case.sh("interlockctl history same --failed; interlockctl failures same")?;
    ensure!(
        told.contains("permanent") && told.contains("no manifest"),
        "{told}"
    );
    let journal = case.journal("-u interlockd.service -p warning")?;
    ensure!(
        journal.contains("same.service"),
        "nothing of it in the journal: {journal}"
    );
    case.failed("same.service")?;
    // It stays so until a success, also for another daemon.
    kill_daemon(case)?;
    hard(case, "same", 1)?;
    ensure!(case.try_start("same.service")?.success());
    hard(case, "same", 0)?;
    Ok(())
}

fn different_failures_are_tried_until_the_attempts_are_used_up(case: &Case<'_>) -> Result<()> {
    let runs = [
        (1, "disk quota exceeded"),
        (2, "broken pipe"),
        (1, "name resolution"),
    ];
    alone(case, "various", "attempts = 3, delay = \"100ms\"", &runs)?;
    case.start(&["various.service"])?;
    let causes = hard(case, "various", 1)?;
    ensure!(causes.len() == 3, "{causes:#?}");
    case.ran("various.service", 3)?;
    settled(case, "various")?;
    let past = case.past_runs("various", 3)?;
    ensure!(!past[2].text("verdict").contains("same"), "{past:#?}");
    case.failed("various.service")
}

fn failure_that_the_policy_calls_permanent_is_not_tried_again(case: &Case<'_>) -> Result<()> {
    let runs = [(65, "first"), (1, "broken: the input is malformed")];
    alone(case, "known", "attempts = 4, delay = \"100ms\"", &runs)?;
    case.policy(&format!(
        "[resources.r]\n[failures.bad-data]\nkind = \"permanent\"\nexit-status = 65\n\
         [failures.malformed]\nkind = \"permanent\"\npattern = \"input is mal.*ed\"\n{}",
        task("known", "attempts = 4, delay = \"100ms\"")
    ))?;
    for (count, rule) in [(1, "bad-data"), (2, "malformed")] {
        ensure!(!case.try_start("known.service")?.success());
        let past = judged(case, "known", count)?;
        hard(case, "known", 1)?;
        let verdict = past[count - 1].text("verdict");
        ensure!(
            verdict.contains("permanent") && verdict.contains(rule),
            "{past:#?}"
        );
        settled(case, "known")?;
        case.ran("known.service", count)?;
        case.failed("known.service")?;
    }
    let causes = case.causes("known")?;
    ensure!(
        causes
            .iter()
            .all(|cause| cause.text("class") == "permanent"),
        "{causes:#?}"
    );
    Ok(())
}

fn operators_word_about_a_failure_counts_from_then_on(case: &Case<'_>) -> Result<()> {
    let fails = (1, "the mirror has no such file");
    alone(
        case,
        "word",
        "attempts = 2, delay = \"100ms\"",
        &[fails, (0, ""), fails],
    )?;
    case.start(&["word.service"])?;
    case.ran("word.service", 2)?;
    settled(case, "word")?;
    let causes = case.causes_become("word", |causes| causes.len() == 1)?;
    let signature = causes[0].text("signature").to_owned();
    let classify =
        format!("interlockctl failures classify {signature} permanent --reason 'gone upstream'");
    let output = case.as_alice(&classify)?;
    ensure!(output.status == Some(77), "{output:?}");
    case.sh(&classify)?;
    kill_daemon(case)?;
    ensure!(!case.try_start("word.service")?.success());
    let causes = hard(case, "word", 1)?;
    ensure!(
        causes[0].text("class") == "permanent"
            && causes[0].text("class-reason") == "gone upstream"
            && causes[0].text("class-by").contains("root"),
        "{causes:#?}"
    );
    settled(case, "word")?;
    case.ran("word.service", 3)?;
    case.sh(&format!(
        "interlockctl failures classify {signature} none --reason 'back again'"
    ))?;
    let causes = case.causes("word")?;
    ensure!(causes[0].text("class").is_empty(), "{causes:#?}");
    case.failed("word.service")
}

fn run_that_an_operator_stops_is_not_tried_again(case: &Case<'_>) -> Result<()> {
    // Of either type, since systemd calls the end of the one a failure.
    let services = [Service::exec("stops-exec"), Service::oneshot("stops-once")];
    case.services(&services)?;
    let retry = "attempts = 3, delay = \"100ms\"";
    case.policy(&format!(
        "[resources.r]\n{}{}",
        task("stops-exec", retry),
        task("stops-once", retry)
    ))?;
    for name in ["stops-exec", "stops-once"] {
        let unit = format!("{name}.service");
        case.start(&[&unit])?;
        case.begun(&unit)?;
        case.stop(&[&unit])?;
        let past = case.past_runs(name, 1)?;
        ensure!(past[0].text("result") == "stopped", "{past:#?}");
        settled(case, name)?;
        case.ran(&unit, 1)?;
    }
    case.sh("systemctl reset-failed").map(drop)
}

fn run_that_was_preempted_is_made_good_for_and_does_not_count(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("low"), Service::oneshot("high")])?;
    let high = "uses = [\"r\"]\npreempts = [\"low\"]\npriority = 1";
    case.policy(&format!(
        "[resources.r]\n{}{}",
        task("low", "attempts = 2, delay = \"100ms\""),
        task_policy("high", "high", high)
    ))?;
    case.start(&["low.service"])?;
    case.begun("low.service")?;
    case.start(&["high.service"])?;
    case.begun("high.service")?;
    let past = case.past_runs("low", 1)?;
    ensure!(past[0].text("result") == "interrupted", "{past:#?}");
    // It waits, so that the one that it was stopped for runs alone.
    case.release("high.service")?;
    case.begun("low.service")?;
    case.release("low.service")?;
    let past = case.past_runs("low", 2)?;
    let last = past.last().context("no run")?;
    ensure!(last.text("result") == "success", "{past:#?}");
    ensure!(last.number("attempt") == 1, "{past:#?}");
    settled(case, "low")?;
    case.no_overlap(&["low.service", "high.service"])
}
