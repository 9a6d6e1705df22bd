//! What the engine tells about tasks: states, the queue, and why something waits.

use interlock_core::arbiter::{Hurdle, WaitView, resources, unit_of_share};
use interlock_generator::names;
use interlock_generator::policy::is_unit_name;
use interlock_generator::policy::settings::Task;

use super::super::words::{list, ordinal, short_list};
use super::Engine;
use super::actions::resource_title;
use crate::pid1::UnitState;
use crate::{clock, instance};

/// A task, or a live instance of a template's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskView {
    /// The policy's name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `idle`, `waiting`, `held`, `running`, `frozen` or `blocked`.
    pub state: String,
    /// One line.
    pub detail: String,
    /// Since when it is so, microseconds of `CLOCK_REALTIME`; 0 if nothing is going on.
    pub since: u64,
    /// Place in the queue from 1; 0 if it doesn't wait.
    pub position: u32,
    /// Resources that it waits for.
    pub waiting_for: Vec<String>,
    /// Units that hold those.
    pub held_by: Vec<String>,
    /// Shares by resource.
    pub uses: Vec<(String, u32)>,
    /// As in the policy.
    pub priority: i32,
    /// As in the policy.
    pub gated: bool,
    /// The deployment since which the code of its run is old; empty if none.
    pub stale_since: String,
}

/// A waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Place in the whole queue, from 1.
    pub position: u32,
    /// The policy's name.
    pub task: String,
    /// Its unit.
    pub unit: String,
    /// Resources that it waits for.
    pub resources: Vec<String>,
    /// One line.
    pub reason: String,
    /// Since when, microseconds of `CLOCK_REALTIME`.
    pub since: u64,
}

impl Engine {
    pub(super) fn task_views(&self) -> Vec<TaskView> {
        let settings = self.policy.settings();
        let mut views: Vec<TaskView> = Vec::new();
        for task in settings.tasks().values() {
            views.push(self.view_of(&task.unit, Some(task)));
            if task.is_template() {
                let live = self.live_units().filter(|unit| {
                    self.policy
                        .task_of(unit)
                        .is_some_and(|t| t.name == task.name)
                });
                views.extend(live.map(|unit| self.view_of(unit, Some(task))));
            }
        }
        let orphaned = self
            .live_units()
            .filter(|unit| self.policy.task_of(unit).is_none());
        views.extend(orphaned.map(|unit| self.view_of(unit, None)));
        for (unit, origin) in settings.blocked() {
            views.push(TaskView {
                name: unit.clone(),
                unit: unit.clone(),
                state: "blocked".to_owned(),
                detail: format!(
                    "its policy has errors ({}:{})",
                    origin.path.display(),
                    origin.line
                ),
                ..TaskView::default()
            });
        }
        views
    }

    /// Units that hold or wait.
    pub(super) fn live_units(&self) -> impl Iterator<Item = &String> {
        let waiting = self.arbiter.queue().iter().map(|w| &w.unit);
        let holding = self.arbiter.leases().keys();
        holding.chain(waiting.filter(|unit| !self.arbiter.leases().contains_key(*unit)))
    }

    /// By the policy's name, by unit, with or without `.service`; `import@foo` is an instance of task import.
    pub(super) fn resolve(&self, name: &str) -> Option<String> {
        let settings = self.policy.settings();
        if let Some(task) = settings.tasks().get(name) {
            return Some(task.unit.clone());
        }
        let with_suffix = format!("{name}.service");
        let is_known = |unit: &str| {
            // An instance may be called anything, but not every name is a unit's.
            (settings.task_of_unit(unit).is_some() && is_unit_name(unit))
                || settings.blocked().contains_key(unit)
                || self.live_units().any(|live| live == unit)
        };
        if let Some(unit) = [name, &with_suffix].into_iter().find(|unit| is_known(unit)) {
            return Some(self.real_name(unit));
        }
        let by_alias = |task: &&Task| task.aliases.iter().any(|a| a == name || *a == with_suffix);
        if let Some(task) = settings.tasks().values().find(by_alias) {
            return Some(task.unit.clone());
        }
        if name.ends_with(".service") {
            // Whoever names a unit means that one, and no other that resembles it.
            return None;
        }
        let (task, instance) = instance::split(name)?;
        instance::of_template(&settings.tasks().get(task)?.unit, instance)
            .filter(|unit| is_unit_name(unit))
    }

    /// The name by which PID 1 knows a unit that may have been called by an alias, or that of its template.
    fn real_name(&self, unit: &str) -> String {
        let real = self.policy.task_of(unit).and_then(|task| {
            let is_alias = |name: &str| task.aliases.iter().any(|alias| alias == name);
            if is_alias(unit) {
                return Some(task.unit.clone());
            }
            names::template_of(unit).filter(|template| is_alias(template))?;
            let (_, instance) = instance::split(unit)?;
            instance::of_template(&task.unit, instance)
        });
        real.unwrap_or_else(|| unit.to_owned())
    }

    /// The unit that a name stands for by the policy, though no unit can be called so.
    pub(super) fn bad_unit(&self, name: &str) -> Option<String> {
        let with_suffix = format!("{name}.service");
        let mut units = [name, &with_suffix].into_iter();
        let bad = units.find(|unit| {
            self.policy.settings().task_of_unit(unit).is_some() && !is_unit_name(unit)
        });
        bad.map(str::to_owned)
    }

    pub(super) fn task_view(&self, name: &str) -> Option<TaskView> {
        let unit = self.resolve(name)?;
        Some(self.view_of(&unit, self.policy.task_of(&unit)))
    }

    fn view_of(&self, unit: &str, task: Option<&Task>) -> TaskView {
        let mut view = TaskView {
            name: task.map_or_else(|| unit.to_owned(), |task| task.name.clone()),
            unit: unit.to_owned(),
            state: "idle".to_owned(),
            uses: task
                .map(|t| t.uses.clone().into_iter().collect())
                .unwrap_or_default(),
            priority: task.map_or(0, |task| task.priority),
            gated: task.is_some_and(|task| task.gated),
            ..TaskView::default()
        };
        let record = self.records.get(unit).cloned().unwrap_or_default();
        if let Some(origin) = self.policy.settings().blocked().get(unit) {
            view.state = "blocked".to_owned();
            view.detail = format!(
                "its policy has errors ({}:{})",
                origin.path.display(),
                origin.line
            );
        } else if let Some(wait) = self.arbiter.view(unit) {
            let held = |h: &Hurdle| matches!(h, Hurdle::Jobs(_) | Hurdle::Held);
            let is_held = wait.hurdles.iter().any(held);
            view.state = if is_held { "held" } else { "waiting" }.to_owned();
            view.detail = self.waiting_line(unit);
            view.since = record.asked;
            view.position = u32::try_from(wait.position).unwrap_or(u32::MAX);
            (view.waiting_for, view.held_by) = needs(&wait);
        } else if self
            .arbiter
            .leases()
            .get(unit)
            .is_some_and(|lease| lease.presumed)
        {
            view.state = "waiting".to_owned();
            view.detail = "Its gate has not come back to interlockd yet".to_owned();
        } else if let Some((since, detail)) = self.frozen_for(unit) {
            view.state = "frozen".to_owned();
            view.since = since;
            view.detail = detail;
        } else if let Some(lease) = self.arbiter.leases().get(unit) {
            view.state = "running".to_owned();
            view.since = record.granted;
            let held: Vec<&String> = resources(&lease.uses).collect();
            view.detail = match held.as_slice() {
                [] => "has its lease".to_owned(),
                held => format!("holds {}", list(held)),
            };
            let cause = self.cause_of_run(unit);
            if !cause.is_empty() {
                view.detail = format!("{cause}; {}", view.detail);
            }
        } else if self.jobs.contains_key(unit) {
            view.state = "held".to_owned();
            view.detail = "Started, but systemd starts others before it".to_owned();
        }
        if view.state == "idle"
            && let Some(queued) = self.queued_line(unit)
        {
            view.detail = queued;
        }
        if let Some(held) = self.held_line(unit) {
            match (view.state.as_str(), view.detail.as_str()) {
                ("idle", "") => view.detail = held,
                ("idle", detail) => view.detail = format!("{held}; {detail}"),
                // Of one that waits for it nothing else is said.
                ("held" | "waiting" | "blocked", _) => {}
                (_, detail) => view.detail = format!("{detail}; then {held}"),
            }
        }
        if let Some(since) = self.ungated.get(unit).filter(|_| view.state == "idle") {
            view.state = "running".to_owned();
            view.since = *since;
            view.detail = "not gated".to_owned();
        }
        if let Some(deployment) = self.stale_since(unit) {
            let is_up = matches!(view.state.as_str(), "running" | "frozen");
            if is_up {
                let stale = format!("its code is from before deployment {deployment}");
                view.detail = match view.detail.as_str() {
                    "" => stale,
                    detail => format!("{detail}; {stale}"),
                };
            }
            view.stale_since = deployment;
        }
        view
    }

    /// Tasks without a gate aren't followed: PID 1 says which of them run.
    pub(super) async fn look_at_ungated(&mut self) {
        let tasks = self.policy.settings().tasks().values();
        let ungated = tasks.filter(|task| !task.gated && !task.is_template());
        let units: Vec<String> = ungated.map(|task| task.unit.clone()).collect();
        self.ungated.clear();
        let Some(pid1) = self.pid1.clone().filter(|_| !units.is_empty()) else {
            return;
        };
        let states = pid1.states(units).await.unwrap_or_default();
        for state in states.into_values().filter(UnitState::is_working) {
            let since = pid1.left_inactive_at(&state.name).await.unwrap_or(0);
            let ago = clock::monotonic().saturating_sub(since);
            let at = match since {
                0 => 0,
                _ => clock::realtime().saturating_sub(ago),
            };
            self.ungated.insert(state.name, at);
        }
    }

    pub(super) fn queue_views(&self) -> Vec<QueueView> {
        let waiters = self.arbiter.queue().iter().zip(1_u32..);
        let view = |(waiter, position): (&interlock_core::arbiter::Waiter, u32)| {
            let wait = self.arbiter.view(&waiter.unit);
            QueueView {
                position,
                task: self.policy.task_name(&waiter.unit).to_owned(),
                unit: waiter.unit.clone(),
                resources: wait.as_ref().map(|w| needs(w).0).unwrap_or_default(),
                reason: self.waiting_line(&waiter.unit),
                since: self.records.get(&waiter.unit).map_or(0, |r| r.asked),
            }
        };
        waiters.map(view).collect()
    }

    /// What a waiter waits for, in one line: the status text of its gate.
    pub(super) fn waiting_line(&self, unit: &str) -> String {
        let Some(wait) = self.arbiter.view(unit) else {
            return String::new();
        };
        let place = match wait.of {
            1 => String::new(),
            of => format!(" ({} of {of} in the queue)", ordinal(wait.position)),
        };
        let hurdles = wait.hurdles.iter();
        let parts: Vec<String> = hurdles.map(|h| self.hurdle_line(unit, h)).collect();
        match parts.is_empty() {
            true if self.pid1.is_none() => "Waiting for the system bus".to_owned(),
            true => format!("About to start{place}"),
            false => format!("Waiting for {}{place}", parts.join("; ")),
        }
    }

    pub(super) fn hurdle_line(&self, unit: &str, hurdle: &Hurdle) -> String {
        match hurdle {
            Hurdle::Held => self.end_of_what_holds(unit),
            Hurdle::Lock(lock) => format!("{}, locked by {}", lock.resource, lock.holder),
            Hurdle::Jobs(units) if units.is_empty() => "its own stop".to_owned(),
            Hurdle::Jobs(units) => format!("{}, which comes first", short_list(units)),
            Hurdle::Resource {
                name,
                holders,
                ahead,
                ..
            } if unit_of_share(name).is_some() => self.unit_hurdle(holders, ahead),
            Hurdle::Resource {
                name,
                holders,
                ahead,
                ..
            } if holders.is_empty() => {
                format!(
                    "{name}, which {} waits for as well and comes first",
                    short_list(ahead)
                )
            }
            Hurdle::Resource {
                name,
                holders,
                capacity,
                ..
            } if *capacity == 1 => format!("{name}, held by {}", short_list(holders)),
            Hurdle::Resource {
                name,
                needs,
                capacity,
                holders,
                ..
            } => format!(
                "{needs} of {capacity} {name}, held by {}",
                short_list(holders)
            ),
        }
    }

    /// Why a start can't be granted now, for a refusal.
    pub(super) fn busy_with(&self, unit: &str) -> String {
        let uses = self.policy.uses_of(unit);
        let busy = uses.keys().filter_map(|resource| {
            let leases = self.arbiter.leases().iter();
            let holders = leases.filter(|(_, lease)| lease.uses.contains_key(resource));
            let holders: Vec<&String> = holders.map(|(unit, _)| unit).collect();
            let resource = resource_title(resource);
            (!holders.is_empty()).then(|| format!("{resource} is held by {}", short_list(&holders)))
        });
        let busy: Vec<String> = busy.collect();
        match busy.is_empty() {
            true => "others come first".to_owned(),
            false => list(&busy),
        }
    }
}

/// Resources that a waiter waits for, and the units that hold them.
pub(super) fn needs(wait: &WaitView) -> (Vec<String>, Vec<String>) {
    let mut resources = Vec::new();
    let mut units: Vec<String> = Vec::new();
    for hurdle in &wait.hurdles {
        match hurdle {
            Hurdle::Resource { name, holders, .. } => {
                resources.extend(unit_of_share(name).is_none().then(|| name.clone()));
                units.extend(holders.iter().cloned());
            }
            Hurdle::Jobs(before) => units.extend(before.iter().cloned()),
            Hurdle::Lock(lock) => resources.push(lock.resource.clone()),
            Hurdle::Held => {}
        }
    }
    units.sort();
    units.dedup();
    (resources, units)
}
