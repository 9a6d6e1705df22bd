//! `[tasks.NAME]` as it is written.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::actions;
use super::fragment::{calendar, has};
use super::on_deploy::{self, OnDeployFragment};
use super::reader::{Reader, Value};
use super::settings::{RepairAction, WhenBusy};
use super::source::{At, Span};

/// What a task's table says.
#[derive(Debug, Default)]
pub(super) struct TaskFragment {
    pub(super) unit: Option<At<String>>,
    pub(super) command: Option<At<Vec<String>>>,
    /// Resources with their weights; `None` is `"all"`.
    pub(super) uses: Vec<(At<String>, At<Option<u32>>)>,
    pub(super) after: Vec<At<String>>,
    pub(super) preempts: Vec<At<String>>,
    pub(super) priority: Option<At<i64>>,
    pub(super) when_busy: Option<At<WhenBusy>>,
    pub(super) max_wait: Option<At<Duration>>,
    pub(super) max_runtime: Option<At<String>>,
    pub(super) uninterruptible: Option<At<bool>>,
    pub(super) stop_timeout: Option<At<String>>,
    pub(super) gated: Option<At<bool>>,
    pub(super) on_deploy: Option<OnDeployFragment>,
    pub(super) retry: Option<RetryFragment>,
    pub(super) actions: BTreeMap<String, RepairAction>,
    pub(super) notify_command: Option<At<Vec<String>>>,
    pub(super) notify_skips: Option<At<i64>>,
    pub(super) expect_success: Option<At<Duration>>,
    /// The first command of an action that contains `%i` or `%I`.
    pub(super) instance_argument: Option<Span>,
    // Only for commands.
    pub(super) description: Option<At<String>>,
    pub(super) user: Option<At<String>>,
    pub(super) group: Option<At<String>>,
    pub(super) working_directory: Option<At<String>>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) calendar: Vec<String>,
    pub(super) randomized_delay: Option<At<String>>,
    pub(super) persistent: Option<At<bool>>,
    /// Where each key stands.
    keys: Vec<(&'static str, Span)>,
}

impl TaskFragment {
    /// Where a key stands, if it does.
    pub(super) fn key(&self, key: &str) -> Option<Span> {
        let found = self.keys.iter().find(|(name, _)| *name == key);
        found.map(|(_, at)| *at)
    }
}

/// `retry`.
#[derive(Debug)]
pub(super) struct RetryFragment {
    pub(super) attempts: Option<At<i64>>,
    pub(super) delay: Option<At<Duration>>,
    pub(super) max_delay: Option<At<Duration>>,
}

/// Keys of `[tasks.NAME]`, of every task.
pub const TASK_KEYS: &[&str] = &[
    "unit",
    "command",
    "uses",
    "after",
    "preempts",
    "priority",
    "when-busy",
    "max-wait",
    "max-runtime",
    "uninterruptible",
    "stop-timeout",
    "gated",
    "on-deploy",
    "retry",
    "actions",
    "notify-command",
    "notify-skips",
    "expect-success",
    "description",
    "user",
    "group",
    "working-directory",
    "environment",
    "calendar",
    "randomized-delay",
    "persistent",
];
/// Those of them that are only for tasks with `command`: a unit that exists says these things itself.
pub const COMMAND_KEYS: &[&str] = &[
    "description",
    "user",
    "group",
    "working-directory",
    "environment",
    "calendar",
    "randomized-delay",
    "persistent",
];
/// Keys of `retry`.
pub const RETRY_KEYS: &[&str] = &["attempts", "delay", "max-delay"];

const WHEN_BUSY: [(&str, WhenBusy); 3] = [
    ("queue", WhenBusy::Queue),
    ("skip", WhenBusy::Skip),
    ("fail", WhenBusy::Fail),
];

/// Reads a task's table.
pub(super) fn task(
    reader: &mut Reader<'_>,
    task: &At<String>,
    table: &DeTable<'_>,
) -> TaskFragment {
    let mut it = TaskFragment::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let known = TASK_KEYS.iter().find(|known| **known == name);
        it.keys
            .extend(known.map(|known| (*known, reader.span(key))));
        match name {
            "unit" => it.unit = reader.string(name, value),
            "command" => it.command = reader.command(name, value),
            "uses" => it.uses = uses(reader, name, value),
            "after" => it.after = reader.names(name, value, "after = [\"task\"]"),
            "preempts" => it.preempts = reader.names(name, value, "preempts = [\"task\"]"),
            "priority" => {
                it.priority = reader.integer(name, value, i32::MIN.into(), i32::MAX.into());
            }
            "when-busy" => it.when_busy = reader.one_of(name, value, &WHEN_BUSY),
            "max-wait" => it.max_wait = reader.positive_duration(name, value),
            "max-runtime" => it.max_runtime = reader.systemd_span(name, value, true),
            "uninterruptible" => it.uninterruptible = reader.boolean(name, value),
            "stop-timeout" => it.stop_timeout = reader.systemd_span(name, value, true),
            "gated" => it.gated = reader.boolean(name, value),
            "on-deploy" => it.on_deploy = on_deploy::read(reader, name, value),
            "retry" => it.retry = retry(reader, name, value),
            "actions" => actions::read(reader, name, value, &mut it),
            "notify-command" => it.notify_command = reader.command_or_none(name, value),
            "notify-skips" => it.notify_skips = reader.integer(name, value, 0, u32::MAX.into()),
            "expect-success" => it.expect_success = reader.positive_duration(name, value),
            "description" => it.description = reader.string(name, value),
            "user" => it.user = reader.account(name, value),
            "group" => it.group = reader.account(name, value),
            "working-directory" => it.working_directory = reader.path(name, value),
            "environment" => it.environment = reader.environment(name, value),
            "calendar" => it.calendar = calendar(reader, name, value),
            "randomized-delay" => it.randomized_delay = reader.systemd_span(name, value, false),
            "persistent" => it.persistent = reader.boolean(name, value),
            _ => reader.unknown_key(key, TASK_KEYS, "a task"),
        }
    }
    unit_or_command(reader, task, table, &it);
    it
}

fn unit_or_command(
    reader: &mut Reader<'_>,
    task: &At<String>,
    table: &DeTable<'_>,
    it: &TaskFragment,
) {
    let name = &task.value;
    match (it.key("unit"), it.key("command")) {
        (Some(unit), Some(command)) => {
            reader
                .problems
                .error(command, format!("task \"{name}\" has both \"unit\" and \"command\""))
                .note(unit, "the unit is named here")
                .help("keep \"unit\" for a unit that exists, or \"command\" for one that interlock is to make");
        }
        (None, None) => {
            let help = match table.get("uint").or(table.get("Unit")) {
                Some(_) => "write unit = \"...\"".to_owned(),
                None => {
                    format!("add unit = \"{name}.service\", or command = [\"/path/to/program\"]")
                }
            };
            reader
                .problems
                .error(
                    task.at,
                    format!("task \"{name}\" has neither \"unit\" nor \"command\""),
                )
                .help(help);
        }
        (Some(_), None) => {
            for key in COMMAND_KEYS {
                if let Some(at) = it.key(key) {
                    reader
                        .problems
                        .error(at, format!("\"{key}\" is only for tasks with \"command\""))
                        .help(format!(
                            "remove it here, and set it in the unit itself (systemctl edit {})",
                            it.unit.as_ref().map_or("UNIT", |unit| &unit.value)
                        ));
                }
            }
        }
        (None, Some(_)) => {
            for key in ["randomized-delay", "persistent"] {
                if let Some(at) = it.key(key).filter(|_| !has(table, "calendar")) {
                    reader
                        .problems
                        .error(at, format!("\"{key}\" does nothing without \"calendar\""))
                        .help("add calendar = \"daily\", or remove it");
                }
            }
        }
    }
}

fn uses(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
) -> Vec<(At<String>, At<Option<u32>>)> {
    let example = "uses = [\"resource\"] or uses = { resource = 2 }";
    let DeValue::Table(table) = value.get_ref() else {
        if let DeValue::String(name) = value.get_ref() {
            let at = reader.span(value);
            reader
                .problems
                .error(
                    at,
                    "\"uses\" must be an array or a table, but this is a string",
                )
                .help(format!("write uses = [\"{name}\"]"));
            return Vec::new();
        }
        let names = reader.names(key, value, example);
        return names
            .into_iter()
            .map(|name| {
                let weight = At {
                    value: Some(1),
                    at: name.at,
                };
                (name, weight)
            })
            .collect();
    };
    if table.is_empty() {
        let at = reader.span(value);
        reader
            .problems
            .error(at, "\"uses\" is empty")
            .help(format!("leave it out, or write {example}"));
    }
    let mut all = Vec::with_capacity(table.len());
    for (key, value) in table {
        let name = At {
            value: key.get_ref().to_string(),
            at: reader.span(key),
        };
        let at = reader.span(value);
        let weight = match value.get_ref() {
            DeValue::String(word) if word == "all" => Some(At { value: None, at }),
            DeValue::Integer(_) => weight(reader, &name.value, value),
            _ => {
                reader
                    .problems
                    .error(
                        at,
                        format!(
                            "how much of \"{}\"? This is neither a number nor \"all\"",
                            name.value
                        ),
                    )
                    .help(format!(
                        "write {} = 1 or {} = \"all\"",
                        name.value, name.value
                    ));
                None
            }
        };
        all.extend(weight.map(|weight| (name, weight)));
    }
    all
}

fn weight(reader: &mut Reader<'_>, resource: &str, value: &Value<'_>) -> Option<At<Option<u32>>> {
    let number = reader.integer(resource, value, 1, u32::MAX.into())?;
    let weight = u32::try_from(number.value).expect("the range was checked");
    Some(At {
        value: Some(weight),
        at: number.at,
    })
}

fn retry(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<RetryFragment> {
    let table = reader.table(key, value, "retry = { attempts = 3, delay = \"1min\" }")?;
    let mut it = RetryFragment {
        attempts: None,
        delay: None,
        max_delay: None,
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "attempts" => it.attempts = reader.integer(name, value, 1, u32::MAX.into()),
            "delay" => it.delay = reader.duration(name, value),
            "max-delay" => it.max_delay = reader.duration(name, value),
            _ => reader.unknown_key(key, RETRY_KEYS, "\"retry\""),
        }
    }
    if !has(table, "attempts") {
        let at = reader.span(value);
        reader
            .problems
            .error(at, "\"retry\" needs \"attempts\"")
            .help("add attempts = 3");
    }
    if let (Some(delay), Some(most)) = (&it.delay, &it.max_delay)
        && most.value < delay.value
    {
        reader
            .problems
            .error(most.at, "\"max-delay\" is shorter than \"delay\"")
            .note(delay.at, "the first delay is set here")
            .help("make it at least as long");
    }
    Some(it)
}
