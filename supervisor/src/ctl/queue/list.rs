//! `interlockctl queue list`: what was submitted and hasn't ended, and retries that are due later.

use serde::Serialize;
use zbus::Variant;

use super::cli::ListArgs;
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::model;
use crate::ctl::output::{self, Screen, Style};
use crate::ctl::proxy::fields::Fields;
use crate::ctl::proxy::{self, Row};
use crate::ctl::table::{self, Cell, Column};

/// As many as somebody reads, and as many as a program gets, if nothing is said.
const LIMITS: (u32, u32) = (100, 1000);

/// `queue list --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entries {
    /// How many there are, listed or not.
    pub total: u64,
    /// In the order in which they are started.
    pub entries: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// Its unit.
    pub unit: String,
    /// The task's name in the policy.
    pub task: String,
    /// `queued`, `delayed`, `behind` or `running`.
    pub state: String,
    /// What it waits for.
    pub detail: String,
    /// Higher is started first.
    pub priority: i32,
    /// From 1.
    pub position: Option<u64>,
    /// Its batch.
    pub batch: String,
    /// Who submitted it.
    pub by: String,
    /// When, CLOCK_REALTIME in microseconds.
    pub at_usec: Option<u64>,
    /// When it is due.
    pub not_before_usec: Option<u64>,
    /// From 1.
    pub attempt: u32,
    /// `submitted` or `retry`.
    pub kind: String,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            id: row.get("id"),
            unit: row.get("unit"),
            task: row.get("task"),
            state: row.get("state"),
            detail: row.get("detail"),
            priority: row.get("priority"),
            position: row.usec("position"),
            batch: row.get("batch"),
            by: row.get("by"),
            at_usec: row.usec("at"),
            not_before_usec: row.usec("not-before"),
            attempt: row.get("attempt"),
            kind: row.get("kind"),
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::number("ID"),
    Column::number("#"),
    Column::text("TASK", 12),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::text("DETAIL", 12),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &ListArgs) -> Result<Outcome, CtlError> {
    let limit = args.limit.unwrap_or(match args.form.json {
        true => LIMITS.1,
        false => LIMITS.0,
    });
    let filter = proxy::given([
        ("task", args.task.as_deref().map(Variant::from)),
        ("batch", args.batch.as_deref().map(Variant::from)),
        ("limit", Some(Variant::from(limit))),
    ]);
    let queue = client.submissions().await?;
    let listed = queue.list_queued(&filter);
    let (total, entries) = client.ask("can't list the queue", listed).await?;
    let entries = entries.into_iter().map(Entry::from).collect();
    output::show(&Entries { total, entries }, &args.form, render)
}

pub(super) fn render(all: &Entries, clock: &Clock, screen: &Screen) -> String {
    let row = |entry: &Entry| {
        let style = match entry.state.as_str() {
            "running" => Style::Good,
            "queued" => Style::Plain,
            _ => Style::Waiting,
        };
        let position = entry.position.map(|place| place.to_string());
        vec![
            Cell::new(&entry.id.to_string()),
            Cell::new(&position.unwrap_or_default()),
            Cell::new(&model::label(&entry.task, &entry.unit)),
            Cell::styled(&entry.state, style),
            Cell::new(&clock.time(entry.at_usec.unwrap_or(0))),
            Cell::new(&detail(entry)),
        ]
    };
    let none = "Nothing is submitted, and no retry is due.";
    let mut text = table::list(&COLUMNS, &all.entries, none, screen, row);
    let shown = all.entries.len() as u64;
    if shown < all.total {
        text.push_str(&format!("\n{shown} of {}; more with --limit.\n", all.total));
    }
    text
}

/// Of one that is delayed interlockd says which attempt it is.
fn detail(entry: &Entry) -> String {
    match (entry.state.as_str(), entry.attempt) {
        ("delayed", _) | (_, 0 | 1) => entry.detail.clone(),
        (_, attempt) => format!("attempt {attempt}; {}", entry.detail),
    }
}
