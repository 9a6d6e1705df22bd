//! `interlockctl deadlocks`: processes that wait for one another for ever, and those that did.

use serde::Serialize;

use super::cli::Form;
use super::client::Client;
use super::clock::Clock;
use super::error::{CtlError, Outcome};
use super::output::{self, Screen, Style, paint};
use super::proxy::fields::some;
use super::proxy::manager::ListedDeadlock;
use super::text;

/// `deadlocks --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deadlocks {
    /// The oldest first.
    pub deadlocks: Vec<DeadlockRow>,
}

/// A deadlock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadlockRow {
    /// Its number.
    pub id: u64,
    /// When it was found, CLOCK_REALTIME in microseconds.
    pub found_usec: Option<u64>,
    /// `nested-client`, `blocking-start` or `between-tasks`.
    pub kind: String,
    /// The task's unit.
    pub unit: String,
    /// What is waited for.
    pub resource: String,
    /// `stuck`, `ended` or `gone`.
    pub state: String,
    /// One line for each that waits.
    pub chain: Vec<String>,
}

impl From<ListedDeadlock> for DeadlockRow {
    fn from((id, found, kind, unit, resource, state, text): ListedDeadlock) -> Self {
        Self {
            id,
            found_usec: some(found),
            kind,
            unit,
            resource,
            state,
            chain: text.lines().map(str::to_owned).collect(),
        }
    }
}

/// Asks and prints.
pub async fn run(client: &Client, args: &Form) -> Result<Outcome, CtlError> {
    let listed = client.manager().list_deadlocks();
    let listed = client.ask("can't list the deadlocks", listed).await?;
    let deadlocks: Vec<DeadlockRow> = listed.into_iter().map(DeadlockRow::from).collect();
    output::show(&Deadlocks { deadlocks }, args, |all, clock, screen| {
        render(&all.deadlocks, clock, screen)
    })
}

/// What is printed without `--json`.
fn render(deadlocks: &[DeadlockRow], clock: &Clock, screen: &Screen) -> String {
    if deadlocks.is_empty() {
        return "No deadlock has been found.\n".to_owned();
    }
    let mut all = Vec::new();
    for it in deadlocks {
        let (state, style) = match it.state.as_str() {
            "stuck" => ("stuck", Style::Bad),
            "ended" => ("over, a process was ended", Style::Good),
            _ => ("over", Style::Dim),
        };
        let found = clock.since(it.found_usec.unwrap_or(0));
        let unit = Some(it.unit.as_str()).filter(|unit| !unit.is_empty());
        let over = match it.resource.as_str() {
            "" => String::new(),
            resource => format!(", over {}", text::one_line(resource)),
        };
        let mut lines = vec![format!(
            "{}  {}  {}{over}  found {found}  {}",
            it.id,
            text::one_line(unit.unwrap_or("-")),
            text::one_line(&it.kind),
            paint(state, style, screen.colour)
        )];
        for link in &it.chain {
            let link = text::one_line(link);
            let link = screen.prose().map_or(link.clone(), |cells| {
                text::wrap(&link, cells.saturating_sub(4)).replace('\n', "\n    ")
            });
            lines.push(format!("  {link}"));
        }
        all.push(lines.join("\n"));
    }
    format!("{}\n", all.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ctl::fixture::{NOW, SCREEN, clock};
    use crate::ctl::manual;

    fn row() -> DeadlockRow {
        DeadlockRow::from((
            7,
            NOW - 184_000_000,
            "nested-client".to_owned(),
            "upcp.service".to_owned(),
            "rpm-db".to_owned(),
            "stuck".to_owned(),
            "dnf (pid 1) waits for its child dnf (pid 2)\ndnf (pid 2) waits for rpm-db, which dnf (pid 1) holds"
                .to_owned(),
        ))
    }

    #[test]
    fn the_whole_chain_is_shown() {
        assert_eq!(
            render(&[row()], &clock(), &SCREEN),
            "\
7  upcp.service  nested-client, over rpm-db  found 02:00:12 (3min 4s)  stuck
  dnf (pid 1) waits for its child dnf (pid 2)
  dnf (pid 2) waits for rpm-db, which dnf (pid 1) holds
"
        );
        assert_eq!(
            render(&[], &clock(), &SCREEN),
            "No deadlock has been found.\n"
        );
    }

    #[test]
    fn json_has_the_fields_of_the_manual_and_no_others() {
        let value = serde_json::to_value(row()).unwrap();
        let fields = value.as_object().unwrap().keys();
        let fields: BTreeSet<String> = fields.map(|name| format!("deadlocks[].{name}")).collect();
        let documented = manual::DEADLOCKS_FIELDS.iter().map(|(name, _)| *name);
        assert_eq!(fields, documented.map(str::to_owned).collect());
    }
}
