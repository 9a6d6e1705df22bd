//! A policy on disk: which files count, and what takes effect when some have errors.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use interlock_generator::names;
use interlock_generator::policy::settings::Settings;
use interlock_generator::policy::{self, Loaded, PolicyState};
use tempfile::TempDir;

/// A file system of its own.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A fragment in /etc.
    fn fragment(&self, name: &str, text: &str) -> &Self {
        self.write(&format!("/etc/interlock/policy.d/{name}"), text)
    }

    fn load(&self) -> Loaded {
        policy::load(self.0.path())
    }

    /// Loads as the generator does, which keeps what is good.
    fn generate(&self) -> Loaded {
        let loaded = self.load();
        if let Some(text) = &loaded.last_good {
            self.write(names::LAST_GOOD, text);
        }
        loaded
    }
}

fn tasks(settings: &Settings) -> Vec<&str> {
    settings.tasks().keys().map(String::as_str).collect()
}

fn blocked(settings: &Settings) -> Vec<&str> {
    settings.blocked().keys().map(String::as_str).collect()
}

fn messages(loaded: &Loaded) -> Vec<String> {
    let errors = loaded.diagnostics.iter().filter(|it| it.is_error());
    errors.map(|it| it.one_line()).collect()
}

fn task(name: &str) -> String {
    format!("[tasks.{name}]\nunit = \"{name}.service\"\n")
}

const WRONG: &str = "colour = 1\n";

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
