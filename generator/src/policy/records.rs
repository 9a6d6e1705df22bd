//! What the policy says as a whole: what is kept of runs, and who is told of them.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::diagnostic::Problems;
use super::duration;
use super::reader::{Reader, Value};
use super::settings::{HistoryRules, MetricsTextfile, Settings};
use super::source::{At, Source};

/// `notify-command`, `metrics-textfile` and `[history]`, each where it stands.
#[derive(Debug, Default)]
pub(super) struct RecordsFragment {
    pub(super) notify_command: Option<At<Vec<String>>>,
    pub(super) metrics_textfile: Option<At<String>>,
    pub(super) keep: Option<At<Duration>>,
    pub(super) max_size: Option<At<u64>>,
}

/// Keys of `[history]`.
pub const HISTORY_KEYS: &[&str] = &["keep", "max-size"];

const KEEP: Duration = Duration::from_secs(31_557_600);
const MAX_SIZE: u64 = 1 << 30;
/// Below this there would be no room for what a busy day leaves.
const LEAST_SIZE: u64 = 1 << 20;

impl RecordsFragment {
    /// Takes over what another fragment says.
    pub(super) fn add(&mut self, other: Self, problems: &mut Problems) {
        once(
            &mut self.notify_command,
            other.notify_command,
            "notify-command",
            problems,
        );
        once(
            &mut self.metrics_textfile,
            other.metrics_textfile,
            "metrics-textfile",
            problems,
        );
        once(&mut self.keep, other.keep, "keep", problems);
        once(&mut self.max_size, other.max_size, "max-size", problems);
    }

    /// Puts it into the settings.
    pub(super) fn settle(&self, sources: &[Source], settings: &mut Settings) {
        let notify = self.notify_command.as_ref();
        settings.notify_command = notify
            .map(|command| command.value.clone())
            .unwrap_or_default();
        let textfile = self.metrics_textfile.as_ref();
        settings.metrics_textfile = textfile.map(|path| MetricsTextfile {
            path: PathBuf::from(&path.value),
            origin: sources[path.at.source].origin(path.at),
        });
        settings.history = HistoryRules {
            keep: super::validate::or(&self.keep, KEEP),
            max_size: super::validate::or(&self.max_size, MAX_SIZE),
        };
    }
}

impl Default for HistoryRules {
    fn default() -> Self {
        Self {
            keep: KEEP,
            max_size: MAX_SIZE,
        }
    }
}

fn once<T>(slot: &mut Option<At<T>>, new: Option<At<T>>, key: &str, problems: &mut Problems) {
    let Some(new) = new else {
        return;
    };
    match slot {
        None => *slot = Some(new),
        Some(first) => {
            problems
                .error(new.at, format!("\"{key}\" is set twice"))
                .note(first.at, "first set here")
                .help("keep one of them: it is one for the whole policy");
        }
    }
}

/// Reads `[history]`.
pub(super) fn history(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    records: &mut RecordsFragment,
) {
    let Some(table) = reader.table(key, value, "[history]") else {
        return;
    };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "keep" => records.keep = keep(reader, name, value),
            "max-size" => records.max_size = size(reader, name, value),
            _ => reader.unknown_key(key, HISTORY_KEYS, "\"history\""),
        }
    }
}

fn keep(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<At<Duration>> {
    if matches!(value.get_ref(), DeValue::String(text) if text.trim() == "infinity") {
        return Some(At {
            value: Duration::from_secs(duration::MOST_SECONDS.unsigned_abs()),
            at: reader.span(value),
        });
    }
    reader.positive_duration(key, value)
}

/// A size in bytes, as systemd writes it: 1024 bytes are a K.
fn size(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<At<u64>> {
    let help = "write a number of bytes, or a number with K, M or G, as \"500M\"";
    let least = format!("write at least {}M", LEAST_SIZE >> 20);
    let (bytes, at) = match value.get_ref() {
        DeValue::Integer(_) => {
            let number = reader.integer(key, value, 0, i64::MAX)?;
            (number.value.unsigned_abs(), number.at)
        }
        DeValue::String(_) => {
            let text = reader.string(key, value)?;
            let Some(bytes) = bytes(text.value.trim()) else {
                reader
                    .problems
                    .error(text.at, format!("\"{key}\" can't be \"{}\"", text.value))
                    .help(help);
                return None;
            };
            (bytes, text.at)
        }
        _ => {
            reader.wrong_type(key, value, "a size", help);
            return None;
        }
    };
    if bytes < LEAST_SIZE {
        reader
            .problems
            .error(at, format!("\"{key}\" is too small"))
            .help(least);
        return None;
    }
    Some(At { value: bytes, at })
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G', 'T']) {
        None => (text, 0),
        Some(number) => {
            let unit = "KMGT".find(&text[number.len()..])? + 1;
            (number, unit)
        }
    };
    let number: u64 = number.trim_end().parse().ok()?;
    let factor = 1024u64.checked_pow(u32::try_from(unit).ok()?)?;
    number
        .checked_mul(factor)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_systemd_reads_them() {
        for (text, size) in [
            ("4096", 4096),
            ("64K", 65_536),
            ("500M", 500 << 20),
            ("1G", 1 << 30),
            ("2 T", 2 << 40),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "1MB", "99999999T", "1m"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
