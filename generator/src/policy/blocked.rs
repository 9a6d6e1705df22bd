//! Which units must not start, since the policy that would guard them has errors.

use std::collections::{BTreeMap, BTreeSet};

use super::fragment::Named;
use super::settings::{Origin, Settings};
use super::task_fragment::TaskFragment;
use super::unit_name;
use super::units::is_needed;
use super::validate::{Context, or};
use crate::host::Unit;

/// The units of all tasks that are written down somewhere, but guarded nowhere; those that boot can't wait for
/// (`refused`) and those that are never held are left alone.
pub(super) fn units(
    context: &Context<'_>,
    settings: &Settings,
    refused: &BTreeSet<String>,
) -> BTreeMap<String, Origin> {
    let mut blocked = BTreeMap::new();
    let left_out = context
        .inputs
        .tasks
        .values()
        .filter(|task| !settings.tasks.contains_key(&task.name.value));
    for task in left_out.chain(&context.inputs.blocked_tasks) {
        if !or(&task.body.gated, true) {
            continue;
        }
        let Some(unit) = unit(context, task) else {
            continue;
        };
        if settings.task_of_unit(&unit).is_none() && !refused.contains(&unit) {
            let origin = context.origin(task.name.at);
            blocked.entry(unit).or_insert(origin);
        }
    }
    blocked
}

/// The real name of the unit that a task is about, as far as that can be known.
fn unit(context: &Context<'_>, task: &Named<TaskFragment>) -> Option<String> {
    let Some(named) = &task.body.unit else {
        // The unit of a command is ours; one that was there before isn't.
        let name = format!("{}.service", task.name.value);
        let is_ours = task.body.key("command").is_some()
            && unit_name::check_policy_name(&task.name.value).is_ok()
            && !unit_name::is_prefix(&task.name.value)
            && !context.host.has_file(&name);
        return (is_ours && !is_needed(&name)).then_some(name);
    };
    unit_name::check_unit(&named.value).ok()?;
    let found = context.host.find(&named.value);
    // One is never blocked, the other can't be.
    let cannot = |unit: &Unit| unit.early || unit.hidden_by.is_some();
    if found.as_ref().is_some_and(cannot) {
        return None;
    }
    let name = found.map_or_else(|| named.value.clone(), |unit| unit.name);
    unit_name::check_unit(&name).ok()?;
    (!is_needed(&name) && !is_needed(&named.value)).then_some(name)
}
