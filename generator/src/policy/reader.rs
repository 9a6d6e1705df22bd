//! Reads typed values out of TOML, and records what doesn't fit instead of stopping at it.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::Problems;
use super::source::{At, Span};
use super::suggest;
use crate::unitfile::is_noncharacter;

/// A value as the TOML parser gives it.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;
/// A key as the TOML parser gives it.
pub(super) type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// No text is longer, bytes: the kernel takes no argument of 128 KiB (MAX_ARG_STRLEN, execve(2)), systemd no line of
/// 1 MiB.
const TEXT_MAX: usize = 64 * 1024;

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

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, key: &str, value: &Value<'_>, wanted: &str, help: &str) {
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

    /// Reports control characters: no text of the policy may start a line of its own in a unit file or a log. And what
    /// systemd or the kernel can't take at all.
    pub(super) fn printable(&mut self, key: &str, text: &str, at: Span) -> bool {
        if let Some(bad) = text.chars().find(|c| is_noncharacter(*c)) {
            let message = format!(
                "\"{key}\" contains {}, which is no character",
                bad.escape_unicode()
            );
            self.problems.error(at, message).help("remove it");
            return false;
        }
        if text.len() > TEXT_MAX {
            let message = format!("\"{key}\" is too long ({} bytes)", text.len());
            self.problems
                .error(at, message)
                .help(format!("use at most {TEXT_MAX} bytes"));
            return false;
        }
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
