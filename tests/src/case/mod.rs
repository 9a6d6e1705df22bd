//! What a case works with: a machine with interlock in which nothing of an earlier case is left.

mod act;
mod deploy;
mod end;
mod records;
mod see;

pub use records::{HISTORY, QUEUE, Row, filter};

use std::ops::Deref;

use anyhow::Result;

use crate::counter;
use crate::log;
use crate::machine::Machine;
use crate::service::{LOCK_PROGRAM, Service, TASK_PROGRAM};

const UNIT_DIR: &str = "/etc/systemd/system";
const POLICY_DIR: &str = "/etc/interlock/policy.d";

/// Lists what is active and no part of the freshly installed machine.
const ACTIVE: &str = r"list() {
    systemctl list-units --all --plain --no-legend --full \
        --state=active,activating,deactivating,reloading,refreshing \
        --type=service,timer,socket,path,target | awk '{print $1}' |
        grep -vE '^(interlockd|interlock|polkit|interlock-deploy|systemd-[a-z-]+|user@[0-9]+|user-runtime-dir@[0-9]+)\.(service|socket|target)$' | sort
}
";

/// A case while it runs.
#[derive(Debug)]
pub struct Case<'m> {
    machine: &'m Machine,
    cursor: String,
}

impl Deref for Case<'_> {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        self.machine
    }
}

/// Prepares a machine for cases, once, when everything that they need is installed.
///
/// # Errors
///
/// If the machine doesn't do as told.
pub fn prepare(machine: &Machine) -> Result<()> {
    machine.write(TASK_PROGRAM, include_str!("../task.sh"))?;
    machine.write(LOCK_PROGRAM, include_str!("../lock.py"))?;
    machine.sh(&format!(
        "{ACTIVE} chmod 755 {TASK_PROGRAM} {LOCK_PROGRAM}; mkdir -p /var/lib/testbed
         list >/var/lib/testbed/active; find {UNIT_DIR} {POLICY_DIR} | sort >/var/lib/testbed/files"
    ))?;
    Ok(())
}

impl<'m> Case<'m> {
    /// Begins a case.
    ///
    /// # Errors
    ///
    /// If the machine doesn't do as told.
    pub fn begin(machine: &'m Machine, name: &str) -> Result<Self> {
        machine.sh(&format!(
            "logger -t testbed 'case {name}'; : >{}; rm -f {}* /var/lib/testbed/resumed",
            log::PATH,
            counter::PREFIX
        ))?;
        Self::begin_again(machine)
    }

    /// Goes on with what another [`Case`] of the same machine began; the log is kept.
    ///
    /// # Errors
    ///
    /// If the machine doesn't do as told.
    pub fn begin_again(machine: &'m Machine) -> Result<Self> {
        let cursor =
            machine.sh("journalctl --quiet -n0 --show-cursor | sed -n 's/^-- cursor: //p'")?;
        Ok(Self { machine, cursor })
    }

    /// Writes unit files; `daemon-reload` is left to [`Self::policy`] or [`Self::reload_systemd`].
    ///
    /// # Errors
    ///
    /// If they can't be written.
    pub fn services(&self, services: &[Service]) -> Result<()> {
        for service in services {
            self.unit(&service.name, &service.text())?;
        }
        Ok(())
    }

    /// Writes a unit file, or with a `/` in its name a drop-in.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("{UNIT_DIR}/{name}"), text)
    }

    /// Writes a policy fragment without making it take effect.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn fragment(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("{POLICY_DIR}/{name}"), text)
    }

    /// Makes this the policy, and takes effect with it and with new units.
    ///
    /// # Errors
    ///
    /// If interlock finds errors in it.
    pub fn policy(&self, text: &str) -> Result<()> {
        self.fragment("10-case.toml", text)?;
        self.reload()
    }

    /// Tasks of these units (without `.service`), all of which use the one exclusive resource `r`.
    ///
    /// # Errors
    ///
    /// As [`Self::policy`].
    pub fn exclusive(&self, names: &[&str]) -> Result<()> {
        self.policy(&exclusive_policy(names))
    }

    /// Takes effect with changed units and policies, which must be good.
    ///
    /// # Errors
    ///
    /// If interlock finds errors in the policy.
    pub fn reload(&self) -> Result<()> {
        // It makes systemd reload as well, which is most of what it takes.
        self.sh("interlockctl reload").map(drop)
    }

    /// `systemctl daemon-reload`.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn reload_systemd(&self) -> Result<()> {
        self.sh("systemctl daemon-reload").map(drop)
    }
}

/// The policy of [`Case::exclusive`].
pub fn exclusive_policy(names: &[&str]) -> String {
    let mut text = String::from("[resources.r]\n");
    for (number, name) in names.iter().enumerate() {
        text.push_str(&task_policy(
            &format!("t{number}-{}", plain(name)),
            name,
            "uses = [\"r\"]",
        ));
    }
    text
}

/// One task of a unit (without `.service`) with further lines.
pub fn task_policy(task: &str, unit: &str, lines: &str) -> String {
    // A literal string, for units whose escaped names have backslashes.
    format!("[tasks.{task}]\nunit = '{unit}.service'\n{lines}\n")
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}
