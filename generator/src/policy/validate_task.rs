//! Makes tasks of their fragments, and checks them against each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fragment::Named;
use super::settings::{Command, DeployAction, OnDeploy, Retry, Settings, Task, WhenBusy};
use super::suggest;
use super::task_fragment::TaskFragment;
use super::units::Units;
use super::validate::{Context, instance_of, or, text, values};
use crate::host::Unit;
use crate::names;

const INTERRUPTION_PERIOD: Duration = Duration::from_secs(24 * 3600);
const NOTIFY_SKIPS: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_secs(60);
const RETRY_MAX_DELAY: Duration = Duration::from_secs(3600);

/// Makes one task; `None` if something about it is wrong, which was reported.
pub(super) fn task(
    context: &mut Context<'_>,
    settings: &Settings,
    units: &Units,
    name: &str,
    task: &Named<TaskFragment>,
) -> Option<Task> {
    let before = context.problems.errors().count();
    let body = &task.body;
    let uses = uses(context, settings, task);
    context.check_tasks(&body.after);
    context.check_tasks(&body.preempts);
    let unit = units.of_task.get(name);
    if let Some(unit) = unit {
        for_instances(context, task, unit);
    }
    references(context, units, name, task);
    super::gate_rules::check(context, task);
    let sound = task.sound && context.problems.errors().count() == before;
    let (unit, uses) = (unit.filter(|_| sound)?, uses?);
    let gated = or(&body.gated, true);
    Some(Task {
        name: name.to_owned(),
        unit: unit.name.clone(),
        aliases: unit.aliases.clone(),
        unit_type: unit.service_type.clone(),
        unit_after: unit.after.clone(),
        unit_before: unit.before.clone(),
        timers: unit.timers.clone(),
        command: body.command.as_ref().map(|argv| command(body, &argv.value)),
        uses,
        after: values(&body.after),
        preempts: values(&body.preempts),
        priority: body.priority.as_ref().map_or(0, |priority| {
            i32::try_from(priority.value).expect("the range was checked")
        }),
        when_busy: or(&body.when_busy, WhenBusy::Queue),
        max_wait: body.max_wait.as_ref().map(|span| span.value),
        max_runtime: text(&body.max_runtime),
        uninterruptible: or(&body.uninterruptible, false),
        stop_timeout: text(&body.stop_timeout).filter(|span| span != "infinity"),
        gated,
        on_deploy: on_deploy(body),
        retry: retry(body),
        actions: body.actions.clone(),
        notify_command: body
            .notify_command
            .as_ref()
            .map(|command| command.value.clone()),
        notify_skips: body.notify_skips.as_ref().map_or(NOTIFY_SKIPS, |skips| {
            u32::try_from(skips.value).expect("the range was checked")
        }),
        expect_success: body.expect_success.as_ref().map(|span| span.value),
        origin: context.origin(task.name.at),
    })
}

/// The shares of each resource; `None` if one of them isn't in effect.
fn uses(
    context: &mut Context<'_>,
    settings: &Settings,
    task: &Named<TaskFragment>,
) -> Option<BTreeMap<String, u32>> {
    let mut all = BTreeMap::new();
    let mut known = true;
    for (name, weight) in &task.body.uses {
        let Some(resource) = settings.resources.get(&name.value) else {
            known = false;
            // One that is defined, but wrong, was reported where it is defined.
            if !context.inputs.resources.contains_key(&name.value) {
                let resources = context.inputs.resources.keys().map(String::as_str);
                let help = suggest::for_name(&name.value, "resource", resources);
                context
                    .problems
                    .error(name.at, format!("no resource is named \"{}\"", name.value))
                    .help(help);
            }
            continue;
        };
        let shares = weight.value.unwrap_or(resource.capacity);
        if shares > resource.capacity {
            let definition = context.inputs.resources.get(&name.value);
            let at = definition.map(|it| {
                it.body
                    .capacity
                    .as_ref()
                    .map_or(it.name.at, |capacity| capacity.at)
            });
            let message = format!(
                "{shares} shares of \"{}\" can never be had: its capacity is {}",
                name.value, resource.capacity
            );
            let problem = context.problems.error(weight.at, message);
            problem.help(format!(
                "write at most {}, or \"all\", or raise the capacity",
                resource.capacity
            ));
            if let Some(at) = at {
                problem.note(at, "the capacity is set here");
            }
            continue;
        }
        all.insert(name.value.clone(), shares);
    }
    known.then_some(all)
}

/// What only makes sense for a template or its instances.
fn for_instances(context: &mut Context<'_>, task: &Named<TaskFragment>, unit: &Unit) {
    if let Some(at) = task
        .body
        .instance_argument
        .filter(|_| !unit.name.contains('@'))
    {
        context
            .problems
            .error(
                at,
                format!("\"%i\" is the instance, but {} is no template", unit.name),
            )
            .help("remove %i, or name a template as the task's unit, as \"name@.service\"");
    }
}

/// Orders and preemptions name units, and a template isn't one.
fn references(context: &mut Context<'_>, units: &Units, name: &str, task: &Named<TaskFragment>) {
    let body = &task.body;
    for (key, others) in [("after", &body.after), ("preempts", &body.preempts)] {
        for other in others {
            if other.value == name {
                context
                    .problems
                    .error(
                        other.at,
                        format!("task \"{name}\" names itself in \"{key}\""),
                    )
                    .help("remove it");
                continue;
            }
            let Some(unit) = units.of_task.get(&other.value) else {
                continue;
            };
            if names::is_template(&unit.name) {
                context
                    .problems
                    .error(
                        other.at,
                        format!(
                            "\"{key}\" can't name \"{}\": its unit is a template",
                            other.value
                        ),
                    )
                    .help(format!(
                        "name a task whose unit is an instance, as {}",
                        instance_of(&unit.name)
                    ));
            }
            let whole = context
                .inputs
                .tasks
                .get(&other.value)
                .and_then(|it| it.body.uninterruptible.as_ref());
            if let Some(whole) = whole.filter(|whole| whole.value && key == "preempts") {
                context
                    .problems
                    .error(
                        other.at,
                        format!(
                            "\"{}\" can't be preempted: it is uninterruptible",
                            other.value
                        ),
                    )
                    .note(whole.at, "it is made so here")
                    .help("remove one of the two");
            }
        }
    }
}

fn command(body: &TaskFragment, argv: &[String]) -> Command {
    Command {
        argv: argv.to_vec(),
        description: text(&body.description),
        user: text(&body.user),
        group: text(&body.group),
        working_directory: text(&body.working_directory),
        environment: body.environment.clone(),
        calendar: body.calendar.clone(),
        randomized_delay: text(&body.randomized_delay),
        persistent: or(&body.persistent, true),
    }
}

fn on_deploy(body: &TaskFragment) -> OnDeploy {
    let it = body.on_deploy.as_ref();
    OnDeploy {
        action: it.map_or(DeployAction::Wait, |it| or(&it.action, DeployAction::Wait)),
        signal: it.and_then(|it| text(&it.signal)),
        command: it
            .and_then(|it| it.command.as_ref())
            .map(|command| command.value.clone())
            .unwrap_or_default(),
        fallback: it
            .and_then(|it| it.fallback.as_ref())
            .map(|action| action.value),
        max_interruptions: it
            .and_then(|it| it.max_interruptions.as_ref())
            .map(|most| u32::try_from(most.value).expect("the range was checked")),
        interruption_period: it.map_or(INTERRUPTION_PERIOD, |it| {
            or(&it.interruption_period, INTERRUPTION_PERIOD)
        }),
    }
}

fn retry(body: &TaskFragment) -> Option<Retry> {
    let it = body.retry.as_ref()?;
    let delay = or(&it.delay, RETRY_DELAY);
    Some(Retry {
        attempts: u32::try_from(it.attempts.as_ref()?.value).expect("the range was checked"),
        delay,
        max_delay: or(&it.max_delay, RETRY_MAX_DELAY.max(delay)),
    })
}
