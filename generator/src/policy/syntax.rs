//! Puts the TOML parser's errors into our words.

use std::collections::BTreeSet;

use super::diagnostic::Problems;
use super::source::{Source, Span};

/// Reports what the parser found in source `index`.
pub(super) fn report(
    index: usize,
    source: &Source,
    errors: &[toml::de::Error],
    problems: &mut Problems,
) {
    let mut tables_merged = false;
    for error in errors {
        let at = Span::new(index, error.span().unwrap_or(0..0));
        if error.message().starts_with("duplicate key") {
            let first = first_place(source, at);
            let header = is_header(source.line(source.line_of(at.start)));
            tables_merged |= header;
            // The parser goes on with both tables as one, and finds the same keys in it.
            if first.is_some() || header || !tables_merged {
                duplicate(source, at, first, problems);
            }
            continue;
        }
        let (message, help) = explain(source, at, error.message());
        problems.error(at, message).help(help);
    }
}

/// Quotation marks that TOML doesn't know.
const TYPOGRAPHIC: [char; 7] = [
    '\u{2018}', '\u{2019}', '\u{201a}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}',
];

fn explain(source: &Source, at: Span, message: &str) -> (String, String) {
    let line = source.line_of(at.start);
    let rest = source
        .text()
        .get(at.start..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    if message.starts_with("string values must be quoted") {
        if rest.trim().is_empty() || rest.trim_start().starts_with('#') {
            return (
                "there is no value".to_owned(),
                "write one after the =, or remove the line".to_owned(),
            );
        }
        let value = source.text().get(at.start..at.end).unwrap_or_default();
        // Word processors and web pages turn quotes into these.
        let bare = value.trim_matches(TYPOGRAPHIC);
        let message = match bare == value {
            true => "text must stand in quotes",
            false => "these are typographic quotes; text must stand in plain ones",
        };
        return (message.to_owned(), format!("write \"{bare}\""));
    }
    let help = match is_header(source.line(line)) {
        true => "a table begins with a line as [tasks.NAME]",
        false => "a line is KEY = VALUE, as unit = \"name.service\"; see interlock-policy(5)",
    };
    (format!("this is not TOML: {message}"), help.to_owned())
}

fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

fn duplicate(source: &Source, at: Span, first: Option<Span>, problems: &mut Problems) {
    let name = source.text().get(at.start..at.end).unwrap_or_default();
    let name = name.trim_matches(['"', '\'']);
    let problem = problems.error(at, format!("\"{name}\" is defined twice in this file"));
    problem.help("keep one of them");
    if let Some(first) = first {
        problem.note(first, "first defined here");
    }
}

/// Where the key or table was first: the parser doesn't say, but its line begins alike.
fn first_place(source: &Source, at: Span) -> Option<Span> {
    let name = source.text().get(at.start..at.end)?;
    let line = source.line_of(at.start);
    let header = is_header(source.line(line));
    let wanted = match header {
        true => source.line(line).trim().split(']').next()?,
        false => name,
    };
    for earlier in (0..line).rev() {
        let text = source.line(earlier);
        let trimmed = text.trim_start();
        let found = match header {
            true => trimmed.split(']').next() == Some(wanted),
            false => trimmed
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', '.'])),
        };
        if found {
            let column = text.len() - trimmed.len() + trimmed.find(name).unwrap_or(0);
            let start = source.start_of(earlier) + column;
            return Some(Span::new(at.source, start..start + name.len()));
        }
        // Keys of the same name in another table are another key.
        if !header && is_header(text) {
            return None;
        }
    }
    None
}

/// Drops what was found since `from` on lines that aren't TOML: it follows from that, and would only distract.
pub(super) fn drop_consequences(
    source: &Source,
    errors: &[toml::de::Error],
    from: usize,
    problems: &mut Problems,
) {
    let mut broken = BTreeSet::new();
    for span in errors.iter().filter_map(toml::de::Error::span) {
        let line = source.line_of(span.start);
        broken.insert(line);
        // What stands below a header that can't be read belongs to an unknown table.
        if is_header(source.line(line)) {
            let below = line + 1..source.line_count();
            broken.extend(below.take_while(|line| !is_header(source.line(*line))));
        }
    }
    problems.retain_since(from, |p| !broken.contains(&source.line_of(p.at.start)));
}
