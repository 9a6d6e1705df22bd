//! Reads typed values out of TOML, and records what doesn't fit instead of stopping at it.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::Problems;
use super::source::{At, Span};
use super::{duration, suggest};

/// A value as the TOML parser gives it.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;
/// A key as the TOML parser gives it.
pub(super) type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// Reads the values of one source.
pub(super) struct Reader<'p> {
    pub(super) problems: &'p mut Problems,
    source: usize,
}

impl<'p> Reader<'p> {
    pub(super) fn new(problems: &'p mut Problems, source: usize) -> Self {
        Self { problems, source }
    }

    pub(super) fn span<T>(&self, spanned: &Spanned<T>) -> Span {
        Span::new(self.source, spanned.span())
    }

    /// Reports a key that isn't one of `known`; `table` says where, as in `in a task`.
    pub(super) fn unknown_key(&mut self, key: &Key<'_>, known: &[&str], table: &str) {
        let name = key.get_ref();
        let nearest = suggest::nearest(name, known.iter().copied());
        let help = match nearest {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => format!("{table} may have {}", suggest::list(known)),
        };
        let at = self.span(key);
        self.problems
            .error(at, format!("unknown key \"{name}\" in {table}"))
            .help(help);
    }

    fn wrong_type(&mut self, key: &str, value: &Value<'_>, wanted: &str, help: &str) {
        let at = self.span(value);
        let found = type_name(value.get_ref());
        self.problems
            .error(
                at,
                format!("\"{key}\" must be {wanted}, but this is {found}"),
            )
            .help(help);
    }

    /// A table; anything else is reported.
    pub(super) fn table<'v, 'a>(
        &mut self,
        key: &str,
        value: &'v Value<'a>,
        example: &str,
    ) -> Option<&'v DeTable<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                self.wrong_type(key, value, "a table", &format!("write {example}"));
                None
            }
        }
    }

    pub(super) fn array<'v, 'a>(
        &mut self,
        key: &str,
        value: &'v Value<'a>,
        example: &str,
    ) -> Option<&'v DeArray<'a>> {
        match value.get_ref() {
            DeValue::Array(array) if array.is_empty() => {
                let at = self.span(value);
                self.problems
                    .error(at, format!("\"{key}\" is empty"))
                    .help(format!("leave \"{key}\" out, or write {example}"));
                None
            }
            DeValue::Array(array) => Some(array),
            _ => {
                self.wrong_type(key, value, "an array", &format!("write {example}"));
                None
            }
        }
    }

    /// A string that is neither empty nor contains control characters.
    pub(super) fn string(&mut self, key: &str, value: &Value<'_>) -> Option<At<String>> {
        let text = self.string_or_empty(key, value)?;
        if text.value.trim().is_empty() {
            self.problems
                .error(text.at, format!("\"{key}\" is empty"))
                .help(format!("leave \"{key}\" out, or give it a value"));
            return None;
        }
        Some(text)
    }

    /// A string without control characters.
    pub(super) fn string_or_empty(&mut self, key: &str, value: &Value<'_>) -> Option<At<String>> {
        let at = self.span(value);
        match value.get_ref() {
            DeValue::String(text) => {
                if !self.printable(key, text, at) {
                    return None;
                }
                Some(At {
                    value: text.clone().into_owned(),
                    at,
                })
            }
            other => {
                let help = match other {
                    DeValue::Integer(n) => format!("write \"{}\" in quotes", n.as_str()),
                    DeValue::Float(n) => format!("write \"{}\" in quotes", n.as_str()),
                    DeValue::Boolean(b) => format!("write \"{b}\" in quotes"),
                    _ => format!("write {key} = \"...\""),
                };
                self.wrong_type(key, value, "a string", &help);
                None
            }
        }
    }

    /// Reports control characters: no text of the policy may start a line of its own in a unit file or a log.
    pub(super) fn printable(&mut self, key: &str, text: &str, at: Span) -> bool {
        let Some(bad) = text.chars().find(|c| c.is_control()) else {
            return true;
        };
        let message = format!(
            "\"{key}\" contains the control character {}",
            bad.escape_unicode()
        );
        self.problems
            .error(at, message)
            .help("write it in one line, without control characters");
        false
    }

    /// A non-empty array of non-empty strings.
    pub(super) fn strings(
        &mut self,
        key: &str,
        value: &Value<'_>,
        example: &str,
    ) -> Option<At<Vec<At<String>>>> {
        let array = self.array(key, value, example)?;
        let items: Vec<_> = array
            .iter()
            .filter_map(|item| self.string(key, item))
            .collect();
        (items.len() == array.len()).then(|| At {
            value: items,
            at: self.span(value),
        })
    }

    /// A non-empty array of names, none twice. Those that are sound are given even if others aren't.
    pub(super) fn names(&mut self, key: &str, value: &Value<'_>, example: &str) -> Vec<At<String>> {
        let Some(array) = self.array(key, value, example) else {
            return Vec::new();
        };
        let mut names: Vec<At<String>> = Vec::with_capacity(array.len());
        let mut seen = std::collections::BTreeMap::new();
        for item in array {
            let Some(name) = self.string(key, item) else {
                continue;
            };
            if let Some(first) = seen.insert(name.value.clone(), name.at) {
                self.problems
                    .error(
                        name.at,
                        format!("\"{}\" stands twice in \"{key}\"", name.value),
                    )
                    .note(first, "first here")
                    .help("remove one of them");
                continue;
            }
            names.push(name);
        }
        names
    }

    /// One string, or a non-empty array of strings.
    pub(super) fn one_or_more(
        &mut self,
        key: &str,
        value: &Value<'_>,
        example: &str,
    ) -> Option<Vec<String>> {
        if let DeValue::Array(_) = value.get_ref() {
            let items = self.strings(key, value, example)?;
            return Some(items.value.into_iter().map(|item| item.value).collect());
        }
        self.string(key, value).map(|text| vec![text.value])
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<At<bool>> {
        match value.get_ref() {
            DeValue::Boolean(value_) => Some(At {
                value: *value_,
                at: self.span(value),
            }),
            DeValue::String(text) if text == "true" || text == "false" => {
                let help = format!("write {key} = {text}, without quotes");
                self.wrong_type(key, value, "true or false", &help);
                None
            }
            _ => {
                let help = format!("write {key} = true or {key} = false");
                self.wrong_type(key, value, "true or false", &help);
                None
            }
        }
    }

    /// An integer between two bounds, inclusive.
    pub(super) fn integer(
        &mut self,
        key: &str,
        value: &Value<'_>,
        least: i64,
        most: i64,
    ) -> Option<At<i64>> {
        let at = self.span(value);
        let range = format!("write a whole number from {least} to {most}");
        let DeValue::Integer(number) = value.get_ref() else {
            let help = match value.get_ref() {
                DeValue::String(text) if text.parse::<i64>().is_ok() => {
                    format!("write {key} = {text}, without quotes")
                }
                _ => range,
            };
            self.wrong_type(key, value, "a whole number", &help);
            return None;
        };
        let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed {
            Some(parsed) if (least..=most).contains(&parsed) => Some(At { value: parsed, at }),
            _ => {
                let wrong = match parsed {
                    Some(parsed) if parsed < 0 && least >= 0 => "is negative".to_owned(),
                    Some(parsed) if parsed < least => format!("is less than {least}"),
                    _ => format!("is more than {most}"),
                };
                self.problems
                    .error(at, format!("\"{key}\" {wrong}"))
                    .help(range);
                None
            }
        }
    }

    /// A time span that interlock itself measures: `"90s"`, `"1h 30min"`, or a number of seconds.
    pub(super) fn duration(&mut self, key: &str, value: &Value<'_>) -> Option<At<Duration>> {
        let text = self.span_text(key, value)?;
        match duration::parse(&text.value) {
            Ok(parsed) => Some(At {
                value: parsed,
                at: text.at,
            }),
            Err(error) => {
                self.bad_duration(key, &text, &error);
                None
            }
        }
    }

    /// A time span that isn't zero.
    pub(super) fn positive_duration(
        &mut self,
        key: &str,
        value: &Value<'_>,
    ) -> Option<At<Duration>> {
        let span = self.duration(key, value)?;
        if span.value.is_zero() {
            self.problems
                .error(span.at, format!("\"{key}\" is zero"))
                .help(format!(
                    "leave \"{key}\" out, or write a time span, as {key} = \"15min\""
                ));
            return None;
        }
        Some(span)
    }

    /// A time span that is handed to systemd as it is; `infinity` too, where that means something.
    pub(super) fn systemd_span(
        &mut self,
        key: &str,
        value: &Value<'_>,
        infinity: bool,
    ) -> Option<At<String>> {
        let text = self.span_text(key, value)?;
        if infinity && text.value == "infinity" {
            return Some(text);
        }
        match duration::parse(&text.value) {
            Ok(_) => Some(text),
            Err(error) => {
                self.bad_duration(key, &text, &error);
                None
            }
        }
    }

    fn bad_duration(&mut self, key: &str, text: &At<String>, error: &duration::Error) {
        self.problems
            .error(text.at, format!("\"{key}\" is not a time span: {error}"))
            .help(error.help());
    }

    /// A time span's text; a number means seconds, as in systemd.time(7).
    fn span_text(&mut self, key: &str, value: &Value<'_>) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::Integer(_) => {
                let seconds = self.integer(key, value, 0, duration::MOST_SECONDS)?;
                Some(At {
                    value: seconds.value.to_string(),
                    at: seconds.at,
                })
            }
            DeValue::String(_) => {
                let text = self.string(key, value)?;
                Some(At {
                    value: text.value.trim().to_owned(),
                    at: text.at,
                })
            }
            _ => {
                let help = format!("write {key} = \"90s\", \"15min\" or \"2h 30min\"");
                self.wrong_type(key, value, "a time span", &help);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        words: &[(&str, T)],
    ) -> Option<At<T>> {
        let text = self.string(key, value)?;
        if let Some((_, found)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At {
                value: *found,
                at: text.at,
            });
        }
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match suggest::nearest(&text.value, allowed.iter().copied()) {
            Some(nearest) => format!(
                "did you mean \"{nearest}\"? It may be {}",
                suggest::list(&allowed)
            ),
            None => format!("it may be {}", suggest::list(&allowed)),
        };
        self.problems
            .error(text.at, format!("\"{key}\" can't be \"{}\"", text.value))
            .help(help);
        None
    }

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

/// TOML's words for its types, with their article.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
