//! Whether anything of a group ran while the group was at rest, and whether a task began that was held.

use std::collections::BTreeMap;

use super::{Finding, Log, Rules};

/// Every line of a member while a deployment's command says that the group is at rest.
pub fn findings(rules: &Rules, log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    // By group and the deployment's own name.
    let mut at_rest: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (number, line) in log.lines().iter().enumerate() {
        match (line.driver, line.verb.as_str()) {
            (false, "ready") => {
                at_rest.insert((line.subject().into(), line.second().into()), number);
            }
            (false, "over") => {
                at_rest.remove(&(line.subject().into(), line.second().into()));
            }
            (true, "over") => at_rest.clear(),
            (false, "begin" | "tick" | "end") => {
                let unit = line.subject();
                if line.verb != "begin" && rules.run_on.contains(unit) {
                    continue;
                }
                for ((group, name), since) in &at_rest {
                    let member = rules
                        .held
                        .get(group)
                        .is_some_and(|units| units.contains(&Rules::key(unit)));
                    if member {
                        findings.push(Finding {
                            kind: "ran during a deployment",
                            text: format!(
                                "{} of {unit} at {} (line {number}), while {group} was at rest for {name} since {}",
                                line.verb,
                                log.when(number),
                                log.when(*since)
                            ),
                        });
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// A grant may have been on its way when the hold came, seconds.
const ON_ITS_WAY: f64 = 3.0;

/// Every beginning of a task while an operator holds it.
pub fn by_operators(log: &Log) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut held: BTreeMap<&str, f64> = BTreeMap::new();
    for (number, line) in log.lines().iter().enumerate() {
        match (line.driver, line.verb.as_str()) {
            (true, "held") => {
                held.insert(line.subject(), line.at);
            }
            (true, "released") => {
                held.remove(line.subject());
            }
            (false, "begin") => {
                let since = held.get(line.subject());
                if since.is_some_and(|since| line.at - since > ON_ITS_WAY) {
                    findings.push(Finding {
                        kind: "ran though it was held",
                        text: format!("{} at {}", line.subject(), log.when(number)),
                    });
                }
            }
            _ => {}
        }
    }
    findings
}
