//! Reads programs and paths.

use toml::de::DeValue;

use super::reader::{Reader, Value};
use super::source::At;

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
        let program = &items[0];
        if program.value.ends_with('/') {
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
        let at = self.span(value);
        let value = items.into_iter().map(|item| item.value).collect();
        Some(At { value, at })
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
}
