//! Finds the unit of each task on the host.

use std::collections::{BTreeMap, BTreeSet};

use super::fragment::Named;
use super::source::Span;
use super::task_fragment::TaskFragment;
use super::unit_name;
use super::validate::{Context, instance_of, or};
use crate::host::Unit;
use crate::names;

/// Units without which no gate can open.
const NEEDED: [&str; 4] = [
    "interlockd.service",
    "dbus.service",
    "dbus-broker.service",
    "systemd-journald.service",
];

/// Whether this is interlock's own, or interlock could open no gate without it.
pub(super) fn is_needed(unit: &str) -> bool {
    NEEDED.contains(&unit) || unit.starts_with("interlock-")
}

/// The unit of each task.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) of_task: BTreeMap<String, Unit>,
    pub(super) refused: BTreeSet<String>,
}

/// Finds each task's unit on the host, and reports those that can't be a task's.
pub(super) fn find(context: &mut Context<'_>) -> Units {
    let mut units = Units::default();
    let mut owners: BTreeMap<String, (&str, Span)> = BTreeMap::new();
    let inputs = context.inputs;
    let mut tasks: Vec<_> = inputs.tasks.values().collect();
    // Of two that name one unit, the later is told.
    tasks.sort_by_key(|task| (task.name.at.source, task.name.at.start));
    for task in tasks {
        let Some((unit, at)) = unit(context, task) else {
            continue;
        };
        if refuse_needed(context, &unit, at)
            || refuse_early(context, task, &unit, at)
            || refuse_hidden(context, &unit, at)
        {
            units.refused.insert(unit.name);
            continue;
        }
        if let Some((owner, first)) = owners.get(&unit.name) {
            let name = &unit.name;
            let problem = context
                .problems
                .error(at, format!("task \"{owner}\" already names {name}"));
            problem
                .note(*first, "first named here")
                .help("a unit has one task: put all it uses into that one");
            if task
                .body
                .unit
                .as_ref()
                .is_some_and(|own| own.value != *name)
            {
                problem.message.push_str(", of which this is another name");
            }
            continue;
        }
        owners.insert(unit.name.clone(), (&task.name.value, at));
        units.of_task.insert(task.name.value.clone(), unit);
    }
    units
}

/// A task's unit and where it is named; `None` if there is none, which was reported.
fn unit(context: &mut Context<'_>, task: &Named<TaskFragment>) -> Option<(Unit, Span)> {
    let Some(named) = &task.body.unit else {
        task.body.key("command")?;
        return command_unit(context, task).map(|unit| (unit, task.name.at));
    };
    let at = named.at;
    if let Err(wrong) = unit_name::check_unit(&named.value) {
        context
            .problems
            .error(
                at,
                format!("unit name \"{}\" {}", named.value, wrong.message),
            )
            .help(wrong.help);
        return None;
    }
    let found = context.host.find(&named.value);
    let mut unit = match found {
        Some(found) => found,
        None => {
            if !is_needed(&named.value) {
                missing(context, &named.value, at);
            }
            Unit {
                name: named.value.clone(),
                ..Unit::default()
            }
        }
    };
    if unit.name != named.value && !unit.aliases.contains(&named.value) {
        unit.aliases.push(named.value.clone());
    }
    if let Err(wrong) = unit_name::check_unit(&unit.name) {
        let message = format!(
            "{} is another name of \"{}\", which {}",
            named.value, unit.name, wrong.message
        );
        context.problems.error(at, message).help(wrong.help);
        return None;
    }
    if names::gate_drop_in_is_too_long(&unit.name) {
        let message = format!(
            "{} is too long for drop-ins of its gate ({} bytes)",
            unit.name,
            unit.name.len()
        );
        let most = names::UNIT_NAME_MAX - names::DROP_IN_DIR.len();
        context
            .problems
            .error(at, message)
            .help(format!("use at most {most} bytes"));
        return None;
    }
    Some((unit, at))
}

fn missing(context: &mut Context<'_>, name: &str, at: Span) {
    let template = name
        .strip_suffix(".service")
        .map(|stem| format!("{stem}@.service"));
    if let Some(template) =
        template.filter(|template| !name.contains('@') && context.host.has_file(template))
    {
        context
            .problems
            .error(
                at,
                format!("{name} doesn't exist, but the template {template} does"),
            )
            .help(format!(
                "write unit = \"{template}\" for all its instances, or \"{}\" for one",
                instance_of(&template)
            ));
        return;
    }
    context
        .problems
        .warning(at, format!("no unit file of {name} is on this host"))
        .help(
            "the task takes effect as soon as there is one; check the spelling if there should be",
        );
}

/// The unit that interlock makes for a command.
fn command_unit(context: &mut Context<'_>, task: &Named<TaskFragment>) -> Option<Unit> {
    let name = format!("{}.service", task.name.value);
    if unit_name::is_prefix(&task.name.value) {
        let message = format!(
            "a command can't be named \"{0}\": what is set for {name} goes for all units whose names begin with {0}",
            task.name.value
        );
        context
            .problems
            .error(task.name.at, message)
            .help("write it without the dash at its end");
        return None;
    }
    for made in [name.clone(), format!("{}.timer", task.name.value)] {
        let is_timer = made.ends_with(".timer");
        if is_timer && task.body.calendar.is_empty() || !context.host.has_file(&made) {
            continue;
        }
        let problem = context.problems.error(
            task.name.at,
            format!("{made}, which this command would become, already exists on this host"),
        );
        match is_timer {
            false => problem.help(format!(
                "choose another name, or write unit = \"{name}\" instead of \"command\""
            )),
            true => problem.help("choose another name"),
        };
        return None;
    }
    Some(Unit {
        name,
        ..Unit::default()
    })
}

/// Whether a task's unit is one that gates themselves depend on.
fn refuse_needed(context: &mut Context<'_>, unit: &Unit, at: Span) -> bool {
    let Some(name) = unit
        .aliases
        .iter()
        .chain([&unit.name])
        .find(|name| is_needed(name))
    else {
        return false;
    };
    let why = match NEEDED.contains(&name.as_str()) {
        true => "without it no gate opens",
        false => "such names are interlock's own",
    };
    context
        .problems
        .error(at, format!("{name} can't be a task: {why}"))
        .task_only()
        .help("remove this task");
    true
}

/// Whether systemd wouldn't read what interlock writes for a unit, so that it would start as if it had no policy.
fn refuse_hidden(context: &mut Context<'_>, unit: &Unit, at: Span) -> bool {
    let Some(path) = &unit.hidden_by else {
        return false;
    };
    let message = format!(
        "{} would start without its gate: {} hides interlock's drop-in of that name",
        unit.name,
        path.display()
    );
    context
        .problems
        .error(at, message)
        .task_only()
        .help("rename that file, or remove it; what it says still holds under another name");
    true
}

/// Whether a task starts so early that its gate, which needs interlockd and the bus, would hold up boot for ever.
fn refuse_early(
    context: &mut Context<'_>,
    task: &Named<TaskFragment>,
    unit: &Unit,
    at: Span,
) -> bool {
    if !unit.early || !or(&task.body.gated, true) {
        return false;
    }
    context
        .problems
        .error(at, format!("{} may start before sysinit.target or basic.target, when no gate can open yet", unit.name))
        .task_only()
        .help(
            "remove this task; or, since it has DefaultDependencies=no, add After=basic.target to the unit \
             (systemctl edit) if it may start later; or write gated = false",
        );
    true
}
