//! Whether tasks used more of a resource than there is.

use std::collections::BTreeMap;

use super::{Finding, Log, Rules};

/// How long a grant may have been on its way: it counts by the capacity that was there when it was given.
const ON_ITS_WAY: f64 = 5.0;

/// The capacity of a resource over time: seconds since the epoch, shares.
type Changes = BTreeMap<String, Vec<(f64, u32)>>;

/// Every beginning at which more was used than there was.
pub fn findings(rules: &Rules, log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut uses = rules.uses.clone();
    let mut changes = Changes::new();
    let mut now: BTreeMap<usize, (&str, &BTreeMap<String, u32>)> = BTreeMap::new();
    // What `interlockctl run` used is told when it is asked for.
    for line in log.lines() {
        if line.driver && line.verb == "uses" {
            let share = line.words.get(2).and_then(|share| share.parse().ok());
            let of = BTreeMap::from([(line.second().to_owned(), share.unwrap_or(1))]);
            uses.insert(line.subject().to_owned(), of);
        }
    }
    let ends: BTreeMap<usize, usize> = log
        .runs()
        .iter()
        .enumerate()
        .filter_map(|(number, run)| Some((run.end?, number)))
        .collect();
    let begins: BTreeMap<usize, usize> = log
        .runs()
        .iter()
        .enumerate()
        .map(|(number, run)| (run.begin, number))
        .collect();
    for (number, line) in log.lines().iter().enumerate() {
        if line.driver && line.verb.starts_with("capacity") {
            let normal = rules.capacities.get(line.subject()).copied().unwrap_or(1);
            let capacity = line.second().parse().unwrap_or(normal);
            changes
                .entry(line.subject().to_owned())
                .or_default()
                .push((line.at, capacity));
        }
        if let Some(run) = ends.get(&number) {
            now.remove(run);
        }
        let Some(&run) = begins.get(&number) else {
            continue;
        };
        let unit = log.runs()[run].unit.as_str();
        let owner = unit.trim_end_matches("+child");
        let Some(shares) = uses.get(&Rules::key(owner)) else {
            continue;
        };
        // A child that is left behind goes on with what its task has: it counts once the task is over.
        now.insert(run, (owner, shares));
        for (resource, share) in shares {
            let mut holders: BTreeMap<&str, u32> = BTreeMap::new();
            for (owner, shares) in now.values() {
                if let Some(share) = shares.get(resource) {
                    holders.insert(owner, *share);
                }
            }
            let used: u32 = holders.values().sum();
            let capacity = most(rules, &changes, resource, line.at).max(*share);
            if used > capacity {
                findings.push(Finding {
                    kind: "overlap",
                    text: format!(
                        "{used} of {capacity} {resource} in use at {} (line {number}), when {unit} began: {}",
                        log.when(number),
                        holders.keys().copied().collect::<Vec<_>>().join(", ")
                    ),
                });
            }
        }
    }
    findings
}

/// The most that there was of it in the last seconds.
fn most(rules: &Rules, changes: &Changes, resource: &str, at: f64) -> u32 {
    let mut most = 0;
    let mut last = rules.capacities.get(resource).copied().unwrap_or(1);
    for (when, capacity) in changes.get(resource).into_iter().flatten() {
        if at - when < ON_ITS_WAY {
            most = most.max(last).max(*capacity);
        }
        last = *capacity;
    }
    most.max(last)
}
