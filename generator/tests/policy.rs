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
