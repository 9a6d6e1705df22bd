//! What a policy compiles to, read by a reader that shares nothing with the writer.

use interlock_generator::names;
use interlock_generator::plan::{Content, Entry, Plan};
use interlock_generator::policy::settings::{Command, Settings, Task};

use crate::reader::{self, Assignment};

/// NAME_MAX of Linux, bytes.
const NAME_MAX: usize = 255;

/// What may be set, by section.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "Unit",
        &[
            "Description",
            "SourcePath",
            "After",
            "Requires",
            "Wants",
            "Conflicts",
            "AssertPathExists",
            "StopWhenUnneeded",
            "StartLimitIntervalSec",
            "CollectMode",
            "X-InterlockTextfile",
        ],
    ),
    (
        "Service",
        &[
            "Type",
            "ExecStart",
            "User",
            "Group",
            "WorkingDirectory",
            "Environment",
            "EnvironmentFile",
            "TimeoutStartSec",
            "RuntimeMaxSec",
            "KillSignal",
            "SendSIGKILL",
            "TimeoutStopSec",
            "LogLevelMax",
            "CapabilityBoundingSet",
            "NoNewPrivileges",
            "ProtectSystem",
            "ReadWritePaths",
            "ProtectHome",
            "ProtectKernelTunables",
            "ProtectKernelModules",
            "ProtectControlGroups",
            "PrivateDevices",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "SystemCallArchitectures",
            "SystemCallFilter",
        ],
    ),
    (
        "Timer",
        &[
            "OnCalendar",
            "RandomizedDelaySec",
            "Persistent",
            "Unit",
            "OnActiveSec",
            "OnUnitInactiveSec",
            "AccuracySec",
        ],
    ),
];

/// Compiles settings, and panics if what comes out isn't what they say.
pub fn check(settings: &Settings) {
    let plan = Plan::new(settings);
    let mut files = Vec::new();
    for entry in plan.entries() {
        path(entry);
        let Content::File(file) = &entry.content else {
            continue;
        };
        let lines = reader::read(file.as_str()).unwrap_or_else(|why| panic!("{why} in\n{file}"));
        for line in &lines {
            let known = KEYS.iter().find(|(section, _)| *section == line.section);
            let known = known.is_some_and(|(_, keys)| keys.contains(&line.key.as_str()));
            assert!(known, "{line:?} in\n{file}");
        }
        files.push((entry.path.as_str(), lines));
    }
    let lines = |path: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, lines)| lines.as_slice())
    };
    for task in settings.tasks().values() {
        if let Some(command) = &task.command {
            let unit = lines(&task.unit).unwrap_or_else(|| panic!("no {}", task.unit));
            of_command(task, command, unit);
            let timer = task.unit.replace(".service", ".timer");
            if let Some(timer) = lines(&timer) {
                let events: Vec<String> = of(timer, "OnCalendar").collect();
                assert_eq!(events, trimmed(&command.calendar));
            }
        }
        if task.gated {
            let drop_in = lines(&format!("{}.d/{}", task.unit, names::DROP_IN));
            let drop_in = drop_in.unwrap_or_else(|| panic!("{} is unguarded", task.unit));
            guarded(drop_in);
        }
    }
}

/// A gate, and the assertion behind it, before anything that could be too long to be read.
fn guarded(lines: &[Assignment]) {
    let first: Vec<(&str, &str)> = lines[..3]
        .iter()
        .map(|line| (line.key.as_str(), line.value.as_str()))
        .collect();
    let gate = "interlock-gate@%n.service";
    let expected = [
        ("Requires", gate),
        ("After", gate),
        ("AssertPathExists", "/run/interlock/lease/%n"),
    ];
    assert_eq!(first, expected);
}

/// A file of its own, or in a drop-in directory of just one unit.
fn path(entry: &Entry) {
    let parts: Vec<&str> = entry.path.split('/').collect();
    assert!(parts.len() <= 2, "{}", entry.path);
    for part in &parts {
        assert!(!part.is_empty() && !part.starts_with('.'), "{}", entry.path);
        assert!(part.len() <= NAME_MAX, "{} bytes: {part}", part.len());
        let fits = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        assert!(part.bytes().all(fits), "{part:?}");
    }
    if let Some(unit) = parts[0].strip_suffix(".d") {
        let stem = unit.split(['@']).next().unwrap_or(unit);
        let stem = stem.strip_suffix(".service").unwrap_or(stem);
        assert!(
            !stem.ends_with('-'),
            "{} is for all units that begin so",
            parts[0]
        );
    }
    if let Content::Link(target) = &entry.content {
        let own = target.strip_prefix("../");
        assert!(
            target == "/dev/null" || own.is_some_and(|own| !own.contains('/')),
            "{target}"
        );
    }
}

fn of_command(task: &Task, command: &Command, unit: &[Assignment]) {
    let exec: Vec<&Assignment> = unit.iter().filter(|line| line.key == "ExecStart").collect();
    assert_eq!(exec.len(), 1);
    assert_eq!(reader::commands(&exec[0].value), Ok(1));
    let mut words = plain_words(&exec[0].value);
    // The prefix by which systemd leaves every `$` alone.
    assert_eq!(words[0].remove(0), ':');
    assert_eq!(words, command.argv);
    let one = |key: &str, wanted: Option<&String>| {
        let found: Vec<String> = of(unit, key).collect();
        let wanted: Vec<String> = wanted.cloned().into_iter().collect();
        assert_eq!(found, trimmed(&wanted), "{key}");
    };
    let description = format!("Task {}", task.name);
    one(
        "Description",
        Some(command.description.as_ref().unwrap_or(&description)),
    );
    one("User", command.user.as_ref());
    one("Group", command.group.as_ref());
    one("TimeoutStartSec", task.max_runtime.as_ref());
    let directory: Vec<String> = of(unit, "WorkingDirectory").collect();
    // Nothing of a path may be left out.
    let wanted: Vec<String> = command.working_directory.clone().into_iter().collect();
    assert_eq!(directory, wanted);
    let variables = unit.iter().filter(|line| line.key == "Environment");
    let variables: Vec<String> = variables
        .flat_map(|line| plain_words(&line.value))
        .collect();
    let wanted = command
        .environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    assert!(variables.iter().cloned().eq(wanted), "{variables:?}");
}

/// The values of a key, up to the end of each line.
fn of<'a>(lines: &'a [Assignment], key: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = lines.iter().filter(move |line| line.key == key);
    lines.map(|line| reader::specifiers(&line.value).unwrap_or_else(|why| panic!("{why}")))
}

fn plain_words(value: &str) -> Vec<String> {
    let words = reader::words(value).unwrap_or_else(|why| panic!("{why}"));
    let plain = words.iter().map(|word| reader::specifiers(word));
    plain
        .collect::<Result<_, _>>()
        .unwrap_or_else(|why| panic!("{why}"))
}

/// systemd drops blanks around a value.
fn trimmed(values: &[String]) -> Vec<String> {
    let values = values.iter();
    values
        .map(|value| value.trim_matches([' ', '\t']).to_owned())
        .collect()
}
