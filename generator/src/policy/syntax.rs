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
    for error in errors {
        let at = Span::new(index, error.span().unwrap_or(0..0));
        if error.message().starts_with("duplicate key") {
            duplicate(source, at, problems);
            continue;
        }
        problems
            .error(at, format!("this is not TOML: {}", error.message()))
            .help("see interlock-policy(5) for the syntax; strings are quoted, as unit = \"name.service\"");
    }
}

fn duplicate(source: &Source, at: Span, problems: &mut Problems) {
    let name = source.text().get(at.start..at.end).unwrap_or_default();
    let problem = problems.error(at, format!("{name} is defined twice in this file"));
    problem.help("keep one of them");
    if let Some(first) = first_place(source, at, name) {
        problem.note(first, "first defined here");
    }
}

/// Where the key or table was first: the parser doesn't say, but its line begins alike.
fn first_place(source: &Source, at: Span, name: &str) -> Option<Span> {
    let line = source.line_of(at.start);
    let is_header = |text: &str| text.trim_start().starts_with('[');
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
    let broken: BTreeSet<usize> = errors
        .iter()
        .filter_map(|error| error.span())
        .map(|span| source.line_of(span.start))
        .collect();
    problems.retain_since(from, |p| !broken.contains(&source.line_of(p.at.start)));
}
