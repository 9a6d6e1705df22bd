//! Threshold expressions: `failed=1000`, `failed:import=+50%`, `wait=30min`, `success:backup=26h`.

use std::fmt;
use std::time::Duration;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Units whose last run failed for good.
    Failed,
    /// Runs that failed within the last hour.
    FailuresHour,
    /// Runs that failed within the last day.
    FailuresDay,
    /// Longest wait at a gate for resources, now.
    Wait,
    /// Longest wait at a gate for a deployment, an operator or other jobs, now.
    Held,
    /// Oldest hold of a task by an operator, whether anything waits for it or not.
    Hold,
    /// Longest time for which a deployment has something frozen, now.
    Frozen,
    /// Oldest deployment that is alive.
    Deployment,
    /// Starts in the queue.
    Queue,
    /// Skips in a row.
    Skips,
    /// Units that run code from before a deployment.
    Stale,
    /// Time since the last success of a task.
    Success,
    /// Tasks that didn't succeed within their policy's expect-success.
    ExpectSuccess,
    /// Deadlocks, now.
    Deadlocks,
    /// The policy has errors.
    Policy,
    /// The history can't be read or written.
    Database,
}

/// How a measure's limit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number.
    Count,
    /// A number, or `+N` or `+N%` above what is usual.
    CountOrRise,
    /// A time span.
    Span,
    /// No limit: it is so or it isn't.
    Fact,
}

impl Measure {
    /// In the order of the manual.
    pub const ALL: [Self; 16] = [
        Self::Failed,
        Self::FailuresHour,
        Self::FailuresDay,
        Self::Wait,
        Self::Held,
        Self::Hold,
        Self::Frozen,
        Self::Deployment,
        Self::Queue,
        Self::Skips,
        Self::Stale,
        Self::Success,
        Self::ExpectSuccess,
        Self::Deadlocks,
        Self::Policy,
        Self::Database,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::FailuresHour => "failures-hour",
            Self::FailuresDay => "failures-day",
            Self::Wait => "wait",
            Self::Held => "held",
            Self::Hold => "hold",
            Self::Frozen => "frozen",
            Self::Deployment => "deployment",
            Self::Queue => "queue",
            Self::Skips => "skips",
            Self::Stale => "stale",
            Self::Success => "success",
            Self::ExpectSuccess => "expect-success",
            Self::Deadlocks => "deadlocks",
            Self::Policy => "policy",
            Self::Database => "database",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(super) fn form(self) -> Form {
        match self {
            Self::Failed => Form::CountOrRise,
            Self::FailuresHour
            | Self::FailuresDay
            | Self::Queue
            | Self::Skips
            | Self::Stale
            | Self::Deadlocks => Form::Count,
            Self::Wait
            | Self::Held
            | Self::Hold
            | Self::Frozen
            | Self::Deployment
            | Self::Success => Form::Span,
            Self::ExpectSuccess | Self::Policy | Self::Database => Form::Fact,
        }
    }

    /// Whether a task may be named with it.
    fn is_by_task(self) -> bool {
        !matches!(
            self,
            Self::Deployment | Self::Deadlocks | Self::Policy | Self::Database
        )
    }

    fn example(self) -> String {
        let name = self.name();
        match (self, self.form()) {
            (Self::Success, _) => "success:TASK=26h".to_owned(),
            (_, Form::Count) => format!("{name}=5"),
            (_, Form::CountOrRise) => format!("{name}=1000, {name}=+50% or {name}=+20"),
            (_, Form::Span) => format!("{name}=30min"),
            (_, Form::Fact) => name.to_owned(),
        }
    }
}

/// From where on it is a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// From so many on.
    Count(u64),
    /// From so many more than usual on.
    Rise(u64),
    /// From so many percent more than usual on.
    Percent(u64),
    /// From so long on, microseconds.
    Span(u64),
    /// When it is so.
    Fact,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// Of one task; else of all.
    pub task: Option<String>,
    /// From where on.
    pub limit: Limit,
}

/// It is no threshold: what is wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{expression}\" is no threshold: {what}; {instead}")]
pub struct MalformedThreshold {
    /// As it was given.
    pub expression: String,
    what: String,
    instead: String,
}

impl std::str::FromStr for Threshold {
    type Err = MalformedThreshold;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        let wrong = |what: &str, instead: String| MalformedThreshold {
            expression: expression.to_owned(),
            what: what.to_owned(),
            instead,
        };
        let (what, limit) = match expression.split_once('=') {
            Some((what, limit)) => (what.trim(), Some(limit.trim())),
            None => (expression.trim(), None),
        };
        let (name, task) = match what.split_once(':') {
            Some((name, task)) => (name, Some(task.to_owned())),
            None => (what, None),
        };
        let Some(measure) = Measure::named(name) else {
            let names: Vec<&str> = Measure::ALL.iter().map(|it| it.name()).collect();
            let nearest = crate::ctl::text::nearest(name, names.iter().copied());
            let instead = match nearest.first() {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("what can be checked is {}", names.join(", ")),
            };
            return Err(wrong(
                &format!("there is nothing called \"{name}\""),
                instead,
            ));
        };
        let as_in = || format!("write it as {}", measure.example());
        match &task {
            Some(task) if task.is_empty() => {
                return Err(wrong("the task's name is missing", as_in()));
            }
            Some(_) if !measure.is_by_task() => {
                return Err(wrong(&format!("{name} isn't counted by task"), as_in()));
            }
            None if measure == Measure::Success => {
                return Err(wrong("it needs a task", as_in()));
            }
            _ => {}
        }
        let limit = match (measure.form(), limit) {
            (Form::Fact, None) => Limit::Fact,
            (Form::Fact, Some(_)) => {
                return Err(wrong(&format!("{name} has no limit"), as_in()));
            }
            (_, None | Some("")) => return Err(wrong("its limit is missing", as_in())),
            (Form::Span, Some(limit)) => {
                let span = span(limit).ok_or_else(|| {
                    wrong(&format!("\"{limit}\" is no time span above zero"), as_in())
                })?;
                Limit::Span(span)
            }
            (form, Some(limit)) => count(limit, form == Form::CountOrRise)
                .ok_or_else(|| wrong(&format!("\"{limit}\" is no number above zero"), as_in()))?,
        };
        Ok(Self {
            measure,
            task,
            limit,
        })
    }
}

/// As it would be written.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.measure.name())?;
        if let Some(task) = &self.task {
            write!(f, ":{task}")?;
        }
        match self.limit {
            Limit::Count(n) => write!(f, "={n}"),
            Limit::Rise(n) => write!(f, "=+{n}"),
            Limit::Percent(n) => write!(f, "=+{n}%"),
            Limit::Span(usec) => write!(f, "={}", crate::daemon::words::duration(usec)),
            Limit::Fact => Ok(()),
        }
    }
}

fn count(text: &str, rise_is_possible: bool) -> Option<Limit> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| *n > 0);
    match text.strip_prefix('+') {
        Some(_) if !rise_is_possible => None,
        Some(rise) => match rise.strip_suffix('%') {
            Some(percent) => number(percent).map(Limit::Percent),
            None => number(rise).map(Limit::Rise),
        },
        None => number(text).map(Limit::Count),
    }
}

/// In microseconds; a number without a unit is seconds, as in systemd.time(7).
fn span(text: &str) -> Option<u64> {
    let span = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    u64::try_from(span.as_micros())
        .ok()
        .filter(|usec| *usec > 0)
}
