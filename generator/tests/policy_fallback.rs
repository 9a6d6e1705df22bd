//! What takes effect of a policy that has errors.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod policy_root;

use std::fs;

use interlock_generator::names;
use interlock_generator::policy::PolicyState;
use policy_root::{Root, WRONG, blocked, messages, task, tasks};

#[test]
fn what_was_guarded_stays_guarded_and_good_fragments_take_effect() {
    let root = Root::new();
    root.fragment("10.toml", &task("old"));
    assert_eq!(root.generate().state, PolicyState::Good);
    root.fragment("10.toml", &(task("old") + WRONG));
    root.fragment("20.toml", &task("new"));
    let loaded = root.generate();
    assert_eq!(loaded.state, PolicyState::LastGood);
    assert_eq!(tasks(&loaded.settings), ["new", "old"]);
    assert!(loaded.settings.blocked().is_empty());
    assert!(
        messages(&loaded)[0]
            .starts_with("/etc/interlock/policy.d/10.toml:3:1: error: unknown key \"colour\"")
    );
    // The policy with errors has not become the last good one.
    root.fragment("20.toml", &(task("new") + WRONG));
    let loaded = root.generate();
    assert_eq!(loaded.state, PolicyState::Partial);
    assert_eq!(tasks(&loaded.settings), ["old"]);
    assert_eq!(blocked(&loaded.settings), ["new.service"]);
}

#[test]
fn a_task_that_is_new_in_a_fragment_with_errors_is_blocked() {
    let root = Root::new();
    root.fragment("10.toml", &task("old"));
    root.generate();
    root.fragment("10.toml", &(task("old") + &task("new") + WRONG));
    let loaded = root.generate();
    assert_eq!(tasks(&loaded.settings), ["old"]);
    assert_eq!(blocked(&loaded.settings), ["new.service"]);
    assert_eq!(loaded.state, PolicyState::Partial);
}

#[test]
fn a_fragment_that_never_was_good_is_blocked_and_hurts_no_other() {
    let root = Root::new();
    root.fragment(
        "10.toml",
        &("[resources.shared]\n".to_owned() + &task("bad") + WRONG),
    );
    root.fragment(
        "20.toml",
        "[tasks.good]\nunit = \"good.service\"\nuses = [\"shared\"]\nafter = [\"bad\"]\n\
         [windows.w]\ncalendar = \"daily\"\norder = [\"bad\", \"good\"]\n",
    );
    let loaded = root.load();
    assert_eq!(messages(&loaded).len(), 1, "{:?}", messages(&loaded));
    assert_eq!(tasks(&loaded.settings), ["good"]);
    let good = &loaded.settings.tasks()["good"];
    assert_eq!(good.uses["shared"], 1);
    assert!(good.after.is_empty());
    assert_eq!(loaded.settings.windows()["w"].order, ["good"]);
    assert_eq!(blocked(&loaded.settings), ["bad.service"]);
}

#[test]
fn a_task_whose_resource_is_wrong_elsewhere_is_blocked() {
    let root = Root::new();
    root.fragment("10.toml", "[resources.shared]\ncapacity = 0\n");
    root.fragment(
        "20.toml",
        &(task("a") + "uses = [\"shared\"]\n" + &task("b")),
    );
    let loaded = root.load();
    assert_eq!(messages(&loaded).len(), 1);
    assert_eq!(tasks(&loaded.settings), ["b"]);
    assert_eq!(blocked(&loaded.settings), ["a.service"]);
}

#[test]
fn when_fragments_fit_together_only_as_they_were_all_stay_as_they_were() {
    let root = Root::new();
    root.fragment("10.toml", "[resources.r]\n");
    root.fragment("20.toml", &(task("a") + "uses = [\"r\"]\n"));
    root.generate();
    root.fragment("10.toml", "[resources.renamed]\n");
    root.fragment("20.toml", &(task("a") + "uses = [\"renamd\"]\n"));
    root.fragment("30.toml", &task("new"));
    let loaded = root.generate();
    assert_eq!(tasks(&loaded.settings), ["a", "new"]);
    assert_eq!(loaded.settings.tasks()["a"].uses["r"], 1);
    assert_eq!(loaded.state, PolicyState::LastGood);
}

#[test]
fn tasks_of_a_directory_that_cannot_be_read_stay_guarded() {
    let root = Root::new();
    root.fragment("10.toml", &task("a"));
    root.write("/usr/lib/interlock/policy.d/20.toml", task("b"));
    root.generate();
    fs::remove_dir_all(root.path("/etc/interlock/policy.d")).unwrap();
    root.link("/etc/interlock/policy.d", "/etc/interlock/policy.d");
    let loaded = root.generate();
    assert_eq!(tasks(&loaded.settings), ["a", "b"]);
    assert_eq!(
        loaded.state,
        PolicyState::Partial,
        "nobody knows what is new there"
    );
}

#[test]
fn a_fragment_that_was_removed_is_gone_though_another_has_errors() {
    let root = Root::new();
    root.fragment("10.toml", &task("a"));
    root.fragment("20.toml", &task("b"));
    root.generate();
    fs::remove_file(root.path("/etc/interlock/policy.d/10.toml")).unwrap();
    root.fragment("20.toml", &(task("b") + WRONG));
    assert_eq!(tasks(&root.generate().settings), ["b"]);
}

#[test]
fn a_task_that_boot_would_wait_for_is_refused_and_not_blocked() {
    let root = Root::new();
    root.write(
        "/usr/lib/systemd/system/early.service",
        "[Unit]\nDefaultDependencies=no\n",
    );
    root.fragment("10.toml", &(task("early") + &task("other")));
    let loaded = root.load();
    assert!(messages(&loaded)[0].contains("early.service may start before sysinit.target"));
    assert_eq!(tasks(&loaded.settings), ["other"]);
    assert!(loaded.settings.blocked().is_empty());
    assert_eq!(loaded.state, PolicyState::Partial);
    // Nor if its fragment has other errors.
    root.fragment("10.toml", &(task("early") + WRONG));
    assert!(root.load().settings.blocked().is_empty());
}

#[test]
fn a_task_whose_drop_in_is_hidden_is_refused_and_not_said_to_be_blocked() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/hidden.service", "");
    root.link(
        "/etc/systemd/system/hidden.service.d/50-interlock.conf",
        "/dev/null",
    );
    root.fragment("10.toml", &(task("hidden") + &task("other")));
    let loaded = root.load();
    let told = &messages(&loaded)[0];
    assert!(
        told.contains("hidden.service would start without its gate: /etc/systemd/system/hidden.service.d/50-interlock.conf"),
        "{told}"
    );
    assert_eq!(tasks(&loaded.settings), ["other"]);
    assert!(loaded.settings.blocked().is_empty());
    assert_eq!(loaded.state, PolicyState::Partial);
}

#[test]
fn units_that_interlock_needs_are_never_blocked() {
    let root = Root::new();
    root.fragment("10.toml", &(task("dbus") + WRONG + &task("interlockd")));
    let loaded = root.load();
    assert!(loaded.settings.tasks().is_empty());
    assert!(loaded.settings.blocked().is_empty());
}

#[test]
fn services_that_are_never_held_are_not_blocked() {
    let root = Root::new();
    root.fragment("10.toml", &(task("web") + "gated = false\n" + WRONG));
    assert!(root.load().settings.blocked().is_empty());
}

#[test]
fn a_command_does_not_block_a_unit_that_was_there_before() {
    let root = Root::new();
    root.write(
        "/usr/lib/systemd/system/sshd.service",
        "[Service]\nExecStart=/bin/sshd\n",
    );
    root.fragment("10.toml", "[tasks.sshd]\ncommand = [\"/bin/true\"]\n");
    let loaded = root.load();
    assert!(
        messages(&loaded)[0]
            .contains("sshd.service, which this command would become, already exists")
    );
    assert!(loaded.settings.blocked().is_empty());
    assert!(loaded.settings.tasks().is_empty());
}

#[test]
fn a_share_above_the_capacity_that_a_bad_fragment_sets_brings_back_what_was_good() {
    let root = Root::new();
    root.fragment("10.toml", "[resources.r]\ncapacity = 2\n");
    root.fragment("20.toml", &(task("a") + "uses = { r = 1 }\n"));
    root.generate();
    root.fragment("10.toml", "[resources.r]\ncapacity = 2\n[colour]\n");
    root.fragment("20.toml", &(task("a") + "uses = { r = 3 }\n"));
    let loaded = root.generate();
    assert_eq!(loaded.settings.tasks()["a"].uses["r"], 1);
    assert_eq!(messages(&loaded).len(), 2);
}

#[test]
fn a_good_policy_that_did_not_change_is_not_kept_again() {
    let root = Root::new();
    root.fragment("10.toml", &task("a"));
    assert!(root.generate().last_good.is_some());
    assert!(root.generate().last_good.is_none());
    root.fragment("10.toml", &task("b"));
    assert!(root.generate().last_good.is_some());
}

#[test]
fn a_damaged_last_good_policy_is_as_none() {
    let root = Root::new();
    root.fragment("10.toml", &task("a"));
    root.generate();
    root.write(names::LAST_GOOD, b"\xff\xfe garbage");
    root.fragment("10.toml", &(task("a") + WRONG));
    let loaded = root.generate();
    assert_eq!(loaded.state, PolicyState::Partial);
    assert_eq!(blocked(&loaded.settings), ["a.service"]);
}

#[test]
fn what_a_replaced_fragment_needs_comes_back_with_it() {
    let root = Root::new();
    root.fragment("10.toml", "[resources.r]\n");
    root.fragment("20.toml", &(task("a") + "uses = [\"r\"]\n"));
    root.generate();
    fs::remove_file(root.path("/etc/interlock/policy.d/10.toml")).unwrap();
    root.fragment("20.toml", &(task("a") + WRONG));
    let loaded = root.generate();
    assert_eq!(loaded.settings.tasks()["a"].uses["r"], 1);
    assert_eq!(loaded.state, PolicyState::LastGood);
    assert!(
        loaded
            .consequences
            .iter()
            .any(|it| it.contains("10.toml: stays in effect")),
        "{:?}",
        loaded.consequences
    );
}
