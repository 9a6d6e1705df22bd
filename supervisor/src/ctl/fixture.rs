//! What tests of texts look from and at: a clock that stands still, and a screen of eighty columns.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::clock::Clock;
use super::output::Screen;

/// 2026-03-01 02:03:16 UTC.
pub const NOW: u64 = 1_772_330_596_000_000;

/// Eighty columns that nobody looks at.
pub const SCREEN: Screen = Screen {
    width: Some(80),
    colour: false,
    terminal: false,
};

/// It shows [`NOW`].
pub fn clock() -> Clock {
    Clock::at(NOW, TimeZone::UTC)
}

/// Names of all fields, as the manual writes them: `version`, `tasks[].name`.
pub fn names(value: &serde_json::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in value.as_object().unwrap() {
        match value.as_array().and_then(|array| array.first()) {
            Some(first) if first.is_object() => {
                found.extend(names(first).iter().map(|name| format!("{key}[].{name}")));
            }
            _ => drop(found.insert(key.clone())),
        }
    }
    found
}

/// Names of the fields that are described.
pub fn documented(fields: &[(&str, &str)]) -> BTreeSet<String> {
    fields.iter().map(|(name, _)| (*name).to_owned()).collect()
}
