//! Whether tasks of one policy order ran one after the other, and those that were lined up in their order.

use super::{Finding, Journal, Log, Rules};

/// Every start of a later task while the earlier one was starting: oneshots are, as long as they run.
pub fn findings(rules: &Rules, log: &Log, journal: &Journal) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = log.lines().first().map_or(0.0, |line| line.at);
    for (earlier, later) in &rules.before {
        let mut since = None;
        for entry in journal.entries() {
            if entry.unit == *earlier {
                if entry.is_starting() {
                    since = Some(entry.at);
                } else if !entry.job_result.is_empty() {
                    since = None;
                }
            } else if entry.unit == *later && entry.is_starting() {
                let Some(since) = since else {
                    continue;
                };
                // A cancel that meant its waiting job may have met its running one: without a job nothing is ordered
                // after it, which is PID 1's rule.
                let cancelled = log.lines().iter().any(|line| {
                    line.driver
                        && line.verb == "undo"
                        && ["*", earlier].contains(&line.subject())
                        && (since - 1.0..=entry.at).contains(&line.at)
                });
                if !cancelled {
                    findings.push(Finding {
                        kind: "order",
                        text: format!(
                            "{later} started at {:.3} s, while {earlier} ran since {:.3} s",
                            entry.at - first,
                            since - first
                        ),
                    });
                }
            }
        }
    }
    findings
}

/// Those that were lined up, one after the other, must have begun in that order, each once; the last of them not at all
/// if they were taken away meanwhile (an isolate).
pub fn line(log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in log.lines().iter().enumerate() {
        if !(line.driver && line.verb == "lined-up") {
            continue;
        }
        let began: Vec<&str> = log
            .runs()
            .iter()
            .map(|run| run.unit.as_str())
            .filter(|unit| line.words.iter().any(|each| each == unit))
            .collect();
        let waiting = line.words.get(began.len()..).unwrap_or_default();
        let all_undone = waiting
            .iter()
            .all(|unit| log.undone(unit, number, log.lines().len()));
        let in_order = line.words.iter().zip(&began).all(|(a, b)| a == b);
        if !in_order || began.len() > line.words.len() || !all_undone {
            findings.push(Finding {
                kind: "order of the queue",
                text: format!("{:?} were lined up, and began as {began:?}", line.words),
            });
        }
    }
    findings
}
