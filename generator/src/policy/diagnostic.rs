//! What is wrong with a policy, where, and what to write instead.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::source::{Source, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The fragment can't take effect as it is.
    Error,
    /// It takes effect, but probably not as it was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong with a policy.
///
/// [`Display`](fmt::Display) gives several lines for a terminal, without a newline at the end;
/// [`one_line`](Self::one_line) gives one line for the kernel log, the journal and D-Bus. Neither contains
/// control characters, whatever the policy contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The fragment, as the running system sees it (without the root of `--root`).
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The offending line of the fragment, or empty if there is none to show.
    pub text: String,
    /// How many characters of it are meant, from `column` on; at least 1.
    pub width: usize,
    /// Other places that matter, as `path:line:column: what it is`.
    pub notes: Vec<String>,
    /// What to write instead, if that is known.
    pub help: Option<String>,
}

/// Longest part of an offending line that is shown; a policy of one enormous line is still readable then.
const SHOWN: usize = 120;

impl Diagnostic {
    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Place, message and help in one line.
    pub fn one_line(&self) -> String {
        let mut line = format!("{}: {}: {}", self.place(), self.severity, self.message);
        for note in &self.notes {
            line.push_str(&format!(" ({note})"));
        }
        if let Some(help) = &self.help {
            line.push_str(&format!("; {help}"));
        }
        visible(&line)
    }

    /// `path:line:column`.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.path.display(), self.line, self.column)
    }

    /// The shown part of the offending line, and the line of carets below it.
    fn excerpt(&self) -> Option<(String, String)> {
        if self.text.is_empty() {
            return None;
        }
        let before = self.column - 1;
        let skip = before.saturating_sub(SHOWN * 3 / 4);
        let cut = self.text.chars().count() > skip + SHOWN;
        let shown: String = self.text.chars().skip(skip).take(SHOWN).collect();
        // Tabs are kept in both lines, so that the carets stand right at every tab width.
        let indent: String = shown
            .chars()
            .take(before - skip)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = shown.chars().count().saturating_sub(before - skip).max(1);
        let carets = "^".repeat(self.width.clamp(1, room));
        let shown: String = shown
            .chars()
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        let head = if skip > 0 { "... " } else { "" };
        let tail = if cut { " ..." } else { "" };
        let carets = format!("{}{indent}{carets}", " ".repeat(head.len()));
        Some((format!("{head}{shown}{tail}"), carets))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = visible(&self.place());
        write!(f, "{place}: {}: {}", self.severity, visible(&self.message))?;
        if let Some((text, carets)) = self.excerpt() {
            write!(f, "\n    {text}\n    {carets}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {}", visible(note))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {}", visible(help))?;
        }
        Ok(())
    }
}

/// Replaces control characters, so that no policy text can write a log line or a terminal sequence of its own.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A finding before it is put into words with its place; kept small, since places are only worked out for the few.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) at: Span,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) notes: Vec<(Span, String)>,
    /// Whether it is about this one task only, and leaves the rest of its fragment good.
    pub(super) task_only: bool,
}

impl Problem {
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn note(&mut self, at: Span, what: impl Into<String>) -> &mut Self {
        self.notes.push((at, what.into()));
        self
    }

    pub(super) fn task_only(&mut self) -> &mut Self {
        self.task_only = true;
        self
    }
}

/// Collects findings; nothing stops at the first.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn error(&mut self, at: Span, message: impl Into<String>) -> &mut Problem {
        self.push(at, Severity::Error, message.into())
    }

    pub(super) fn warning(&mut self, at: Span, message: impl Into<String>) -> &mut Problem {
        self.push(at, Severity::Warning, message.into())
    }

    fn push(&mut self, at: Span, severity: Severity, message: String) -> &mut Problem {
        let index = self.list.len();
        self.list.push(Problem {
            at,
            severity,
            message,
            help: None,
            notes: Vec::new(),
            task_only: false,
        });
        &mut self.list[index]
    }

    /// How many there are; a part of the policy is sound if this didn't grow while it was read.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|p| p.severity == Severity::Error)
    }

    /// The sources that can't take effect as they are, of those that `counts` is true for. Of two that contradict
    /// each other, one that is wrong anyhow is taken back first: the other may be good then.
    pub(super) fn bad_sources(&self, counts: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let errors = || {
            self.errors()
                .filter(|problem| !problem.task_only && counts(problem.at.source))
        };
        let all: BTreeSet<usize> = errors().map(|problem| problem.at.source).collect();
        let stands_alone = |problem: &&Problem| {
            let others = problem.notes.iter().map(|(at, _)| at.source);
            others
                .filter(|other| *other != problem.at.source)
                .all(|other| !all.contains(&other))
        };
        let alone: BTreeSet<usize> = errors()
            .filter(stands_alone)
            .map(|problem| problem.at.source)
            .collect();
        if alone.is_empty() { all } else { alone }
    }

    /// Keeps, of those found since there were `from`, only those that `keep` chooses.
    pub(super) fn retain_since(&mut self, from: usize, keep: impl Fn(&Problem) -> bool) {
        let found = self.list.split_off(from);
        self.list.extend(found.into_iter().filter(keep));
    }

    /// Puts them into words, in the order of fragments and lines.
    pub(super) fn into_diagnostics(mut self, sources: &[Source]) -> Vec<Diagnostic> {
        self.list.sort_by_key(|p| (p.at.source, p.at.start));
        self.list
            .into_iter()
            .map(|problem| diagnostic(problem, sources))
            .collect()
    }
}

fn diagnostic(problem: Problem, sources: &[Source]) -> Diagnostic {
    let source = &sources[problem.at.source];
    let position = source.position(problem.at);
    let notes = problem
        .notes
        .into_iter()
        .map(|(at, what)| {
            let source = &sources[at.source];
            let place = source.position(at);
            let path = source.path().display();
            format!("{path}:{}:{}: {what}", place.line, place.column)
        })
        .collect();
    Diagnostic {
        path: source.path().to_owned(),
        line: position.line,
        column: position.column,
        severity: problem.severity,
        message: problem.message,
        text: position.text,
        width: position.width,
        notes,
        help: problem.help,
    }
}
