//! `interlockctl hold`, `release` and `holds`: operators' words about the starts of tasks.

pub mod manual;

#[cfg(test)]
mod tests;

use clap::Args;
use serde::Serialize;
use zbus::Variant;

use super::cli::Form;
use super::client::Client;
use super::clock::Clock;
use super::error::{CtlError, Outcome};
use super::moment;
use super::output::{self, Screen};
use super::proxy::fields::Fields;
use super::proxy::{self, Row};
use super::table::{self, Cell, Column};

/// Of `hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Names or units, TASK@INSTANCE for one instance of a template
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
    /// Why, for those who find it later
    #[arg(short, long)]
    pub reason: String,
    /// So long from now
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::span)]
    pub span: Option<u64>,
    /// Until then; as systemd.time(7) has it
    #[arg(long, value_name = "TIME", value_parser = moment::point, conflicts_with = "span")]
    pub until: Option<u64>,
    /// Give up the next start, or the next N, instead of making it wait
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub skip_next: Option<u32>,
}

/// Of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Names or units, TASK@INSTANCE for one instance of a template
    #[arg(value_name = "TASK", required = true)]
    pub tasks: Vec<String>,
}

/// `holds --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Holds {
    /// All of them.
    pub holds: Vec<Hold>,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hold {
    /// The task's name.
    pub task: String,
    /// What is held.
    pub unit: String,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// Since when, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// When it ends by itself.
    pub until_usec: Option<u64>,
    /// How many starts are to be skipped; 0 if they wait.
    pub skip_next: u32,
    /// Units that wait.
    pub waiting: Vec<String>,
    /// Whether the policy has the task.
    pub known: bool,
}

impl From<Row> for Hold {
    fn from(row: Row) -> Self {
        let mut row = Fields::from(row);
        Self {
            task: row.get("task"),
            unit: row.get("unit"),
            reason: row.get("reason"),
            by: row.get("by"),
            since_usec: row.usec("since"),
            until_usec: row.usec("until"),
            skip_next: row.get("skip-next"),
            waiting: row.get("waiting"),
            known: row.get("known"),
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::text("TASK", 16),
    Column::text("HOW", 12),
    Column::text("UNTIL", 10),
    Column::number("WAITING"),
    Column::text("BY", 12),
    Column::text("REASON", 20),
];

/// Holds.
pub async fn hold(client: &Client, args: &HoldArgs) -> Result<Outcome, CtlError> {
    let options = proxy::given([
        ("for", args.span.map(Variant::from)),
        ("until", args.until.map(Variant::from)),
        ("skip-next", args.skip_next.map(Variant::from)),
    ]);
    for task in &args.tasks {
        let unit = client.hold(task, &args.reason, &options).await?;
        output::print(&format!("{}\n", said(task, &unit, args.skip_next)))?;
    }
    Ok(Outcome::Done)
}

fn said(task: &str, unit: &str, skips: Option<u32>) -> String {
    let release = format!("interlockctl release {task}");
    match skips {
        None => format!("{unit} is held; to let it go: {release}"),
        Some(1) => format!("The next start of {unit} is skipped; to take that back: {release}"),
        Some(n) => {
            format!("The next {n} starts of {unit} are skipped; to take that back: {release}")
        }
    }
}

/// Lets go.
pub async fn release(client: &Client, args: &ReleaseArgs) -> Result<Outcome, CtlError> {
    for task in &args.tasks {
        let unit = client.release(task).await?;
        let holds = client.holds().await?;
        let left = holds.iter().filter(|hold| still_holds(hold, &unit));
        let left: Vec<&str> = left.map(|hold| hold.task.as_str()).collect();
        output::print(&match left.is_empty() {
            true => format!("{unit} is released.\n"),
            false => format!(
                "{unit} is released, but all of {} is still held.\n",
                left.join(", ")
            ),
        })?;
    }
    Ok(Outcome::Done)
}

/// Whether a hold of a template still holds this instance.
fn still_holds(hold: &Hold, unit: &str) -> bool {
    let template = interlock_generator::names::template_of(unit);
    hold.skip_next == 0 && template.as_ref() == Some(&hold.unit)
}

/// Lists.
pub async fn list(client: &Client, form: &Form) -> Result<Outcome, CtlError> {
    let holds = client.holds().await?;
    output::show(&Holds { holds }, form, render)
}

fn render(all: &Holds, clock: &Clock, screen: &Screen) -> String {
    let row = |it: &Hold| {
        let is_own = it.unit.strip_suffix(".service") == Some(&it.task);
        let name = match is_own || it.unit.contains("@.") {
            true => it.task.clone(),
            false => it.unit.clone(),
        };
        let how = match it.skip_next {
            0 => "held".to_owned(),
            1 => "skip next".to_owned(),
            n => format!("skip next {n}"),
        };
        let how = match it.known {
            true => how,
            false => format!("{how} (not in the policy)"),
        };
        let until = it.until_usec.map(|until| clock.time(until));
        vec![
            Cell::new(&name),
            Cell::new(&how),
            Cell::new(&until.unwrap_or_default()),
            Cell::new(&match it.waiting.len() {
                0 => String::new(),
                n => n.to_string(),
            }),
            Cell::new(&it.by),
            Cell::new(&it.reason),
        ]
    };
    table::list(&COLUMNS, &all.holds, "Nothing is held.", screen, row)
}

impl Client {
    async fn hold(
        &self,
        task: &str,
        reason: &str,
        options: &proxy::Options<'_>,
    ) -> Result<String, CtlError> {
        let held = self.manager().hold_task(task, reason, options);
        let held = self.change("can't hold it", held).await;
        self.with_suggestions(task, held).await
    }

    async fn release(&self, task: &str) -> Result<String, CtlError> {
        let released = self.manager().release_task(task);
        let released = self.change("can't release it", released).await;
        self.with_suggestions(task, released).await
    }

    async fn holds(&self) -> Result<Vec<Hold>, CtlError> {
        let holds = self.ask("can't list the holds", self.manager().list_holds());
        Ok(holds.await?.into_iter().map(Hold::from).collect())
    }
}
