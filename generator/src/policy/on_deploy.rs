//! `on-deploy` of a task: what a deployment does to it.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::diagnostic::Problems;
use super::fragment::has;
use super::reader::{Reader, Value};
use super::settings::DeployAction;
use super::signal;
use super::source::At;

/// `on-deploy`.
#[derive(Debug)]
pub(super) struct OnDeployFragment {
    pub(super) action: Option<At<DeployAction>>,
    pub(super) signal: Option<At<String>>,
    pub(super) command: Option<At<Vec<String>>>,
    pub(super) fallback: Option<At<DeployAction>>,
    pub(super) max_interruptions: Option<At<i64>>,
    pub(super) interruption_period: Option<At<Duration>>,
}

/// Keys of `on-deploy`.
pub const ON_DEPLOY_KEYS: &[&str] = &[
    "action",
    "signal",
    "command",
    "fallback",
    "max-interruptions",
    "interruption-period",
];
const DEPLOY_ACTIONS: [(&str, DeployAction); 7] = [
    ("wait", DeployAction::Wait),
    ("freeze", DeployAction::Freeze),
    ("stop", DeployAction::Stop),
    ("restart", DeployAction::Restart),
    ("checkpoint", DeployAction::Checkpoint),
    ("protect", DeployAction::Protect),
    ("ignore", DeployAction::Ignore),
];

/// Reads it.
pub(super) fn read(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
) -> Option<OnDeployFragment> {
    let example = match value.get_ref() {
        DeValue::String(word) => format!("on-deploy = {{ action = \"{word}\" }}"),
        _ => "on-deploy = { action = \"stop\" }".to_owned(),
    };
    let table = reader.table(key, value, &example)?;
    let mut it = OnDeployFragment {
        action: None,
        signal: None,
        command: None,
        fallback: None,
        max_interruptions: None,
        interruption_period: None,
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "action" => it.action = reader.one_of(name, value, &DEPLOY_ACTIONS),
            "signal" => it.signal = signal::read(reader, name, value),
            "command" => it.command = reader.command(name, value),
            "fallback" => it.fallback = reader.one_of(name, value, &DEPLOY_ACTIONS),
            "max-interruptions" => {
                it.max_interruptions = reader.integer(name, value, 1, u32::MAX.into());
            }
            "interruption-period" => it.interruption_period = reader.positive_duration(name, value),
            _ => reader.unknown_key(key, ON_DEPLOY_KEYS, "\"on-deploy\""),
        }
    }
    if !has(table, "action") {
        let at = reader.span(value);
        reader
            .problems
            .error(at, "\"on-deploy\" needs \"action\"")
            .help(format!(
                "add action = {}",
                super::suggest::list(&DEPLOY_ACTIONS.map(|(word, _)| word))
            ));
    }
    check(reader.problems, table, &it);
    Some(it)
}

/// Reports keys that don't go with the action.
fn check(problems: &mut Problems, table: &DeTable<'_>, it: &OnDeployFragment) {
    let Some(action) = &it.action else {
        return;
    };
    checkpoint(problems, table, it);
    fallback(problems, it);
    let interrupts = |action: DeployAction| {
        use DeployAction::{Checkpoint, Freeze, Restart, Stop};
        matches!(action, Freeze | Stop | Restart | Checkpoint)
    };
    let ever =
        interrupts(action.value) || it.fallback.as_ref().is_some_and(|f| interrupts(f.value));
    if let Some(most) = it.max_interruptions.as_ref().filter(|_| !ever) {
        problems
            .error(
                most.at,
                "\"max-interruptions\" does nothing: this action interrupts nothing",
            )
            .note(action.at, "the action is set here")
            .help("remove it");
    }
    if let Some(period) = it
        .interruption_period
        .as_ref()
        .filter(|_| !has(table, "max-interruptions"))
    {
        problems
            .error(
                period.at,
                "\"interruption-period\" does nothing without \"max-interruptions\"",
            )
            .help("add max-interruptions = 2, or remove it");
    }
}

fn checkpoint(problems: &mut Problems, table: &DeTable<'_>, it: &OnDeployFragment) {
    let Some(action) = &it.action else {
        return;
    };
    if action.value == DeployAction::Checkpoint {
        match (&it.signal, &it.command) {
            (Some(signal), Some(command)) => {
                problems
                    .error(
                        command.at,
                        "a checkpoint has either \"signal\" or \"command\", not both",
                    )
                    .note(signal.at, "the signal is set here")
                    .help("remove one of them");
            }
            (None, None) if !has(table, "signal") && !has(table, "command") => {
                problems
                    .error(
                        action.at,
                        "action \"checkpoint\" needs \"signal\" or \"command\"",
                    )
                    .help("add signal = \"SIGUSR1\" or command = [\"/path/to/program\"]");
            }
            _ => {}
        }
        return;
    }
    let signal = it.signal.as_ref().map(|signal| ("signal", signal.at));
    let command = it.command.as_ref().map(|command| ("command", command.at));
    for (key, at) in signal.into_iter().chain(command) {
        problems
            .error(at, format!("\"{key}\" is only for action \"checkpoint\""))
            .note(action.at, "the action is set here")
            .help("remove it, or write action = \"checkpoint\"");
    }
}

fn fallback(problems: &mut Problems, it: &OnDeployFragment) {
    let (Some(action), Some(fallback)) = (&it.action, &it.fallback) else {
        return;
    };
    let other = "write fallback = \"stop\", \"freeze\", \"restart\", \"protect\" or \"ignore\", or remove it";
    let (message, help) = match (action.value, fallback.value) {
        (DeployAction::Ignore, _) => (
            "action \"ignore\" has no fallback: nothing is waited for",
            "remove it",
        ),
        (DeployAction::Protect, _) => (
            "action \"protect\" has no fallback: the deployment is refused instead",
            "remove it",
        ),
        (_, DeployAction::Checkpoint) => (
            "a fallback can't be \"checkpoint\": it may not end either",
            other,
        ),
        (_, DeployAction::Wait) => (
            "a fallback can't be \"wait\": the waiting is over by then",
            other,
        ),
        (action, fallback) if action == fallback => ("the fallback is the action itself", other),
        _ => return,
    };
    problems
        .error(fallback.at, message)
        .note(action.at, "the action is set here")
        .help(help);
}
