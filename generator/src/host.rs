//! What the policy has to know about the units of the host: which exist, under which names, and a few of their
//! settings.

mod disk;
mod listing;
mod unit_text;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use disk::DiskHost;

/// A service as the host's unit files have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its real name; an instance keeps its instance.
    pub name: String,
    /// Its other names, sorted.
    pub aliases: Vec<String>,
    /// Whether it is masked, so that it never starts.
    pub masked: bool,
    /// `Type=`, if it says so; `oneshot` too if it has no `ExecStart=`.
    pub service_type: Option<String>,
    /// Whether it may start before basic.target: systemd adds no dependencies to it, and it names none that would
    /// put it after. interlockd and the bus, which open gates, start after that.
    pub early: bool,
    /// Units after which its own files order it, as they are named there.
    pub after: Vec<String>,
    /// Units before which its own files order it, as they are named there.
    pub before: Vec<String>,
    /// Timers of other names that start it (`Unit=`), sorted.
    pub timers: Vec<String>,
    /// A drop-in that systemd takes instead of interlock's: it has the same name, and its directory comes before the
    /// generators'.
    pub hidden_by: Option<PathBuf>,
}

/// The units of a host.
pub trait Host {
    /// The unit of this name, under whatever name; an instance is found by its template.
    fn find(&self, unit: &str) -> Option<Unit>;

    /// Whether a unit file of just this name exists, and isn't a mask.
    fn has_file(&self, unit: &str) -> bool {
        self.find(unit).is_some_and(|found| !found.masked)
    }
}

/// A host of which nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnknownHost;

impl Host for UnknownHost {
    fn find(&self, unit: &str) -> Option<Unit> {
        Some(Unit {
            name: unit.to_owned(),
            ..Unit::default()
        })
    }

    fn has_file(&self, _: &str) -> bool {
        false
    }
}

/// A host in memory, for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryHost {
    units: BTreeMap<String, Unit>,
}

impl MemoryHost {
    /// Adds a unit under its name and its aliases.
    pub fn add(&mut self, unit: Unit) {
        for name in unit.aliases.iter().chain([&unit.name]) {
            self.units.insert(name.clone(), unit.clone());
        }
    }

    /// Adds a unit that has nothing remarkable about it.
    pub fn add_named(&mut self, name: &str) {
        self.add(Unit {
            name: name.to_owned(),
            ..Unit::default()
        });
    }
}

impl Host for MemoryHost {
    fn find(&self, unit: &str) -> Option<Unit> {
        self.units.get(unit).cloned()
    }
}
