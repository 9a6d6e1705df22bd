//! `interlockctl history --exceeding` and `--at-risk`: how long tasks run, and whether deployments let them.

use serde::Serialize;
use zbus::Variant;

use super::cli::HistoryArgs;
use crate::ctl::client::Client;
use crate::ctl::clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output::{self, Screen, Style};
use crate::ctl::proxy::fields::Fields;
use crate::ctl::proxy::{self, Row};
use crate::ctl::table::{self, Cell, Column};

/// Less than even is told as bad.
const EVEN: f64 = 0.5;

/// Either's `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tasks<T> {
    /// As interlockd has them.
    pub tasks: Vec<T>,
}

/// How long a task's runs take; microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lengths {
    /// Its name in the policy.
    pub task: String,
    /// How many.
    pub runs: u64,
    /// How many of them took longer.
    pub exceeding: u64,
    /// Half of them took this or less.
    pub p50_usec: u64,
    /// 95 of a hundred did.
    pub p95_usec: u64,
    /// 99 of a hundred did.
    pub p99_usec: u64,
    /// The longest.
    pub longest_usec: u64,
}

impl From<Row> for Lengths {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            task: row.get("task"),
            runs: row.get("runs"),
            exceeding: row.get("exceeding"),
            p50_usec: row.get("p50"),
            p95_usec: row.get("p95"),
            p99_usec: row.get("p99"),
            longest_usec: row.get("longest"),
        }
    }
}

/// How a task fares with deployments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Risk {
    /// Its name in the policy.
    pub task: String,
    /// What they do to it.
    pub action: String,
    /// How long its runs usually take, microseconds.
    pub usual_usec: Option<u64>,
    /// What 95 of a hundred take at most.
    pub p95_usec: Option<u64>,
    /// How many there were.
    pub deployments: u64,
    /// Mean time between two, microseconds.
    pub every_usec: Option<u64>,
    /// That a usual run isn't met by one.
    pub chance: f64,
    /// One line.
    pub text: String,
}

impl From<Row> for Risk {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            task: row.get("task"),
            action: row.get("action"),
            usual_usec: row.usec("usual"),
            p95_usec: row.usec("p95"),
            deployments: row.get("deployments"),
            every_usec: row.usec("every"),
            chance: row.get("chance"),
            text: row.get("text"),
        }
    }
}

const LENGTHS: [Column; 7] = [
    Column::text("TASK", 12),
    Column::number("RUNS"),
    Column::number("LONGER"),
    Column::number("P50"),
    Column::number("P95"),
    Column::number("P99"),
    Column::number("LONGEST"),
];

const RISKS: [Column; 4] = [
    Column::text("TASK", 8),
    Column::whole("ACTION"),
    Column::number("CHANCE"),
    Column::text("", 12),
];

/// Asks and prints which tasks have run longer.
pub async fn exceeding(
    client: &Client,
    limit: u64,
    args: &HistoryArgs,
) -> Result<Outcome, CtlError> {
    let filter = proxy::given([
        ("task", args.task.as_deref().map(Variant::from)),
        ("since", args.since.map(Variant::from)),
    ]);
    let history = client.history().await?;
    let rows = client.ask("can't read the history", history.exceeding(limit, &filter));
    let tasks = rows.await?.into_iter().map(Lengths::from).collect();
    output::show(&Tasks { tasks }, &args.form, |all, _, screen| {
        render_lengths(all, limit, screen)
    })
}

/// Asks and prints which tasks deployments hardly let finish.
pub async fn at_risk(client: &Client, args: &HistoryArgs) -> Result<Outcome, CtlError> {
    let filter = proxy::given([("since", args.since.map(Variant::from))]);
    let history = client.history().await?;
    let rows = client.ask("can't read the history", history.at_risk(&filter));
    let tasks = rows.await?.into_iter().map(Risk::from).collect();
    output::show(&Tasks { tasks }, &args.form, |all, _, screen| {
        render_risks(all, screen)
    })
}

pub(super) fn render_lengths(all: &Tasks<Lengths>, limit: u64, screen: &Screen) -> String {
    let longer: Vec<&Lengths> = all.tasks.iter().filter(|it| it.exceeding > 0).collect();
    let none = format!("No task has run longer than {}.", clock::short(limit));
    table::list(&LENGTHS, &longer, &none, screen, |it| {
        vec![
            Cell::new(&it.task),
            Cell::new(&it.runs.to_string()),
            Cell::new(&it.exceeding.to_string()),
            Cell::new(&clock::short(it.p50_usec)),
            Cell::new(&clock::short(it.p95_usec)),
            Cell::new(&clock::short(it.p99_usec)),
            Cell::new(&clock::short(it.longest_usec)),
        ]
    })
}

pub(super) fn render_risks(all: &Tasks<Risk>, screen: &Screen) -> String {
    let none = "No task of a group has run yet, or there is no group.";
    table::list(&RISKS, &all.tasks, none, screen, |it| {
        let style = match it.chance < EVEN {
            true => Style::Bad,
            false => Style::Plain,
        };
        vec![
            Cell::new(&it.task),
            Cell::new(&it.action),
            Cell::styled(&format!("{:.0} %", it.chance * 100.0), style),
            Cell::new(&it.text),
        ]
    })
}
