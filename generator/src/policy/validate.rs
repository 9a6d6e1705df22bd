//! Makes settings of merged inputs: looks up every name, and fills in what isn't written.

use std::collections::BTreeSet;
use std::time::Duration;

use super::diagnostic::Problems;
use super::fragment::{GroupFragment, Named, ResourceFragment, WindowFragment};
use super::inputs::Inputs;
use super::settings::{Group, OnDeadlock, Resource, Settings, Window};
use super::source::{At, Source, Span};
use super::{Compiled, blocked, failures, order, suggest, units, validate_task};
use crate::host::Host;

/// What is written nowhere.
const NESTED_GRACE: Duration = Duration::from_secs(60);
const HOOK_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What the steps of validation share.
pub(super) struct Context<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) sources: &'a [Source],
    pub(super) host: &'a dyn Host,
    pub(super) problems: &'a mut Problems,
}

/// Validates the whole policy. Errors are reported; what they leave out is missing from the settings.
pub(super) fn validate(mut context: Context<'_>) -> Compiled {
    let mut settings = Settings::default();
    for (name, resource) in &context.inputs.resources {
        if resource.sound {
            settings
                .resources
                .insert(name.clone(), self::resource(&context, resource));
        }
    }
    let units = units::find(&mut context);
    for (name, task) in &context.inputs.tasks {
        if let Some(task) = validate_task::task(&mut context, &settings, &units, name, task) {
            settings.insert_task(task);
        }
    }
    for (name, window) in &context.inputs.windows {
        if let Some(window) = self::window(&mut context, &settings, window) {
            settings.windows.insert(name.clone(), window);
        }
    }
    for (name, group) in &context.inputs.groups {
        if let Some(group) = self::group(&mut context, group) {
            settings.groups.insert(name.clone(), group);
        }
    }
    for (name, failure) in &context.inputs.failures {
        if let Some(rule) = failures::rule(&mut context, failure) {
            settings.failures.insert(name.clone(), rule);
        }
    }
    let sources = context.sources;
    context.inputs.records.settle(sources, &mut settings);
    order::check(&mut context, &units);
    if settings.tasks.len() < context.inputs.tasks.len() + context.inputs.ineffective_tasks.len() {
        drop_ineffective(&mut settings);
    }
    settings.blocked = blocked::units(&context, &settings, &units.refused);
    Compiled {
        settings,
        refused: units.refused,
    }
}

fn resource(context: &Context<'_>, resource: &Named<ResourceFragment>) -> Resource {
    let body = &resource.body;
    Resource {
        description: text(&body.description),
        capacity: body.capacity.as_ref().map_or(1, |capacity| {
            u32::try_from(capacity.value).expect("the range was checked")
        }),
        lock_files: body.lock_files.clone(),
        clients: body
            .clients
            .iter()
            .map(|client| client.value.clone())
            .collect(),
        nested_grace: or(&body.nested_grace, NESTED_GRACE),
        on_deadlock: or(&body.on_deadlock, OnDeadlock::Report),
        origin: context.origin(resource.name.at),
    }
}

fn window(
    context: &mut Context<'_>,
    settings: &Settings,
    window: &Named<WindowFragment>,
) -> Option<Window> {
    let body = &window.body;
    context.check_tasks(&body.order);
    for member in &body.order {
        if let Some(task) = settings.tasks.get(&member.value) {
            if task.is_template() {
                context
                    .problems
                    .error(
                        member.at,
                        format!(
                            "a window can't start \"{}\": its unit is a template",
                            member.value
                        ),
                    )
                    .help(format!(
                        "name a task whose unit is an instance, as {}",
                        instance_of(&task.unit)
                    ));
            }
            let own = context.inputs.tasks.get(&member.value);
            if let Some(at) = own.and_then(|task| task.body.key("calendar")) {
                context
                    .problems
                    .warning(
                        at,
                        format!(
                            "this calendar has no effect: window \"{}\" starts the task",
                            window.name.value
                        ),
                    )
                    .note(member.at, "the window names it here")
                    .help("remove it");
            }
        }
    }
    window.sound.then(|| Window {
        description: text(&body.description),
        calendar: body.calendar.clone(),
        randomized_delay: text(&body.randomized_delay),
        persistent: or(&body.persistent, true),
        max_duration: body.max_duration.as_ref().map(|span| span.value),
        order: values(&body.order),
        origin: context.origin(window.name.at),
    })
}

fn group(context: &mut Context<'_>, group: &Named<GroupFragment>) -> Option<Group> {
    let body = &group.body;
    context.check_tasks(&body.tasks);
    group.sound.then(|| Group {
        description: text(&body.description),
        tasks: values(&body.tasks),
        grace: or(&body.grace, Duration::ZERO),
        max_wait: body.max_wait.as_ref().map(|span| span.value),
        before_settle: body
            .before_settle
            .as_ref()
            .map(|command| command.value.clone())
            .unwrap_or_default(),
        after_resume: body
            .after_resume
            .as_ref()
            .map(|command| command.value.clone())
            .unwrap_or_default(),
        hook_timeout: or(&body.hook_timeout, HOOK_TIMEOUT),
        origin: context.origin(group.name.at),
    })
}

/// An example instance of a template.
pub(super) fn instance_of(template: &str) -> String {
    template.replacen("@.", "@INSTANCE.", 1)
}

/// Takes out of lists the tasks that are defined, but not in effect.
fn drop_ineffective(settings: &mut Settings) {
    let known: BTreeSet<String> = settings.tasks.keys().cloned().collect();
    let keep = |names: &mut Vec<String>| names.retain(|name| known.contains(name));
    settings
        .windows
        .values_mut()
        .for_each(|window| keep(&mut window.order));
    settings
        .groups
        .values_mut()
        .for_each(|group| keep(&mut group.tasks));
    for task in settings.tasks.values_mut() {
        keep(&mut task.after);
        keep(&mut task.preempts);
    }
    // One that named only tasks that are left out must not become one for all.
    settings.failures.retain(|_, rule| {
        let named_any = !rule.tasks.is_empty();
        keep(&mut rule.tasks);
        !named_any || !rule.tasks.is_empty()
    });
    settings
        .windows
        .retain(|_, window| !window.order.is_empty());
    settings.groups.retain(|_, group| !group.tasks.is_empty());
}

impl Context<'_> {
    pub(super) fn origin(&self, at: Span) -> super::settings::Origin {
        self.sources[at.source].origin(at)
    }

    /// Reports each name that no task has.
    pub(super) fn check_tasks(&mut self, names: &[At<String>]) {
        for name in names {
            if !self.is_task(&name.value) {
                let tasks = self.inputs.tasks.keys().map(String::as_str);
                let help = self
                    .by_unit(&name.value)
                    .unwrap_or_else(|| suggest::for_name(&name.value, "task", tasks));
                self.problems
                    .error(name.at, format!("no task is named \"{}\"", name.value))
                    .help(help);
            }
        }
    }

    /// Help for somebody who wrote a task's unit instead of its name.
    fn by_unit(&self, unit: &str) -> Option<String> {
        unit.contains('.').then_some(())?;
        let is_its = |task: &&Named<super::task_fragment::TaskFragment>| {
            task.body.unit.as_ref().is_some_and(|own| own.value == unit)
        };
        let task = self.inputs.tasks.values().find(is_its)?;
        Some(format!("write the task's name: \"{}\"", task.name.value))
    }

    pub(super) fn is_task(&self, name: &str) -> bool {
        self.inputs.tasks.contains_key(name) || self.inputs.ineffective_tasks.contains(name)
    }
}

pub(super) fn text(value: &Option<At<String>>) -> Option<String> {
    value.as_ref().map(|text| text.value.clone())
}

pub(super) fn or<T: Copy>(value: &Option<At<T>>, default: T) -> T {
    value.as_ref().map_or(default, |value| value.value)
}

pub(super) fn values(names: &[At<String>]) -> Vec<String> {
    names.iter().map(|name| name.value.clone()).collect()
}
