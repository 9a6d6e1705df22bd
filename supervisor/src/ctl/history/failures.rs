//! `interlockctl failures`: why tasks fail, each cause once.

use serde::Serialize;
use zbus::Variant;

use super::cli::{Class, ClassifyArgs, FailuresArgs, FailuresCommand};
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::model;
use crate::ctl::output::{self, Screen, Style, paint};
use crate::ctl::proxy::fields::Fields;
use crate::ctl::proxy::{self, Row};
use crate::ctl::text;

/// `failures --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failures {
    /// The latest first.
    pub failures: Vec<FailureRow>,
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailureRow {
    /// Its key.
    pub signature: String,
    /// The task's name in the policy.
    pub task: String,
    /// Result and last lines, folded.
    pub text: String,
    /// How often.
    pub count: u64,
    /// In how many units.
    pub units: u64,
    /// Times, CLOCK_REALTIME in microseconds.
    pub first_usec: Option<u64>,
    /// For the last time.
    pub last_usec: Option<u64>,
    /// `transient` or `permanent`.
    pub class: Option<String>,
    /// Rule of the policy, or who said so.
    pub class_by: String,
    /// Why.
    pub class_reason: String,
    /// How often a later attempt succeeded.
    pub recovered: u64,
    /// How many units are failed for good.
    pub hard: u64,
    /// A unit of it.
    pub example: String,
}

impl From<Row> for FailureRow {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            signature: row.get("signature"),
            task: row.get("task"),
            text: row.get("text"),
            count: row.get("count"),
            units: row.get("units"),
            first_usec: row.usec("first"),
            last_usec: row.usec("last"),
            class: row.text("class"),
            class_by: row.get("class-by"),
            class_reason: row.get("class-reason"),
            recovered: row.get("recovered"),
            hard: row.get("hard"),
            example: row.get("example"),
        }
    }
}

/// Does what was asked for.
pub async fn run(client: &Client, args: &FailuresArgs) -> Result<Outcome, CtlError> {
    match &args.command {
        Some(FailuresCommand::Classify(args)) => classify(client, args).await,
        None => list(client, args).await,
    }
}

async fn list(client: &Client, args: &FailuresArgs) -> Result<Outcome, CtlError> {
    let filter = proxy::given([
        ("task", args.task.as_deref().map(Variant::from)),
        ("since", args.since.map(Variant::from)),
    ]);
    let history = client.history().await?;
    let rows = client.ask("can't list the failures", history.list_failures(&filter));
    let mut failures: Vec<FailureRow> = rows.await?.into_iter().map(FailureRow::from).collect();
    failures.sort_by_key(|it| std::cmp::Reverse(it.last_usec));
    output::show(&Failures { failures }, &args.form, render)
}

async fn classify(client: &Client, args: &ClassifyArgs) -> Result<Outcome, CtlError> {
    let history = client.history().await?;
    let (signature, class) = (args.signature.as_str(), args.class.word());
    let said = history.classify_failure(signature, class, &args.reason);
    client.change("can't classify the failure", said).await?;
    output::print(&match args.class {
        Class::None => format!("{signature} is what the policy says.\n"),
        Class::Transient | Class::Permanent => format!("{signature} is {class} from now on.\n"),
    })?;
    Ok(Outcome::Done)
}

pub(super) fn render(all: &Failures, clock: &Clock, screen: &Screen) -> String {
    if all.failures.is_empty() {
        return "No failure is known.\n".to_owned();
    }
    let each = all.failures.iter().map(|it| block(it, clock, screen));
    each.collect::<Vec<String>>().join("\n")
}

/// Some lines, since what it says is longer than what is said about it.
fn block(it: &FailureRow, clock: &Clock, screen: &Screen) -> String {
    let fit = |line: String| {
        let line = text::one_line(&line);
        screen
            .width
            .map_or(line.clone(), |cells| text::fit(&line, cells))
    };
    let last = clock.since(it.last_usec.unwrap_or(0));
    let heading = format!(
        "{}  {}  {} in {}, last {last}",
        it.signature,
        it.task,
        text::count(usize::try_from(it.count).unwrap_or(usize::MAX), "failure"),
        text::count(usize::try_from(it.units).unwrap_or(usize::MAX), "unit"),
    );
    let mut out = paint(&fit(heading), Style::Heading, screen.colour);
    out.push('\n');
    for line in it.text.lines() {
        out.push_str(&fit(format!("    {line}")));
        out.push('\n');
    }
    let mut facts = vec![class(it)];
    if it.recovered > 0 {
        facts.push(format!("{} went well later", it.recovered));
    }
    out.push_str(&fit(format!("  {}", facts.join("; "))));
    out.push('\n');
    if it.hard > 0 {
        let example = model::label(&it.task, &it.example);
        let line = match it.hard {
            1 => format!("  failed for good: {example}"),
            more => format!("  failed for good: {more} units, as {example}"),
        };
        out.push_str(&paint(&fit(line), Style::Bad, screen.colour));
        out.push('\n');
    }
    out
}

fn class(it: &FailureRow) -> String {
    let Some(class) = &it.class else {
        return "not classified".to_owned();
    };
    let mut said = class.clone();
    if !it.class_by.is_empty() {
        said.push_str(&format!(" by {}", it.class_by));
    }
    if !it.class_reason.is_empty() {
        said.push_str(&format!(": {}", it.class_reason));
    }
    said
}
