//! `interlockctl history`: runs, and which of them take long.

pub mod cli;
pub mod failures;
pub mod manual;
pub mod tasks;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use nix::sys::signal::Signal;
use serde::Serialize;
use zbus::Variant;

use super::client::Client;
use super::clock::{self, Clock};
use super::error::{CtlError, Outcome};
use super::model;
use super::output::{self, Screen, Style};
use super::proxy::fields::Fields;
use super::proxy::{self, Row};
use super::table::{self, Cell, Column};
use super::text;
use cli::HistoryArgs;

/// A wait at the gate that is worth a word, microseconds.
const LONG_WAIT: u64 = 1_000_000;
/// As many runs as somebody reads, and as many as a program gets, if nothing is said.
const LIMITS: (u32, u32) = (100, 1000);

/// `history --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Runs {
    /// The newest first.
    pub runs: Vec<RunRow>,
}

/// A run, or a start that was given up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunRow {
    /// Its number.
    pub id: u64,
    /// The task's name in the policy.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// Times, CLOCK_REALTIME in microseconds.
    pub asked_usec: Option<u64>,
    /// Its gate was opened.
    pub granted_usec: Option<u64>,
    /// It began.
    pub started_usec: Option<u64>,
    /// It ended; none: it goes on.
    pub ended_usec: Option<u64>,
    /// How it ended.
    pub result: String,
    /// Its exit status.
    pub exit_status: Option<i32>,
    /// What ended it.
    pub signal: Option<i32>,
    /// systemd's invocation id.
    pub invocation: String,
    /// What it waited for.
    pub waited_for: Vec<String>,
    /// What interrupted it.
    pub interruptions: Vec<String>,
    /// From 1.
    pub attempt: u32,
    /// What asked for it.
    pub cause: String,
    /// Key of its failure.
    pub signature: String,
    /// What was made of it.
    pub verdict: String,
    /// Why it was skipped.
    pub reason: String,
}

impl From<Row> for RunRow {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            id: row.get("id"),
            task: row.get("task"),
            unit: row.get("unit"),
            asked_usec: row.usec("asked"),
            granted_usec: row.usec("granted"),
            started_usec: row.usec("started"),
            ended_usec: row.usec("ended"),
            result: row.get("result"),
            exit_status: row.given("exit-status"),
            signal: row.given("signal"),
            invocation: row.get("invocation"),
            waited_for: row.get("waited-for"),
            interruptions: row.get("interruptions"),
            attempt: row.get("attempt"),
            cause: row.get("cause"),
            signature: row.get("signature"),
            verdict: row.get("verdict"),
            reason: row.get("reason"),
        }
    }
}

const COLUMNS: [Column; 5] = [
    Column::text("TASK", 12),
    Column::whole("BEGAN"),
    Column::number("TOOK"),
    Column::whole("RESULT"),
    Column::text("DETAIL", 12),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &HistoryArgs) -> Result<Outcome, CtlError> {
    if let Some(limit) = args.exceeding {
        return tasks::exceeding(client, limit, args).await;
    }
    if args.at_risk {
        return tasks::at_risk(client, args).await;
    }
    let limit = args.limit.unwrap_or(match args.form.json {
        true => LIMITS.1,
        false => LIMITS.0,
    });
    let filter = proxy::given([
        ("task", args.task.as_deref().map(Variant::from)),
        ("since", args.since.map(Variant::from)),
        ("until", args.until.map(Variant::from)),
        ("failed", args.failed.then(|| Variant::from(true))),
        ("slower-than", args.slower_than.map(Variant::from)),
        ("limit", Some(Variant::from(limit))),
    ]);
    let history = client.history().await?;
    let runs = client.ask("can't read the history", history.list_runs(&filter));
    let runs = runs.await?.into_iter().map(RunRow::from).collect();
    output::show(&Runs { runs }, &args.form, |all, clock, screen| {
        let mut text = render(all, clock, screen);
        if screen.terminal && u32::try_from(all.runs.len()) == Ok(limit) {
            text.push_str("\nThere may be more: --limit, --since, --until.\n");
        }
        text
    })
}

fn render(all: &Runs, clock: &Clock, screen: &Screen) -> String {
    let row = |run: &RunRow| {
        let (result, style) = result(run);
        let began = run.started_usec.or(run.granted_usec).or(run.ended_usec);
        vec![
            Cell::new(&model::label(&run.task, &run.unit)),
            Cell::new(&clock.time(began.unwrap_or(0))),
            Cell::new(&took(run, clock)),
            Cell::styled(&result, style),
            Cell::new(&detail(run)),
        ]
    };
    table::list(&COLUMNS, &all.runs, "No run is known.", screen, row)
}

fn took(run: &RunRow, clock: &Clock) -> String {
    match (run.started_usec, run.ended_usec) {
        (Some(began), Some(ended)) => clock::short(ended.saturating_sub(began)),
        (Some(began), None) => clock.ago(began),
        (None, _) => String::new(),
    }
}

/// In as few words as tell it, and how they look.
pub(super) fn result(run: &RunRow) -> (String, Style) {
    let signal = run.signal.and_then(|number| Signal::try_from(number).ok());
    let word = match (run.result.as_str(), run.exit_status, signal) {
        ("", ..) => "running".to_owned(),
        ("exit-code", Some(status), _) => format!("exit {status}"),
        ("signal", _, Some(signal)) => signal.as_str().to_owned(),
        (result, ..) => result.to_owned(),
    };
    let style = match run.result.as_str() {
        "" | "success" => Style::Good,
        "stopped" | "interrupted" | "skipped" => Style::Waiting,
        "not-started" | "exec-condition" | "unknown" => Style::Dim,
        _ => Style::Bad,
    };
    (word, style)
}

fn detail(run: &RunRow) -> String {
    let mut parts = Vec::new();
    if run.attempt > 1 {
        parts.push(format!("attempt {}", run.attempt));
    }
    parts.extend(
        [&run.reason, &run.verdict, &run.signature]
            .into_iter()
            .cloned(),
    );
    parts.extend(run.interruptions.iter().cloned());
    let waited = match (run.asked_usec, run.granted_usec) {
        (Some(asked), Some(granted)) => granted.saturating_sub(asked),
        _ => 0,
    };
    if waited >= LONG_WAIT {
        let whom = match run.waited_for.as_slice() {
            [] => String::new(),
            whom => format!(" for {}", whom.join(", ")),
        };
        parts.push(format!("waited {}{whom}", clock::duration(waited)));
    }
    parts.push(run.cause.clone());
    parts.retain(|part| !part.is_empty());
    text::one_line(&parts.join("; "))
}
