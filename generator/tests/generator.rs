//! How the generator behaves as systemd and people call it, whatever they give it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GOOD: &str = "[resources.r]\n[tasks.a]\nunit = \"a.service\"\nuses = [\"r\"]\n[tasks.b]\nunit = \"b.service\"\nuses = [\"r\"]\n";
const FRAGMENT: &str = "etc/interlock/policy.d/10.toml";
const DROP_IN: &str = "a.service.d/50-interlock.conf";

/// A root with a policy, and three output directories.
struct Host {
    work: tempfile::TempDir,
}

impl Host {
    fn new(policy: &str) -> Self {
        let host = Self {
            work: tempfile::tempdir().expect("temporary directory"),
        };
        for directory in ["normal", "early", "late", "root/etc/interlock/policy.d"] {
            fs::create_dir_all(host.path(directory)).expect("directory");
        }
        for unit in ["a.service", "b.service"] {
            host.write(
                &format!("usr/lib/systemd/system/{unit}"),
                "[Service]\nType=oneshot\nExecStart=/bin/true\n",
            );
        }
        host.write(FRAGMENT, policy);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("root").join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("file");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock-generator"));
        command.arg("--root").arg(self.path("root"));
        command
    }

    fn generate(&self) -> Output {
        let mut command = self.command();
        command.args(["normal", "early", "late"].map(|name| self.path(name)));
        command.output().expect("generator starts")
    }

    fn output(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("normal").join(name)).ok()
    }

    fn clear_output(&self) {
        for name in ["normal", "early", "late"] {
            fs::remove_dir_all(self.path(name)).expect("removed");
            fs::create_dir(self.path(name)).expect("directory");
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_host_without_policy_has_no_output_and_no_error() {
    let host = Host::new("");
    fs::remove_dir_all(host.path("root")).expect("removed");
    fs::create_dir(host.path("root")).expect("directory");
    let output = host.generate();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    for directory in ["normal", "early", "late"] {
        let entries = fs::read_dir(host.path(directory)).expect("directory");
        assert_eq!(entries.count(), 0);
    }
}

#[test]
fn missing_output_directories_are_an_error_that_says_so() {
    let host = Host::new(GOOD);
    for name in ["normal", "early", "late"] {
        fs::remove_dir(host.path(name)).expect("removed");
    }
    let output = host.generate();
    assert_eq!(output.status.code(), Some(1));
    let stderr = stderr(&output);
    assert!(
        stderr.contains("the output directories must exist"),
        "{stderr}"
    );
    assert!(stderr.contains("a.service is NOT guarded"), "{stderr}");
}

#[test]
fn a_task_whose_drop_in_cannot_be_written_is_masked() {
    let host = Host::new(GOOD);
    // A file where the drop-in's directory should be.
    fs::write(host.path("normal/a.service.d"), "").expect("file");
    let output = host.generate();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("a.service is masked"),
        "{}",
        stderr(&output)
    );
    let mask = fs::read_link(host.path("early/a.service")).expect("link");
    assert_eq!(mask, Path::new("/dev/null"));
    assert!(host.output("b.service.d/50-interlock.conf").is_some());
}

#[test]
fn what_another_generator_wrote_is_left_alone() {
    let host = Host::new("[tasks.job]\ncommand = [\"/bin/true\"]\n");
    let elsewhere = host.path("elsewhere");
    fs::write(&elsewhere, "theirs").expect("file");
    symlink(&elsewhere, host.path("normal/job.service")).expect("link");
    let output = host.generate();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another generator"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read_to_string(elsewhere).expect("file"), "theirs");
    assert!(host.output("job.service.d/50-interlock.conf").is_some());
}

#[test]
fn output_is_the_same_each_time() {
    let host = Host::new(GOOD);
    assert_eq!(host.generate().status.code(), Some(0));
    let first = host.output(DROP_IN);
    host.clear_output();
    assert_eq!(host.generate().status.code(), Some(0));
    assert!(first.is_some());
    assert_eq!(first, host.output(DROP_IN));
}

#[test]
fn a_fifo_among_the_fragments_holds_nothing_up() {
    let host = Host::new(GOOD);
    let fifo = host.path("root/etc/interlock/policy.d/20.toml");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let output = host.generate();
    assert_eq!(output.status.code(), Some(1));
    assert!(host.output(DROP_IN).is_some());
}

#[test]
fn dry_run_prints_every_file_and_writes_none() {
    let host = Host::new(GOOD);
    let output = host.command().arg("--dry-run").output().expect("starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains(&format!("==> normal/{DROP_IN}\n# Automatically generated")));
    assert!(!host.path("root/run").exists());
}

#[test]
fn dry_run_into_a_full_disk_fails_with_a_message() {
    let host = Host::new(GOOD);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let mut command = host.command();
    let output = command
        .arg("--dry-run")
        .stdout(full)
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("can't write to standard output"));
}

#[test]
fn messages_that_nobody_can_read_do_not_stop_it() {
    let host =
        Host::new("[tasks.a]\nunit = 3\n[tasks.b]\nunit = \"b.service\"\nuses = [\"none\"]\n");
    let full = || {
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    let mut command = host.command();
    command.args(["normal", "early", "late"].map(|name| host.path(name)));
    let status = command
        .stdout(full())
        .stderr(full())
        .status()
        .expect("starts");
    assert_eq!(status.code(), Some(1));
    let mut command = host.command();
    let status = command
        .arg("--check")
        .stderr(full())
        .status()
        .expect("starts");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn check_writes_nothing_and_says_what_is_wrong() {
    let host = Host::new("[tasks.a]\nunit = \"a.service\"\nuses = [\"none\"]\n");
    let check = |arguments: &[&str]| host.command().args(arguments).output().expect("starts");
    let output = check(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("10.toml:3:9: error"),
        "{}",
        stderr(&output)
    );
    let fragments = host.path("root/etc/interlock/policy.d");
    let output = check(&["--check", fragments.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("10.toml:3:9: error"),
        "{}",
        stderr(&output)
    );
    host.write(FRAGMENT, GOOD);
    assert_eq!(check(&["--check"]).status.code(), Some(0));
    assert!(!host.path("root/run").exists());
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let host = Host::new(GOOD);
    fs::remove_dir_all(host.path("root")).expect("removed");
    for arguments in [&["--check"][..], &["--dry-run"], &["/a", "/b", "/c"]] {
        let output = host.command().args(arguments).output().expect("starts");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("not a directory"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn wrong_arguments_are_a_usage_error() {
    let run = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interlock-generator"));
        command.args(arguments).stderr(Stdio::null());
        command.status().expect("starts").code()
    };
    assert_eq!(run(&[]), Some(2));
    assert_eq!(run(&["/nonexistent".as_ref()]), Some(2));
    assert_eq!(
        run(&["--bogus".as_ref(), "/a".as_ref(), "/b".as_ref()]),
        Some(2)
    );
    assert_eq!(run(&["--dry-run".as_ref(), "/a".as_ref()]), Some(2));
    let not_utf8 = std::ffi::OsStr::from_bytes(b"/nonexistent\xff");
    assert_eq!(run(&[not_utf8; 4]), Some(2));
}
#[test]
fn what_was_guarded_stays_guarded_when_its_fragment_breaks() {
    let host = Host::new(GOOD);
    assert_eq!(host.generate().status.code(), Some(0));
    let good = host.output(DROP_IN);
    host.clear_output();
    host.write(
        FRAGMENT,
        "[tasks.a]\nunit = \"a.service\"\nusess = [\"r\"]\n",
    );
    let output = host.generate();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("10.toml:3:1: error"),
        "{}",
        stderr(&output)
    );
    assert_eq!(good, host.output(DROP_IN));
}

#[test]
fn a_policy_that_cannot_be_kept_takes_effect_all_the_same() {
    let host = Host::new(GOOD);
    host.write(
        "run/interlock/last-good-policy.toml/directory",
        "in the way",
    );
    let output = host.generate();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("can't store the policy"),
        "{}",
        stderr(&output)
    );
    assert!(host.output(DROP_IN).is_some());
}

#[test]
fn command_that_runs_keeps_its_unit_when_the_policy_loses_it() {
    let with_command = "[resources.r]\n[tasks.c]\ncommand = [\"/bin/new\"]\nuses = [\"r\"]\n";
    let host = Host::new(with_command);
    host.write(
        "run/interlock/units/c.service",
        "[Service]\nExecStart=/bin/old\n",
    );
    host.write("run/interlock/units/.draft", "[Serv");
    host.generate();
    let unit = host.output("c.service").expect("a unit");
    assert!(unit.contains("/bin/new"), "{unit}");
    host.write(FRAGMENT, GOOD);
    host.clear_output();
    let output = host.generate();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let unit = host.output("c.service").expect("a unit");
    assert!(unit.contains("/bin/old"), "{unit}");
    // It is there for the run alone.
    assert!(
        unit.ends_with(
            "\n[Unit]\nAssertPathExists=/run/interlock/blocked/task-is-not-in-the-policy\n"
        ),
        "{unit}"
    );
    assert_eq!(host.output("c.service.d/50-interlock.conf"), None);
}
