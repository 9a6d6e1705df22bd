//! Whole policies through the public interface.

use interlock_generator::policy;

#[test]
fn a_policy_with_everything_is_good() {
    let settings = policy::from_text(include_str!("policy/whole.toml")).unwrap_or_else(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"));
    });
    assert_eq!(settings.tasks().len(), 5);
    let import = settings.task_of_unit("package-import@x.service").unwrap();
    assert_eq!(import.name, "import");
}

#[test]
fn every_key_that_is_listed_is_known() {
    let tables = [
        ("", policy::TOP_KEYS),
        ("[resources.x]", policy::RESOURCE_KEYS),
        ("[[resources.x.lock-files]]", policy::LOCK_FILE_KEYS),
        ("[windows.x]", policy::WINDOW_KEYS),
        ("[groups.x]", policy::GROUP_KEYS),
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
