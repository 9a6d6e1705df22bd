//! The policy as the engine uses it: claims, windows that are open, and what happens when it changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use interlock_core::arbiter::{Claim, Event, Refusal, Uses};
use interlock_generator::names;
use interlock_generator::policy::settings::{Settings, Task, WhenBusy};
use interlock_generator::policy::{PolicyState, load};

use super::super::{Notice, words};
use super::actions::{self, ActionRun, Run};
use super::{Engine, leases};
use crate::clock;
use crate::journal::message;
use crate::pid1::{Pid1, UnitState};

/// What is known of the policy, for D-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// `good`, `last-good` or `partial`.
    pub state: String,
    /// One line per error, and per thing that was done about them.
    pub errors: Vec<String>,
}

/// A window whose target's job is in PID 1's queue.
#[derive(Debug, Clone, Copy)]
pub struct OpenWindow {
    /// The target's job.
    job: u32,
    /// Since when, microseconds of `CLOCK_MONOTONIC`.
    since: u64,
}

/// The policy in effect.
#[derive(Debug)]
pub struct Policy {
    settings: Settings,
    state: PolicyState,
    /// One line per error.
    errors: Vec<String>,
    /// What was done about them, a sentence each.
    consequences: Vec<String>,
    /// What commands use that are run behind a gate of their own, by unit.
    runs: BTreeMap<String, Run>,
}

impl Policy {
    /// Reads it below `root`, by the same rules as the generator.
    pub fn load(root: &Path) -> Self {
        let loaded = load(root);
        let errors = loaded.diagnostics.iter().filter(|it| it.is_error());
        Self {
            settings: loaded.settings,
            state: loaded.state,
            errors: errors.map(|error| error.one_line()).collect(),
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
    fn claim_of_run(&self, run: &Run) -> Claim {
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
    /// What a unit asks for when it starts now.
    pub(super) async fn claim_of(
        &mut self,
        unit: &str,
        since: u64,
        state: Option<&UnitState>,
    ) -> Claim {
        let window = self.window_deadline(unit, since, state).await;
        let Some(task) = self.policy.task_of(unit) else {
            let run = self.policy.run(unit);
            return run
                .map(|run| self.policy.claim_of_run(run))
                .unwrap_or_default();
        };
        let mut claim = base_claim(task, unit, since);
        if let Some(over) = window
            && claim.deadline.is_none_or(|deadline| over < deadline)
        {
            claim.deadline = Some(over);
            claim.at_deadline = Refusal::WindowOver;
        }
        if (claim.deadline.is_some() || claim.refuse_if_busy.is_some())
            && self.is_activated_by_event(unit).await
        {
            // A refusal would be tried again at once, until the socket or path unit gives up for good.
            claim.deadline = None;
            claim.refuse_if_busy = None;
        }
        claim
    }

    async fn is_activated_by_event(&self, unit: &str) -> bool {
        self.trigger_of(unit).await.is_some()
    }

    /// The socket or path unit that starts this unit, if one does.
    pub(super) async fn trigger_of(&self, unit: &str) -> Option<String> {
        let triggers = self.pid1.as_ref()?.triggered_by(unit).await;
        let mut triggers = triggers.unwrap_or_default().into_iter();
        triggers.find(|it| it.ends_with(".socket") || it.ends_with(".path"))
    }

    /// When the window that this start belongs to is over, microseconds of `CLOCK_MONOTONIC`.
    ///
    /// The start belongs to it if its job came with the target's (ids grow) and the task hasn't run
    /// since: one that is started by hand meanwhile has a younger run behind it, or an older job.
    async fn window_deadline(
        &mut self,
        unit: &str,
        since: u64,
        state: Option<&UnitState>,
    ) -> Option<u64> {
        let (window, limit) = self.policy.limited_window_of(unit)?;
        let (window, limit) = (window.clone(), words::usec(limit));
        let (own_job, _) = state?.job.as_ref()?;
        let target = self
            .pid1
            .as_ref()?
            .job_of(&names::window_target(&window))
            .await
            .ok()??;
        let known = self.windows.get(&window).copied();
        let open = known
            .filter(|open| open.job == target)
            .unwrap_or(OpenWindow { job: target, since });
        self.windows.insert(window, open);
        let began = clock::realtime().saturating_sub(clock::monotonic().saturating_sub(open.since));
        let ran_since = self
            .history
            .last_start(unit)
            .is_some_and(|start| start > began);
        (*own_job > target && !ran_since).then_some(open.since + limit)
    }

    /// What a command uses that is run behind a gate of its own; PID 1 has it in the unit's environment. Says whether
    /// that is known: until it is, the command must not be taken for one that uses nothing.
    #[must_use]
    pub(super) async fn learn_run(&mut self, pid1: &Pid1, unit: &str) -> bool {
        if !names::is_run(unit) || self.policy.runs.contains_key(unit) {
            return true;
        }
        let Ok(environment) = pid1.environment(unit).await else {
            return false;
        };
        let Some(uses) = actions::variable(&environment, names::RUN_USES) else {
            return true;
        };
        let one = |word: &str| {
            let (resource, shares) = word.split_once('=')?;
            let capacity = self.policy.settings.resources().get(resource)?.capacity;
            // More than there is would wait for ever.
            let shares = shares.parse::<u32>().ok()?.clamp(1, capacity);
            Some((resource.to_owned(), shares))
        };
        let uses: Uses = uses.split_whitespace().filter_map(one).collect();
        let run = Run::learned(uses, &environment);
        self.policy.learned_run(unit, run);
        if self.arbiter.queue().iter().any(|w| w.unit == unit) {
            // It asked when PID 1 didn't answer.
            self.tell_claims();
        }
        true
    }

    /// That command is over.
    pub(super) fn forget_run(&mut self, unit: &str) {
        self.policy.runs.remove(unit);
    }

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
        self.complain_of_excess();
        self.notify(Notice::Policy(self.policy.units()));
    }

    /// The arbiter learns what those who hold and who wait need now. A lease may hold more after that.
    fn tell_claims(&mut self) {
        let claims = self.current_claims();
        self.feed(Event::Policy {
            capacities: self.capacities(),
            claims,
        });
        self.keep_all_granted();
    }

    fn current_claims(&self) -> BTreeMap<String, Claim> {
        let waiters = self
            .arbiter
            .queue()
            .iter()
            .map(|w| (&w.unit, w.since, Some(&w.claim)));
        let leases = self.arbiter.leases().keys().map(|unit| (unit, 0, None));
        let claims = waiters.chain(leases).filter_map(|(unit, since, old)| {
            let Some(task) = self.policy.task_of(unit) else {
                // A command's claim is its own; a task that lost its policy has none.
                let run = self.policy.run(unit);
                return run.map(|run| (unit.clone(), self.policy.claim_of_run(run)));
            };
            let mut claim = base_claim(task, unit, since);
            // Only at its start was it known whether it belongs to a window, or may be refused at all.
            match old {
                Some(old) if old.at_deadline == Refusal::WindowOver => {
                    claim.deadline = old.deadline;
                    claim.at_deadline = old.at_deadline;
                }
                Some(old) if old.deadline.is_none() => claim.deadline = None,
                _ => {}
            }
            claim.refuse_if_busy = None;
            Some((unit.clone(), claim))
        });
        claims.collect()
    }

    fn complain_of_excess(&self) {
        for (resource, capacity) in self.arbiter.capacities() {
            let leases = self.arbiter.leases().values();
            let held: u64 = leases
                .filter_map(|l| l.uses.get(resource))
                .map(|n| u64::from(*n))
                .sum();
            if held > u64::from(*capacity) {
                tracing::warn!(
                    message_id = message::OVER_CAPACITY,
                    resource,
                    "{held} of {resource} are held but its capacity is {capacity}: nothing more is granted until it fits"
                );
            }
        }
    }
}

/// The claim that follows from the policy alone.
fn base_claim(task: &Task, unit: &str, since: u64) -> Claim {
    Claim {
        task: task.name.clone(),
        uses: actions::uses_of(task, unit),
        priority: task.priority,
        refuse_if_busy: match task.when_busy {
            WhenBusy::Queue => None,
            WhenBusy::Skip => Some(Refusal::Skipped),
            WhenBusy::Fail => Some(Refusal::Failed),
        },
        deadline: task.max_wait.map(|wait| since + words::usec(wait)),
        at_deadline: Refusal::WaitedTooLong,
    }
}
