//! What follows from runs: how failures are told apart, what is kept, and what an operator may do about them.

use std::path::PathBuf;
use std::time::Duration;

use super::Origin;

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// It may go by itself.
    Transient,
    /// It stays until somebody does something about it.
    Permanent,
}

impl FailureKind {
    /// As in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// Where the metrics are written for node_exporter's textfile collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsTextfile {
    /// Absolute.
    pub path: PathBuf,
    /// Where that is said.
    pub origin: Origin,
}

/// Tells failures apart (`[failures.NAME]`).
///
/// It is about a run that ended with one of the exit statuses or by one of the signals, if it names any of either,
/// *and* one of whose last lines matches the pattern, if it has one. It has at least one of the three. Of several
/// that a run matches the first by name counts.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRule {
    /// Whether trying again may help.
    pub kind: FailureKind,
    /// Exit statuses, 0 to 255.
    pub exit_status: Vec<u8>,
    /// Numbers of signals.
    pub signals: Vec<i32>,
    /// In the syntax of the regex crate, which has compiled it; searched for in each of the last lines.
    pub pattern: Option<String>,
    /// The tasks whose runs it is about, by name; empty: all.
    pub tasks: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Where it is defined.
    pub origin: Origin,
}

/// How much of the history is kept; whichever is reached first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRules {
    /// Runs that ended longer ago are forgotten.
    pub keep: Duration,
    /// The database's largest size in bytes.
    pub max_size: u64,
}

/// A repair that an operator may run without being root.
#[derive(Debug, Clone, PartialEq)]
pub struct RepairAction {
    /// Program (absolute) and arguments, as written; see [`RepairAction::command_for`].
    pub command: Vec<String>,
    /// For people.
    pub description: Option<String>,
}

/// Why an action can't be run on a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The instance can't be unescaped as systemd.unit(5) says.
    #[error("{0:?} can't be unescaped for %I: it is not made by systemd-escape(1)")]
    Escape(String),
    /// The program would take an argument for an option.
    #[error(
        "{0:?} begins with a dash, and the action's command would take it for an option; \
         its policy can allow that with \"--\" before it"
    )]
    Option(String),
}

impl RepairAction {
    /// Program and arguments for one unit: `%i` is its instance, `%I` that unescaped, `%n` its name, `%%` a percent
    /// sign.
    ///
    /// The unit's name is chosen by whoever runs the action. What is put in stays one argument, and isn't expanded
    /// again; it can't begin with a dash where the policy's author didn't write one, unless `--` stands before it.
    ///
    /// # Errors
    /// If the instance can't be unescaped, or would be an option.
    pub fn command_for(&self, unit: &str) -> Result<Vec<String>, ExpandError> {
        let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
        let instance = stem.split_once('@').map_or("", |(_, instance)| instance);
        let mut options_are_over = false;
        let mut command = Vec::with_capacity(self.command.len());
        for word in &self.command {
            let expanded = expand(word, unit, instance)?;
            if expanded.starts_with('-') && !word.starts_with('-') && !options_are_over {
                return Err(ExpandError::Option(expanded));
            }
            options_are_over |= word == "--";
            command.push(expanded);
        }
        Ok(command)
    }
}

fn expand(word: &str, unit: &str, instance: &str) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(word.len());
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('i') => out.push_str(instance),
            Some('I') => {
                let unescaped = unescape(instance);
                out.push_str(&unescaped.ok_or_else(|| ExpandError::Escape(instance.to_owned()))?);
            }
            Some('n') => out.push_str(unit),
            Some('%') => out.push('%'),
            // The reader of the policy has refused all else.
            other => out.extend(['%'].into_iter().chain(other)),
        }
    }
    Ok(out)
}

/// As `systemd-escape --unescape`. Nothing that isn't text, or that could write a line of its own in a log.
fn unescape(instance: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(instance.len());
    let mut rest = instance.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'-' => bytes.push(b'/'),
            b'\\' => {
                let x = rest.next().filter(|x| *x == b'x');
                let high = char::from(x.and_then(|_| rest.next())?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => bytes.push(byte),
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[&str], unit: &str) -> Result<Vec<String>, ExpandError> {
        let action = RepairAction {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            description: None,
        };
        action.command_for(unit)
    }

    #[test]
    fn the_unit_is_put_into_the_arguments() {
        let words = ["/bin/fix", "%i", "--path=%I", "%n", "100%%i"];
        assert_eq!(
            expanded(&words, "import@srv-a\\x2db.service").unwrap(),
            [
                "/bin/fix",
                "srv-a\\x2db",
                "--path=srv/a-b",
                "import@srv-a\\x2db.service",
                "100%i"
            ]
        );
    }

    #[test]
    fn an_instance_stays_one_argument_and_is_not_expanded_again() {
        let words = ["/bin/fix", "%I"];
        assert_eq!(
            expanded(&words, "import@a\\x20\\x25n\\x24HOME.service").unwrap()[1],
            "a %n$HOME"
        );
    }

    #[test]
    fn an_instance_is_no_option_unless_the_policy_allows_it() {
        for (word, unit) in [
            ("%i", "import@-rf.service"),
            ("%I", "import@\\x2drf.service"),
        ] {
            let refused = expanded(&["/bin/fix", word], unit);
            assert!(
                matches!(refused, Err(ExpandError::Option(_))),
                "{refused:?}"
            );
            assert!(expanded(&["/bin/fix", "--", word], unit).is_ok());
            assert!(expanded(&["/bin/fix", &format!("--name={word}")], unit).is_ok());
        }
    }

    #[test]
    fn what_systemd_did_not_escape_is_refused() {
        for instance in [
            "a\\", "a\\x2", "a\\xgg", "a\\n", "a\\x00", "a\\xff", "a\\x0a",
        ] {
            let refused = expanded(&["/bin/fix", "%I"], &format!("import@{instance}.service"));
            assert!(matches!(refused, Err(ExpandError::Escape(_))), "{instance}");
        }
    }
}
