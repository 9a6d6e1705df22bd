//! All fragments merged: every name once, nothing yet looked up.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Problems;
use super::failures::FailureFragment;
use super::fragment::{Fragment, GroupFragment, Named, ResourceFragment, WindowFragment};
use super::records::RecordsFragment;
use super::source::At;
use super::task_fragment::TaskFragment;

/// The merged policy.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) resources: BTreeMap<String, Named<ResourceFragment>>,
    pub(super) windows: BTreeMap<String, Named<WindowFragment>>,
    pub(super) tasks: BTreeMap<String, Named<TaskFragment>>,
    pub(super) groups: BTreeMap<String, Named<GroupFragment>>,
    pub(super) failures: BTreeMap<String, Named<FailureFragment>>,
    pub(super) records: RecordsFragment,
    /// Tasks of fragments that don't take effect.
    pub(super) blocked_tasks: Vec<Named<TaskFragment>>,
    /// Tasks that are defined, but don't take effect; naming one isn't a mistake.
    pub(super) ineffective_tasks: BTreeSet<String>,
}

/// Merges fragments; those for which `blocked` is true give their sound resources only.
pub(super) fn merge(fragments: Vec<(Fragment, bool)>, problems: &mut Problems) -> Inputs {
    let mut inputs = Inputs::default();
    let (blocked, effective): (Vec<_>, Vec<_>) =
        fragments.into_iter().partition(|(_, blocked)| *blocked);
    for (fragment, _) in effective {
        add(
            &mut inputs.resources,
            fragment.resources,
            "resource",
            problems,
        );
        add(&mut inputs.windows, fragment.windows, "window", problems);
        add(&mut inputs.tasks, fragment.tasks, "task", problems);
        add(&mut inputs.groups, fragment.groups, "group", problems);
        add(&mut inputs.failures, fragment.failures, "failure", problems);
        inputs.records.add(fragment.records, problems);
    }
    for (fragment, _) in blocked {
        // What others share with a bad fragment stays shared, so that its error doesn't spread to them.
        for resource in fragment.resources {
            inputs
                .resources
                .entry(resource.name.value.clone())
                .or_insert(resource);
        }
        for task in fragment.tasks {
            if !inputs.tasks.contains_key(&task.name.value) {
                inputs.ineffective_tasks.insert(task.name.value.clone());
            }
            inputs.blocked_tasks.push(task);
        }
    }
    inputs
}

fn add<T>(
    all: &mut BTreeMap<String, Named<T>>,
    new: Vec<Named<T>>,
    kind: &str,
    problems: &mut Problems,
) {
    for item in new {
        let At { value: name, at } = &item.name;
        if let Some(first) = all.get(name) {
            problems
                .error(*at, format!("{kind} \"{name}\" is defined twice"))
                .note(first.name.at, "first defined here")
                .help(
                    "keep one of them; to replace a whole fragment, give the new one its file name in \
                     /etc/interlock/policy.d",
                );
            continue;
        }
        all.insert(name.clone(), item);
    }
}
