//! What the daemon tells about tasks, in the shape that `--json` prints. The fields are described in [`super::manual`].

use std::collections::{BTreeMap, HashMap};

use interlock_generator::names;
use serde::Serialize;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::output::Style;
use super::proxy::fields::{Fields, some};
use super::proxy::manager::{ListedTask, QueuedTask};

/// `status --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// `good`, `last-good` or `partial`.
    pub policy_state: String,
    /// One line for each error in the policy.
    pub policy_errors: Vec<String>,
    /// What is wrong with the state database; empty if nothing is.
    pub database_trouble: String,
    /// Every task.
    pub tasks: Vec<TaskRow>,
}

/// A task in `status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskRow {
    /// Its name in the policy.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `idle`, `waiting`, `held`, `running`, `frozen` or `blocked`.
    pub state: String,
    /// One line about that state.
    pub detail: String,
    /// Since when, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// Its D-Bus object.
    #[serde(skip)]
    pub object: OwnedObjectPath,
}

impl From<ListedTask> for TaskRow {
    fn from((name, unit, state, detail, since, object): ListedTask) -> Self {
        Self {
            name,
            unit,
            state,
            detail,
            since_usec: some(since),
            object,
        }
    }
}

/// `queue --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Who waits, first one first.
    pub queue: Vec<QueueEntry>,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueueEntry {
    /// Its place, from 1.
    pub position: u32,
    /// Its task's name in the policy.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// The resources that it waits for.
    pub waiting_for: Vec<String>,
    /// One line.
    pub reason: String,
    /// Since when, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
}

impl From<QueuedTask> for QueueEntry {
    fn from((position, task, unit, waiting_for, reason, since): QueuedTask) -> Self {
        Self {
            position,
            task,
            unit,
            waiting_for,
            reason,
            since_usec: some(since),
        }
    }
}

/// `why --json`: a task's D-Bus properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TaskDetails {
    /// Its name in the policy.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `idle`, `waiting`, `held`, `running`, `frozen` or `blocked`.
    pub state: String,
    /// One line about that state.
    pub detail: String,
    /// What `why` says without `--json`.
    pub explanation: String,
    /// Since when, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// Its place in the queue, from 1.
    pub position: Option<u32>,
    /// The resources that it waits for.
    pub waiting_for: Vec<String>,
    /// The units that hold them.
    pub held_by: Vec<String>,
    /// Shares that it uses of each resource.
    pub uses: BTreeMap<String, u32>,
    /// Higher is served first.
    pub priority: i32,
    /// Whether its starts wait at a gate.
    pub gated: bool,
    /// How often it ran.
    pub runs: u64,
    /// How often a start was given up.
    pub skips: u64,
    /// Why, the last time.
    pub last_skip_reason: Option<String>,
    /// The deployment since which the code that it runs is old.
    pub stale_since: Option<String>,
    /// How long its runs usually take, microseconds.
    pub usual_duration_usec: Option<u64>,
    /// How long it usually waits at its gate, microseconds.
    pub usual_wait_usec: Option<u64>,
}

impl TaskDetails {
    /// From a reply to `GetAll`. A property that is missing, of a daemon of another version, is as good as none.
    pub fn from_properties(all: HashMap<String, OwnedVariant>) -> Self {
        let mut all = Fields::from(all);
        Self {
            name: all.get("Name"),
            unit: all.get("Unit"),
            state: all.get("State"),
            detail: all.get("Detail"),
            explanation: String::new(),
            since_usec: all.usec("Since"),
            position: Some(all.get("Position")).filter(|&position: &u32| position > 0),
            waiting_for: all.get("WaitingFor"),
            held_by: all.get("HeldBy"),
            uses: all
                .get::<HashMap<String, u32>>("Uses")
                .into_iter()
                .collect(),
            priority: all.get("Priority"),
            gated: all.get("Gated"),
            runs: all.get("Runs"),
            skips: all.get("Skips"),
            last_skip_reason: all.text("LastSkipReason"),
            stale_since: all.text("StaleSince"),
            usual_duration_usec: all.usec("UsualDuration"),
            usual_wait_usec: all.usec("UsualWait"),
        }
    }
}

/// How a task is called in tables: by its name, and an instance as `start` takes it (`import@foo`).
pub fn label(name: &str, unit: &str) -> String {
    let instance = names::template_of(unit)
        .filter(|_| !name.contains('@'))
        .and_then(|_| unit.rsplit_once('.')?.0.split_once('@'));
    match instance {
        Some((_, instance)) => format!("{name}@{instance}"),
        None => name.to_owned(),
    }
}

/// How a state looks.
pub fn style(state: &str) -> Style {
    match state {
        "running" => Style::Good,
        "waiting" | "held" | "frozen" => Style::Waiting,
        "blocked" => Style::Bad,
        "idle" => Style::Dim,
        _ => Style::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_called_as_start_takes_it() {
        assert_eq!(label("import", "package-import@foo.service"), "import@foo");
        assert_eq!(label("import", "package-import@p@q.service"), "import@p@q");
        assert_eq!(label("import", "package-import@.service"), "import");
        assert_eq!(label("upcp", "upcp.service"), "upcp");
        assert_eq!(
            label("import@foo", "package-import@foo.service"),
            "import@foo"
        );
    }

    #[test]
    fn none_is_null_and_never_zero() {
        let row = TaskRow::from((
            "upcp".to_owned(),
            "upcp.service".to_owned(),
            "idle".to_owned(),
            String::new(),
            0,
            zbus::ObjectPath::from_static_str_unchecked("/x").into(),
        ));
        assert_eq!(
            serde_json::to_value(row).unwrap(),
            serde_json::json!({
                "name": "upcp", "unit": "upcp.service", "state": "idle", "detail": "", "since_usec": null
            })
        );
    }
}
