//! Reads time spans.

use std::time::Duration;

use toml::de::DeValue;

use super::duration;
use super::reader::{Reader, Value};
use super::source::At;

impl Reader<'_> {
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
            // To systemd zero means no limit; whoever writes it may mean that, or the opposite.
            Ok(span) if infinity && span.is_zero() => {
                self.problems
                    .error(text.at, format!("\"{key}\" is zero"))
                    .help(format!(
                        "write {key} = \"infinity\" for no limit, or a time span"
                    ));
                None
            }
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
}
