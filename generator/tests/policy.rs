//! Whole policies through the public interface.

use std::time::Duration;

use interlock_generator::host::UnknownHost;
use interlock_generator::policy::settings::FailureKind;
use interlock_generator::policy::{self, Source};

#[test]
fn a_policy_with_everything_is_good() {
    let settings = policy::from_text(include_str!("policy/whole.toml")).unwrap_or_else(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    assert_eq!(settings.tasks().len(), 5);
    let import = settings.task_of_unit("package-import@x.service").unwrap();
    assert_eq!(import.name, "import");
    assert_eq!(import.notify_command, Some(Vec::new()));
    assert_eq!(import.notify_skips, 3);
    assert_eq!(settings.notify_command()[0], "/usr/local/bin/tell");
    let (killed, broken) = (
        &settings.failures()["killed"],
        &settings.failures()["broken-package"],
    );
    assert_eq!(killed.kind, FailureKind::Transient);
    assert_eq!(
        (&killed.exit_status[..], &killed.signals[..]),
        (&[137][..], &[9][..])
    );
    assert_eq!(broken.kind, FailureKind::Permanent);
    assert_eq!(broken.pattern.as_deref(), Some(r"no such package: \S+"));
    assert_eq!(broken.tasks, ["import"]);
    assert_eq!(settings.history().max_size, 2 << 30);
}

#[test]
fn a_policy_that_says_nothing_of_the_history_keeps_a_year_of_it() {
    let settings = policy::from_text("").unwrap();
    let year = Duration::from_secs(31_557_600);
    assert_eq!(settings.history().keep, year);
    assert_eq!(settings.history().max_size, 1 << 30);
    let settings = policy::from_text("[history]\nkeep = \"infinity\"\n").unwrap();
    assert!(settings.history().keep > year * 1000);
}

#[test]
fn a_failure_of_tasks_that_are_left_out_is_not_one_of_all_tasks() {
    let bad = Source::new("/a.toml", "[tasks.a]\nunit = \"a.service\"\nuint = 1\n");
    let good = Source::new(
        "/b.toml",
        "[tasks.b]\nunit = \"b.service\"\n\
         [failures.of-a]\nkind = \"transient\"\nexit-status = 1\ntasks = [\"a\"]\n\
         [failures.of-both]\nkind = \"transient\"\nexit-status = 1\ntasks = [\"a\", \"b\"]\n",
    );
    let loaded = policy::from_sources(vec![bad, good], &UnknownHost, "");
    let rules = loaded.settings.failures();
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["of-both"]);
    assert_eq!(rules["of-both"].tasks, ["b"]);
}

#[test]
fn every_key_that_is_listed_is_known() {
    let tables = [
        ("", policy::TOP_KEYS),
        ("[resources.x]", policy::RESOURCE_KEYS),
        ("[[resources.x.lock-files]]", policy::LOCK_FILE_KEYS),
        ("[windows.x]", policy::WINDOW_KEYS),
        ("[groups.x]", policy::GROUP_KEYS),
        ("[failures.x]", policy::FAILURE_KEYS),
        ("[history]", policy::HISTORY_KEYS),
        ("[tasks.x]", policy::TASK_KEYS),
        ("[tasks.x]", policy::COMMAND_KEYS),
        ("[tasks.x.on-deploy]", policy::ON_DEPLOY_KEYS),
        ("[tasks.x.retry]", policy::RETRY_KEYS),
        ("[tasks.x.actions.x]", policy::ACTION_KEYS),
    ];
    for (table, keys) in tables {
        for key in keys {
            let errors = policy::from_text(&format!("{table}\n{key} = 1.5\n")).unwrap_err();
            let unknown = errors.iter().find(|it| it.message.contains("unknown key"));
            assert_eq!(unknown, None, "{table} {key}");
        }
        let errors = policy::from_text(&format!("{table}\nno-such-key = 1.5\n")).unwrap_err();
        assert!(
            errors.iter().any(|it| it.message.contains("unknown key")),
            "{table}"
        );
    }
}
