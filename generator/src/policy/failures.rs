//! `[failures.NAME]`: by what a failure is known, and whether trying again may help.

use toml::de::{DeTable, DeValue};

use super::fragment::{Named, has};
use super::reader::{Reader, Value};
use super::settings::{FailureKind, FailureRule};
use super::signal;
use super::source::At;
use super::validate::{Context, text, values};

/// What its table says.
#[derive(Debug, Default)]
pub(super) struct FailureFragment {
    kind: Option<At<FailureKind>>,
    exit_status: Vec<u8>,
    signals: Vec<i32>,
    pattern: Option<At<String>>,
    tasks: Vec<At<String>>,
    description: Option<At<String>>,
}

/// Keys of `[failures.NAME]`.
pub const FAILURE_KEYS: &[&str] = &[
    "kind",
    "exit-status",
    "signal",
    "pattern",
    "tasks",
    "description",
];

const KINDS: [(&str, FailureKind); 2] = [
    ("transient", FailureKind::Transient),
    ("permanent", FailureKind::Permanent),
];

/// Largest pattern, compiled, in bytes: none that a person writes comes near.
const PATTERN_SIZE: usize = 1024 * 1024;

/// Reads it.
pub(super) fn failure(
    reader: &mut Reader<'_>,
    rule: &At<String>,
    table: &DeTable<'_>,
) -> FailureFragment {
    let mut it = FailureFragment::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "kind" => it.kind = reader.one_of(name, value, &KINDS),
            "exit-status" => it.exit_status = exit_status(reader, name, value),
            "signal" => it.signals = signals(reader, name, value),
            "pattern" => it.pattern = pattern(reader, name, value),
            "tasks" => it.tasks = reader.names(name, value, "tasks = [\"task\"]"),
            "description" => it.description = reader.string(name, value),
            _ => reader.unknown_key(key, FAILURE_KEYS, "a failure"),
        }
    }
    if !has(table, "kind") {
        reader
            .problems
            .error(
                rule.at,
                format!("failure \"{}\" needs \"kind\"", rule.value),
            )
            .help("add kind = \"transient\", which is worth another try, or kind = \"permanent\"");
    }
    if !["exit-status", "signal", "pattern"]
        .iter()
        .any(|key| has(table, key))
    {
        reader
            .problems
            .error(
                rule.at,
                format!("failure \"{}\" doesn't say by what it is known", rule.value),
            )
            .help(
                "add exit-status = [75], signal = [\"SIGKILL\"] or pattern = \"connection reset\"",
            );
    }
    it
}

/// One exit status or several.
fn exit_status(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<u8> {
    let mut one = |value: &Value<'_>| {
        let status = reader.integer(key, value, 0, u8::MAX.into())?;
        u8::try_from(status.value).ok()
    };
    match value.get_ref() {
        DeValue::Integer(_) => one(value).into_iter().collect(),
        DeValue::Array(items) if !items.is_empty() => items.iter().filter_map(one).collect(),
        _ => {
            let example = "exit-status = 75 or exit-status = [75, 69]";
            reader.array(key, value, example);
            Vec::new()
        }
    }
}

/// One signal or several.
fn signals(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<i32> {
    match value.get_ref() {
        DeValue::String(_) => signal::number(reader, key, value).into_iter().collect(),
        _ => {
            let items = reader.array(key, value, "signal = [\"SIGKILL\"]");
            let items = items.into_iter().flatten();
            items
                .filter_map(|item| signal::number(reader, key, item))
                .collect()
        }
    }
}

fn pattern(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<At<String>> {
    let pattern = reader.string(key, value)?;
    let compiled = regex::RegexBuilder::new(&pattern.value)
        .size_limit(PATTERN_SIZE)
        .build();
    let Err(error) = compiled else {
        return Some(pattern);
    };
    let (why, help) = match &error {
        regex::Error::CompiledTooBig(_) => (
            "it is too large".to_owned(),
            "repeat less in it, or write several failures",
        ),
        // The message draws the pattern first; its last line says what is wrong.
        other => (
            other
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .trim_start_matches("error: ")
                .to_owned(),
            "see interlock-policy(5); a backslash is written once in '...', and twice in \"...\"",
        ),
    };
    reader
        .problems
        .error(
            pattern.at,
            format!("\"{key}\" is not a regular expression: {why}"),
        )
        .help(help);
    None
}

/// Makes the rule; `None` if something about it is wrong, which was reported.
pub(super) fn rule(
    context: &mut Context<'_>,
    failure: &Named<FailureFragment>,
) -> Option<FailureRule> {
    let body = &failure.body;
    context.check_tasks(&body.tasks);
    let kind = body.kind.as_ref()?.value;
    failure.sound.then(|| FailureRule {
        kind,
        exit_status: body.exit_status.clone(),
        signals: body.signals.clone(),
        pattern: text(&body.pattern),
        tasks: values(&body.tasks),
        description: text(&body.description),
        origin: context.origin(failure.name.at),
    })
}
