//! `interlockctl queue`: who waits, in which order, for what.

use super::cli::Form;
use super::client::Client;
use super::clock::Clock;
use super::error::{CtlError, Outcome};
use super::model::{self, Queue, QueueEntry};
use super::output::{self, Screen};
use super::table::{self, Cell, Column};

const COLUMNS: [Column; 4] = [
    Column::number("#"),
    Column::text("TASK", 12),
    Column::whole("SINCE"),
    Column::text("REASON", 12),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &Form) -> Result<Outcome, CtlError> {
    let queue = client.queue().await?;
    output::show(&Queue { queue }, args, render)
}

/// What is printed without `--json`.
fn render(all: &Queue, clock: &Clock, screen: &Screen) -> String {
    let row = |entry: &QueueEntry| {
        vec![
            Cell::new(&entry.position.to_string()),
            Cell::new(&model::label(&entry.task, &entry.unit)),
            Cell::new(&clock.since(entry.since_usec.unwrap_or(0))),
            Cell::new(&entry.reason),
        ]
    };
    table::list(&COLUMNS, &all.queue, "Nothing waits.", screen, row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::fixture::{NOW, SCREEN, clock};
    use crate::ctl::text;

    fn shown(queue: Vec<QueueEntry>) -> String {
        render(&Queue { queue }, &clock(), &SCREEN)
    }

    fn entry(
        position: u32,
        task: &str,
        unit: &str,
        waiting_for: &[&str],
        reason: &str,
    ) -> QueueEntry {
        QueueEntry {
            position,
            task: task.to_owned(),
            unit: unit.to_owned(),
            waiting_for: waiting_for.iter().map(ToString::to_string).collect(),
            reason: reason.to_owned(),
            since_usec: Some(NOW - 184_000_000),
        }
    }

    #[test]
    fn waiters_stand_in_their_order_with_what_they_wait_for() {
        let queue = vec![
            entry(1, "upcp", "upcp.service", &["rpm-db"], "held by dnf"),
            entry(
                2,
                "import",
                "package-import@foo.service",
                &["slots"],
                "all 8 in use",
            ),
        ];
        assert_eq!(
            shown(queue),
            "\
#  TASK        SINCE               REASON
1  upcp        02:00:12 (3min 4s)  held by dnf
2  import@foo  02:00:12 (3min 4s)  all 8 in use
"
        );
    }

    #[test]
    fn every_line_fits_eighty_columns() {
        let long = "x".repeat(250);
        let queue = vec![entry(
            10_000,
            &long,
            &format!("{long}.service"),
            &[&long, &long],
            &long,
        )];
        let text = shown(queue);
        assert!(text.lines().all(|line| text::width(line) <= 80), "{text}");
    }

    #[test]
    fn an_empty_queue_is_said() {
        assert_eq!(shown(Vec::new()), "Nothing waits.\n");
    }

    #[test]
    fn json_has_every_field() {
        let queue = Queue {
            queue: vec![entry(1, "upcp", "upcp.service", &["rpm-db"], "held by dnf")],
        };
        assert_eq!(
            serde_json::to_value(queue).unwrap(),
            serde_json::json!({ "queue": [{
                "position": 1, "task": "upcp", "unit": "upcp.service", "waiting_for": ["rpm-db"],
                "reason": "held by dnf", "since_usec": NOW - 184_000_000
            }]})
        );
    }
}
