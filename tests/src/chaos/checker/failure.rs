//! Whether anything failed that did not fail.

use std::collections::BTreeSet;

use super::{Finding, Journal, Log};

/// The unit whose ends by a signal are the driver's doing.
const DAEMON: &str = "interlockd.service";

/// Failed states in PID 1's journal that neither the task's own word nor the driver's explains.
pub fn findings(log: &Log, journal: &Journal) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = log.lines().first().map_or(0.0, |line| line.at);
    // Whoever ended otherwise than well, by its own word.
    let ended_badly: BTreeSet<(&str, &str)> = log
        .runs()
        .iter()
        .filter(|run| !["0", "checkpoint"].contains(&run.result.as_str()))
        .map(|run| (run.unit.as_str(), run.invocation.as_str()))
        .collect();
    let ours: BTreeSet<String> = log
        .runs()
        .iter()
        .map(|run| run.unit.clone())
        .chain(
            log.lines()
                .iter()
                .filter(|l| l.verb == "ask")
                .map(|l| l.subject().to_owned()),
        )
        .collect();
    for entry in journal.failures() {
        let unit = entry.unit.as_str();
        let explained = if ours.contains(unit) {
            let own = ended_badly.contains(&(unit, entry.invocation.as_str()));
            // Stopped or killed before it could say anything.
            let cut = ["signal", "exit-code"].contains(&entry.unit_result.as_str())
                && undone_before(log, unit, entry.at);
            own || cut
        } else {
            // A gate whose start is refused or cancelled fails for a moment; one that stays failed is left behind.
            // systemd tells of every end of interlockd; which of them are ours is looked at below.
            // A group that doesn't come to rest is a deployment that fails, which whoever wanted it is told.
            unit == DAEMON
                || ["interlock-gate@", "interlock-deploy@"]
                    .iter()
                    .any(|it| unit.starts_with(it))
        };
        if !explained {
            findings.push(Finding {
                kind: "failed without having failed",
                text: format!("{} at {:.3} s: {}", unit, entry.at - first, entry.message),
            });
        }
    }
    findings.extend(daemon(log, journal, first));
    findings
}

/// Whether the driver did something to the unit that may end it, in the minute before.
fn undone_before(log: &Log, unit: &str, at: f64) -> bool {
    log.lines().iter().any(|line| {
        line.driver
            && line.verb == "undo"
            && ["*", unit].contains(&line.subject())
            && (at - 60.0..at + 1.0).contains(&line.at)
    })
}

/// Ends of interlockd that nobody brought about: panics above all.
fn daemon(log: &Log, journal: &Journal, first: f64) -> Vec<Finding> {
    let (mut killed, mut hung) = (Vec::new(), Vec::new());
    for entry in journal.exits().filter(|entry| entry.unit == DAEMON) {
        match (entry.exit_code.as_str(), entry.exit_status.as_str()) {
            ("killed", "9" | "KILL") => killed.push(entry),
            ("killed" | "dumped", "6" | "ABRT") => hung.push(entry),
            _ => {}
        }
    }
    let mut findings = Vec::new();
    let mut odd: Vec<_> = journal
        .exits()
        .filter(|entry| entry.unit == DAEMON)
        .filter(|entry| {
            !matches!(
                (entry.exit_code.as_str(), entry.exit_status.as_str()),
                ("killed", "9" | "KILL") | ("killed" | "dumped", "6" | "ABRT") | ("exited", "0")
            )
        })
        .collect();
    // More than one abort for each time that it was made to stand still is a panic.
    if hung.len() > log.count("stop-daemon") {
        odd.extend(hung.iter().skip(log.count("stop-daemon")));
    }
    // Where it was to die at a step that it didn't come to, that is said.
    let kills =
        log.count("kill-daemon") - log.count("unkilled-daemon").min(log.count("kill-daemon"));
    if killed.len() > kills + log.count("stop-daemon") {
        odd.extend(killed.last());
    }
    for entry in odd {
        findings.push(Finding {
            kind: "interlockd ended",
            text: format!("at {:.3} s: {}", entry.at - first, entry.message),
        });
    }
    findings
}
