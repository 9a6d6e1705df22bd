//! Operators' repairs: commands that the policy names, run on one unit of a task, behind a gate of their own.
//!
//! An action uses what its task uses, and never runs while the unit runs that it repairs: both need the one share of
//! the resource that stands for that unit. It is a unit like those of `interlockctl run`, and like them is known again
//! by its environment, which PID 1 has.

use std::time::Duration;

use interlock_core::arbiter::{Uses, resources, share_of_unit, unit_of_share};
use interlock_generator::names;
use interlock_generator::policy::settings::{ExpandError, Task};

use super::super::words::{list, short_list};
use super::Engine;
use super::notify::clean;
use crate::clock;
use crate::journal::message;
use crate::pid1::Transient;

/// How long an action may run.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Longest reason in bytes.
const REASON: usize = 1000;

/// A command behind a gate of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Shares by resource.
    pub(super) uses: Uses,
    /// Set if it is a repair.
    pub(super) action: Option<ActionRun>,
}

/// A repair that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRun {
    /// Its name in the policy.
    pub(super) action: String,
    /// The task's name.
    pub(super) task: String,
    /// The unit that it repairs.
    pub(super) unit: String,
    by: String,
    reason: String,
}

/// What somebody wants done.
#[derive(Debug)]
pub struct ActionRequest {
    /// A task, or an instance of a template's.
    pub task: String,
    /// The action's name.
    pub action: String,
    /// For people; may be empty.
    pub reason: String,
    /// Who asks: `alice (uid 1000), interlockctl (pid 12)`.
    pub by: String,
    /// The caller's process.
    pub pid: u32,
}

/// Why it isn't done.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// Neither a task nor the unit of one.
    #[error(
        "{0:?} is neither a task of the policy nor the unit of one; see \"interlockctl status\""
    )]
    NoSuchTask(String),
    /// It has none of that name.
    #[error("task {task} has no action {action:?}; {known}")]
    NoSuchAction {
        /// Task name.
        task: String,
        /// As asked for.
        action: String,
        /// Those that there are.
        known: String,
    },
    /// An action is run on one unit.
    #[error(
        "{unit} is a template: name the instance that the action is to be run on, as {task}@NAME"
    )]
    Template {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
    },
    /// It could not be a unit's name.
    #[error("{0:?} is not a unit's name; see systemd-escape(1)")]
    BadUnit(String),
    /// The command can't be made for this unit.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// Nobody would read it.
    #[error("the reason is longer than {REASON} bytes")]
    ReasonTooLong,
    /// It would wait for the task that it comes from.
    #[error("{0}")]
    WouldDeadlock(String),
    /// PID 1 can't be asked.
    #[error("there is no connection to the system bus; try again")]
    NoBus,
    /// PID 1 refused.
    #[error("the service manager can't start the action: {0}")]
    Pid1(#[from] zbus::Error),
}

/// What a unit of this task asks for. One with actions needs itself as well, see the module's documentation.
pub(super) fn uses_of(task: &Task, unit: &str) -> Uses {
    let mut uses = task.uses.clone();
    if !task.actions.is_empty() {
        uses.insert(share_of_unit(unit), 1);
    }
    uses
}

/// The value of a variable among `NAME=VALUE` lines.
pub(super) fn variable<'e>(environment: &'e [String], name: &str) -> Option<&'e str> {
    let mut lines = environment.iter();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

impl Run {
    /// A command that uses this, from the environment of its unit.
    pub(super) fn learned(mut uses: Uses, environment: &[String]) -> Self {
        let value = |name| variable(environment, name).map(str::to_owned);
        let action = value("INTERLOCK_ACTION").zip(value("INTERLOCK_UNIT"));
        let action = action.map(|(action, unit)| ActionRun {
            action,
            unit,
            task: value("INTERLOCK_TASK").unwrap_or_default(),
            by: value("INTERLOCK_BY").unwrap_or_default(),
            reason: value("INTERLOCK_REASON").unwrap_or_default(),
        });
        if let Some(action) = &action {
            uses.insert(share_of_unit(&action.unit), 1);
        }
        Self { uses, action }
    }
}

impl ActionRun {
    /// `action reset on import@foo.service`
    pub(super) fn title(&self) -> String {
        format!("action {} on {}", self.action, self.unit)
    }

    /// With who wanted it, and why.
    fn cause(&self) -> String {
        let mut cause = format!("{} by {}", self.title(), self.by);
        if !self.reason.is_empty() {
            cause.push_str(&format!(": {}", self.reason));
        }
        cause
    }

    /// `names::RUN_USES` and what the command is told.
    fn environment(&self, uses: &Uses) -> Vec<(String, String)> {
        let shares = resources(uses).map(|name| format!("{name}={}", uses[name]));
        let shares: Vec<String> = shares.collect();
        let held: Vec<&str> = resources(uses).map(String::as_str).collect();
        let all = [
            (names::RUN_USES, shares.join(" ")),
            ("INTERLOCK_HOLDS", held.join(" ")),
            ("INTERLOCK_ACTION", self.action.clone()),
            ("INTERLOCK_UNIT", self.unit.clone()),
            ("INTERLOCK_TASK", self.task.clone()),
            ("INTERLOCK_BY", self.by.clone()),
            ("INTERLOCK_REASON", self.reason.clone()),
        ];
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        all.into_iter().map(owned).collect()
    }
}

impl Engine {
    /// Queues an action; gives the unit that runs it. It waits at its gate, not here.
    pub(super) async fn run_action(
        &mut self,
        request: ActionRequest,
    ) -> Result<String, ActionError> {
        let (run, command) = self.action_of(&request)?;
        let Some(pid1) = self.pid1.clone() else {
            return Err(ActionError::NoBus);
        };
        let Some(action) = &run.action else {
            return Err(ActionError::NoSuchTask(request.task));
        };
        let name = self.name_of_run(&action.action);
        let transient = Transient {
            name: name.clone(),
            description: action.title(),
            command,
            environment: action.environment(&run.uses),
            timeout: LIMIT,
            gated: true,
            ..Transient::default()
        };
        tracing::info!(
            message_id = message::ACTION,
            task = action.task,
            unit = action.unit,
            object_systemd_unit = action.unit,
            action = action.action,
            "{}; it runs as {name}",
            action.cause()
        );
        // Its gate asks as soon as PID 1 has started it.
        self.policy.learned_run(&name, run);
        if let Err(error) = pid1.run(&transient).await {
            self.forget_run(&name);
            return Err(error.into());
        }
        Ok(name)
    }

    /// Checks everything about a request. Its words come from somebody who may be no more than an operator.
    fn action_of(&self, request: &ActionRequest) -> Result<(Run, Vec<String>), ActionError> {
        if request.reason.len() > REASON {
            return Err(ActionError::ReasonTooLong);
        }
        let no_such_task = || match self.bad_unit(&request.task) {
            Some(unit) => ActionError::BadUnit(unit),
            None => ActionError::NoSuchTask(request.task.clone()),
        };
        let unit = self.resolve(&request.task).ok_or_else(no_such_task)?;
        let task = self.policy.task_of(&unit).ok_or_else(no_such_task)?;
        let action = task.actions.get(&request.action);
        let action = action.ok_or_else(|| ActionError::NoSuchAction {
            task: task.name.clone(),
            action: request.action.clone(),
            known: match task.actions.is_empty() {
                true => "the policy gives it none".to_owned(),
                false => format!("it has {}", list(&task.actions.keys().collect::<Vec<_>>())),
            },
        })?;
        if names::is_template(&unit) {
            return Err(ActionError::Template {
                task: task.name.clone(),
                unit,
            });
        }
        let command = action.command_for(&unit)?;
        let uses = uses_of(task, &unit);
        self.check_caller(request, &unit, &uses)?;
        // What its process calls itself says nothing more, and is its own choice.
        let by = request.by.split(", ").next().unwrap_or_default();
        let run = ActionRun {
            action: request.action.clone(),
            task: task.name.clone(),
            unit,
            by: clean(by),
            reason: clean(request.reason.trim()),
        };
        let run = Run {
            uses,
            action: Some(run),
        };
        Ok((run, command))
    }

    /// Whoever asks also waits; from inside a task that holds what the action needs neither would ever end.
    fn check_caller(
        &self,
        request: &ActionRequest,
        unit: &str,
        uses: &Uses,
    ) -> Result<(), ActionError> {
        let Some(caller) = self.task_of_process(request.pid) else {
            return Ok(());
        };
        if !self.arbiter.would_wait_for(&caller, uses) {
            return Ok(());
        }
        Err(ActionError::WouldDeadlock(format!(
            "you run for {}, and action {} on {unit} would wait for its end; run it from elsewhere, or afterwards",
            self.described(&caller),
            request.action
        )))
    }

    /// Its name says what it is, and no other has it.
    fn name_of_run(&mut self, action: &str) -> String {
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let base: String = action.chars().filter(plain).take(32).collect();
        self.last_run = clock::realtime().max(self.last_run + 1);
        format!("interlock-run-{base}-{:x}.service", self.last_run)
    }

    /// Why a unit's run came to be, if it is an action's: what, on which unit, by whom, why. Else empty.
    pub(super) fn cause_of_run(&self, unit: &str) -> String {
        let action = self.policy.action(unit);
        action.map(ActionRun::cause).unwrap_or_default()
    }

    /// A unit's name, or that of the action that it runs.
    pub(super) fn described(&self, unit: &str) -> String {
        let action = self.policy.action(unit);
        action.map_or_else(|| unit.to_owned(), ActionRun::title)
    }

    /// What keeps a unit and its repairs apart: `import@foo.service, which runs`.
    pub(super) fn unit_hurdle(&self, holders: &[String], ahead: &[String]) -> String {
        let (units, what) = match holders.is_empty() {
            false => (holders, ["which runs", "which run"]),
            true => (ahead, ["which comes first", "which come first"]),
        };
        let units: Vec<String> = units.iter().map(|unit| self.described(unit)).collect();
        let what = what[usize::from(units.len() != 1)];
        format!("{}, {what}", short_list(&units))
    }
}

/// A resource's name for people.
pub(super) fn resource_title(resource: &str) -> String {
    match unit_of_share(resource) {
        Some(unit) => format!("{unit} itself"),
        None => resource.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(action: &ActionRun, uses: &Uses) -> Vec<String> {
        let all = action.environment(uses).into_iter();
        all.map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn an_action_is_known_again_by_its_environment() {
        let action = ActionRun {
            action: "reset".to_owned(),
            task: "import".to_owned(),
            unit: "import@a\\x20b.service".to_owned(),
            by: "alice (uid 1000)".to_owned(),
            reason: "half an archive = no archive".to_owned(),
        };
        let own = (share_of_unit(&action.unit), 1);
        let uses: Uses = [("import-slots".to_owned(), 2), own].into();
        let environment = environment(&action, &uses);
        assert_eq!(
            variable(&environment, names::RUN_USES),
            Some("import-slots=2")
        );
        let learned = Run::learned([("import-slots".to_owned(), 2)].into(), &environment);
        assert_eq!(learned.uses, uses);
        let learned = learned.action.unwrap();
        assert_eq!(
            learned.cause(),
            "action reset on import@a\\x20b.service by alice (uid 1000): half an archive = no archive"
        );
        assert_eq!(learned, action);
    }

    #[test]
    fn a_command_of_somebody_is_no_action() {
        let environment = [
            "INTERLOCK_TASK=x".to_owned(),
            "INTERLOCK_USES=r=1".to_owned(),
        ];
        let run = Run::learned([("r".to_owned(), 1)].into(), &environment);
        assert_eq!(run.action, None);
        assert_eq!(run.uses.len(), 1);
    }
}
