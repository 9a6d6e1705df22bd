//! What the engine tells about deployments.

use interlock_core::deploy::{Deployment, Member, PUT_OFF, Phase, Stage, State};

use super::super::super::words::{duration, list, short_list, time_of_day};
use super::super::Engine;
use super::Live;
use crate::clock;

/// A deployment, for D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentView {
    /// `GROUP-NUMBER`.
    pub id: String,
    /// The group.
    pub group: String,
    /// `settling`, `ready`, `ending`, `ended` or `failed`.
    pub state: String,
    /// One line.
    pub detail: String,
    /// For people.
    pub reason: String,
    /// For people.
    pub owner: String,
    /// The owner's user id.
    pub owner_uid: u32,
    /// Times in microseconds of `CLOCK_REALTIME`, 0 for never.
    pub since: u64,
    /// When it was ready.
    pub ready_since: u64,
    /// When it was over.
    pub ended: u64,
    /// When it ends if nobody holds it.
    pub expires: u64,
    /// When it must have settled.
    pub deadline: u64,
    /// Its members.
    pub members: Vec<MemberView>,
}

/// A unit in a deployment, for D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// The policy's name.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// What is done to it.
    pub action: String,
    /// How far that is.
    pub state: String,
    /// One line, may be empty.
    pub detail: String,
    /// Since when, microseconds of `CLOCK_REALTIME`.
    pub since: u64,
    /// How long its runs usually take, microseconds; 0 if not known.
    pub usual: u64,
}

impl Engine {
    /// All that are remembered, oldest first.
    pub(in super::super) fn deployment_views(&self) -> Vec<DeploymentView> {
        let all = self.deployments.all.values();
        let mut views: Vec<DeploymentView> = all.map(view).collect();
        views.sort_by_key(|view| view.since);
        views
    }

    pub(in super::super) fn deployment_view(&self, id: &str) -> Option<DeploymentView> {
        self.deployments.all.get(id).map(view)
    }

    /// Since when, and by which deployment.
    pub(in super::super) fn frozen_for(&self, unit: &str) -> Option<(u64, String)> {
        let holding = self.deployments.live().filter(|d| d.holds());
        let frozen = holding.filter_map(|d| {
            let member = d.members.get(unit)?;
            (member.phase == Phase::Frozen).then(|| (member.since, named(d)))
        });
        let (since, by) = frozen.min()?;
        Some((since, format!("frozen for {by}")))
    }

    /// What has ended the unit's run, if a deployment has: it is run again.
    pub(in super::super) fn interrupted_by_deployment(&self, unit: &str) -> Option<String> {
        use interlock_core::deploy::Phase;
        let ends = |it: &&Deployment| {
            let phase = it.members.get(unit).map(|member| member.phase);
            matches!(
                phase,
                Some(Phase::Stopping | Phase::Stopped | Phase::Checkpointing)
            )
        };
        let deployment = self.deployments.live().find(ends)?;
        let action = deployment.members.get(unit)?.action.name();
        Some(format!("deployment {}: {action}", deployment.id))
    }

    /// Whether a deployment holds the starts of a task.
    pub(in super::super) fn is_admission_closed(&self, task: &str) -> bool {
        self.deployments.closed.contains(task)
    }

    pub(in super::super) fn stale_since(&self, unit: &str) -> Option<String> {
        let stale = self.deployments.stale.get(unit)?;
        Some(stale.deployment.clone())
    }

    /// The deployments that hold a unit's starts.
    pub(in super::super) fn deployments_that_hold(&self, unit: &str) -> Vec<String> {
        self.holding(unit).map(named).collect()
    }

    /// Whether a deployment is about to start this unit again, or has just done so.
    pub(in super::super) fn is_resumed(&self, unit: &str) -> bool {
        let members = self.deployments.live().filter_map(|d| d.members.get(unit));
        let mut phases = members.map(|member| member.phase);
        phases.any(|phase| phase == Phase::Starting)
    }

    /// As [`Engine::deployments_that_hold`], with who and since when.
    pub(in super::super) fn explain_deployments(&self, unit: &str) -> String {
        let explained = self.holding(unit).map(|d| {
            let ago = duration(clock::realtime().saturating_sub(d.since));
            format!(
                "{} of {}, which is {} since {} ({ago} ago)",
                named(d),
                d.owner.name,
                d.state().name(),
                time_of_day(d.since)
            )
        });
        list(&explained.collect::<Vec<_>>())
    }

    fn holding<'a>(&'a self, unit: &'a str) -> impl Iterator<Item = &'a Deployment> {
        let task = self.policy.task_to_hold(unit);
        let closing = self.deployments.live().filter(|d| d.closes_admission());
        closing.filter(move |d| {
            d.members.contains_key(unit) || self.group_tasks(d).iter().any(|t| t.name == task)
        })
    }
}

/// `deployment web-7 (new release)`
pub(super) fn named(deployment: &Deployment) -> String {
    match deployment.reason.as_str() {
        "" => format!("deployment {}", deployment.id),
        reason => format!("deployment {} ({reason})", deployment.id),
    }
}

fn view(live: &Live) -> DeploymentView {
    let deployment = &live.deployment;
    let is_settling = deployment.state() == State::Settling && deployment.deadline > 0;
    let left = deployment.deadline.saturating_sub(clock::monotonic());
    let members = deployment.members.iter();
    let members = members.map(|(unit, member)| MemberView {
        task: member.task.clone(),
        unit: unit.clone(),
        action: member.action.name().to_owned(),
        state: member.phase.name().to_owned(),
        detail: member.detail.clone(),
        since: member.since,
        usual: member.usual,
    });
    DeploymentView {
        id: deployment.id.clone(),
        group: deployment.group.clone(),
        state: deployment.state().name().to_owned(),
        detail: match live.put_off {
            true => PUT_OFF.to_owned(),
            false => detail(deployment),
        },
        reason: deployment.reason.clone(),
        owner: deployment.owner.name.clone(),
        owner_uid: deployment.owner.uid,
        since: deployment.since,
        ready_since: deployment.ready_since,
        ended: deployment.ended,
        expires: deployment.expires,
        deadline: match is_settling {
            // To a tenth of a second, so that it doesn't seem to move with each look.
            true => (clock::realtime() + left + 50_000) / 100_000 * 100_000,
            false => 0,
        },
        members: members.collect(),
    }
}

fn detail(deployment: &Deployment) -> String {
    let in_phase = |test: fn(&Member) -> bool| -> Vec<&String> {
        let members = deployment.members.iter();
        members
            .filter(|(_, m)| test(m))
            .map(|(unit, _)| unit)
            .collect()
    };
    if let Some(why) = &deployment.failure {
        return why.clone();
    }
    match deployment.stage {
        Stage::Depool => "before-settle runs".to_owned(),
        Stage::Settle => match in_phase(|m| !m.phase.is_settled()).as_slice() {
            [] => "about to be ready".to_owned(),
            units => format!("waiting for {}", short_list(units)),
        },
        Stage::Ready => "all tasks rest".to_owned(),
        Stage::Resume | Stage::Watch => match in_phase(|m| m.phase == Phase::Starting).as_slice() {
            [] => "tasks go on".to_owned(),
            units => format!("starting {}", short_list(units)),
        },
        Stage::Repool => "after-resume runs".to_owned(),
        Stage::Over => match &deployment.ended_by {
            Some(by) => format!("ended by {by}"),
            None => String::new(),
        },
    }
}
