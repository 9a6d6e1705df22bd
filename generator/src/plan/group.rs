//! Oneshots that stop tasks by their mere start: `interlock-stop-GROUP` for deployments.
//!
//! `Conflicts=` stops the others, and `After=` makes the oneshot, and what is ordered after it, wait until
//! they have stopped. It then is over before a later start of theirs could stop anything in return.

use super::{Directory, Plan};
use crate::names;
use crate::policy::settings::{DeployAction, Group, Origin, Settings};
use crate::unitfile::{Section, UnitFile};

/// Adds the oneshot that stops the tasks of a group which a deployment stops.
pub(super) fn stop(plan: &mut Plan, settings: &Settings, name: &str, group: &Group) {
    let stopped = group.tasks.iter().filter(|task| {
        settings.tasks().get(*task).is_some_and(|task| {
            matches!(
                task.on_deploy.action,
                DeployAction::Stop | DeployAction::Restart
            )
        })
    });
    let units = units(settings, stopped);
    if !units.is_empty() {
        let description = ["Stop of tasks for a deployment on ", name].concat();
        let file = conflicting(&group.origin, &description, &units);
        plan.file(Directory::Normal, names::stop_group(name), file);
    }
}

/// The units of those tasks, without templates: systemd can't stop instances that it isn't told.
fn units<'a>(settings: &'a Settings, tasks: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let tasks = tasks
        .into_iter()
        .filter_map(|task| settings.tasks().get(task));
    tasks
        .filter(|task| !task.is_template())
        .map(|task| task.unit.as_str())
        .collect()
}

fn conflicting(origin: &Origin, description: &str, units: &[&str]) -> UnitFile {
    let mut file = UnitFile::new(origin);
    file.section(Section::Unit)
        .text("Description", description)
        .text("SourcePath", &origin.path.to_string_lossy())
        .units("Conflicts", units.iter().copied())
        .units("After", units.iter().copied())
        // A task may be started as often as it likes.
        .literal("StartLimitIntervalSec", "0")
        .literal("CollectMode", "inactive-or-failed");
    file.section(Section::Service)
        .literal("Type", "oneshot")
        // systemd refuses a service that does nothing at all.
        .literal("ExecStart", "/usr/bin/true");
    file
}
