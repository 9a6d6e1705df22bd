//! The policy as the engine uses it, and what happens when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use interlock_core::arbiter::{Claim, Uses};
use interlock_generator::names;
use interlock_generator::plan::Order;
use interlock_generator::policy::settings::{Settings, Task};
use interlock_generator::policy::{Diagnostic, PolicyState, load};

use super::super::Notice;
use super::actions::{self, ActionRun, Run};
use super::{Engine, leases};
use crate::journal::message;

/// What is known of the policy, for D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// `good`, `last-good` or `partial`.
    pub state: String,
    /// One line per error, and per thing that was done about them.
    pub errors: Vec<String>,
    /// One line per warning, which whoever has it read is to see.
    pub warnings: Vec<String>,
}

/// The policy in effect.
#[derive(Debug)]
pub struct Policy {
    settings: Settings,
    state: PolicyState,
    /// One line per error.
    errors: Vec<String>,
    /// One line per warning.
    warnings: Vec<String>,
    /// What was done about them, a sentence each.
    consequences: Vec<String>,
    /// What commands use that are run behind a gate of their own, by unit.
    runs: BTreeMap<String, Run>,
}

impl Policy {
    /// Reads it below `root`, by the same rules as the generator.
    pub fn load(root: &Path) -> Self {
        let loaded = load(root);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            loaded.diagnostics.iter().partition(|it| it.is_error());
        let lines = |all: Vec<&Diagnostic>| all.into_iter().map(Diagnostic::one_line).collect();
        Self {
            settings: loaded.settings,
            state: loaded.state,
            errors: lines(errors),
            warnings: lines(warnings),
            consequences: loaded.consequences,
            runs: BTreeMap::new(),
        }
    }

    pub(super) fn log(&self) {
        tracing::info!(
            message_id = message::POLICY_READ,
            "policy read: {} tasks, {} resources ({})",
            self.settings.tasks().len(),
            self.settings.resources().len(),
            self.state
        );
        for error in &self.errors {
            tracing::error!(message_id = message::POLICY_ERROR, "{error}");
        }
        for consequence in &self.consequences {
            tracing::warn!("{consequence}");
        }
    }

    pub(super) fn view(&self) -> PolicyView {
        PolicyView {
            state: self.state.to_string(),
            errors: self
                .errors
                .iter()
                .chain(&self.consequences)
                .cloned()
                .collect(),
            warnings: self.warnings.clone(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn capacities(&self) -> BTreeMap<String, u32> {
        let resources = self.settings.resources().iter();
        resources
            .map(|(name, r)| (name.clone(), r.capacity))
            .collect()
    }

    pub(super) fn task_of(&self, unit: &str) -> Option<&Task> {
        self.settings.task_of_unit(unit)
    }

    /// The policy's name for a unit's task; the unit itself if it has lost its policy.
    pub(super) fn task_name<'a>(&'a self, unit: &'a str) -> &'a str {
        self.task_of(unit).map_or(unit, |task| task.name.as_str())
    }

    pub(super) fn uses_of(&self, unit: &str) -> Uses {
        match self.task_of(unit) {
            Some(task) => actions::uses_of(task, unit),
            None => self
                .run(unit)
                .map(|run| run.uses.clone())
                .unwrap_or_default(),
        }
    }

    /// What a command uses that is run behind a gate of its own is forgotten with it.
    pub(super) fn forget_run(&mut self, unit: &str) {
        self.runs.remove(unit);
    }

    /// The command behind a gate of its own that this unit is.
    pub(super) fn run(&self, unit: &str) -> Option<&Run> {
        self.runs.get(unit)
    }

    pub(super) fn learned_run(&mut self, unit: &str, run: Run) {
        self.runs.insert(unit.to_owned(), run);
    }

    /// The repair that this unit is.
    pub(super) fn action(&self, unit: &str) -> Option<&ActionRun> {
        self.run(unit)?.action.as_ref()
    }

    /// The task whose deployments hold this unit: an action's is the one that it repairs.
    pub(super) fn task_to_hold<'a>(&'a self, unit: &'a str) -> &'a str {
        match self.action(unit) {
            Some(action) => &action.task,
            None => self.task_name(unit),
        }
    }

    /// What such a command asks for.
    pub(super) fn claim_of_run(&self, run: &Run) -> Claim {
        let task = run.action.as_ref().map(|action| action.task.clone());
        let task = task.unwrap_or_default();
        let known = self.settings.tasks().get(&task);
        Claim {
            uses: run.uses.clone(),
            priority: known.map_or(0, |task| task.priority),
            task,
            ..Claim::default()
        }
    }

    pub(super) fn is_gated(&self, unit: &str) -> bool {
        names::is_run(unit) || self.task_of(unit).is_some_and(|task| task.gated)
    }

    /// The units that the policy puts before this one.
    pub(super) fn predecessors(&self, unit: &str) -> BTreeSet<&str> {
        let task = self.task_of(unit);
        task.map(|task| Order::new(&self.settings).before(task))
            .unwrap_or_default()
    }

    /// The units of all tasks; templates as they are.
    pub(super) fn units(&self) -> Vec<String> {
        self.settings
            .tasks()
            .values()
            .map(|task| task.unit.clone())
            .collect()
    }

    /// Patterns that match the units of all gated tasks and the instances of their templates.
    pub(super) fn patterns(&self) -> Vec<String> {
        let gated = self.settings.tasks().values().filter(|task| task.gated);
        let pattern = |task: &Task| {
            let unit = leases::escape_pattern(&task.unit);
            match task.is_template() {
                true => unit.replacen('@', "@*", 1),
                false => unit,
            }
        };
        let runs = [names::RUN_PATTERN.to_owned()];
        gated.map(pattern).chain(runs).collect()
    }

    /// The window with a `max-duration` that starts this unit, if there is one.
    pub(super) fn limited_window_of(&self, unit: &str) -> Option<(&String, Duration)> {
        let task = self.task_of(unit)?;
        let mut windows = self.settings.windows().iter();
        windows.find_map(|(name, window)| {
            let limit = window.max_duration?;
            window.order.contains(&task.name).then_some((name, limit))
        })
    }
}

impl Engine {
    /// After a daemon-reload: the generator has run, so its input may have changed.
    pub(super) async fn policy_may_have_changed(&mut self) {
        let fresh = Policy::load(&self.paths.root);
        let is_new = fresh.settings != self.policy.settings || fresh.errors != self.policy.errors;
        if is_new {
            self.take_policy(fresh).await;
        }
        self.rebuild_if_connected().await;
    }

    /// On request: has PID 1 run the generator, and takes the policy.
    pub(super) async fn reload(&mut self) {
        if let Some(pid1) = self.pid1.clone()
            && let Err(error) = pid1.reload().await
        {
            tracing::warn!(%error, "cannot reload the service manager");
        }
        self.take_policy(Policy::load(&self.paths.root)).await;
        let (made, _) = self.policy.timers();
        self.start_timers(made).await;
        self.rebuild_if_connected().await;
    }

    async fn rebuild_if_connected(&mut self) {
        if let Some(pid1) = self.pid1.clone()
            && !self.rebuild(&pid1).await
        {
            // Nothing is granted until PID 1 has answered.
            self.pid1 = None;
            self.unheard = Some(pid1);
        }
        self.work_off().await;
    }

    async fn take_policy(&mut self, fresh: Policy) {
        fresh.log();
        let (old_made, old_masked) = self.policy.timers();
        let runs = std::mem::take(&mut self.policy.runs);
        self.policy = fresh;
        self.policy.runs = runs;
        self.deadlocks.forget_terms();
        let (made, masked) = self.policy.timers();
        self.start_timers(made.difference(&old_made).cloned().collect())
            .await;
        self.stop_timers(old_made.difference(&made).chain(&masked).cloned().collect())
            .await;
        self.unmask_timers(old_masked.difference(&masked)).await;
        self.tell_claims();
        self.close_admission_again();
        self.queue_of_new_policy();
        self.complain_of_excess();
        self.notify(Notice::Policy(self.policy.units()));
    }
}
