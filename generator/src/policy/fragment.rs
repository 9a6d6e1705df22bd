//! One fragment as it is written: every value of the right type, nothing yet compared with anything else.

use toml::de::{DeTable, DeValue};

use super::diagnostic::Problems;
use super::failures::{self, FailureFragment};
use super::lock_files;
use super::reader::{Key, Reader, Value};
use super::records::{self, RecordsFragment};
use super::settings::{LockFile, OnDeadlock};
use super::source::{At, Source};
use super::task_fragment::TaskFragment;
use super::unit_name;
use std::time::Duration;

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub(super) resources: Vec<Named<ResourceFragment>>,
    pub(super) windows: Vec<Named<WindowFragment>>,
    pub(super) tasks: Vec<Named<TaskFragment>>,
    pub(super) groups: Vec<Named<GroupFragment>>,
    pub(super) failures: Vec<Named<FailureFragment>>,
    pub(super) records: RecordsFragment,
}

/// A definition with its name.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) name: At<String>,
    pub(super) body: T,
    /// Whether all of it could be read.
    pub(super) sound: bool,
}

/// `[resources.NAME]`.
#[derive(Debug, Default)]
pub(super) struct ResourceFragment {
    pub(super) description: Option<At<String>>,
    pub(super) capacity: Option<At<i64>>,
    pub(super) lock_files: Vec<LockFile>,
    pub(super) clients: Vec<At<String>>,
    pub(super) nested_grace: Option<At<Duration>>,
    pub(super) on_deadlock: Option<At<OnDeadlock>>,
}

/// `[windows.NAME]`.
#[derive(Debug, Default)]
pub(super) struct WindowFragment {
    pub(super) description: Option<At<String>>,
    pub(super) calendar: Vec<String>,
    pub(super) randomized_delay: Option<At<String>>,
    pub(super) persistent: Option<At<bool>>,
    pub(super) max_duration: Option<At<Duration>>,
    pub(super) order: Vec<At<String>>,
}

/// `[groups.NAME]`.
#[derive(Debug, Default)]
pub(super) struct GroupFragment {
    pub(super) description: Option<At<String>>,
    pub(super) tasks: Vec<At<String>>,
    pub(super) grace: Option<At<Duration>>,
    pub(super) max_wait: Option<At<Duration>>,
    pub(super) before_settle: Option<At<Vec<String>>>,
    pub(super) after_resume: Option<At<Vec<String>>>,
    pub(super) hook_timeout: Option<At<Duration>>,
}

/// Keys of the policy's outermost table.
pub const TOP_KEYS: &[&str] = &[
    "resources",
    "windows",
    "tasks",
    "groups",
    "failures",
    "history",
    "notify-command",
    "metrics-textfile",
];
/// Keys of `[resources.NAME]`.
pub const RESOURCE_KEYS: &[&str] = &[
    "description",
    "capacity",
    "lock-files",
    "clients",
    "nested-grace",
    "on-deadlock",
];
/// Keys of `[windows.NAME]`.
pub const WINDOW_KEYS: &[&str] = &[
    "description",
    "calendar",
    "randomized-delay",
    "persistent",
    "max-duration",
    "order",
];
/// Keys of `[groups.NAME]`.
pub const GROUP_KEYS: &[&str] = &[
    "description",
    "tasks",
    "grace",
    "max-wait",
    "before-settle",
    "after-resume",
    "hook-timeout",
];

/// Reads one source. What can be read is returned, whatever else is wrong with it.
pub(super) fn parse(index: usize, source: &Source, problems: &mut Problems) -> Fragment {
    let (document, errors) = DeTable::parse_recoverable(source.text());
    super::syntax::report(index, source, &errors, problems);
    let before = problems.len();
    let mut reader = Reader::new(problems, index);
    let fragment = top(&mut reader, document.get_ref());
    if !errors.is_empty() {
        super::syntax::drop_consequences(source, &errors, before, problems);
    }
    fragment
}

fn top(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Fragment {
    let mut fragment = Fragment::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "resources" => fragment.resources = named(reader, key, value, "resource", resource),
            "windows" => fragment.windows = named(reader, key, value, "window", window),
            "tasks" => {
                fragment.tasks = named(reader, key, value, "task", super::task_fragment::task);
            }
            "groups" => fragment.groups = named(reader, key, value, "group", group),
            "failures" => {
                fragment.failures = named(reader, key, value, "failure", failures::failure);
            }
            name @ "history" => records::history(reader, name, value, &mut fragment.records),
            name @ "notify-command" => {
                fragment.records.notify_command = reader.command(name, value);
            }
            name @ "metrics-textfile" => {
                fragment.records.metrics_textfile = reader.path(name, value);
            }
            _ => reader.unknown_key(key, TOP_KEYS, "a policy"),
        }
    }
    fragment
}

/// Reads every table `[KIND.NAME]`.
fn named<T: Default>(
    reader: &mut Reader<'_>,
    key: &Key<'_>,
    value: &Value<'_>,
    kind: &str,
    body: fn(&mut Reader<'_>, &At<String>, &DeTable<'_>) -> T,
) -> Vec<Named<T>> {
    let example = format!("[{kind}s.NAME]");
    let Some(table) = reader.table(key.get_ref(), value, &example) else {
        return Vec::new();
    };
    let mut all = Vec::with_capacity(table.len());
    for (key, value) in table {
        let before = reader.problems.len();
        let name = At {
            value: key.get_ref().to_string(),
            at: reader.span(key),
        };
        if let Err(wrong) = unit_name::check_policy_name(&name.value) {
            reader
                .problems
                .error(
                    name.at,
                    format!("{kind} name \"{}\" {}", name.value, wrong.message),
                )
                .help(wrong.help);
        }
        let body = match value.get_ref() {
            DeValue::Table(table) => body(reader, &name, table),
            // A forgotten name: [resources] capacity = 2.
            _ => {
                reader
                    .problems
                    .error(
                        name.at,
                        format!("\"{}\" stands where a {kind}'s name should", name.value),
                    )
                    .help(format!(
                        "write [{kind}s.NAME] above it, with a name of your choice"
                    ));
                continue;
            }
        };
        let sound = reader.problems.len() == before;
        all.push(Named { name, body, sound });
    }
    all
}

fn resource(reader: &mut Reader<'_>, _: &At<String>, table: &DeTable<'_>) -> ResourceFragment {
    let mut resource = ResourceFragment::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "description" => resource.description = reader.string(name, value),
            "capacity" => resource.capacity = reader.integer(name, value, 1, u32::MAX.into()),
            "lock-files" => resource.lock_files = lock_files::read(reader, name, value),
            "clients" => resource.clients = clients(reader, name, value),
            "nested-grace" => resource.nested_grace = reader.duration(name, value),
            "on-deadlock" => {
                let words = [
                    ("report", OnDeadlock::Report),
                    ("kill-nested", OnDeadlock::KillNested),
                ];
                resource.on_deadlock = reader.one_of(name, value, &words);
            }
            _ => reader.unknown_key(key, RESOURCE_KEYS, "a resource"),
        }
    }
    resource
}

fn clients(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<At<String>> {
    let names = reader.names(key, value, "clients = [\"dnf\"]");
    for name in &names {
        if name.value.contains('/') {
            let base = name
                .value
                .rsplit('/')
                .find(|part| !part.is_empty())
                .unwrap_or("dnf");
            reader
                .problems
                .error(name.at, "a client is a process name (comm), not a path")
                .help(format!("write \"{base}\""));
        }
    }
    names
}

fn window(reader: &mut Reader<'_>, name: &At<String>, table: &DeTable<'_>) -> WindowFragment {
    let mut window = WindowFragment::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "description" => window.description = reader.string(name, value),
            "calendar" => window.calendar = calendar(reader, name, value),
            "randomized-delay" => window.randomized_delay = reader.systemd_span(name, value, false),
            "persistent" => window.persistent = reader.boolean(name, value),
            "max-duration" => window.max_duration = reader.positive_duration(name, value),
            "order" => {
                window.order = reader.names(name, value, "order = [\"task\", \"another-task\"]");
            }
            _ => reader.unknown_key(key, WINDOW_KEYS, "a window"),
        }
    }
    let needed = [
        ("calendar", "calendar = \"*-*-* 02:00\""),
        ("order", "order = [\"task\", \"another-task\"]"),
    ];
    need(reader, "window", name, table, &needed);
    window
}

fn group(reader: &mut Reader<'_>, name: &At<String>, table: &DeTable<'_>) -> GroupFragment {
    let mut group = GroupFragment::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "description" => group.description = reader.string(name, value),
            "tasks" => group.tasks = reader.names(name, value, "tasks = [\"task\"]"),
            "grace" => group.grace = reader.duration(name, value),
            "max-wait" => group.max_wait = reader.positive_duration(name, value),
            "before-settle" => group.before_settle = reader.command(name, value),
            "after-resume" => group.after_resume = reader.command(name, value),
            "hook-timeout" => group.hook_timeout = reader.positive_duration(name, value),
            _ => reader.unknown_key(key, GROUP_KEYS, "a group"),
        }
    }
    need(
        reader,
        "group",
        name,
        table,
        &[("tasks", "tasks = [\"task\"]")],
    );
    group
}

/// Calendar events: systemd reads them, not we.
pub(super) fn calendar(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<String> {
    reader
        .one_or_more(key, value, "calendar = \"*-*-* 02:00\"")
        .unwrap_or_default()
}

/// Reports each key of `needed` that is missing, with an example of it.
fn need(
    reader: &mut Reader<'_>,
    kind: &str,
    name: &At<String>,
    table: &DeTable<'_>,
    needed: &[(&str, &str)],
) {
    for (key, example) in needed {
        if !has(table, key) {
            reader
                .problems
                .error(
                    name.at,
                    format!("{kind} \"{}\" needs \"{key}\"", name.value),
                )
                .help(format!("add {example}"));
        }
    }
}

/// Whether a table has a key at all; a wrong value was reported already.
pub(super) fn has(table: &DeTable<'_>, key: &str) -> bool {
    table.get(key).is_some()
}
