//! What a case sees: what ran and waits, what systemd, interlock and the journal say.

use anyhow::{Context, Result, bail, ensure};

use super::Case;
use crate::log::{self, Log};
use crate::wait::{SOON, wait_for};

impl Case<'_> {
    /// What the tasks wrote so far.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn log(&self) -> Result<Log> {
        Ok(Log::parse(&self.read(log::PATH)?))
    }

    /// Waits until a task runs.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn begun(&self, name: &str) -> Result<()> {
        wait_for(&format!("{name} to run"), SOON, || {
            Ok(self.log()?.is_running(name).then_some(()))
        })
    }

    /// Waits until a task has run so often, and doesn't run now.
    ///
    /// # Errors
    ///
    /// If it has not, or if it has run more often.
    pub fn ran(&self, name: &str, times: usize) -> Result<()> {
        wait_for(&format!("{times} runs of {name}"), SOON, || {
            let log = self.log()?;
            ensure!(
                log.count(name) <= times,
                "{name} ran {} times",
                log.count(name)
            );
            Ok((log.count(name) == times && !log.is_running(name)).then_some(()))
        })
    }

    /// The units in interlock's queue, first one first.
    ///
    /// # Errors
    ///
    /// If interlockctl fails.
    pub fn queue(&self) -> Result<Vec<String>> {
        let json: serde_json::Value = serde_json::from_str(&self.sh("interlockctl queue --json")?)?;
        let queue = json["queue"].as_array().context("no queue in the answer")?;
        Ok(queue
            .iter()
            .filter_map(|entry| Some(entry["unit"].as_str()?.to_owned()))
            .collect())
    }

    /// Waits until these units are exactly what waits at gates, in this order.
    ///
    /// # Errors
    ///
    /// If they are not.
    pub fn queued(&self, units: &[&str]) -> Result<()> {
        let mut last = Vec::new();
        wait_for("the queue", SOON, || {
            last = self.queue()?;
            Ok((last == units).then_some(()))
        })
        .with_context(|| format!("the queue should be {units:?}, it is {last:?}"))
    }

    /// Details of a task as `interlockctl why --json` gives them.
    ///
    /// # Errors
    ///
    /// If interlockctl fails.
    pub fn why(&self, task: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(
            &self.sh(&format!("interlockctl why --json '{task}'"))?,
        )?)
    }

    /// A property of a unit.
    ///
    /// # Errors
    ///
    /// If systemd doesn't answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.sh(&format!("systemctl show --value -p {name} -- '{unit}'"))
    }

    /// Waits until a unit is in this `ActiveState`.
    ///
    /// # Errors
    ///
    /// If it isn't.
    pub fn becomes(&self, unit: &str, state: &str) -> Result<()> {
        wait_for(&format!("{unit} to be {state}"), SOON, || {
            Ok((self.property(unit, "ActiveState")? == state).then_some(()))
        })
    }

    /// Asserts that a unit has failed, and forgives it.
    ///
    /// # Errors
    ///
    /// If it hasn't.
    pub fn failed(&self, unit: &str) -> Result<()> {
        self.becomes(unit, "failed")?;
        self.sh(&format!("systemctl reset-failed '{unit}'"))
            .map(drop)
    }

    /// Asserts that these tasks, each using all of one resource, never ran at the same time.
    ///
    /// # Errors
    ///
    /// If they did.
    pub fn no_overlap(&self, names: &[&str]) -> Result<()> {
        let users: Vec<(&str, u32)> = names.iter().map(|name| (*name, 1)).collect();
        self.within(&users, 1)
    }

    /// Asserts that these tasks never took more than this capacity.
    ///
    /// # Errors
    ///
    /// If they did.
    pub fn within(&self, users: &[(&str, u32)], capacity: u32) -> Result<()> {
        match self.log()?.overlap(users, capacity) {
            Some(overlap) => bail!("{overlap}\n{}", self.read(log::PATH)?),
            None => Ok(()),
        }
    }

    /// Waits until the journal has a message of this id since the case began, in which all of this stands.
    ///
    /// # Errors
    ///
    /// If it hasn't.
    pub fn journalled(&self, message: &str, words: &[&str]) -> Result<()> {
        // 252 skips the first entry after a cursor if it also has to match a field.
        let id = format!("\"MESSAGE_ID\":\"{message}\"");
        wait_for(&format!("{words:?} in the journal"), SOON, || {
            let journal = self.journal("-o json")?.replace("\" : \"", "\":\"");
            let found = journal
                .lines()
                .any(|line| line.contains(&id) && words.iter().all(|word| line.contains(word)));
            Ok(found.then_some(()))
        })
    }

    /// What the journal got since the case began.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn journal(&self, arguments: &str) -> Result<String> {
        self.sh(&format!(
            "journalctl --sync; journalctl --quiet --no-pager -o short-precise --after-cursor='{}' {arguments}",
            self.cursor
        ))
    }
}
