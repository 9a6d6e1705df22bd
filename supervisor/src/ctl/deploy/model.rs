//! What the daemon tells about deployments, in the shape that `--json` prints. The fields are described in
//! [`super::manual`].

use std::collections::HashMap;

use interlock_core::deploy::PUT_OFF;
use serde::Serialize;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::proxy::{ListedDeployment, ListedMember};
use crate::ctl::output::Style;
use crate::ctl::proxy::fields::{Fields, some};

/// `deploy list --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployments {
    /// The oldest first.
    pub deployments: Vec<DeploymentRow>,
}

/// A deployment in `deploy list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeploymentRow {
    /// Its id.
    pub id: String,
    /// Its group in the policy.
    pub group: String,
    /// `settling`, `ready`, `ending`, `ended` or `failed`.
    pub state: String,
    /// Why it was begun.
    pub reason: String,
    /// Who began it.
    pub owner: String,
    /// When, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// When it ends by itself.
    pub expires_usec: Option<u64>,
    /// Its D-Bus object.
    #[serde(skip)]
    pub object: OwnedObjectPath,
}

impl From<ListedDeployment> for DeploymentRow {
    fn from(row: ListedDeployment) -> Self {
        let (id, group, state, reason, owner, since, expires, object) = row;
        Self {
            id,
            group,
            state,
            reason,
            owner,
            since_usec: some(since),
            expires_usec: some(expires),
            object,
        }
    }
}

/// `deploy show --json`: a deployment's D-Bus properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// Its group in the policy.
    pub group: String,
    /// `settling`, `ready`, `ending`, `ended` or `failed`.
    pub state: String,
    /// One line about that state.
    pub detail: String,
    /// Why it was begun.
    pub reason: String,
    /// Who began it or took it over.
    pub owner: String,
    /// That user.
    pub owner_uid: u32,
    /// When it was begun, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// When all was at rest.
    pub ready_since_usec: Option<u64>,
    /// When it ended or failed.
    pub ended_usec: Option<u64>,
    /// When it ends by itself.
    pub expires_usec: Option<u64>,
    /// When settling is given up.
    pub deadline_usec: Option<u64>,
    /// What became of each task.
    pub tasks: Vec<Member>,
}

/// A task of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Member {
    /// Its name in the policy.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// What is done to it.
    pub action: String,
    /// What became of it.
    pub state: String,
    /// One line about that state.
    pub detail: String,
    /// Since when, CLOCK_REALTIME in microseconds.
    pub since_usec: Option<u64>,
    /// How long its runs usually take, microseconds.
    pub usual_usec: Option<u64>,
}

impl From<ListedMember> for Member {
    fn from((task, unit, action, state, detail, since, usual): ListedMember) -> Self {
        Self {
            task,
            unit,
            action,
            state,
            detail,
            since_usec: some(since),
            usual_usec: some(usual),
        }
    }
}

impl Deployment {
    /// From a reply to `GetAll`. A property that is missing, of a daemon of another version, is as good as none.
    pub fn from_properties(all: HashMap<String, OwnedVariant>) -> Self {
        let mut all = Fields::from(all);
        Self {
            id: all.get("Id"),
            group: all.get("Group"),
            state: all.get("State"),
            detail: all.get("Detail"),
            reason: all.get("Reason"),
            owner: all.get("Owner"),
            owner_uid: all.get("OwnerUid"),
            since_usec: all.usec("Since"),
            ready_since_usec: all.usec("ReadySince"),
            ended_usec: all.usec("Ended"),
            expires_usec: all.usec("Expires"),
            deadline_usec: all.usec("Deadline"),
            tasks: all
                .get::<Vec<ListedMember>>("Tasks")
                .into_iter()
                .map(Member::from)
                .collect(),
        }
    }

    /// Whether it is over, or nothing more of it will happen before the host is up again.
    pub fn is_over(&self) -> bool {
        is_over(&self.state) || self.is_put_off()
    }

    /// The host shuts down before its end.
    pub fn is_put_off(&self) -> bool {
        self.state == "ending" && self.detail == PUT_OFF
    }
}

/// Whether a deployment in this state is over.
pub fn is_over(state: &str) -> bool {
    matches!(state, "ended" | "failed")
}

impl Member {
    /// Whether settling needn't wait for it any more.
    pub fn is_at_rest(&self) -> bool {
        matches!(
            self.state.as_str(),
            "frozen" | "stopped" | "ended" | "ignored"
        )
    }

    /// Whether the end needn't wait for it any more.
    pub fn goes_again(&self) -> bool {
        matches!(
            self.state.as_str(),
            "resumed" | "failed" | "ended" | "ignored"
        )
    }
}

/// How a state looks, of a deployment or of a task in it.
pub fn style(state: &str) -> Style {
    match state {
        "ready" | "resumed" => Style::Good,
        "settling" | "ending" | "running" | "waiting" | "freezing" | "stopping"
        | "checkpointing" | "starting" => Style::Waiting,
        "failed" => Style::Bad,
        "ended" | "ignored" => Style::Dim,
        _ => Style::Plain,
    }
}
