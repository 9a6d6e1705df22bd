//! `interlockctl status`: every task and what it does just now.

use super::cli::Form;
use super::client::Client;
use super::clock::Clock;
use super::error::{CtlError, Outcome};
use super::model::{self, Status, TaskRow};
use super::output::{self, Screen, Style, paint};
use super::table::{self, Cell, Column};
use super::text;

const COLUMNS: [Column; 4] = [
    Column::text("TASK", 12),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::text("DETAIL", 12),
];

const NONE: &str =
    "No task is under policy. Policies go to /etc/interlock/policy.d,\nsee interlock-policy(5).";

/// Asks and prints.
pub async fn run(client: &Client, args: &Form) -> Result<Outcome, CtlError> {
    let status = client.status().await?;
    output::show(&status, args, render)
}

/// What is printed without `--json`.
fn render(status: &Status, clock: &Clock, screen: &Screen) -> String {
    let mut out = String::new();
    if status.policy_state != "good" {
        let errors = text::count(status.policy_errors.len(), "error");
        let line = format!(
            "policy: {}, {errors}; see interlockctl verify",
            text::one_line(&status.policy_state)
        );
        let line = screen
            .width
            .map_or(line.clone(), |cells| text::fit(&line, cells));
        out.push_str(&paint(&line, Style::Bad, screen.colour));
        out.push_str("\n\n");
    }
    if !status.database_trouble.is_empty() {
        let line = format!("database: {}", text::one_line(&status.database_trouble));
        // Whole: it may name a file that is to be looked at.
        let lines = screen
            .width
            .map_or(line.clone(), |cells| text::wrap(&line, cells));
        out.push_str(&paint(&lines, Style::Bad, screen.colour));
        out.push_str("\n\n");
    }
    let row = |task: &TaskRow| {
        vec![
            Cell::new(&model::label(&task.name, &task.unit)),
            Cell::styled(&task.state, model::style(&task.state)),
            Cell::new(&clock.since(task.since_usec.unwrap_or(0))),
            Cell::new(&task.detail),
        ]
    };
    out.push_str(&table::list(&COLUMNS, &status.tasks, NONE, screen, row));
    if !status.tasks.is_empty() {
        out.push_str(&format!("\n{}\n", summary(status)));
    }
    out
}

fn summary(status: &Status) -> String {
    let states = ["running", "frozen", "waiting", "held", "blocked"]
        .into_iter()
        .filter_map(|state| {
            let count = status
                .tasks
                .iter()
                .filter(|task| task.state == state)
                .count();
            (count > 0).then(|| format!("{count} {state}"))
        });
    let all = text::count(status.tasks.len(), "task");
    let states: Vec<String> = states.collect();
    if states.is_empty() {
        all
    } else {
        format!("{all}: {}", states.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::fixture::{NOW, SCREEN, clock};

    fn task(name: &str, state: &str, detail: &str, since_usec: Option<u64>) -> TaskRow {
        TaskRow {
            name: name.to_owned(),
            unit: format!("{name}.service"),
            state: state.to_owned(),
            detail: detail.to_owned(),
            since_usec,
            object: zbus::OwnedObjectPath::default(),
        }
    }

    fn status(tasks: Vec<TaskRow>) -> Status {
        Status {
            version: "0.1.0".to_owned(),
            policy_state: "good".to_owned(),
            policy_errors: Vec::new(),
            database_trouble: String::new(),
            tasks,
        }
    }

    #[test]
    fn a_table_shows_each_task_and_since_when() {
        let status = status(vec![
            task(
                "dnf-automatic",
                "waiting",
                "for rpm-db, held by upcp.service",
                Some(NOW - 184_000_000),
            ),
            task("upcp", "running", "holds rpm-db", Some(NOW - 186_000_000)),
            task("refresh-links", "idle", "", None),
        ]);
        assert_eq!(
            render(&status, &clock(), &SCREEN),
            "\
TASK           STATE    SINCE               DETAIL
dnf-automatic  waiting  02:00:12 (3min 4s)  for rpm-db, held by upcp.service
upcp           running  02:00:10 (3min 6s)  holds rpm-db
refresh-links  idle

3 tasks: 1 running, 1 waiting
"
        );
    }

    #[test]
    fn every_line_fits_eighty_columns_whatever_the_names() {
        let long = "a-very-long-name-".repeat(15);
        let mut status = status(vec![
            task(
                &long,
                "waiting",
                &"更新".repeat(99),
                Some(NOW - 100 * 86_400_000_000),
            ),
            task("更新処理更新処理更新処理", "blocked", &long, Some(NOW)),
        ]);
        status.policy_state = long.clone();
        let text = render(&status, &clock(), &SCREEN);
        for line in text.lines() {
            assert!(text::width(line) <= 80, "{line}");
        }
        assert!(text.contains('…'));
        assert!(text.contains("2025-11-21 02:03 (100d)"), "{text}");
    }

    #[test]
    fn a_database_in_trouble_is_said_first() {
        let mut status = status(vec![task("upcp", "idle", "", None)]);
        status.database_trouble = "it can't be written (disk full)".to_owned();
        let text = render(&status, &clock(), &SCREEN);
        assert!(
            text.starts_with("database: it can't be written (disk full)\n\nTASK"),
            "{text}"
        );
    }

    #[test]
    fn a_policy_that_is_not_good_is_said_first() {
        let mut status = status(vec![task("upcp", "blocked", "its policy has errors", None)]);
        status.policy_state = "partial".to_owned();
        status.policy_errors = vec!["10.toml:1:1: error: x".to_owned()];
        let text = render(&status, &clock(), &SCREEN);
        assert!(
            text.starts_with("policy: partial, 1 error; see interlockctl verify\n\nTASK"),
            "{text}"
        );
        assert!(text.ends_with("\n1 task: 1 blocked\n"), "{text}");
    }

    #[test]
    fn without_tasks_it_says_where_policies_go() {
        let text = render(&status(Vec::new()), &clock(), &SCREEN);
        assert!(text.contains("/etc/interlock/policy.d"));
    }

    #[test]
    fn colour_is_there_only_if_wanted() {
        let status = status(vec![task("upcp", "running", "", None)]);
        assert!(!render(&status, &clock(), &SCREEN).contains('\x1b'));
        let colour = Screen {
            colour: true,
            ..SCREEN
        };
        assert!(render(&status, &clock(), &colour).contains("\x1b[32mrunning\x1b[0m"));
    }
}
