//! `[tasks.NAME.actions.NAME]`: repairs that an operator may run without being root.

use super::fragment::has;
use super::reader::{Reader, Value};
use super::settings::RepairAction;
use super::source::At;
use super::task_fragment::TaskFragment;
use super::unit_name;

/// Keys of `[tasks.NAME.actions.NAME]`.
pub const ACTION_KEYS: &[&str] = &["command", "description"];

/// Reads them all.
pub(super) fn read(reader: &mut Reader<'_>, key: &str, value: &Value<'_>, task: &mut TaskFragment) {
    let Some(table) = reader.table(key, value, "[tasks.TASK.actions.NAME]") else {
        return;
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let at = reader.span(key);
        if let Err(wrong) = unit_name::check_policy_name(name) {
            reader
                .problems
                .error(at, format!("action name \"{name}\" {}", wrong.message))
                .help(wrong.help);
        }
        let Some(table) = reader.table(name, value, &format!("[tasks.TASK.actions.{name}]")) else {
            continue;
        };
        let (mut command, mut description) = (None, None);
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match name {
                "command" => command = reader.command(name, value),
                "description" => description = reader.string(name, value),
                _ => reader.unknown_key(key, ACTION_KEYS, "an action"),
            }
        }
        if !has(table, "command") {
            reader
                .problems
                .error(at, format!("action \"{name}\" needs \"command\""))
                .help("add command = [\"/path/to/program\"]");
        }
        let Some(command) = command else { continue };
        check(reader, &command);
        let names_instance =
            |word: &String| specifiers(word).any(|it| matches!(it, Some('i' | 'I')));
        if command.value.iter().any(names_instance) {
            task.instance_argument.get_or_insert(command.at);
        }
        let action = RepairAction {
            command: command.value,
            description: description.map(|text| text.value),
        };
        task.actions.insert(name.to_owned(), action);
    }
}

/// Reports what wouldn't be expanded, or must not be.
fn check(reader: &mut Reader<'_>, command: &At<Vec<String>>) {
    for (index, word) in command.value.iter().enumerate() {
        let known = |it: &Option<char>| matches!(it, Some('i' | 'I' | 'n' | '%'));
        if let Some(unknown) = specifiers(word).find(|it| !known(it)) {
            let shown = unknown.map_or("%".to_owned(), |letter| format!("%{letter}"));
            reader
                .problems
                .error(
                    command.at,
                    format!("\"{shown}\" means nothing in an action's command"),
                )
                .help("only %i (the instance), %I (unescaped) and %n (the unit) do; write %% for a percent sign");
        }
        // Whoever names the unit would choose the program.
        if index == 0 && specifiers(word).any(|it| matches!(it, Some('i' | 'I' | 'n'))) {
            reader
                .problems
                .error(
                    command.at,
                    "the program of an action can't depend on the unit",
                )
                .help("name one program, and give it %i as an argument");
        }
    }
}

/// What stands after each `%`; `None` where the word ends.
fn specifiers(word: &str) -> impl Iterator<Item = Option<char>> {
    let mut letters = word.chars();
    std::iter::from_fn(move || {
        letters.find(|letter| *letter == '%')?;
        Some(letters.next())
    })
}
