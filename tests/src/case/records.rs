//! What a case sees of the queue and of the history, on the bus as monitoring and tools see it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::deployment::ROOT;
use crate::wait::{SOON, wait_for};

/// The root object's interface for what is queued.
pub const QUEUE: &str = "org.interlock.Interlock1.Queue";
/// The root object's interface for what has been.
pub const HISTORY: &str = "org.interlock.Interlock1.History";

/// Hundreds of runs may take so long on a slow and busy machine.
const BATCH: Duration = Duration::from_secs(300);

/// One entry of a list: keys and values (`a{sv}`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row(BTreeMap<String, Value>);

impl Row {
    /// Texts; empty if absent.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Numbers that are never below 0; 0 if absent.
    pub fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    /// A number that may be absent.
    pub fn signed(&self, key: &str) -> Option<i64> {
        self.0.get(key).and_then(Value::as_i64)
    }

    /// Lists of texts; empty if absent.
    pub fn list(&self, key: &str) -> Vec<&str> {
        let list = self.0.get(key).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }
}

/// The argument `a{sv}` for busctl, of `KEY TYPE VALUE` each.
pub fn filter(entries: &[&str]) -> String {
    format!("'a{{sv}}' {} {}", entries.len(), entries.join(" "))
}

impl Case<'_> {
    /// What a method lists whose last value is `aa{sv}`.
    ///
    /// # Errors
    ///
    /// If the call fails.
    pub fn rows(&self, interface: &str, call: &str) -> Result<Vec<Row>> {
        let answer = self.call(ROOT, interface, call)?;
        let list = answer.as_array().and_then(|values| values.last());
        let list = list
            .and_then(Value::as_array)
            .with_context(|| format!("{call} gave no list: {answer}"))?;
        let row = |entry: &Value| -> Result<Row> {
            let entry = entry.as_object().context("not a dictionary")?;
            let pairs = entry
                .iter()
                .map(|(key, value)| (key.clone(), value["data"].clone()));
            Ok(Row(pairs.collect()))
        };
        list.iter().map(row).collect()
    }

    /// The runs and skips of a task, a unit or an instance, the oldest first.
    ///
    /// # Errors
    ///
    /// If the daemon doesn't answer.
    pub fn past(&self, task: &str) -> Result<Vec<Row>> {
        let call = format!("ListRuns {}", filter(&[&format!("task s {task}")]));
        let mut rows = self.rows(HISTORY, &call)?;
        rows.reverse();
        Ok(rows)
    }

    /// Waits until the history has so many ended runs of a task, and gives all that it has, the oldest first.
    ///
    /// # Errors
    ///
    /// If it doesn't, with what it has.
    pub fn past_runs(&self, task: &str, ended: usize) -> Result<Vec<Row>> {
        let mut last = Vec::new();
        wait_for(
            &format!("{ended} ended runs of {task} in the history"),
            SOON,
            || {
                // The daemon may be on its way back.
                let Ok(rows) = self.past(task) else {
                    return Ok(None);
                };
                last = rows;
                let count = last.iter().filter(|row| row.number("ended") > 0).count();
                Ok((count >= ended).then_some(()))
            },
        )
        .with_context(|| format!("it has {last:#?}"))?;
        Ok(last)
    }

    /// The causes of a task's failures.
    ///
    /// # Errors
    ///
    /// If the daemon doesn't answer.
    pub fn causes(&self, task: &str) -> Result<Vec<Row>> {
        let call = format!("ListFailures {}", filter(&[&format!("task s {task}")]));
        self.rows(HISTORY, &call)
    }

    /// Waits until the causes of a task's failures are as they should be.
    ///
    /// # Errors
    ///
    /// If they aren't, with what they are.
    pub fn causes_become(&self, task: &str, good: impl Fn(&[Row]) -> bool) -> Result<Vec<Row>> {
        let mut last = Vec::new();
        wait_for(&format!("the causes of {task}'s failures"), SOON, || {
            last = self.causes(task)?;
            Ok(good(&last).then_some(()))
        })
        .with_context(|| format!("they are {last:#?}"))?;
        Ok(last)
    }

    /// What of a task is queued, delayed or has been started from the queue and still runs.
    ///
    /// # Errors
    ///
    /// If the daemon doesn't answer.
    pub fn entries(&self, task: &str) -> Result<Vec<Row>> {
        let call = format!(
            "ListQueued {}",
            filter(&[&format!("task s {task}"), "limit u 100000"])
        );
        self.rows(QUEUE, &call)
    }

    /// Waits until what is queued of a task is as it should be.
    ///
    /// # Errors
    ///
    /// If it isn't, with what it is.
    pub fn entries_become(&self, task: &str, good: impl Fn(&[Row]) -> bool) -> Result<Vec<Row>> {
        let mut last = Vec::new();
        wait_for(&format!("what is queued of {task}"), SOON, || {
            // The daemon may be on its way back.
            let Ok(rows) = self.entries(task) else {
                return Ok(None);
            };
            last = rows;
            Ok(good(&last).then_some(()))
        })
        .with_context(|| format!("it is {last:#?}"))?;
        Ok(last)
    }

    /// Submits these units through standard input, and gives what `interlockctl` says.
    ///
    /// # Errors
    ///
    /// If it refuses.
    pub fn submit(&self, options: &str, units: &[String]) -> Result<String> {
        self.write("/run/testbed/submitted", &(units.join("\n") + "\n"))?;
        self.sh(&format!(
            "interlockctl submit {options} - </run/testbed/submitted"
        ))
    }

    /// A batch, by the name that it was given.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn batch(&self, name: &str) -> Result<Row> {
        let mut batches = self.rows(QUEUE, "ListBatches")?;
        batches.retain(|batch| batch.text("name") == name);
        ensure!(batches.len() == 1, "{} batches {name}", batches.len());
        batches.pop().context("no batch")
    }

    /// Waits until a batch is over, and gives it.
    ///
    /// # Errors
    ///
    /// If it isn't, with how far it is.
    pub fn batch_ends(&self, name: &str) -> Result<Row> {
        let mut last = None;
        wait_for(&format!("the end of batch {name}"), BATCH, || {
            last = self.batch(name).ok().or(last.take());
            Ok(last.clone().filter(|batch| batch.number("ended") > 0))
        })
        .with_context(|| format!("it is {last:#?}"))
    }
}
