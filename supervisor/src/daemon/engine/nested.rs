//! Requests from inside a task: whether they would wait for that same task.

use std::collections::BTreeMap;

use interlock_core::arbiter::Uses;

use super::Engine;
use super::actions::resource_title;
use crate::cgroup;
use crate::person::{Person, parent_of};

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
    /// It could never have that.
    #[error("{shares} shares of {name} can never be had: its capacity is {capacity}")]
    TooMuch {
        /// The resource.
        name: String,
        /// As asked for.
        shares: u32,
        /// By the policy; what an operator makes of it changes again.
        capacity: u32,
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
        for (resource, shares) in &uses {
            self.known_resource(resource)?;
            let known = self.policy.settings().resources().get(resource);
            let capacity = known.map_or(u32::MAX, |known| known.capacity);
            if *shares > capacity {
                return Err(RequestError::TooMuch {
                    name: resource.clone(),
                    shares: *shares,
                    capacity,
                });
            }
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
        let chain = || {
            chain(pid, |pid| {
                self.task_of_process(pid).as_ref() == Some(&caller)
            })
        };
        if unit == caller {
            return Err(RequestError::WouldDeadlock(format!(
                "{} runs for {caller} itself. {advice}",
                chain()
            )));
        }
        if self.policy.predecessors(&unit).contains(caller.as_str()) {
            return Err(RequestError::WouldDeadlock(format!(
                "{} runs for {caller}, and {what} comes after that (after =, or a window's order). {advice}",
                chain()
            )));
        }
        if self.arbiter.would_wait_for(&caller, &wanted) {
            let held = self.arbiter.leases().get(&caller);
            let shared = wanted.keys().filter(|resource| {
                held.is_some_and(|lease| lease.uses.contains_key(resource.as_str()))
            });
            let shared: Vec<String> = shared.map(|name| resource_title(name)).collect();
            let why = match shared.is_empty() {
                true => format!("{what} waits for others that wait for it"),
                false => format!(
                    "holds {}, which {what} needs",
                    super::super::words::list(&shared)
                ),
            };
            return Err(RequestError::WouldDeadlock(format!(
                "{} runs for {caller}, which {why}. {advice}",
                chain()
            )));
        }
        Ok(())
    }

    pub(super) fn known_resource(&self, name: &str) -> Result<(), RequestError> {
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

/// A process and its ancestors as far as they run for the same task: `interlockctl (pid 12) < sh (pid 11) < upcp
/// (pid 10)`.
fn chain(pid: u32, is_of_task: impl Fn(u32) -> bool) -> String {
    /// More than anybody would read; parents can't be trusted to have no cycle while they change.
    const LIMIT: usize = 32;
    let mut links = Vec::new();
    let mut next = Some(pid);
    while let Some(pid) = next.take() {
        let Ok(signed) = i32::try_from(pid) else {
            break;
        };
        if links.len() == LIMIT {
            links.push("\u{2026}".to_owned());
            break;
        }
        let comm = Person::of(signed).comm;
        let name = if comm.is_empty() { "a process" } else { &comm };
        links.push(format!("{name} (pid {pid})"));
        let parent = parent_of(signed).filter(|parent| *parent > 1);
        next = parent
            .and_then(|parent| u32::try_from(parent).ok())
            .filter(|parent| is_of_task(*parent));
    }
    links.join(" < ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_goes_up_to_the_tasks_first_process() {
        let me = std::process::id();
        let parent = parent_of(i32::try_from(me).unwrap()).unwrap();
        let alone = chain(me, |_| false);
        assert!(alone.ends_with(&format!("(pid {me})")), "{alone}");
        assert!(!alone.contains(" < "), "{alone}");
        let two = chain(me, |pid| i64::from(pid) == i64::from(parent));
        assert_eq!(two.matches(" < ").count(), 1, "{two}");
        assert!(two.ends_with(&format!("(pid {parent})")), "{two}");
        assert!(two.starts_with(&alone), "{two}");
    }

    #[test]
    fn chain_of_a_process_that_is_gone_still_names_it() {
        assert_eq!(chain(4_194_305, |_| true), "a process (pid 4194305)");
    }
}
