//! Whether every request was answered by a run or a word, and none by two runs.

use std::collections::BTreeMap;

use super::log::Run;
use super::{Finding, Journal, Log, Rules};

/// Starts that systemd took, and that nothing became of.
pub fn asked(rules: &Rules, log: &Log, journal: &Journal) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A number of a job isn't given twice, but a unit's jobs merge: the last word counts.
    let mut told: BTreeMap<u64, &str> = BTreeMap::new();
    for entry in journal.job_ends() {
        told.insert(entry.job, &entry.job_result);
    }
    let mut runs: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in log.runs() {
        runs.entry(&run.unit).or_default().push(run);
    }
    let posts = posts(log);
    let end = log.lines().len();
    for (number, line) in log.lines().iter().enumerate() {
        if !(line.driver && line.verb == "ack") {
            continue;
        }
        let unit = line.subject();
        let asked = asked_at(log, unit, number);
        let own = runs.get(unit).map_or(&[][..], Vec::as_slice);
        let ran = own.iter().any(|run| run.begin > asked);
        let was_active = own.iter().any(|run| {
            let over = posts.get(run.invocation.as_str()).or(run.end.as_ref());
            run.begin < number && over.is_none_or(|over| *over > asked)
        });
        if ran || was_active || log.undone(unit, asked, end) || masked(log, unit, asked) {
            continue;
        }
        let job: u64 = line.second().parse().unwrap_or(0);
        let word = told.get(&job).copied().unwrap_or("nothing");
        // PID 1 doesn't log that a job was cancelled.
        if rules.refusable.contains(unit) && word != "done" {
            continue;
        }
        findings.push(Finding {
            kind: "lost",
            text: format!(
                "a start of {unit} (job {job}) was asked for at {} and never ran; PID 1 says of it: {word}",
                log.when(asked)
            ),
        });
    }
    findings
}

/// Starts of which PID 1 says that they are done, though the task didn't run meanwhile.
pub fn done_without_a_run(rules: &Rules, log: &Log, journal: &Journal) -> Vec<Finding> {
    // Between PID 1's clock and the tasks' there is none, but between a line and an entry about it.
    const NEAR: f64 = 0.1;
    let at = |line: usize| log.lines().get(line).map_or(f64::MAX, |line| line.at);
    let posts = posts(log);
    let mut asked: BTreeMap<u64, (&str, f64)> = BTreeMap::new();
    for (number, line) in log.lines().iter().enumerate() {
        if line.driver && line.verb == "ack" {
            let job = line.second().parse().unwrap_or(0);
            let since = at(asked_at(log, line.subject(), number));
            asked.entry(job).or_insert((line.subject(), since));
        }
    }
    let mut findings = Vec::new();
    for entry in journal.job_ends() {
        // The first half of a restart, too, ends with a word of its own; the job goes on as a start.
        let done =
            entry.job_result == "done" && !["stop", "restart"].contains(&entry.job_type.as_str());
        let Some((unit, since)) = asked.get(&entry.job).filter(|_| done) else {
            continue;
        };
        if entry.unit != *unit || !rules.oneshots.contains(&Rules::key(unit)) {
            continue;
        }
        let ran = log.runs_of(unit).any(|run| {
            let over = posts.get(run.invocation.as_str()).copied().or(run.end);
            at(run.begin) <= entry.at + NEAR && over.is_none_or(|over| at(over) >= since - NEAR)
        });
        if !ran {
            findings.push(Finding {
                kind: "lost",
                text: format!(
                    "PID 1 says that job {} of {unit} is done, and it didn't run",
                    entry.job
                ),
            });
        }
    }
    findings
}

/// A masked unit's starts are nobody's loss.
fn masked(log: &Log, unit: &str, asked: usize) -> bool {
    let mut masked = false;
    for line in &log.lines()[..asked] {
        if line.driver && line.verb == "masked" && line.subject() == unit {
            masked = true;
        } else if line.driver && line.verb == "unmasked" {
            masked = false;
        }
    }
    masked
}

fn asked_at(log: &Log, unit: &str, before: usize) -> usize {
    log.lines()[..before]
        .iter()
        .rposition(|line| line.driver && line.verb == "ask" && line.subject() == unit)
        .unwrap_or(before)
}

/// By invocation, when it was all over.
fn posts(log: &Log) -> BTreeMap<&str, usize> {
    log.lines()
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.driver && line.verb == "post")
        .map(|(number, line)| (line.second(), number))
        .collect()
}

/// Submissions: each instance runs as often as its name says that it fails, and once more.
pub fn submitted(log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    let end = log.lines().len();
    for (number, line) in log.lines().iter().enumerate() {
        if !(line.driver && line.verb == "submit") {
            continue;
        }
        let unit = line.subject();
        let acknowledged = log.lines()[number..]
            .iter()
            .any(|line| line.driver && line.verb == "submitted" && line.subject() == unit);
        let fails: usize = unit
            .trim_end_matches(".service")
            .rsplit('-')
            .next()
            .and_then(|fails| fails.parse().ok())
            .unwrap_or(0);
        let runs: Vec<_> = log.runs_of(unit).collect();
        // What was cut off is run again.
        let whole = runs
            .iter()
            .filter(|run| run.result.parse::<u8>().is_ok())
            .count();
        let undone = log.undone(unit, number, end);
        let most = fails + 1;
        let lost = acknowledged && whole < most && !undone;
        if lost || whole > most || (runs.len() > most && !undone) {
            findings.push(Finding {
                kind: if lost { "lost" } else { "doubled" },
                text: format!(
                    "{unit}, submitted at {}{}, should have run {} times and ran {} times, {whole} of them to the end",
                    log.when(number),
                    if acknowledged { "" } else { " (not acknowledged)" },
                    most,
                    runs.len()
                ),
            });
        }
    }
    findings
}

/// Units that ran more often than anybody asked for, and processes of one invocation that began twice.
pub fn doubled(rules: &Rules, log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in log.lines().iter().filter(|line| line.driver) {
        if ["ask", "maybe"].contains(&line.verb.as_str()) {
            *reasons.entry(line.subject()).or_default() += 1;
            for brought in rules.brings.get(line.subject()).into_iter().flatten() {
                *reasons.entry(brought).or_default() += 1;
            }
        }
    }
    let mut begun: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for run in log
        .runs()
        .iter()
        .filter(|run| !run.unit.starts_with("run-"))
    {
        *begun.entry((&run.unit, &run.invocation)).or_default() += 1;
    }
    for ((unit, invocation), count) in &begun {
        if *count > 1 {
            findings.push(Finding {
                kind: "doubled",
                text: format!("{unit} began {count} times in invocation {invocation}"),
            });
        }
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (unit, _) in begun.keys() {
        *times.entry(unit).or_default() += 1;
    }
    for (unit, count) in times {
        let asked = reasons.get(unit).copied().unwrap_or(0);
        let others =
            rules.started_by_others.contains(&Rules::key(unit)) || unit.ends_with("+child");
        if count > asked && !others {
            findings.push(Finding {
                kind: "doubled",
                text: format!("{unit} ran {count} times and was asked for {asked} times"),
            });
        }
    }
    findings
}
