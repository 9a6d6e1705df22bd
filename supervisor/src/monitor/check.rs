//! Facts against thresholds.

use std::collections::BTreeMap;

use super::facts::{Facts, State};
use super::measure::{Reading, read};
use super::threshold::{Form, Limit, Measure, Threshold};
use super::verdict::{Performance, Problem, Status, Verdict};
use crate::ctl::text::nearest;
use crate::daemon::words::duration;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Threshold expressions that make a warning.
    pub warnings: Vec<String>,
    /// Threshold expressions that make it critical.
    pub criticals: Vec<String>,
    /// Names of what isn't to be looked at though it is by default.
    pub ignored: Vec<String>,
}

/// What is wrong unless somebody says otherwise.
const DEFAULTS: [(Status, Measure, Limit); 5] = [
    (Status::Critical, Measure::Deadlocks, Limit::Count(1)),
    // What has been held for so long was most likely forgotten.
    (
        Status::Warning,
        Measure::Hold,
        Limit::Span(7 * 24 * 3600 * 1_000_000),
    ),
    (Status::Warning, Measure::Policy, Limit::Fact),
    (Status::Warning, Measure::Database, Limit::Fact),
    (Status::Warning, Measure::ExpectSuccess, Limit::Fact),
];

/// What is always told as performance data.
const TOLD: [Measure; 8] = [
    Measure::Failed,
    Measure::FailuresHour,
    Measure::Wait,
    Measure::Held,
    Measure::Frozen,
    Measure::Queue,
    Measure::Skips,
    Measure::Deadlocks,
];

/// Thresholds by what they are about.
type Thresholds = BTreeMap<(Measure, Option<String>), Vec<(Status, Threshold)>>;

/// The verdict.
pub fn check(facts: &Facts, request: &Request) -> Verdict {
    let thresholds = match thresholds(facts, request) {
        Ok(thresholds) => thresholds,
        Err(wrong) => {
            let (first, rest) = wrong.split_first().map_or(("", &[][..]), |(f, r)| (f, r));
            return Verdict::of(Status::Unknown, first.to_owned(), rest.to_vec());
        }
    };
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let mut performance = Vec::new();
    let nothing = Vec::new();
    let told = TOLD.map(|measure| (measure, None));
    let untold = thresholds.keys().filter(|key| !told.contains(key));
    for key in told.iter().chain(untold) {
        let (measure, task) = key;
        let limits = thresholds.get(key).unwrap_or(&nothing);
        let reading = match read(facts, *measure, task.as_deref()) {
            Ok(reading) => reading,
            Err(why) => {
                if !limits.is_empty() {
                    let text = format!("{} can't be told: {why}", label(*measure, task.as_deref()));
                    problems.push(Problem {
                        status: Status::Unknown,
                        text,
                        details: Vec::new(),
                    });
                }
                continue;
            }
        };
        let marks = marks(facts, task.as_deref(), limits, &mut notes);
        problems.extend(problem(*measure, task.as_deref(), &reading, &marks));
        performance.push(datum(*measure, task.as_deref(), &reading, &marks));
    }
    performance.extend(counters(facts));
    Verdict::new(summary(facts), problems, notes, performance)
}

/// A threshold whose number is known.
struct Mark {
    status: Status,
    /// A number of things, or microseconds.
    from: u64,
    /// Why from there, if it was reckoned.
    because: String,
}

fn thresholds(facts: &Facts, request: &Request) -> Result<Thresholds, Vec<String>> {
    let mut found = Thresholds::new();
    let mut wrong = Vec::new();
    for name in &request.ignored {
        if !DEFAULTS
            .iter()
            .any(|(_, measure, _)| measure.name() == name)
        {
            let names = DEFAULTS.map(|(_, measure, _)| measure.name()).join(", ");
            wrong.push(format!(
                "\"{name}\" can't be ignored; what is looked at by default is {names}"
            ));
        }
    }
    let warnings = request.warnings.iter().map(|it| (Status::Warning, it));
    let criticals = request.criticals.iter().map(|it| (Status::Critical, it));
    for (status, expression) in warnings.chain(criticals) {
        match expression.parse::<Threshold>() {
            Ok(threshold) => match no_such_task(facts, &threshold) {
                Some(text) => wrong.push(text),
                None => {
                    let key = (threshold.measure, threshold.task.clone());
                    found.entry(key).or_default().push((status, threshold));
                }
            },
            Err(error) => wrong.push(error.to_string()),
        }
    }
    for (status, measure, limit) in DEFAULTS {
        let is_told = found.contains_key(&(measure, None));
        if !is_told && !request.ignored.iter().any(|name| name == measure.name()) {
            let threshold = Threshold {
                measure,
                task: None,
                limit,
            };
            found.insert((measure, None), vec![(status, threshold)]);
        }
    }
    match wrong.is_empty() {
        true => Ok(found),
        false => Err(wrong),
    }
}

/// A misspelt task would be well for ever.
fn no_such_task(facts: &Facts, threshold: &Threshold) -> Option<String> {
    let task = threshold.task.as_ref()?;
    let tasks = &facts.live.tasks;
    if tasks.contains_key(task) {
        return None;
    }
    let instead = match nearest(task, tasks.keys().map(String::as_str)).first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "the tasks are listed by: interlockctl status".to_owned(),
    };
    Some(format!(
        "the policy has no task \"{task}\" ({threshold}); {instead}"
    ))
}

fn marks(
    facts: &Facts,
    task: Option<&str>,
    limits: &[(Status, Threshold)],
    notes: &mut Vec<String>,
) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (status, threshold) in limits {
        let mark = |from, because| Mark {
            status: *status,
            from,
            because,
        };
        match threshold.limit {
            Limit::Count(from) | Limit::Span(from) => marks.push(mark(from, String::new())),
            Limit::Fact => marks.push(mark(1, String::new())),
            Limit::Rise(_) | Limit::Percent(_) => match usual(facts, task) {
                Ok(usual) => {
                    let (from, above) = match threshold.limit {
                        Limit::Percent(percent) => (
                            usual * (1.0 + percent as f64 / 100.0),
                            format!("{percent}% above"),
                        ),
                        Limit::Rise(rise) => (usual + rise as f64, format!("{rise} above")),
                        _ => continue,
                    };
                    let because = format!(", {above} the usual {usual:.0}");
                    // Where none usually fails, the first that does is above that.
                    marks.push(mark((from.ceil() as u64).max(1), because));
                }
                Err(samples) => notes.push(format!(
                    "{threshold} counts as OK: what is usual isn't known yet, {samples} hourly samples of the \
                     last seven days are too few"
                )),
            },
        }
    }
    marks
}

fn usual(facts: &Facts, task: Option<&str>) -> Result<f64, usize> {
    match &facts.past {
        Ok(past) => past.baseline(task, facts.now),
        Err(_) => Err(0),
    }
}

fn problem(
    measure: Measure,
    task: Option<&str>,
    reading: &Reading,
    marks: &[Mark],
) -> Option<Problem> {
    let reached = marks.iter().filter(|mark| reading.value >= mark.from);
    // Of two of the same kind the lower one was reached first.
    let worst = reached.max_by_key(|mark| (mark.status, std::cmp::Reverse(mark.from)))?;
    let from = match measure.form() {
        Form::Span => duration(worst.from),
        _ => worst.from.to_string(),
    };
    let level = match worst.status {
        Status::Critical => "critical",
        _ => "warning",
    };
    let text = match measure.form() {
        Form::Fact => said(measure, task, reading),
        _ => format!(
            "{} ({level} from {from}{})",
            said(measure, task, reading),
            worst.because
        ),
    };
    Some(Problem {
        status: worst.status,
        text,
        details: reading.details.clone(),
    })
}

fn said(measure: Measure, task: Option<&str>, reading: &Reading) -> String {
    let Reading { value, who, .. } = reading;
    let is_one = *value == 1;
    let many = |one: &str, more: &str| format!("{value} {}", if is_one { one } else { more });
    let of = |one: &str, more: &str| match task {
        Some(task) => format!("{} of {task}", many(one, more)),
        None => many(one, more),
    };
    let has = if is_one { "has" } else { "have" };
    let long = || duration(*value);
    match measure {
        Measure::Failed => format!("{} {has} failed for good", of("unit", "units")),
        Measure::FailuresHour => {
            format!("{} {has} failed within the last hour", of("run", "runs"))
        }
        Measure::FailuresDay => format!("{} {has} failed within the last day", of("run", "runs")),
        Measure::Wait => format!("{who} has waited at its gate for {}", long()),
        Measure::Held => format!("{who} has been held for {}", long()),
        Measure::Hold => format!("an operator has held {who} for {}", long()),
        Measure::Frozen => format!("{who} has been frozen for {}", long()),
        Measure::Deployment => format!("deployment {who} has been alive for {}", long()),
        Measure::Queue => format!("{} queued", of("start", "starts")),
        Measure::Skips => format!("{who} was skipped {} in a row", many("time", "times")),
        Measure::Stale => format!("{} with code from before a deployment", of("unit", "units")),
        Measure::Success => format!("{who} has not succeeded for {}", long()),
        Measure::ExpectSuccess => match reading.details.as_slice() {
            [one] => one.clone(),
            _ => format!("{value} tasks have not succeeded within their time"),
        },
        Measure::Deadlocks => many("deadlock", "deadlocks"),
        Measure::Policy => {
            let effect = match who.as_str() {
                "last-good" => "the last good one",
                _ => "a part of it",
            };
            format!(
                "the policy has {}; {effect} is in effect",
                many("error", "errors")
            )
        }
        Measure::Database => format!("the history is degraded: {}", reading.details.join(", ")),
    }
}

fn label(measure: Measure, task: Option<&str>) -> String {
    match task {
        Some(task) => format!("{}:{task}", measure.name()),
        None => measure.name().to_owned(),
    }
}

fn datum(measure: Measure, task: Option<&str>, reading: &Reading, marks: &[Mark]) -> Performance {
    let is_span = measure.form() == Form::Span;
    let scaled = |value: u64| match is_span {
        // Seconds, to the millisecond.
        true => (value / 1000) as f64 / 1000.0,
        false => value as f64,
    };
    let lowest = |status| {
        let of_that = marks.iter().filter(|mark| mark.status == status);
        of_that.map(|mark| mark.from).min().map(scaled)
    };
    Performance {
        label: label(measure, task),
        value: scaled(reading.value),
        unit: if is_span { "s" } else { "" },
        warning: lowest(Status::Warning),
        critical: lowest(Status::Critical),
    }
}

fn counters(facts: &Facts) -> Vec<Performance> {
    let counter = |label: &str, value: u64, unit| Performance {
        label: label.to_owned(),
        value: value as f64,
        unit,
        warning: None,
        critical: None,
    };
    let mut found = vec![
        counter("running", count(facts, State::Running), ""),
        counter("waiting", count(facts, State::Waiting), ""),
    ];
    if let Ok(past) = &facts.past {
        found.push(counter("runs", past.total().runs.values().sum(), "c"));
    }
    found
}

fn count(facts: &Facts, state: State) -> u64 {
    let standings = facts.live.standings.iter();
    standings.filter(|it| it.state == state).count() as u64
}

fn summary(facts: &Facts) -> String {
    let tasks = facts.live.tasks.len();
    let mut parts = vec![match tasks {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    }];
    for state in State::ALL {
        match (count(facts, state), state) {
            (0, State::Held | State::Frozen | State::Blocked) => {}
            (n, _) => parts.push(format!("{n} {}", state.name())),
        }
    }
    if let Ok(past) = &facts.past {
        parts.push(format!("{} failed for good", past.total().failed));
    }
    parts.join(", ")
}
