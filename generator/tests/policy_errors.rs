//! Every mistake in the fixtures of tests/policy-errors is told as the file beside it says.
//!
//! `UPDATE=1 cargo test --test policy_errors` writes those files anew.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use interlock_generator::host::{MemoryHost, Unit};
use interlock_generator::policy::{self, Loaded, Source};

fn host() -> MemoryHost {
    let mut host = MemoryHost::default();
    for name in ('a'..='z').map(|letter| format!("{letter}.service")) {
        host.add_named(&name);
    }
    for name in [
        "upcp.service",
        "cron.service",
        "sshd.service",
        "mail.service",
        "other.service",
    ] {
        host.add_named(name);
    }
    host.add_named("package-import@.service");
    host.add_named("dbus.service");
    host.add(Unit {
        name: "dnf5-automatic.service".to_owned(),
        aliases: vec!["dnf-automatic.service".to_owned()],
        ..Unit::default()
    });
    host.add(Unit {
        name: "early.service".to_owned(),
        early: true,
        ..Unit::default()
    });
    host
}

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy-errors");
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension == "toml"))
        .collect();
    all.sort();
    all
}

/// The fragments of a fixture: one file, or those of a directory.
fn sources(fixture: &Path) -> Vec<Source> {
    let mut files = vec![fixture.to_owned()];
    if fixture.is_dir() {
        files = std::fs::read_dir(fixture)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
    }
    let source = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        Source::new(
            format!("/etc/interlock/policy.d/{name}"),
            std::fs::read_to_string(path).unwrap(),
        )
    };
    files.iter().map(source).collect()
}

fn told(loaded: &Loaded) -> String {
    let mut out = String::new();
    for diagnostic in &loaded.diagnostics {
        writeln!(out, "{diagnostic}\n").unwrap();
    }
    let tasks: Vec<&str> = loaded.settings.tasks().keys().map(String::as_str).collect();
    writeln!(out, "state: {}", loaded.state).unwrap();
    writeln!(out, "tasks in effect: {}", tasks.join(" ")).unwrap();
    for consequence in &loaded.consequences {
        writeln!(out, "{consequence}").unwrap();
    }
    out
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write_instead() {
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let told = told(&policy::from_sources(sources(&fixture), &host(), ""));
        let expected = fixture.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &told).unwrap();
        }
        if std::fs::read_to_string(&expected).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn every_mistake_is_told_in_one_line_with_help() {
    for fixture in fixtures() {
        for diagnostic in policy::from_sources(sources(&fixture), &host(), "").diagnostics {
            let line = diagnostic.one_line();
            assert!(!line.contains(char::is_control), "{line}");
            assert!(line.starts_with("/etc/interlock/policy.d/"), "{line}");
            assert!(diagnostic.help.is_some(), "{line}");
        }
    }
}
