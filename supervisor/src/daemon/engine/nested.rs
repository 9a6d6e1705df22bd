//! Requests from inside a task: whether they would wait for that same task.

use std::collections::BTreeMap;

use super::Engine;
use crate::arbiter::Uses;
use crate::cgroup;

/// Why a request is refused before it is made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Neither a task nor the unit of one.
    #[error(
        "{0:?} is neither a task of the policy nor the unit of one; see \"interlockctl status\""
    )]
    NoSuchTask(String),
    /// Not in the policy.
    #[error("there is no resource {name:?}; {known}")]
    NoSuchResource {
        /// As asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It would wait for the task that it comes from.
    #[error("{0}")]
    WouldDeadlock(String),
}

impl Engine {
    /// The task that a process runs for: the unit in whose control group it is and that holds a lease.
    pub(super) fn task_of_process(&self, pid: u32) -> Option<String> {
        let pid = i32::try_from(pid).ok()?;
        let group = cgroup::of_process(pid).ok().flatten()?;
        let mut within = group
            .split('/')
            .filter(|unit| self.arbiter.leases().contains_key(*unit));
        within.next().map(str::to_owned)
    }

    /// Whether the process runs for a task that holds this resource.
    pub(super) fn holds_resource(&self, pid: u32, resource: &str) -> Result<bool, RequestError> {
        self.known_resource(resource)?;
        let unit = self.task_of_process(pid);
        let lease = unit.and_then(|unit| self.arbiter.leases().get(&unit));
        Ok(lease.is_some_and(|lease| lease.uses.contains_key(resource)))
    }

    /// Whether a start that is waited for (`task`), or a command that uses something (`uses`), may come from this
    /// process.
    pub(super) fn check_request(
        &self,
        pid: u32,
        task: &str,
        uses: BTreeMap<String, u32>,
    ) -> Result<(), RequestError> {
        for resource in uses.keys() {
            self.known_resource(resource)?;
        }
        let (unit, mut wanted) = match task {
            "" => (String::new(), Uses::new()),
            task => {
                let unit = self.resolve(task);
                let unit = unit.ok_or_else(|| RequestError::NoSuchTask(task.to_owned()))?;
                let uses = self.policy.uses_of(&unit);
                (unit, uses)
            }
        };
        for (resource, shares) in uses {
            let held = wanted.entry(resource).or_default();
            *held = (*held).max(shares);
        }
        let Some(caller) = self.task_of_process(pid) else {
            return Ok(());
        };
        let what = match unit.as_str() {
            "" => "the command",
            unit => unit,
        };
        let advice = "It would wait for this task, and the task for it. To have it done afterwards: interlockctl submit";
        if unit == caller {
            return Err(RequestError::WouldDeadlock(format!(
                "pid {pid} is a process of {caller} itself. {advice}"
            )));
        }
        let comes_after = |unit: &str| {
            let own = self.policy.task_name(&caller);
            let task = self.policy.task_of(unit);
            task.is_some_and(|task| task.after.iter().any(|name| name == own))
        };
        if comes_after(&unit) {
            return Err(RequestError::WouldDeadlock(format!(
                "pid {pid} is a process of {caller}, and {what} comes after that (after =). {advice}"
            )));
        }
        if self.arbiter.would_wait_for(&caller, &wanted) {
            let held = self.arbiter.leases().get(&caller);
            let shared = wanted.keys().filter(|resource| {
                held.is_some_and(|lease| lease.uses.contains_key(resource.as_str()))
            });
            let shared: Vec<&String> = shared.collect();
            let why = match shared.is_empty() {
                true => format!("{what} waits for others that wait for it"),
                false => format!(
                    "holds {}, which {what} needs",
                    super::super::words::list(&shared)
                ),
            };
            return Err(RequestError::WouldDeadlock(format!(
                "pid {pid} is a process of {caller}, which {why}. {advice}"
            )));
        }
        Ok(())
    }

    fn known_resource(&self, name: &str) -> Result<(), RequestError> {
        let resources = self.policy.settings().resources();
        if resources.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&String> = resources.keys().collect();
        Err(RequestError::NoSuchResource {
            name: name.to_owned(),
            known: match names.is_empty() {
                true => "the policy has none".to_owned(),
                false => format!("the policy has {}", super::super::words::list(&names)),
            },
        })
    }
}
