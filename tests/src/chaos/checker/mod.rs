//! The judge of a chaos run: shares nothing with interlock or the driver, and reads only what the tasks themselves
//! wrote, the driver's word on what it asked for, and PID 1's journal.

mod account;
mod failure;
mod held;
mod journal;
mod log;
mod order;
mod overlap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use journal::Journal;
pub use log::Log;

/// What must hold.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Shares of each resource.
    pub capacities: BTreeMap<String, u32>,
    /// Shares that each unit uses; for `TEMPLATE@INSTANCE.service` those of `TEMPLATE@.service`.
    pub uses: BTreeMap<String, BTreeMap<String, u32>>,
    /// The second never starts while the first runs.
    pub before: Vec<(String, String)>,
    /// Units of a group that neither start nor go on while it is at rest.
    pub held: BTreeMap<String, BTreeSet<String>>,
    /// Those of them that run on, and are only not started.
    pub run_on: BTreeSet<String>,
    /// Units whose starts may be refused without anybody's doing: busy, timed out, in conflict.
    pub refusable: BTreeSet<String>,
    /// Units that somebody else starts than the driver: timers, other units, deployments, systemd's `Restart=`.
    pub started_by_others: BTreeSet<String>,
    /// Units whose start is done when their run has ended.
    pub oneshots: BTreeSet<String>,
    /// Units a start of which starts others, too.
    pub brings: BTreeMap<String, Vec<String>>,
}

impl Rules {
    /// The name under which a unit's rules stand: its template's if it is an instance.
    #[must_use]
    pub fn key(unit: &str) -> String {
        match unit.split_once('@') {
            Some((template, _)) => format!("{template}@.service"),
            None => unit.to_owned(),
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is a case of.
    pub kind: &'static str,
    /// What happened, when, to whom.
    pub text: String,
}

/// What was looked at, to show that there was something to find faults in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runs that tasks wrote down.
    pub runs: usize,
    /// Starts that systemd took.
    pub asked: usize,
    /// Submissions that were acknowledged.
    pub submitted: usize,
    /// Periods in which a group was at rest.
    pub rests: usize,
    /// Ends of jobs in PID 1's journal.
    pub jobs: usize,
}

/// All that is wrong, and what was looked at.
#[must_use]
pub fn judge(rules: &Rules, log: &Log, journal: &Journal) -> (Vec<Finding>, Figures) {
    let log = &log.clone().with_ends_of_killed(journal);
    let mut findings = overlap::findings(rules, log);
    findings.extend(order::findings(rules, log, journal));
    findings.extend(order::line(log));
    findings.extend(held::findings(rules, log));
    findings.extend(held::by_operators(log));
    findings.extend(account::asked(rules, log, journal));
    findings.extend(account::done_without_a_run(rules, log, journal));
    findings.extend(account::submitted(log));
    findings.extend(account::doubled(rules, log));
    findings.extend(failure::findings(log, journal));
    let figures = Figures {
        runs: log.runs().len(),
        asked: log.count("ack"),
        submitted: log.count("submitted"),
        rests: log.count("ready"),
        jobs: journal.job_ends().count(),
    };
    (findings, figures)
}
