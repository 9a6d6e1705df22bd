//! `interlockctl check`, which is the plugin `check_interlock` too: one line for a checker as Nagios or Icinga,
//! and its exit status, after the Monitoring Plugins' guidelines.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use clap::error::ErrorKind;
use zbus::Variant;

use super::error::{CtlError, Outcome};
use super::monitor::{self, Silence};
use super::{output, usage};
use crate::monitor::{Status, Verdict};

/// The name under which it is a plugin: what is after it are options of `check`.
const PLUGIN: &str = "check_interlock";
const COMMAND: &str = "check";

/// Of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What is a warning, as failed=500; may be repeated
    #[arg(short, long, value_name = "EXPR")]
    pub warning: Vec<String>,
    /// What is critical, as failed=+50%; may be repeated
    #[arg(short, long, value_name = "EXPR")]
    pub critical: Vec<String>,
    /// What isn't looked at though it is by default; may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub ignore: Vec<String>,
    /// How long an answer may take
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub async fn run(args: &CheckArgs) -> Result<Outcome, CtlError> {
    let options = HashMap::from([
        ("json", Variant::from(args.json)),
        ("ignore", Variant::from(args.ignore.clone())),
    ]);
    let patience = Duration::from_secs(args.timeout);
    let answer = monitor::check(&args.warning, &args.critical, &options, patience).await;
    let (status, text) = match answer {
        Ok((status, text)) => (u8::try_from(status).unwrap_or(3), text),
        Err(silence) => {
            let verdict = of_silence(&silence);
            let text = match args.json {
                true => verdict.json(),
                false => verdict.render(),
            };
            (verdict.status.code(), text)
        }
    };
    Ok(Outcome::Status(match output::print(&text) {
        Ok(()) => status,
        // Whoever doesn't get the text must not take interlockctl's 1 for a warning.
        Err(error) => {
            output::complain(&error.to_string());
            Status::Unknown.code()
        }
    }))
}

fn of_silence(silence: &Silence) -> Verdict {
    let status = match silence {
        Silence::Down(_) | Silence::Hangs(_) => Status::Critical,
        Silence::NoBus(_) | Silence::Refused(_) => Status::Unknown,
    };
    let details = match silence {
        Silence::Down(_) | Silence::Hangs(_) => vec![
            "Tasks that start now wait at their gates until it is back".to_owned(),
            "See: systemctl status interlockd; journalctl -b -u interlockd -n 30".to_owned(),
        ],
        _ => Vec::new(),
    };
    Verdict::of(status, silence.to_string(), details)
}

/// The command line, as one of interlockctl's; and whether a checker reads the answer.
pub fn command_line(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, bool) {
    let mut arguments: Vec<OsString> = arguments.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let is_plugin = name.is_some_and(|name| name == PLUGIN);
    if is_plugin {
        let asks_version = arguments
            .get(1)
            .is_some_and(|it| it == "-V" || it == "--version");
        if !asks_version {
            arguments.insert(1, COMMAND.into());
        }
    }
    let is_check = is_plugin || arguments.get(1).is_some_and(|it| it == COMMAND);
    (arguments, is_check)
}

/// What is said to a checker about a command line that makes no sense: clap's 2 would read as critical.
pub fn wrong_usage(error: &clap::Error) -> u8 {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let _ = error.print();
        return match std::env::args_os().next() {
            // The guidelines want no OK for a plugin that has checked nothing.
            Some(name)
                if Path::new(&name)
                    .file_name()
                    .is_some_and(|name| name == PLUGIN) =>
            {
                Status::Unknown.code()
            }
            _ => 0,
        };
    }
    let text = usage::clean(&error.to_string());
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or("wrong usage");
    let first = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let verdict = Verdict::of(Status::Unknown, first, lines.map(str::to_owned).collect());
    let _ = output::print(&verdict.render());
    verdict.status.code()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ctl::manual;
    use crate::monitor::{Facts, Live, Request};

    fn line(words: &[&str]) -> (Vec<String>, bool) {
        let (line, is_check) = command_line(words.iter().map(OsString::from));
        let line = line.into_iter().map(|it| it.into_string().unwrap());
        (line.collect(), is_check)
    }

    #[test]
    fn the_plugin_is_the_command_check() {
        let plugin = "/usr/lib64/nagios/plugins/check_interlock";
        let (words, is_check) = line(&[plugin, "-w", "failed=5"]);
        assert_eq!(words, [plugin, "check", "-w", "failed=5"]);
        assert!(is_check);
        assert_eq!(line(&[plugin, "-V"]).0, [plugin, "-V"]);
        assert!(line(&["interlockctl", "check"]).1);
        assert!(!line(&["interlockctl", "status"]).1);
    }

    #[test]
    fn json_has_the_fields_of_the_manual_and_no_others() {
        let facts = Facts {
            now: 0,
            live: Live::default(),
            past: Err("damaged".to_owned()),
        };
        let value = crate::monitor::check(&facts, &Request::default()).json();
        let value: serde_json::Value = serde_json::from_str(&value).unwrap();
        let mut found = BTreeSet::new();
        for (key, value) in value.as_object().unwrap() {
            match value[0].as_object() {
                Some(row) => found.extend(row.keys().map(|name| format!("{key}[].{name}"))),
                None => drop(found.insert(key.clone())),
            }
        }
        let documented = manual::CHECK_FIELDS.iter();
        assert_eq!(
            found,
            documented.map(|(name, _)| (*name).to_owned()).collect()
        );
        assert_eq!(value["status"], "WARNING");
    }

    #[test]
    fn a_daemon_that_is_down_or_hangs_is_critical_and_an_unknown_one_unknown() {
        let down = of_silence(&Silence::Down("failed (exit-code)".to_owned()));
        assert!(
            down.render()
                .starts_with("INTERLOCK CRITICAL: interlockd isn't running: interlockd.service is failed (exit-code)\n"),
            "{}",
            down.render()
        );
        let hangs = of_silence(&Silence::Hangs(Duration::from_secs(10)));
        assert_eq!(hangs.status, Status::Critical);
        for silence in [
            Silence::NoBus("no such file".to_owned()),
            Silence::Refused("access denied".to_owned()),
        ] {
            assert_eq!(of_silence(&silence).status.code(), 3);
        }
    }
}
