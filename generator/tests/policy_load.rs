//! A policy on disk: which files count, and which units they are about.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod policy_root;

use std::fs;
use std::path::Path;

use interlock_generator::policy::{self, PolicyState};
use policy_root::{Root, WRONG, blocked, messages, task, tasks};

#[test]
fn no_policy_at_all_is_a_good_policy() {
    let loaded = Root::new().load();
    assert_eq!(loaded.state, PolicyState::Good);
    assert!(loaded.diagnostics.is_empty());
    assert!(loaded.settings.tasks().is_empty());
}

#[test]
fn a_file_in_a_higher_directory_replaces_one_of_the_same_name() {
    let root = Root::new();
    root.write("/usr/lib/interlock/policy.d/10.toml", task("vendor"));
    root.write("/usr/lib/interlock/policy.d/20.toml", task("other"));
    root.write("/etc/interlock/policy.d/10.toml", task("site"));
    assert_eq!(tasks(&root.load().settings), ["other", "site"]);
    root.write("/run/interlock/policy.d/10.toml", task("now"));
    assert_eq!(tasks(&root.load().settings), ["now", "other"]);
    let origin = root.load().settings.tasks()["now"].origin.clone();
    assert_eq!(origin.path, Path::new("/run/interlock/policy.d/10.toml"));
    assert_eq!(origin.line, 1);
}

#[test]
fn a_link_to_dev_null_removes_a_fragment() {
    let root = Root::new();
    root.write("/usr/lib/interlock/policy.d/10.toml", task("vendor"));
    root.link("/etc/interlock/policy.d/10.toml", "/dev/null");
    let loaded = root.load();
    assert!(loaded.diagnostics.is_empty(), "{:?}", messages(&loaded));
    assert!(loaded.settings.tasks().is_empty());
}

#[test]
fn links_are_followed_below_the_root() {
    let root = Root::new();
    root.write("/srv/policy/site.toml", task("site"));
    root.link("/etc/interlock/policy.d/10.toml", "/srv/policy/site.toml");
    root.link("/run/interlock", "/srv/run");
    root.write("/srv/run/policy.d/20.toml", task("now"));
    assert_eq!(tasks(&root.load().settings), ["now", "site"]);
}

#[test]
fn only_toml_files_count_and_hidden_ones_do_not() {
    let root = Root::new();
    for name in [".hidden.toml", "10.toml~", "10.toml.rpmnew", "README"] {
        root.fragment(name, WRONG);
    }
    assert!(root.load().diagnostics.is_empty());
}

#[test]
fn files_that_are_no_policy_are_told_and_the_others_take_effect() {
    let root = Root::new();
    root.fragment("50-good.toml", &task("good"));
    root.write(
        "/etc/interlock/policy.d/10-latin1.toml",
        b"# gr\xfcn\n[tasks.a]\nunit = \"a.service\"\n",
    );
    root.write(
        "/etc/interlock/policy.d/20-huge.toml",
        vec![b'#'; 2 * 1024 * 1024],
    );
    root.link("/etc/interlock/policy.d/30-loop.toml", "30-loop.toml");
    root.link("/etc/interlock/policy.d/40-gone.toml", "/nowhere.toml");
    fs::create_dir(root.path("/etc/interlock/policy.d/60-directory.toml")).unwrap();
    let fifo = root.path("/etc/interlock/policy.d/70-fifo.toml");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(fifo)
            .status()
            .unwrap()
            .success()
    );

    let loaded = root.load();
    assert_eq!(tasks(&loaded.settings), ["good"]);
    assert_eq!(
        blocked(&loaded.settings),
        ["a.service"],
        "known though not UTF-8"
    );
    assert_eq!(loaded.state, PolicyState::Partial);
    let told = messages(&loaded);
    for (message, wanted) in told.iter().zip([
        "10-latin1.toml:1:5: error: this is not UTF-8 text",
        "20-huge.toml:1:1: error: this file is larger than 1024 KiB",
        "30-loop.toml:1:1: error: this file can't be read: too many levels of symbolic links",
        "40-gone.toml:1:1: error: this file can't be read: ",
        "60-directory.toml:1:1: error: this file is not a regular file",
        "70-fifo.toml:1:1: error: this file is not a regular file",
    ]) {
        assert!(message.contains(wanted), "{message} should be {wanted}");
    }
    assert_eq!(told.len(), 6);
}

#[test]
fn what_would_hold_up_boot_is_not_read() {
    let root = Root::new();
    let comment = "# a policy that somebody's script wrote\n";
    let large = comment.repeat(900 * 1024 / comment.len());
    for number in 1..=5 {
        let path = format!("/etc/interlock/policy.d/{number}0.toml");
        root.write(
            &path,
            format!("{large}[tasks.t{number}]\ncommand = [\"/bin/true\"]\n"),
        );
    }
    root.write("/etc/interlock/policy.d/60-small.toml", task("small"));
    // What is overridden doesn't count.
    root.write("/usr/lib/interlock/policy.d/10.toml", &large);
    let loaded = root.load();
    assert_eq!(
        tasks(&loaded.settings),
        ["small", "t1", "t2", "t3", "t4"],
        "all but the one that is too much"
    );
    let told = messages(&loaded);
    assert!(
        told[0].contains(
            "50.toml:1:1: error: this file isn't read: with it the policy is larger than 4096 KiB"
        ),
        "{told:?}"
    );
    assert_eq!(told.len(), 1);
}

#[test]
fn a_directory_that_is_none_is_told() {
    let root = Root::new();
    root.write("/etc/interlock/policy.d", "");
    root.write("/run/interlock/policy.d/10.toml", task("now"));
    let loaded = root.load();
    assert_eq!(tasks(&loaded.settings), ["now"]);
    assert!(
        messages(&loaded)[0]
            .starts_with("/etc/interlock/policy.d:1:1: error: this file can't be read")
    );
}

#[test]
fn a_masked_command_is_no_error() {
    let root = Root::new();
    root.link("/etc/systemd/system/job.service", "/dev/null");
    root.fragment("10.toml", "[tasks.job]\ncommand = [\"/bin/true\"]\n");
    assert_eq!(root.load().state, PolicyState::Good);
}

#[test]
fn the_alias_of_a_unit_guards_the_unit() {
    let root = Root::new();
    root.write(
        "/usr/lib/systemd/system/new.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    );
    root.link(
        "/etc/systemd/system/old.service",
        "/usr/lib/systemd/system/new.service",
    );
    root.fragment("10.toml", &task("old"));
    let settings = root.load().settings;
    let old = &settings.tasks()["old"];
    assert_eq!(old.unit, "new.service");
    assert_eq!(old.aliases, ["old.service"]);
    assert_eq!(old.unit_type.as_deref(), Some("oneshot"));
    assert_eq!(settings.task_of_unit("old.service"), Some(old));
    assert_eq!(settings.task_of_unit("new.service"), Some(old));
}

#[test]
fn two_tasks_may_not_name_one_unit_by_two_names() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/new.service", "");
    root.link("/usr/lib/systemd/system/old.service", "new.service");
    root.fragment("10.toml", &(task("new") + &task("old")));
    let told = messages(&root.load());
    assert!(
        told[0].contains("task \"new\" already names new.service, of which this is another name"),
        "{told:?}"
    );
}

#[test]
fn checking_a_directory_reads_nothing_else() {
    let root = Root::new();
    root.fragment("10.toml", &(task("installed") + WRONG));
    root.write("/home/me/policy/10.toml", task("draft"));
    let dir = root.path("/home/me/policy");
    let loaded = policy::check(&dir, root.0.path());
    assert_eq!(tasks(&loaded.settings), ["draft"]);
    assert!(messages(&loaded).is_empty());
    assert!(loaded.last_good.is_none());
    let missing = policy::check(&dir.join("missing"), root.0.path());
    assert!(missing.has_errors());
}
