//! A line of a log without what differs from run to run: numbers, hexadecimal digits, paths, times, quoted names, the
//! name of the unit's own instance.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What is behind it says nothing about the cause any more, bytes.
const LONGEST: usize = 1000;

/// A shorter instance's name may be any word.
const SHORTEST_INSTANCE: usize = 3;

/// Escape sequences for terminals (console_codes(4)).
static ESCAPES: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][0-9A-B]|\][^\x07]*\x07)").ok());

/// The first alternative that fits is taken, at each place.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let time = r"\d{1,2}:\d{2}(:\d{2})?([.,]\d+)?";
    let zone = r"(\s?(Z|UTC|GMT)\b|\s?[+-]\d{2}:?\d{2})?";
    let month = "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
    let alternatives = [
        r"(?P<url>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\x22'<>]+)".to_owned(),
        format!(
            r"(?P<time>\b\d{{4}}[-/]\d{{2}}[-/]\d{{2}}([T ]{time}{zone})?|\b{month} +\d{{1,2}}( \d{{4}})?( {time})?|\b{time}\b)"
        ),
        r#"(?P<quoted>"[^"]*"|`[^`']*[`'])"#.to_owned(),
        // Only at the beginning of a word: "can't" quotes nothing.
        r"(?P<before>^|[\s(=:,\[{])(?P<single>'[^']*')".to_owned(),
        r"(?P<path>(~|\.{1,2})?(/[\w.@%+~$-]+)+/?|\b[\w.@%+-]+(/[\w.@%+~-]+)+/?)".to_owned(),
        r"(?P<uuid>\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)".to_owned(),
        r"(?P<number>\b[0-9]+([.,:_-][0-9]+)*(\s?([kKMGT]i?B|ms|us|µs|ns|min|s|h)\b|%|\b))"
            .to_owned(),
        r"(?P<hex>\b0[xX][0-9a-fA-F]+\b|\b[0-9a-fA-F]{6,}\b)".to_owned(),
        r"[0-9]+([.,:_-][0-9]+)*".to_owned(),
    ];
    Regex::new(&alternatives.join("|")).ok()
});

/// The line, folded; may be empty.
pub(super) fn line(line: &str, instance: Option<&str>) -> String {
    let line = &line[..floor(line, LONGEST)];
    let line = match ESCAPES.as_ref() {
        Some(escapes) => escapes.replace_all(line, ""),
        None => line.into(),
    };
    let line = match instance {
        Some(instance) => without_instance(&line, instance),
        None => line.into_owned(),
    };
    let line = match VARIABLE.as_ref() {
        Some(variable) => variable.replace_all(&line, replacement).into_owned(),
        None => line,
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ")
}

fn replacement(found: &Captures<'_>) -> String {
    let has = |name| found.name(name).is_some();
    let word = if has("url") {
        "<url>"
    } else if has("time") {
        "<time>"
    } else if has("quoted") {
        "<name>"
    } else if has("single") {
        return format!("{}<name>", &found["before"]);
    } else if has("path") {
        "<path>"
    } else if has("uuid") {
        "<hex>"
    } else if let Some(hex) = found.name("hex") {
        return hex_or_not(hex.as_str());
    } else {
        "#"
    };
    word.to_owned()
}

/// `facade` is a word.
fn hex_or_not(text: &str) -> String {
    let is_word = !text.chars().any(|c| c.is_ascii_digit());
    let folded = if is_word { text } else { "<hex>" };
    folded.to_owned()
}

/// With `%i` for the instance's name, escaped or not (systemd-escape(1)), where it is a word of its own.
fn without_instance(line: &str, instance: &str) -> String {
    let plain = crate::signature::unescape(instance);
    let line = replace_word(line, instance);
    match plain == instance {
        true => line,
        false => replace_word(&line, &plain),
    }
}

fn replace_word(line: &str, word: &str) -> String {
    if word.len() < SHORTEST_INSTANCE {
        return line.to_owned();
    }
    let mut folded = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let end = at + word.len();
        let before = rest[..at]
            .chars()
            .next_back()
            .or(folded.chars().next_back());
        let after = rest[end..].chars().next();
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        folded.push_str(&rest[..at]);
        folded.push_str(if is_word(before) || is_word(after) {
            word
        } else {
            "%i"
        });
        rest = &rest[end..];
    }
    folded.push_str(rest);
    folded
}

fn floor(text: &str, most: usize) -> usize {
    (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
