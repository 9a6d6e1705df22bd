//! What tells one cause of a failure from another: how the run ended, and its last words without what differs from run
//! to run. Pure.

mod fold;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use interlock_generator::names;
use interlock_generator::policy::settings::{FailureKind, FailureRule};
use regex::Regex;

use crate::ending::{COMMANDS, End};

/// So many of the last lines that speak of an error say why.
const ERRORS: usize = 2;

/// So many of the last lines do if none speaks of an error.
const LINES: usize = 3;

/// Lines with one of these speak of an error.
const WORDS: [&str; 18] = [
    "error",
    "fatal",
    "fail",
    "exception",
    "panic",
    "denied",
    "refused",
    "timed out",
    "timeout",
    "cannot",
    "can't",
    "could not",
    "couldn't",
    "unable",
    "no such",
    "not found",
    "killed",
    "abort",
];

/// A longer line is cut for people, characters.
const WIDTH: usize = 200;

/// A cause of failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// Twelve hexadecimal digits.
    pub key: String,
    /// For people: `exit status 75: connection to <host> timed out`.
    pub text: String,
}

/// Whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It passes by itself.
    Transient,
    /// It doesn't.
    Permanent,
}

impl Display for Class {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        })
    }
}

/// Neither `transient` nor `permanent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither \"transient\" nor \"permanent\"")]
pub struct UnknownClass(String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(class: &str) -> Result<Self, UnknownClass> {
        match class {
            "transient" => Ok(Self::Transient),
            "permanent" => Ok(Self::Permanent),
            _ => Err(UnknownClass(class.to_owned())),
        }
    }
}

/// The signature of a run of `task`'s `unit` that ended so, with these last lines in its journal.
pub fn of(task: &str, unit: &str, end: &End, last_lines: &[String]) -> Signature {
    let task = match names::is_run(unit) {
        true => COMMANDS,
        false => task,
    };
    let ending = ending(end);
    let last = telling(unit, last_lines);
    let mut hashed = format!("{task}\n{ending}");
    for line in &last {
        hashed.push('\n');
        hashed.push_str(line);
    }
    let text = match last.last() {
        Some(line) => format!("{ending}: {}", cut(line)),
        None => ending,
    };
    Signature {
        key: format!("{:012x}", fnv(hashed.as_bytes()) >> 16),
        text,
    }
}

/// The last lines that speak of an error; if none does, the last lines. Each once: a cause may have been met in any
/// number of attempts within a run.
fn telling(unit: &str, last_lines: &[String]) -> Vec<String> {
    let instance = instance_of(unit);
    let mut folded: Vec<String> = Vec::new();
    for line in last_lines {
        let line = fold::line(line, instance);
        folded.retain(|it| *it != line);
        folded.push(line);
    }
    folded.retain(|line| line.chars().any(char::is_alphabetic));
    let mut errors: Vec<String> = folded
        .iter()
        .filter(|line| is_error(line))
        .cloned()
        .collect();
    if !errors.is_empty() {
        return errors.split_off(errors.len().saturating_sub(ERRORS));
    }
    folded.split_off(folded.len().saturating_sub(LINES))
}

fn is_error(line: &str) -> bool {
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

/// What stands between `@` and the type.
fn instance_of(unit: &str) -> Option<&str> {
    let (name, _) = unit.rsplit_once('.')?;
    let (_, instance) = name.split_once('@')?;
    (!instance.is_empty()).then_some(instance)
}

/// As systemd-escape(1) --unescape does it; what isn't escaped so stays.
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = rest
            .strip_prefix(b"\\x")
            .and_then(|it| it.get(..2))
            .and_then(|it| std::str::from_utf8(it).ok())
            .and_then(|it| u8::from_str_radix(it, 16).ok());
        match (escaped, first) {
            (Some(byte), _) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            (None, b'-') => {
                bytes.push(b'/');
                rest = more;
            }
            (None, byte) => {
                bytes.push(*byte);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

/// `exit status 75`, `signal SIGKILL`, `timeout`.
fn ending(end: &End) -> String {
    match (end.result.as_str(), end.exit_status, end.signal) {
        ("exit-code", Some(status), _) => format!("exit status {status}"),
        ("signal", _, Some(signal)) => format!("signal {}", signal_name(signal)),
        ("core-dump", _, Some(signal)) => format!("core dump by {}", signal_name(signal)),
        (result, ..) => result.to_owned(),
    }
}

/// As signal(7) has it.
fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| signal.to_string(), |signal| signal.as_str().to_owned())
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): the same on every host and in every version.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl From<FailureKind> for Class {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Transient => Self::Transient,
            FailureKind::Permanent => Self::Permanent,
        }
    }
}

/// The policy's first rule, in the order of their names, that is about such a failure. Of what a rule names all must
/// be so: one of its exit statuses or signals, and its pattern.
pub fn classify(
    rules: &BTreeMap<String, FailureRule>,
    task: &str,
    end: &End,
    last_lines: &[String],
) -> Option<(String, Class)> {
    let found = rules
        .iter()
        .find(|(_, rule)| applies(rule, task, end, last_lines));
    found.map(|(name, rule)| (name.clone(), rule.kind.into()))
}

fn applies(rule: &FailureRule, task: &str, end: &End, last_lines: &[String]) -> bool {
    let is_task = rule.tasks.is_empty() || rule.tasks.iter().any(|it| it == task);
    let names_ending = !(rule.exit_status.is_empty() && rule.signals.is_empty());
    let is_status = |status| rule.exit_status.iter().any(|it| i32::from(*it) == status);
    let is_ending = end.exit_status.is_some_and(is_status)
        || end
            .signal
            .is_some_and(|signal| rule.signals.contains(&signal));
    let is_line = rule.pattern.as_ref().is_none_or(|pattern| {
        // The policy's check has compiled it before.
        Regex::new(pattern)
            .is_ok_and(|pattern| last_lines.iter().any(|line| pattern.is_match(line)))
    });
    is_task && (!names_ending || is_ending) && is_line
}

#[cfg(test)]
mod tests;
