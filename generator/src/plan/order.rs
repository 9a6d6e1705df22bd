//! Which units come before a task, by its windows and by `after =`.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::settings::{Settings, Task};

/// Predecessors by task name.
pub(super) struct Order<'a> {
    settings: &'a Settings,
    /// Each task's places in windows: the window's order, and its index in it.
    places: BTreeMap<&'a str, Vec<(&'a [String], usize)>>,
}

impl<'a> Order<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let mut places: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for window in settings.windows().values() {
            for (index, task) in window.order.iter().enumerate() {
                places
                    .entry(task)
                    .or_default()
                    .push((&window.order[..], index));
            }
        }
        Self { settings, places }
    }

    /// Whether a window starts the task.
    pub(super) fn in_window(&self, task: &Task) -> bool {
        self.places.contains_key(task.name.as_str())
    }

    /// The units after which the task's unit and its gate are ordered, sorted.
    ///
    /// All earlier members of a window, not only the one before: that one may be missing from the
    /// transaction (masked, not installed), and then the order of those around it would be lost.
    /// A template can't be a predecessor, as systemd orders only after instances.
    pub(super) fn before(&self, task: &Task) -> BTreeSet<&'a str> {
        let places = self.places.get(task.name.as_str());
        let from_windows = places
            .into_iter()
            .flatten()
            .flat_map(|&(order, index)| order[..index].iter());
        let tasks = self.settings.tasks();
        let mut before = BTreeSet::new();
        // `after` is in the task of these same settings; going through them gives it their lifetime.
        let after = tasks.get(&task.name).map(|task| task.after.iter());
        for name in from_windows.chain(after.into_iter().flatten()) {
            if let Some(earlier) = tasks.get(name)
                && !earlier.is_template()
                && earlier.name != task.name
            {
                before.insert(earlier.unit.as_str());
            }
        }
        before
    }
}
