//! `interlockctl verify [DIR]`: every mistake in a policy, without the daemon.

use std::fs;
use std::path::Path;

use interlock_generator::policy::settings::Origin;
use interlock_generator::policy::{self, Diagnostic, Loaded, Severity};
use serde::Serialize;

use super::analyze::{self, Refusal};
use super::cli::VerifyArgs;
use super::error::{CtlError, Outcome};
use super::output;
use super::text::{self, count};

/// `verify --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    policy_state: String,
    errors: usize,
    warnings: usize,
    tasks: usize,
    expressions_checked: bool,
    diagnostics: Vec<Finding>,
    /// The rest of what is said to people.
    #[serde(skip)]
    contents: String,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Finding {
    path: String,
    line: usize,
    column: usize,
    severity: String,
    text: String,
    message: String,
    notes: Vec<String>,
    help: Option<String>,
    /// As it is shown to people.
    #[serde(skip)]
    shown: String,
}

impl From<&Diagnostic> for Finding {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            path: diagnostic.path.display().to_string(),
            line: diagnostic.line,
            column: diagnostic.column,
            severity: diagnostic.severity.to_string(),
            text: diagnostic.text.clone(),
            message: diagnostic.message.clone(),
            notes: diagnostic.notes.clone(),
            help: diagnostic.help.clone(),
            shown: diagnostic.to_string(),
        }
    }
}

/// Checks and prints.
pub fn run(args: &VerifyArgs) -> Result<Outcome, CtlError> {
    let root = Path::new("/");
    let loaded = match &args.dir {
        Some(dir) => {
            readable(dir)?;
            policy::check(dir, root)
        }
        None => policy::load(root),
    };
    let refused = analyze::refused(analyze::expressions(&loaded.settings));
    let report = report(&loaded, refused);
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report))?;
    }
    Ok(if report.errors > 0 {
        Outcome::PolicyErrors
    } else {
        Outcome::Done
    })
}

/// A directory that isn't there is no empty policy, but a typing mistake.
fn readable(dir: &Path) -> Result<(), CtlError> {
    let what = || format!("can't read the directory {}", dir.display());
    fs::read_dir(dir).map(drop).map_err(|source| CtlError::Io {
        what: what(),
        source,
    })
}

fn report(loaded: &Loaded, refused: Option<Vec<Refusal>>) -> Report {
    let expressions_checked = refused.is_some();
    let mut all = loaded.diagnostics.clone();
    all.extend(refused.into_iter().flatten().map(diagnostic));
    all.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    let of = |severity| all.iter().filter(|each| each.severity == severity).count();
    let settings = &loaded.settings;
    let contents = [
        count(settings.tasks().len(), "task"),
        count(settings.resources().len(), "resource"),
        count(settings.windows().len(), "window"),
        count(settings.groups().len(), "group"),
    ];
    Report {
        policy_state: loaded.state.to_string(),
        errors: of(Severity::Error),
        warnings: of(Severity::Warning),
        tasks: settings.tasks().len(),
        expressions_checked,
        contents: contents.join(", "),
        diagnostics: all.iter().map(Finding::from).collect(),
    }
}

fn diagnostic(refusal: Refusal) -> Diagnostic {
    let Refusal { expression, hint } = refusal;
    // Settings tell no more than the table's line; the text itself is nearly always found below it.
    let Origin { path, line } = expression.origin;
    let fragment = fs::read_to_string(&path).unwrap_or_default();
    let key = expression.key.rsplit('.').next().unwrap_or_default();
    let place = locate(&fragment, line, key, &expression.text);
    let kind = expression.kind.name();
    Diagnostic {
        path,
        severity: Severity::Error,
        message: format!(
            "{}: systemd knows no {kind} \"{}\"",
            expression.key, expression.text
        ),
        line: place.as_ref().map_or(line, |place| place.line),
        column: place.as_ref().map_or(1, |place| place.column),
        text: place.map(|place| place.text).unwrap_or_default(),
        width: expression.text.chars().count().max(1),
        notes: Vec::new(),
        help: Some(hint.unwrap_or_else(|| format!("systemd.time(7) describes every {kind}"))),
    }
}

/// A place in a fragment; line and column in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
}

/// Where in the table that begins in line `from` the quoted value stands; best where its key stands too.
fn locate(fragment: &str, from: usize, key: &str, value: &str) -> Option<Place> {
    let table = fragment.lines().enumerate().skip(from.saturating_sub(1));
    let table: Vec<Place> = table
        .enumerate()
        .take_while(|(nth, (_, text))| *nth == 0 || !text.starts_with('['))
        .filter_map(|(_, (at, text))| {
            let found = text
                .find(&format!("\"{value}\""))
                .or_else(|| text.find(&format!("'{value}'")))?;
            Some(Place {
                line: at + 1,
                column: text[..found].chars().count() + 2,
                text: text.to_owned(),
            })
        })
        .collect();
    let with_key = table.iter().find(|place| place.text.contains(key));
    with_key.or(table.first()).cloned()
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.diagnostics {
        out.push_str(&text::lines(finding.shown.trim_end()));
        out.push_str("\n\n");
    }
    if !report.expressions_checked {
        out.push_str(
            "Calendars and time spans were not checked: systemd-analyze can't be run here.\n",
        );
    }
    let warnings = match report.warnings {
        0 => String::new(),
        some => format!(", {}", count(some, "warning")),
    };
    match report.errors {
        0 => out.push_str(&format!(
            "The policy is good: {}{warnings}.\n",
            report.contents
        )),
        some => out.push_str(&format!(
            "The policy has {}{warnings}.\n",
            count(some, "error")
        )),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::analyze::Kind;
    use crate::ctl::manual;

    const GOOD: &str = "\
[resources.rpm-db]

[tasks.refresh]
command = [\"/bin/true\"]
description = \"dayly\"
uses = [\"rpm-db\"]
calendar = \"dayly\"
";

    fn checked(fragment: &str) -> (tempfile::TempDir, Loaded) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("10.toml"), fragment).unwrap();
        // A host without any unit, so that the tests don't depend on this one.
        let loaded = policy::check(dir.path(), dir.path());
        (dir, loaded)
    }

    /// Stands for systemd-analyze: nothing that begins like "dayly" is known.
    fn refuse(loaded: &Loaded) -> Option<Vec<Refusal>> {
        let all = analyze::expressions(&loaded.settings).into_iter();
        let bad = all.filter(|each| each.kind == Kind::Calendar && each.text == "dayly");
        Some(
            bad.map(|expression| Refusal {
                expression,
                hint: None,
            })
            .collect(),
        )
    }

    #[test]
    fn a_good_policy_is_summed_up() {
        let (_dir, loaded) = checked(&GOOD.replace("dayly", "daily"));
        let report = report(&loaded, refuse(&loaded));
        assert_eq!(
            render(&report),
            "The policy is good: 1 task, 1 resource, 0 windows, 0 groups.\n"
        );
    }

    #[test]
    fn a_calendar_that_systemd_refuses_is_an_error_with_its_place() {
        let (dir, loaded) = checked(GOOD);
        let report = report(&loaded, refuse(&loaded));
        assert_eq!(report.errors, 1);
        let path = dir.path().join("10.toml");
        let expected = format!(
            "{}:7:13: error: tasks.refresh.calendar: systemd knows no calendar event \"dayly\"\n    \
             calendar = \"dayly\"\n                ^^^^^\n",
            path.display()
        );
        let text = render(&report);
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with("The policy has 1 error.\n"), "{text}");
    }

    #[test]
    fn mistakes_of_the_policy_come_with_their_help() {
        let (_dir, loaded) = checked(&GOOD.replace("calendar", "calender"));
        let report = report(&loaded, Some(Vec::new()));
        assert!(report.errors >= 1);
        let text = render(&report);
        assert!(
            text.contains("10.toml:7:1: error:") && text.contains("calendar"),
            "{text}"
        );
    }

    #[test]
    fn it_is_said_if_calendars_could_not_be_checked() {
        let (_dir, loaded) = checked(GOOD);
        let text = render(&report(&loaded, None));
        assert!(text.contains("were not checked"), "{text}");
    }

    #[test]
    fn json_has_the_fields_of_the_manual_and_no_others() {
        let (_dir, loaded) = checked(GOOD);
        let report = serde_json::to_value(report(&loaded, refuse(&loaded))).unwrap();
        let mut documented: Vec<&str> = manual::VERIFY_FIELDS.iter().map(|(key, _)| *key).collect();
        let keys = |object: &serde_json::Value, prefix: &str| -> Vec<String> {
            let keys = object.as_object().unwrap().keys();
            keys.map(|key| format!("{prefix}{key}")).collect()
        };
        let mut actual = keys(&report, "");
        actual.retain(|key| key != "diagnostics");
        actual.extend(keys(&report["diagnostics"][0], "diagnostics[]."));
        actual.sort();
        documented.sort_unstable();
        assert_eq!(actual, documented);
    }

    #[test]
    fn a_value_is_found_in_its_own_table_only() {
        let fragment = "[a]\nx = \"1h\"\n[b]\nd = 'no'\nx = [\n  '1h',\n]\n[c]\nx = \"2h\"\n";
        let place = |from, value| {
            locate(fragment, from, "x", value).map(|place| (place.line, place.column))
        };
        assert_eq!(place(1, "1h"), Some((2, 6)));
        assert_eq!(place(3, "1h"), Some((6, 4)));
        assert_eq!(place(3, "2h"), None);
    }
}
