//! The log of tasks and driver: lines in the order of events.

use std::collections::BTreeMap;

use super::Journal;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Seconds since the epoch.
    pub at: f64,
    /// Whether the driver wrote it.
    pub driver: bool,
    /// What happened.
    pub verb: String,
    /// To what, and more.
    pub words: Vec<String>,
}

impl Line {
    /// The unit or whatever it is about.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The word after that.
    #[must_use]
    pub fn second(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }
}

/// One execution that a task wrote down.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The unit; with `+child` for a process that it left behind.
    pub unit: String,
    /// systemd's invocation.
    pub invocation: String,
    /// The number of the line in which it begins.
    pub begin: usize,
    /// The number of the line in which it ends; of `ExecStopPost=` if it was killed.
    pub end: Option<usize>,
    /// What it says of its end: a status, a signal.
    pub result: String,
}

/// All lines.
#[derive(Debug, Clone, Default)]
pub struct Log {
    lines: Vec<Line>,
    runs: Vec<Run>,
}

impl Log {
    /// Reads it; a last line that is still being written is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let lines: Vec<Line> = complete
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                let at = words.next()?.parse().ok()?;
                let mut verb = words.next()?;
                let driver = verb == "driver";
                if driver {
                    verb = words.next()?;
                }
                Some(Line {
                    at,
                    driver,
                    verb,
                    words: words.collect(),
                })
            })
            .collect();
        let runs = runs(&lines);
        Self { lines, runs }
    }

    /// With the ends of those runs of which nobody was left to tell, since SIGKILL came to `ExecStopPost=` as well: PID
    /// 1 says when the unit had failed.
    #[must_use]
    pub fn with_ends_of_killed(mut self, journal: &Journal) -> Self {
        let failed: BTreeMap<&str, f64> = journal
            .failures()
            .map(|entry| (entry.invocation.as_str(), entry.at))
            .collect();
        for run in self.runs.iter_mut().filter(|run| run.end.is_none()) {
            let is_child = run.unit.ends_with("+child");
            let Some(at) = failed.get(run.invocation.as_str()).filter(|_| !is_child) else {
                continue;
            };
            let after = self.lines[run.begin..].iter().position(|it| it.at >= *at);
            if let Some(after) = after {
                run.end = Some(run.begin + after);
                "killed".clone_into(&mut run.result);
            }
        }
        self
    }

    /// All lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// All runs, in the order of their beginnings.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of a unit itself, not of children that it left.
    pub fn runs_of<'a>(&'a self, unit: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.unit == unit)
    }

    /// How many lines have this verb.
    #[must_use]
    pub fn count(&self, verb: &str) -> usize {
        self.lines.iter().filter(|line| line.verb == verb).count()
    }

    /// When this was, for people: seconds since the first line.
    #[must_use]
    pub fn when(&self, line: usize) -> String {
        let first = self.lines.first().map_or(0.0, |line| line.at);
        let at = self.lines.get(line).map_or(0.0, |line| line.at);
        format!("{:.3} s", at - first)
    }

    /// Whether the driver undid something of this unit between these lines, as it may have been.
    #[must_use]
    pub fn undone(&self, unit: &str, from: usize, to: usize) -> bool {
        self.lines[from.min(self.lines.len())..to.min(self.lines.len())]
            .iter()
            .any(|line| line.driver && line.verb == "undo" && ["*", unit].contains(&line.subject()))
    }
}

fn runs(lines: &[Line]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if line.driver {
            if line.verb == "kill" && line.second() == "KILL" {
                // Nobody is left to say that a child has ended.
                let child = format!("{}+child", line.subject());
                for run in runs
                    .iter_mut()
                    .filter(|run| run.end.is_none() && run.unit == child)
                {
                    run.end = Some(number);
                    "killed".clone_into(&mut run.result);
                }
            }
            continue;
        }
        match line.verb.as_str() {
            "begin" => runs.push(Run {
                unit: line.subject().to_owned(),
                invocation: line.second().to_owned(),
                begin: number,
                end: None,
                result: String::new(),
            }),
            "end" | "post" => {
                let open = runs.iter_mut().rev().find(|run| {
                    run.end.is_none()
                        && run.unit == line.subject()
                        && run.invocation == line.second()
                });
                if let Some(run) = open {
                    run.end = Some(number);
                    run.result = if line.verb == "post" {
                        "killed".to_owned()
                    } else {
                        line.words.get(2).cloned().unwrap_or_default()
                    };
                }
            }
            _ => {}
        }
    }
    runs
}
