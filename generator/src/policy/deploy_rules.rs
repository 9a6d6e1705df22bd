//! Which keys of `on-deploy` go together.

use toml::de::DeTable;

use super::diagnostic::Problems;
use super::fragment::has;
use super::settings::DeployAction;
use super::task_fragment::OnDeployFragment;

/// Reports keys that don't go with the action.
pub(super) fn check(problems: &mut Problems, table: &DeTable<'_>, it: &OnDeployFragment) {
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
