//! `interlockctl queue`: who waits, in which order, for what.

use super::cli::ListArgs;
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
pub async fn run(client: &Client, args: &ListArgs) -> Result<Outcome, CtlError> {
    let queue = client.queue().await?;
    if args.json {
        output::print_json(&Queue { queue })?;
    } else {
        output::print(&render(
            &queue,
            &Clock::of_host(),
            &Screen::of_stdout(args.full),
        ))?;
    }
    Ok(Outcome::Done)
}

/// What is printed without `--json`.
pub fn render(queue: &[QueueEntry], clock: &Clock, screen: &Screen) -> String {
    if queue.is_empty() {
        return "Nothing waits.\n".to_owned();
    }
    let rows: Vec<Vec<Cell>> = queue
        .iter()
        .map(|entry| {
            vec![
                Cell::new(&entry.position.to_string()),
                Cell::new(&model::label(&entry.task, &entry.unit)),
                Cell::new(&clock.since(entry.since_usec.unwrap_or(0))),
                Cell::new(&entry.reason),
            ]
        })
        .collect();
    table::render(&COLUMNS, &rows, screen.width, screen.colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::text;
    use jiff::tz::TimeZone;

    /// 2026-03-01 02:03:16 UTC.
    const NOW: u64 = 1_772_330_596_000_000;
    const SCREEN: Screen = Screen {
        width: Some(80),
        colour: false,
        terminal: false,
    };

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
        let queue = [
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
            render(&queue, &Clock::at(NOW, TimeZone::UTC), &SCREEN),
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
        let queue = [entry(
            10_000,
            &long,
            &format!("{long}.service"),
            &[&long, &long],
            &long,
        )];
        let text = render(&queue, &Clock::at(NOW, TimeZone::UTC), &SCREEN);
        assert!(text.lines().all(|line| text::width(line) <= 80), "{text}");
    }

    #[test]
    fn an_empty_queue_is_said() {
        assert_eq!(
            render(&[], &Clock::at(NOW, TimeZone::UTC), &SCREEN),
            "Nothing waits.\n"
        );
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
