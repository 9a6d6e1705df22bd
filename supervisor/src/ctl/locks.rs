//! `interlockctl locks`: who holds the locks of resources.

use serde::Serialize;

use super::cli::Form;
use super::client::Client;
use super::clock::Clock;
use super::error::{CtlError, Outcome};
use super::output::{self, Screen};
use super::proxy::fields::some;
use super::proxy::manager::{HeldLock, LockRemark};
use super::table::{self, Cell, Column};

/// `locks --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Locks {
    /// Held.
    pub locks: Vec<LockRow>,
    /// Not held, although it looks so.
    pub remarks: Vec<RemarkRow>,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LockRow {
    /// The resource.
    pub resource: String,
    /// The lock file.
    pub path: String,
    /// How it is held.
    pub kind: String,
    /// The holder's process; 0 if it can't be seen from here.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Its user.
    pub user: String,
    /// Its unit, may be empty.
    pub unit: String,
    /// Its terminal, may be empty.
    pub terminal: String,
    /// When the process started, microseconds of `CLOCK_REALTIME`.
    pub since_usec: Option<u64>,
}

/// Something that looks like a lock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RemarkRow {
    /// The resource.
    pub resource: String,
    /// The lock file.
    pub path: String,
    /// Why it isn't one.
    pub text: String,
}

impl From<HeldLock> for LockRow {
    fn from(row: HeldLock) -> Self {
        let (resource, path, kind, pid, name, user, unit, terminal, since) = row;
        Self {
            resource,
            path,
            kind,
            pid,
            name,
            user,
            unit,
            terminal,
            since_usec: some(since),
        }
    }
}

impl From<LockRemark> for RemarkRow {
    fn from((resource, path, text): LockRemark) -> Self {
        Self {
            resource,
            path,
            text,
        }
    }
}

const COLUMNS: [Column; 5] = [
    Column::text("RESOURCE", 8),
    Column::text("HOLDER", 12),
    Column::text("OF", 8),
    Column::whole("SINCE"),
    Column::text("LOCK", 12),
];

/// Asks and prints.
pub async fn run(client: &Client, args: &Form) -> Result<Outcome, CtlError> {
    let locks = client.locks().await?;
    output::show(&locks, args, render)
}

/// What is printed without `--json`.
fn render(locks: &Locks, clock: &Clock, screen: &Screen) -> String {
    let none = "No lock of any resource is held.";
    let mut text = table::list(&COLUMNS, &locks.locks, none, screen, |it| row(it, clock));
    for remark in &locks.remarks {
        text.push_str(&format!("{}: {}\n", remark.resource, remark.text));
    }
    text
}

fn row(it: &LockRow, clock: &Clock) -> Vec<Cell> {
    let holder = match it.pid {
        0 => "not to be seen from here".to_owned(),
        pid => format!("{} (pid {pid})", it.name),
    };
    let place = match (it.terminal.as_str(), it.unit.as_str()) {
        ("", "") => it.user.clone(),
        ("", unit) => unit.to_owned(),
        (terminal, _) => format!("{} on {terminal}", it.user),
    };
    vec![
        Cell::new(&it.resource),
        Cell::new(&holder),
        Cell::new(&place),
        Cell::new(&clock.since(it.since_usec.unwrap_or(0))),
        Cell::new(&format!("{} ({})", it.path, it.kind)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::fixture::clock;

    #[test]
    fn holders_are_named_and_what_is_none_is_said() {
        let row = LockRow::from((
            "rpm-db".to_owned(),
            "/var/lib/rpm/.rpm.lock".to_owned(),
            "posix".to_owned(),
            712,
            "dnf".to_owned(),
            "root".to_owned(),
            "session-3.scope".to_owned(),
            "pts/0".to_owned(),
            1_772_330_412_000_000,
        ));
        let remark = RemarkRow {
            resource: "bootstrapper".to_owned(),
            path: "/run/ansible.lock".to_owned(),
            text: "/run/ansible.lock names pid 99, which is gone".to_owned(),
        };
        let locks = Locks {
            locks: vec![row],
            remarks: vec![remark],
        };
        let screen = Screen {
            width: None,
            colour: false,
            terminal: false,
        };
        let text = render(&locks, &clock(), &screen);
        for part in [
            "dnf (pid 712)",
            "root on pts/0",
            ".rpm.lock (posix)",
            "pid 99",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
