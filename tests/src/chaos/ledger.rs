//! What the driver asks for and does, among the lines of the tasks, so that one file has the order of all events.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::machine::Machine;

/// Where it is, inside the container.
pub const PATH: &str = "/var/lib/testbed/chaos.log";

/// The open log.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
}

impl Ledger {
    /// Begins a new one.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn begin(machine: &Machine) -> Result<Self> {
        machine.write(PATH, "")?;
        let path = machine.path(PATH)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .context("can't open the log")?;
        Ok(Self { file, path })
    }

    /// Notes what is done next.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn note(&mut self, what: &str) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let line = format!("{:.6} driver {what}\n", now.as_secs_f64());
        // One write, so that it stays one line among others.
        self.file.write_all(line.as_bytes())?;
        Ok(())
    }

    /// All of it so far.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.path)?).into_owned())
    }
}
