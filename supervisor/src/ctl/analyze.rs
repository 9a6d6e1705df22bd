//! Calendars and time spans that only systemd reads, checked by systemd-analyze(1).
//!
//! interlock passes them on unread, so that systemd's own parser is the only one; a mistake in one would else
//! show no earlier than when a timer fails to load.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::{Command, Stdio};

use interlock_generator::policy::settings::{Origin, Settings};

/// So many expressions are checked by one process; far below any limit of arguments.
const BATCH: usize = 200;

/// What an expression is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A calendar event.
    Calendar,
    /// A time span.
    Timespan,
}

impl Kind {
    /// The verb of systemd-analyze(1).
    fn verb(self) -> &'static str {
        match self {
            Kind::Calendar => "calendar",
            Kind::Timespan => "timespan",
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Calendar => "calendar event",
            Kind::Timespan => "time span",
        }
    }
}

/// A text that systemd is to understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// What it is to be.
    pub kind: Kind,
    /// As it is in the policy.
    pub text: String,
    /// Its key, as `windows.nightly.calendar`.
    pub key: String,
    /// Where its table is.
    pub origin: Origin,
}

/// What systemd says about one that it doesn't understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The expression.
    pub expression: Expression,
    /// systemd's own hint, if it gave one.
    pub hint: Option<String>,
}

/// Every expression in the policy.
pub fn expressions(settings: &Settings) -> Vec<Expression> {
    let mut found = Vec::new();
    for (name, window) in settings.windows() {
        let mut add = |kind, key: &str, text: &str| {
            let (key, text) = (format!("windows.{name}.{key}"), text.to_owned());
            found.push(Expression {
                kind,
                text,
                key,
                origin: window.origin.clone(),
            });
        };
        window
            .calendar
            .iter()
            .for_each(|text| add(Kind::Calendar, "calendar", text));
        window
            .randomized_delay
            .iter()
            .for_each(|text| add(Kind::Timespan, "randomized-delay", text));
    }
    for (name, task) in settings.tasks() {
        let mut add = |kind, key: &str, text: &str| {
            let (key, text) = (format!("tasks.{name}.{key}"), text.to_owned());
            found.push(Expression {
                kind,
                text,
                key,
                origin: task.origin.clone(),
            });
        };
        if let Some(command) = &task.command {
            command
                .calendar
                .iter()
                .for_each(|text| add(Kind::Calendar, "calendar", text));
            command
                .randomized_delay
                .iter()
                .for_each(|text| add(Kind::Timespan, "randomized-delay", text));
        }
        task.max_runtime
            .iter()
            .for_each(|text| add(Kind::Timespan, "max-runtime", text));
        task.stop_timeout
            .iter()
            .for_each(|text| add(Kind::Timespan, "stop-timeout", text));
    }
    found
}

/// Those that systemd doesn't understand; `None` if systemd-analyze isn't there.
pub fn refused(expressions: Vec<Expression>) -> Option<Vec<Refusal>> {
    refused_by(expressions, systemd_analyze)
}

/// `judge` says for several texts at once whether all are understood, and if not, what was said.
fn refused_by(
    expressions: Vec<Expression>,
    judge: impl Fn(Kind, &[&str]) -> io::Result<Result<(), String>>,
) -> Option<Vec<Refusal>> {
    let mut said: BTreeMap<(Kind, String), Option<String>> = BTreeMap::new();
    for kind in [Kind::Calendar, Kind::Timespan] {
        let texts: BTreeSet<&str> = expressions
            .iter()
            .filter(|each| each.kind == kind)
            .map(|each| each.text.as_str())
            .collect();
        let texts: Vec<&str> = texts.into_iter().collect();
        // Nearly always all are good, and a process for each of a thousand tasks would take seconds.
        for batch in texts.chunks(BATCH) {
            if judge(kind, batch).ok()?.is_ok() {
                continue;
            }
            for text in batch {
                if let Err(complaint) = judge(kind, &[text]).ok()? {
                    said.insert((kind, (*text).to_owned()), hint(&complaint));
                }
            }
        }
    }
    let refused = expressions.into_iter().filter_map(|expression| {
        let hint = said
            .get(&(expression.kind, expression.text.clone()))?
            .clone();
        Some(Refusal { expression, hint })
    });
    Some(refused.collect())
}

fn systemd_analyze(kind: Kind, texts: &[&str]) -> io::Result<Result<(), String>> {
    let output = Command::new("systemd-analyze")
        .args([kind.verb(), "--"])
        .args(texts)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(complaint)
    })
}

fn hint(complaint: &str) -> Option<String> {
    complaint
        .lines()
        .find_map(|line| line.strip_prefix("Hint: "))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::path::PathBuf;

    fn expression(kind: Kind, text: &str) -> Expression {
        let origin = Origin {
            path: PathBuf::from("/etc/interlock/policy.d/10.toml"),
            line: 3,
        };
        Expression {
            kind,
            text: text.to_owned(),
            key: "windows.nightly.calendar".to_owned(),
            origin,
        }
    }

    fn judge(_: Kind, texts: &[&str]) -> io::Result<Result<(), String>> {
        let bad = texts.contains(&"dayly");
        Ok(if bad {
            Err("Failed to parse.\nHint: say daily".to_owned())
        } else {
            Ok(())
        })
    }

    #[test]
    fn each_expression_that_is_not_understood_is_named_with_the_hint() {
        let all = vec![
            expression(Kind::Calendar, "daily"),
            expression(Kind::Calendar, "dayly"),
        ];
        let refused = refused_by(all, judge).unwrap();
        assert_eq!(
            refused,
            [Refusal {
                expression: expression(Kind::Calendar, "dayly"),
                hint: Some("say daily".to_owned())
            }]
        );
    }

    #[test]
    fn a_mistake_made_twice_is_told_twice() {
        let all = vec![expression(Kind::Timespan, "dayly"); 2];
        assert_eq!(refused_by(all, judge).unwrap().len(), 2);
    }

    #[test]
    fn a_thousand_good_expressions_take_few_processes() {
        let all = (0..1000)
            .map(|i| expression(Kind::Calendar, &format!("*-*-* 00:{i}")))
            .collect();
        let runs = Cell::new(0);
        let count = |kind, texts: &[&str]| {
            runs.set(runs.get() + 1);
            judge(kind, texts)
        };
        assert_eq!(refused_by(all, count), Some(Vec::new()));
        assert_eq!(runs.get(), 5);
    }

    #[test]
    fn without_systemd_analyze_nothing_is_judged() {
        let missing = |_: Kind, _: &[&str]| Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(
            refused_by(vec![expression(Kind::Calendar, "dayly")], missing),
            None
        );
        assert_eq!(
            refused_by(Vec::new(), missing),
            Some(Vec::new()),
            "nor is it needed for nothing"
        );
    }
}
