//! Whatever text a policy gives for a value, the units that come of it have the same sections and keys.

use std::collections::BTreeMap;

use crate::reader;

use interlock_generator::plan::{Content, Plan};
use interlock_generator::policy;
use proptest::prelude::*;

/// Text made mostly of what means something to systemd, without the control characters that a policy can't hold.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => "[%$;'\"\\\\ =#\\[\\]:@-]",
        1 => Just("[Service] ExecStart=/bin/evil".to_owned()),
        1 => Just(" ; /bin/evil ; ".to_owned()),
        1 => Just("${HOME}%n%%$$".to_owned()),
        1 => Just("\u{2028}\u{feff}\u{e000}".to_owned()),
        2 => "[a-z/üЖ漢🚂]{1,4}",
    ];
    prop::collection::vec(pieces, 1..12).prop_map(|pieces| pieces.concat())
}

fn toml_string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn policy_of(values: &[String; 6]) -> String {
    let [description, argument, directory, variable, calendar, window] =
        values.each_ref().map(|value| toml_string(value));
    let directory = directory.replacen('"', "\"/", 1);
    format!(
        r#"
[resources.r]
description = {description}
[windows.w]
calendar = {calendar}
description = {window}
order = ["job", "other"]
[tasks.job]
command = ["/bin/true", {argument}, "last"]
description = {description}
working-directory = {directory}
environment = {{ NAME = {variable} }}
uses = ["r"]
[tasks.other]
unit = "other.service"
preempts = ["timed"]
[tasks.timed]
command = ["/bin/true"]
calendar = [{calendar}, "daily"]
[groups.g]
description = {window}
tasks = ["job", "timed"]
"#
    )
}

/// Sections and keys of each file.
type Shape = BTreeMap<String, Vec<(String, String)>>;

fn shape(policy: &str) -> Option<Shape> {
    let settings = policy::from_text(policy).ok()?;
    let plan = Plan::new(&settings);
    let files = plan.entries().iter().map(|entry| {
        let keys = match &entry.content {
            Content::Link(_) => Vec::new(),
            Content::File(file) => reader::read(file.as_str())
                .unwrap_or_else(|error| panic!("{error} in\n{file}"))
                .into_iter()
                .map(|line| (line.section, line.key))
                .collect(),
        };
        (entry.path.clone(), keys)
    });
    Some(files.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_of_a_policy_adds_a_line_to_a_unit(
        values in prop::array::uniform6(nasty())
    ) {
        let plain = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
        let found = shape(&policy_of(&values));
        // What the policy refuses never comes so far.
        prop_assume!(found.is_some());
        prop_assert_eq!(found, shape(&policy_of(&plain)));
    }
}

#[test]
fn a_plain_policy_is_accepted() {
    let values = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
    if let Err(errors) = policy::from_text(&policy_of(&values)) {
        panic!(
            "{}",
            errors.iter().map(ToString::to_string).collect::<String>()
        );
    }
}
