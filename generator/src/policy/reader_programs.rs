//! Reads programs, paths, and what programs run with.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::reader::{Reader, Value};
use super::source::At;

/// No command is longer, bytes: systemd gives up at a line of 1 MiB, and each character may be two in it.
const COMMAND_MAX: usize = 256 * 1024;

/// systemd doesn't load a unit whose program's path has one of these.
const UNSAFE: &str = "\"'\\";

/// Longest name of a file, and longest path, bytes (without its NUL).
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;

impl Reader<'_> {
    /// A program with its arguments; the program is an absolute path.
    pub(super) fn command(&mut self, key: &str, value: &Value<'_>) -> Option<At<Vec<String>>> {
        let example = format!("{key} = [\"/path/to/program\", \"argument\"]");
        if let DeValue::String(text) = value.get_ref() {
            let words: Vec<String> = text
                .split_whitespace()
                .map(|word| format!("{word:?}"))
                .collect();
            let help = match words.is_empty() {
                true => format!("write {example}"),
                false => format!("no shell is involved: write {key} = [{}]", words.join(", ")),
            };
            self.wrong_type(key, value, "an array of program and arguments", &help);
            return None;
        }
        let array = self.array(key, value, &example)?;
        // An empty argument is an argument; only the program must not be empty.
        let items: Vec<_> = array
            .iter()
            .filter_map(|item| self.string_or_empty(key, item))
            .collect();
        if items.len() != array.len() {
            return None;
        }
        let size: usize = items.iter().map(|item| item.value.len() + 1).sum();
        if size > COMMAND_MAX {
            self.problems
                .error(
                    self.span(value),
                    format!("\"{key}\" is too long ({size} bytes)"),
                )
                .help("put what is in it into a file");
            return None;
        }
        let program = &items[0];
        if ["/", "/.", "/.."]
            .iter()
            .any(|end| program.value.ends_with(end))
        {
            self.problems
                .error(program.at, format!("\"{}\" is a directory", program.value))
                .help(format!("write {example}"));
            return None;
        }
        if !program.value.starts_with('/') {
            let name = program
                .value
                .rsplit('/')
                .next()
                .filter(|name| !name.is_empty());
            let help = match name {
                Some(name) => format!("write its whole path, as in \"/usr/bin/{name}\""),
                None => format!("write {example}"),
            };
            let message = format!(
                "\"{}\" is not the absolute path of a program",
                program.value
            );
            self.problems.error(program.at, message).help(help);
            return None;
        }
        if let Some(odd) = program.value.chars().find(|c| UNSAFE.contains(*c)) {
            let message = format!(
                "\"{}\" contains {odd}, which systemd allows in no program's path",
                program.value
            );
            self.problems
                .error(program.at, message)
                .help("make a link to it of another name");
            return None;
        }
        if self.is_too_long(program) {
            return None;
        }
        let at = self.span(value);
        let value = items.into_iter().map(|item| item.value).collect();
        Some(At { value, at })
    }

    /// Like [`command`](Self::command), or `[]` for none.
    pub(super) fn command_or_none(
        &mut self,
        key: &str,
        value: &Value<'_>,
    ) -> Option<At<Vec<String>>> {
        match value.get_ref() {
            DeValue::Array(array) if array.is_empty() => Some(At {
                value: Vec::new(),
                at: self.span(value),
            }),
            _ => self.command(key, value),
        }
    }

    /// Reports a path that no file can have.
    fn is_too_long(&mut self, path: &At<String>) -> bool {
        let part = path.value.split('/').map(str::len).max().unwrap_or(0);
        let is_too_long = part > NAME_MAX || path.value.len() > PATH_MAX;
        if is_too_long {
            self.problems
                .error(path.at, "this path is longer than any file's can be")
                .help(format!(
                    "use at most {NAME_MAX} bytes for each name in it, and {PATH_MAX} for the whole"
                ));
        }
        is_too_long
    }

    /// An absolute path in its simplest form.
    pub(super) fn path(&mut self, key: &str, value: &Value<'_>) -> Option<At<String>> {
        let path = self.string(key, value)?;
        let simple = path.value.len() == 1
            || path
                .value
                .split('/')
                .skip(1)
                .all(|part| !matches!(part, "" | "." | ".."));
        if self.is_too_long(&path) {
            return None;
        }
        if path.value.ends_with([' ', '\t']) {
            // systemd cuts it off, and would take another path.
            let message = format!("\"{}\" ends in a blank", path.value);
            let problem = self.problems.error(path.at, message);
            problem.help("write it without the blank");
            return None;
        }
        if path.value.starts_with('/') && simple {
            return Some(path);
        }
        let (message, help) = match path.value.starts_with('/') {
            false => (
                format!("\"{}\" is not an absolute path", path.value),
                "write the path from / on".to_owned(),
            ),
            true => (
                format!("\"{}\" is not in its simplest form", path.value),
                "write it without \"//\", \"/./\", \"/../\" and without a slash at its end"
                    .to_owned(),
            ),
        };
        self.problems.error(path.at, message).help(help);
        None
    }

    /// A user's or group's name or number, as systemd takes them.
    pub(super) fn account(&mut self, key: &str, value: &Value<'_>) -> Option<At<String>> {
        let name = self.string(key, value)?;
        let odd = |c: char| c.is_whitespace() || matches!(c, ':' | '/' | '%' | '"' | '\'' | '\\');
        if name.value.contains(odd)
            || name.value.starts_with('-')
            || name.value.len() > 256
            || matches!(&*name.value, "." | "..")
            || is_no_id(&name.value)
        {
            self.problems
                .error(name.at, format!("\"{}\" is not a {key}'s name", name.value))
                .help(format!("write {key} = \"www-data\", or a number in quotes"));
            return None;
        }
        Some(name)
    }

    /// Variables with their values.
    pub(super) fn environment(&mut self, key: &str, value: &Value<'_>) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let Some(table) = self.table(key, value, "environment = { NAME = \"value\" }") else {
            return all;
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                let at = self.span(key);
                self.problems
                    .error(at, format!("\"{name}\" can't be an environment variable"))
                    .help("use letters, digits and _, and no digit first");
                continue;
            }
            if let Some(value) = self.string_or_empty(name, value) {
                all.insert(name.to_owned(), value.value);
            }
        }
        all
    }
}

/// Whether it is a number, but not one that a user or group can have: systemd loads no unit with such a one.
fn is_no_id(text: &str) -> bool {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    // The last two say "none" to the kernel, in 16 and in 32 bits.
    let is_id = |id: u32| !matches!(id, 0xFFFF | u32::MAX) && id.to_string() == text;
    is_number && !text.parse().is_ok_and(is_id)
}
