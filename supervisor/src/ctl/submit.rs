//! `interlockctl submit`: starts for later, as from inside a task or a package's scriptlet.

use serde::Serialize;

use super::cli::SubmitArgs;
use super::client::Client;
use super::error::{CtlError, Outcome};
use super::output;
use super::proxy::manager::SubmittedStart;

/// A start that is queued for later.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubmittedRow {
    /// Its number.
    pub id: u64,
    /// The unit.
    pub unit: String,
    /// What it waits for.
    pub waits_for: String,
    /// Who asked.
    pub by: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at_usec: u64,
}

impl From<SubmittedStart> for SubmittedRow {
    fn from((id, unit, waits_for, by, at_usec): SubmittedStart) -> Self {
        Self {
            id,
            unit,
            waits_for,
            by,
            at_usec,
        }
    }
}

/// Queues and tells.
pub async fn run(client: &Client, args: &SubmitArgs) -> Result<Outcome, CtlError> {
    let ids = client.submit(&args.tasks, args.after_transaction).await?;
    let known = client.submitted().await?;
    for (task, id) in args.tasks.iter().zip(ids) {
        // It may have been started meanwhile.
        let waits_for = known
            .iter()
            .find(|row| row.id == id)
            .map_or("", |row| row.waits_for.as_str());
        let when = match waits_for {
            "" | "about to start" => String::new(),
            waits_for => format!(", {waits_for}"),
        };
        output::print(&format!("Submitted {task}{when}.\n"))?;
    }
    Ok(Outcome::Done)
}
