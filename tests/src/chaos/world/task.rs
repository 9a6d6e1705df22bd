//! A task of a chaos run, with its unit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What may be done with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whatever comes.
    Any,
    /// Started by its timer alone.
    Timed,
    /// Its policy is dropped and comes back; nothing else is done to it meanwhile.
    Dropped,
    /// Its stop waits; it is never killed.
    Uninterruptible,
    /// It begins seconds after it was let in.
    Late,
    /// It may be refused because others are busy, or by its own job's limit.
    Refusable,
}

/// A task with its unit.
#[derive(Debug, Clone)]
pub struct Task {
    /// Name in the policy; the unit is NAME.service.
    pub name: String,
    /// What may be done with it.
    pub role: Role,
    /// Shares by resource.
    pub uses: BTreeMap<String, u32>,
    /// A start of it while it is active is none.
    pub stays_active: bool,
    pub(super) unit_lines: Vec<String>,
    pub(super) service: String,
    pub(super) policy: String,
    pub(super) timer: Option<String>,
    pub(super) command: bool,
}

impl Task {
    /// Its unit.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    fn uses_text(&self) -> String {
        let shares: Vec<String> = self
            .uses
            .iter()
            .map(|(name, share)| format!("{name} = {share}"))
            .collect();
        format!("uses = {{ {} }}\n", shares.join(", "))
    }

    /// Its fragment of the policy.
    #[must_use]
    pub fn fragment(&self) -> String {
        let mut text = format!("[tasks.{}]\n", self.name);
        if !self.command {
            let _ = writeln!(text, "unit = \"{}\"", self.unit());
        }
        text + &self.uses_text() + &self.policy
    }
}
