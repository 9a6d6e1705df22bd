//! What a task asks for at its gate, and what may stand before it.

use std::collections::BTreeMap;

/// Shares by resource.
pub type Uses = BTreeMap<String, u32>;

const UNIT: &str = "unit ";

/// The resource that stands for a unit itself. There is one share of it, whatever the policy says: a task and the
/// repairs that are run on it never run at a time. No resource of a policy has such a name, which has a space in it.
pub fn share_of_unit(unit: &str) -> String {
    format!("{UNIT}{unit}")
}

/// The unit that this resource stands for, if it stands for one.
pub fn unit_of_share(resource: &str) -> Option<&str> {
    resource.strip_prefix(UNIT)
}

/// The names of a policy's resources among these.
pub fn resources(uses: &Uses) -> impl Iterator<Item = &String> {
    uses.keys().filter(|name| unit_of_share(name).is_none())
}

/// What a task asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The task's name in the policy: admission is closed and opened by task.
    pub task: String,
    /// Shares that it needs of each resource, all at once.
    pub uses: Uses,
    /// Higher is served first.
    pub priority: i32,
    /// Set if it doesn't queue: how a start is refused that can't be granted at once.
    pub refuse_if_busy: Option<Refusal>,
    /// When its patience ends, microseconds of `CLOCK_MONOTONIC`.
    pub deadline: Option<u64>,
    /// How it is refused then.
    pub at_deadline: Refusal,
}

/// Why a start was given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `when-busy = "skip"`.
    Skipped,
    /// `when-busy = "fail"`: the start fails.
    Failed,
    /// Longer than `max-wait` at the gate.
    #[default]
    WaitedTooLong,
    /// Its window closed (`max-duration`).
    WindowOver,
}

/// What stands between a gate and its task's start, besides resources. Only PID 1 knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Not looked at since something changed.
    Unknown,
    /// Nothing but the gate.
    Clear,
    /// The task has no job: somebody started the gate alone. Granted when free, reserves nothing.
    Jobless,
    /// Somebody outside the policy holds a lock of a resource that it needs. It waits for the resource, and so
    /// reserves it.
    Locked(Vec<Lock>),
    /// Jobs of these units come first. It reserves nothing: they may need the same resources.
    Behind(Vec<String>),
}

/// A resource that somebody outside the policy holds by its lock file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lock {
    /// The resource.
    pub resource: String,
    /// Who holds it, for people.
    pub holder: String,
}

impl Standing {
    /// Whether a waiter that stands so keeps younger ones from what it waits for.
    pub fn reserves(&self) -> bool {
        matches!(self, Self::Unknown | Self::Clear | Self::Locked(_))
    }

    /// Whether a job of `unit` stands before it.
    pub fn is_behind(&self, unit: &str) -> bool {
        matches!(self, Self::Behind(units) if units.iter().any(|u| u == unit))
    }
}

/// What needs both: the larger of the shares of each resource.
pub fn add_uses(uses: &mut Uses, more: &Uses) {
    for (resource, shares) in more {
        let held = uses.entry(resource.clone()).or_default();
        *held = (*held).max(*shares);
    }
}

/// Whether two claims have a resource in common.
pub fn overlap(a: &Uses, b: &Uses) -> bool {
    a.keys().any(|resource| b.contains_key(resource))
}
