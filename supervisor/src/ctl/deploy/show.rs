//! `interlockctl deploy list` and `show`.

use super::calls;
use super::cli::{ListArgs, ShowArgs};
use super::model::{self, Deployment, DeploymentRow, Deployments, Member};
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::model::label;
use crate::ctl::output::{self, Screen, paint};
use crate::ctl::table::{self, Cell, Column};
use crate::ctl::text;

const COLUMNS: [Column; 7] = [
    Column::whole("ID"),
    Column::text("GROUP", 8),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::whole("EXPIRES"),
    Column::text("OWNER", 8),
    Column::text("REASON", 8),
];

const MEMBERS: [Column; 5] = [
    Column::text("TASK", 12),
    Column::whole("ACTION"),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::text("DETAIL", 12),
];

/// Asks and prints.
pub async fn list(client: &Client, args: &ListArgs) -> Result<Outcome, CtlError> {
    let mut deployments = calls::list(client).await?;
    if !args.all {
        deployments.retain(|row| !model::is_over(&row.state));
    }
    let deployments = Deployments { deployments };
    output::show(&deployments, &args.form, |all, clock, screen| {
        render_list(&all.deployments, clock, screen)
    })
}

/// Asks and prints.
pub async fn show(client: &Client, args: &ShowArgs) -> Result<Outcome, CtlError> {
    let object = calls::meant(client, args.id.as_deref(), None).await?;
    let deployment = calls::facts(client, &object).await?;
    output::show(&deployment, &args.form, render)
}

fn render_list(rows: &[DeploymentRow], clock: &Clock, screen: &Screen) -> String {
    let cells = |row: &DeploymentRow| {
        vec![
            Cell::new(&row.id),
            Cell::new(&row.group),
            Cell::styled(&row.state, model::style(&row.state)),
            Cell::new(&clock.time(row.since_usec.unwrap_or(0))),
            Cell::new(&clock.time(expires(row))),
            Cell::new(&row.owner),
            Cell::new(&row.reason),
        ]
    };
    table::list(&COLUMNS, rows, "No deployment is alive.", screen, cells)
}

/// One that is over expires no more.
fn expires(row: &DeploymentRow) -> u64 {
    match model::is_over(&row.state) {
        true => 0,
        false => row.expires_usec.unwrap_or(0),
    }
}

fn render(now: &Deployment, clock: &Clock, screen: &Screen) -> String {
    let state = paint(&now.state, model::style(&now.state), screen.colour);
    let mut out = format!("deployment {} of {}: {state}", now.id, now.group);
    if !now.detail.is_empty() {
        out.push_str(&format!(" ({})", text::one_line(&now.detail)));
    }
    out.push('\n');
    let time = |usec: Option<u64>| clock.time(usec.unwrap_or(0));
    let expires = match (now.is_over(), now.expires_usec) {
        (true, _) => String::new(),
        (false, None) => "with its holder".to_owned(),
        (false, Some(_)) => time(now.expires_usec),
    };
    for (name, value) in [
        ("reason", text::one_line(&now.reason)),
        ("owner", text::one_line(&now.owner)),
        ("begun", time(now.since_usec)),
        ("settles by", time(now.deadline_usec)),
        ("at rest", time(now.ready_since_usec)),
        ("over", time(now.ended_usec)),
        ("expires", expires),
    ] {
        if !value.is_empty() {
            out.push_str(&format!("{name:>12}: {value}\n"));
        }
    }
    let row = |member: &Member| {
        vec![
            Cell::new(&label(&member.task, &member.unit)),
            Cell::new(&member.action),
            Cell::styled(&member.state, model::style(&member.state)),
            Cell::new(&time(member.since_usec)),
            Cell::new(&member.detail),
        ]
    };
    out.push('\n');
    let none = "None of its tasks ran.";
    out.push_str(&table::list(&MEMBERS, &now.tasks, none, screen, row));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::fixture::{NOW, SCREEN, clock};

    fn row(id: &str, owner: &str, expires_usec: Option<u64>) -> DeploymentRow {
        DeploymentRow {
            id: id.to_owned(),
            group: "wiki".to_owned(),
            state: "ready".to_owned(),
            reason: "release 42".to_owned(),
            owner: owner.to_owned(),
            since_usec: Some(NOW - 184_000_000),
            expires_usec,
            object: zbus::OwnedObjectPath::default(),
        }
    }

    #[test]
    fn deployments_are_listed_with_owner_and_expiry() {
        let rows = [
            row("wiki-1", "root", None),
            row("wiki-2", "alice", Some(NOW + 60_000_000)),
        ];
        assert_eq!(
            render_list(&rows, &clock(), &SCREEN),
            "\
ID      GROUP  STATE  SINCE     EXPIRES   OWNER  REASON
wiki-1  wiki   ready  02:00:12            root   release 42
wiki-2  wiki   ready  02:00:12  02:04:16  alice  release 42
"
        );
        assert_eq!(
            render_list(&[], &clock(), &SCREEN),
            "No deployment is alive.\n"
        );
    }

    #[test]
    fn long_owners_and_reasons_are_cut_so_that_every_line_fits() {
        let mut long = row("wiki-1", &"x".repeat(200), None);
        long.reason = "y".repeat(200);
        let text = render_list(&[long], &clock(), &SCREEN);
        assert!(text.lines().all(|line| text::width(line) <= 80), "{text}");
    }

    #[test]
    fn a_deployment_is_shown_with_what_became_of_each_task() {
        let member = |task: &str, unit: &str, action: &str, state: &str| Member {
            task: task.to_owned(),
            unit: unit.to_owned(),
            action: action.to_owned(),
            state: state.to_owned(),
            since_usec: Some(NOW - 180_000_000),
            ..Member::default()
        };
        let mut now = Deployment {
            id: "wiki-1".to_owned(),
            group: "wiki".to_owned(),
            state: "ready".to_owned(),
            reason: "release 42".to_owned(),
            owner: "alice (uid 1000), deploy.sh (pid 123)".to_owned(),
            since_usec: Some(NOW - 184_000_000),
            ready_since_usec: Some(NOW - 180_000_000),
            tasks: vec![
                member("import", "package-import@foo.service", "freeze", "frozen"),
                member("jobrunner", "php-fpm.service", "restart", "stopped"),
            ],
            ..Deployment::default()
        };
        assert_eq!(
            render(&now, &clock(), &SCREEN),
            "\
deployment wiki-1 of wiki: ready
      reason: release 42
       owner: alice (uid 1000), deploy.sh (pid 123)
       begun: 02:00:12
     at rest: 02:00:16
     expires: with its holder

TASK        ACTION   STATE    SINCE     DETAIL
import@foo  freeze   frozen   02:00:16
jobrunner   restart  stopped  02:00:16
"
        );
        now.state = "failed".to_owned();
        now.detail = "its holder died".to_owned();
        now.tasks.clear();
        let text = render(&now, &clock(), &SCREEN);
        assert!(
            text.starts_with("deployment wiki-1 of wiki: failed (its holder died)\n"),
            "{text}"
        );
        assert!(!text.contains("expires"), "{text}");
        assert!(text.ends_with("None of its tasks ran.\n"), "{text}");
    }
}
