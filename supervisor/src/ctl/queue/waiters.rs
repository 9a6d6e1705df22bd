//! `interlockctl queue`: who waits, in which order, for what.

use crate::ctl::cli::Form;
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::model::{self, Queue, QueueEntry};
use crate::ctl::output::{self, Screen};
use crate::ctl::proxy::Row;
use crate::ctl::proxy::fields::Fields;
use crate::ctl::proxy::queue::Paused;
use crate::ctl::table::{self, Cell, Column};
use crate::ctl::text;

const COLUMNS: [Column; 4] = [
    Column::number("#"),
    Column::text("TASK", 12),
    Column::whole("SINCE"),
    Column::text("REASON", 12),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &Form) -> Result<Outcome, CtlError> {
    let queue = client.queue().await?;
    let submitted = submitted(client).await;
    output::show(&Queue { queue }, args, |all, clock, screen| {
        let text = render(all, clock, screen);
        match &submitted {
            Some(line) => format!("{text}\n{line}\n"),
            None => text,
        }
    })
}

/// What is printed without `--json`.
/// What else waits, in one line; it is worth no error.
async fn submitted(client: &Client) -> Option<String> {
    let queue = client.submissions().await.ok()?;
    let counts = queue.count_queued().await.ok()?;
    let paused = queue.list_paused().await.unwrap_or_default();
    summary(counts, &paused)
}

pub(super) fn summary(counts: Vec<Row>, paused: &[Paused]) -> Option<String> {
    let mut sums = [0_u64; 3];
    for mut row in counts.into_iter().map(Fields::from) {
        let mut number = |name: &str| row.get::<u64>(name);
        let waiting = number("queued") + number("behind");
        for (sum, more) in sums
            .iter_mut()
            .zip([waiting, number("delayed"), number("running")])
        {
            *sum += more;
        }
    }
    let [waiting, delayed, running] = sums;
    let mut parts = Vec::new();
    for (number, what) in [
        (waiting, "submitted"),
        (delayed, "to be tried again"),
        (running, "of them running"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    for (task, reason, ..) in paused {
        let what = match task.as_str() {
            "" => "the queue is paused".to_owned(),
            task => format!("{task} is paused"),
        };
        parts.push(match reason.as_str() {
            "" => what,
            reason => format!("{what} ({reason})"),
        });
    }
    let text = text::one_line(&parts.join(", "));
    (!parts.is_empty()).then(|| format!("Queued: {text}; see interlockctl queue list."))
}

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
