//! What a case does with deployments, and what it sees of them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::command::{Output, Running};
use crate::counter::{self, Counter};
use crate::deployment::{Deployment, INTERFACE, MANAGER, Member, NAME, ROOT};
use crate::service::TASK_PROGRAM;
use crate::wait::{SOON, wait_for};

impl Case<'_> {
    /// Begins a deployment that expires in ten minutes if nobody ends it, and gives its id as soon as
    /// it is ready.
    ///
    /// # Errors
    ///
    /// If it is refused.
    pub fn deploy(&self, group: &str) -> Result<String> {
        let id = self.sh(&format!(
            "interlockctl deploy begin --group {group} --reason 'release 7' --expires 10min"
        ))?;
        ensure!(
            !id.is_empty() && !id.contains(char::is_whitespace),
            "not an id: {id:?}"
        );
        Ok(id)
    }

    /// Begins one as [`Self::deploy`] in the background, with further arguments.
    ///
    /// # Errors
    ///
    /// If `interlockctl` can't be run.
    pub fn deploying(&self, group: &str, arguments: &str) -> Result<Running> {
        self.spawn(&format!(
            "interlockctl deploy begin --group {group} --reason 'release 7' --expires 10min {arguments}"
        ))
    }

    /// `deploy run` in the background; its command is a task of the name `deploy`, which runs until it
    /// is released.
    ///
    /// # Errors
    ///
    /// If `interlockctl` can't be run.
    pub fn deploy_run(&self, group: &str, arguments: &str) -> Result<Running> {
        self.spawn(&format!(
            "exec interlockctl deploy run --group {group} --reason 'release 7' {arguments} -- {TASK_PROGRAM} deploy hold"
        ))
    }

    /// Ends a deployment and waits until all of it has resumed.
    ///
    /// # Errors
    ///
    /// If it ends as failed.
    pub fn end_deployment(&self, id: &str) -> Result<()> {
        self.sh(&format!("interlockctl deploy end {id}")).map(drop)
    }

    /// Calls a method on the bus and gives the values of the answer.
    ///
    /// # Errors
    ///
    /// If the call fails, with what it says.
    pub fn call(&self, path: &str, interface: &str, call: &str) -> Result<Value> {
        let answer = self.sh(&format!(
            "busctl --json=short call {NAME} {path} {interface} {call}"
        ))?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        let mut answer: Value = serde_json::from_str(&answer).context(answer)?;
        Ok(answer["data"].take())
    }

    /// The same, as one that may fail.
    ///
    /// # Errors
    ///
    /// If `busctl` can't be run.
    pub fn try_call(&self, path: &str, interface: &str, call: &str) -> Result<Output> {
        self.try_sh(&format!("busctl call {NAME} {path} {interface} {call}"))
    }

    /// Every deployment that interlock still knows, as id and path, oldest first.
    ///
    /// # Errors
    ///
    /// If the daemon doesn't answer.
    pub fn deployments(&self) -> Result<Vec<(String, String)>> {
        let list = self.call(ROOT, MANAGER, "ListDeployments")?;
        let list = list[0].as_array().context("no list of deployments")?;
        Ok(list
            .iter()
            .filter_map(|entry| {
                Some((entry[0].as_str()?.to_owned(), entry[7].as_str()?.to_owned()))
            })
            .collect())
    }

    /// A deployment's properties.
    ///
    /// # Errors
    ///
    /// If there is none of that id.
    pub fn deployment(&self, id: &str) -> Result<Deployment> {
        let path = self.call(ROOT, MANAGER, &format!("GetDeployment s {id}"))?;
        let path = path[0].as_str().context("no path")?;
        let answer = self.sh(&format!(
            "busctl --json=short call {NAME} {path} org.freedesktop.DBus.Properties GetAll s {INTERFACE}"
        ))?;
        Deployment::parse(path, &answer)
    }

    /// Waits for a live deployment of a group.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn live_deployment(&self, group: &str) -> Result<Deployment> {
        wait_for(&format!("a deployment of {group}"), SOON, || {
            for (id, _) in self.deployments()?.iter().rev() {
                let deployment = self.deployment(id)?;
                if deployment.group == group && deployment.ended == 0 {
                    return Ok(Some(deployment));
                }
            }
            Ok(None)
        })
    }

    /// Waits until a deployment is in this state.
    ///
    /// # Errors
    ///
    /// If it isn't, with what it is.
    pub fn deployment_is(&self, id: &str, state: &str) -> Result<Deployment> {
        let mut last = None;
        wait_for(&format!("deployment {id} to be {state}"), SOON, || {
            // The daemon may be on its way back.
            let Ok(deployment) = self.deployment(id) else {
                return Ok(None);
            };
            let reached = deployment.state == state;
            last = Some(deployment.clone());
            Ok(reached.then_some(deployment))
        })
        .with_context(|| format!("it is {last:#?}"))
    }

    /// Waits until a deployment's unit is in this state.
    ///
    /// # Errors
    ///
    /// If it isn't, with what it is.
    pub fn member_is(&self, id: &str, unit: &str, state: &str) -> Result<Member> {
        let mut last = None;
        wait_for(&format!("{unit} to be {state} in {id}"), SOON, || {
            // The daemon may be on its way back.
            let Ok(deployment) = self.deployment(id) else {
                return Ok(None);
            };
            last = deployment.member(unit).cloned();
            Ok(last.clone().filter(|member| member.state == state))
        })
        .with_context(|| format!("it is {last:?}"))
    }

    /// Waits until a start waits at its gate for the end of a deployment, and says so.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn held_by(&self, task: &str, id: &str) -> Result<()> {
        let mut last = Value::Null;
        wait_for(&format!("{task} to be held by {id}"), SOON, || {
            last = self.why(task)?;
            let detail = last["detail"].as_str().unwrap_or_default();
            Ok((last["state"] == "held" && detail.contains(id)).then_some(()))
        })
        .with_context(|| format!("{task}: {last}"))
    }

    /// A property of a task's object that is a string.
    ///
    /// # Errors
    ///
    /// If there is no such task.
    pub fn task_property(&self, task: &str, property: &str) -> Result<String> {
        let path = self.call(ROOT, MANAGER, &format!("GetTask s {task}"))?;
        let path = path[0].as_str().context("no path")?;
        let value = self.sh(&format!(
            "busctl --json=short get-property {NAME} {path} {NAME}.Task {property}"
        ))?;
        let value: Value = serde_json::from_str(&value).context(value)?;
        Ok(value["data"].as_str().context("not a string")?.to_owned())
    }

    /// Whether a unit's processes are frozen, as the kernel says.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn is_frozen(&self, unit: &str) -> Result<bool> {
        let group = self.property(unit, "ControlGroup")?;
        Ok(!group.is_empty()
            && self
                .read(&format!("/sys/fs/cgroup{group}/cgroup.events"))?
                .contains("frozen 1"))
    }

    /// What a counting unit wrote.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn counter(&self, unit: &str) -> Result<Counter> {
        Ok(Counter::parse(
            &self.read(&format!("{}{unit}", counter::PREFIX))?,
        ))
    }

    /// Waits until a counting unit goes on.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn counts(&self, unit: &str) -> Result<()> {
        let before = self.counter(unit)?.len();
        wait_for(&format!("{unit} to count"), SOON, || {
            Ok((self.counter(unit)?.len() > before + 1).then_some(()))
        })
    }

    /// The deployment for whose end this unit's latest run was started again, as the run itself was
    /// told; `None` if the environment of none of its runs said so since the case began.
    ///
    /// # Errors
    ///
    /// If what it was told makes no sense.
    pub fn told_to_resume(&self, unit: &str) -> Result<Option<String>> {
        let told = self.read("/var/lib/testbed/resumed")?;
        let Some(line) = told.lines().rev().find(|line| line.starts_with(unit)) else {
            return Ok(None);
        };
        let words: Vec<&str> = line.split(' ').collect();
        ensure!(words.len() == 3 && words[1] == "1", "{line}");
        Ok(Some(words[2].to_owned()))
    }

    /// The time inside, in seconds since the epoch.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn now(&self) -> Result<f64> {
        Ok(self.sh("echo $EPOCHREALTIME")?.parse()?)
    }
}
