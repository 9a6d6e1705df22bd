//! What a case does: starting, stopping and releasing tasks.

use std::fs;
use std::io::Write as _;

use anyhow::{Context, Result};

use super::Case;
use super::end::LEFTOVERS;
use crate::command::{Output, Running};
use crate::wait::{SOON, wait_for};

impl Case<'_> {
    /// Queues starts of units, one after another.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn start(&self, units: &[&str]) -> Result<()> {
        self.sh(&format!("systemctl start --no-block {}", quoted(units)))
            .map(drop)
    }

    /// Queues starts of units in one transaction, which `systemctl start` with several units isn't.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn start_together(&self, units: &[&str]) -> Result<()> {
        self.unit(
            "together.target",
            &format!(
                "[Unit]\nDefaultDependencies=no\nWants={}\n",
                units.join(" ")
            ),
        )?;
        self.reload_systemd()?;
        self.sh("systemctl start --no-block together.target")?;
        self.becomes("together.target", "active")?;
        self.stop(&["together.target"])
    }

    /// Releases whatever of these runs, until nothing of them is left to run.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn drain(&self, names: &[&str]) -> Result<()> {
        wait_for("all tasks to have ended", SOON, || {
            for name in names {
                if self.log()?.is_running(name) {
                    self.release(name)?;
                }
            }
            Ok(self
                .sh("systemctl list-jobs --no-legend")?
                .is_empty()
                .then_some(()))
        })
    }

    /// Starts units and waits for them in the background.
    ///
    /// # Errors
    ///
    /// If `systemctl` can't be run.
    pub fn starting(&self, units: &[&str]) -> Result<Running> {
        self.spawn(&format!("systemctl start {}", quoted(units)))
    }

    /// Starts a unit and waits until its job has ended.
    ///
    /// # Errors
    ///
    /// If `systemctl` can't be run; that the start fails is no error here.
    pub fn try_start(&self, unit: &str) -> Result<Output> {
        self.starting(&[unit])?.wait(SOON)
    }

    /// Stops units, and waits for it.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn stop(&self, units: &[&str]) -> Result<()> {
        self.sh(&format!("systemctl stop {}", quoted(units)))
            .map(drop)
    }

    /// Lets a task end that waits to be released, once it runs.
    ///
    /// # Errors
    ///
    /// If it doesn't begin to run, or doesn't end.
    pub fn release(&self, name: &str) -> Result<()> {
        self.begun(name)?;
        let runs = self.log()?.count(name);
        let fifo = self.path(&format!("/run/testbed/{name}"))?;
        // Read as well, so that opening doesn't wait; the task has it open, so nothing gets lost.
        let mut fifo = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .with_context(|| format!("{name} doesn't wait to be released"))?;
        fifo.write_all(b"go\n")?;
        wait_for(&format!("the end of {name}"), SOON, || {
            let log = self.log()?;
            Ok((!log.is_running(name) || log.count(name) > runs).then_some(()))
        })
    }

    /// Lets everything end that runs and waits to be released, also what is just being started.
    ///
    /// # Errors
    ///
    /// If one doesn't end.
    pub fn release_all(&self) -> Result<()> {
        let ended = wait_for("all tasks to have ended", LEFTOVERS, || {
            let log = self.log()?;
            let mut names = log.order();
            names.sort();
            names.dedup();
            for name in names.iter().filter(|name| log.is_running(name)) {
                self.release(name)?;
            }
            Ok(self.left_active()?.is_empty().then_some(()))
        });
        // What is left, then, isn't of these.
        ended.or_else(|_| self.leaves_nothing())
    }
}

fn quoted(units: &[&str]) -> String {
    let units: Vec<String> = units.iter().map(|unit| format!("'{unit}'")).collect();
    format!("-- {}", units.join(" "))
}
