//! One cause, one signature: by example and over anything.

use std::collections::BTreeMap;

use interlock_generator::policy::settings::Origin;
use proptest::prelude::*;

use super::*;

fn failed(status: i32) -> End {
    End {
        result: "exit-code".to_owned(),
        exit_status: Some(status),
        ..End::default()
    }
}

fn key(unit: &str, lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    of("import", unit, &failed(1), &lines).key
}

#[test]
fn what_differs_from_run_to_run_is_folded() {
    let same = [
        [
            "error: connection to 10.0.0.7:443 timed out",
            "error: connection to 192.168.10.20:8443 timed out",
        ],
        ["failed after 950ms", "failed after 1.2s"],
        [
            "2026-11-22T13:30:55.123+01:00 fatal: gone",
            "2025-01-02 03:04:05 fatal: gone",
        ],
        [
            "Nov 22 13:30:55 host fatal: gone",
            "Jan  2 03:04:05 host fatal: gone",
        ],
        ["cannot open /var/lib/a/1.tar", "cannot open ./b"],
        ["object 0x7ffe12 failed", "object 0xdeadbeef failed"],
        ["commit 3f2a9c1 not found", "commit 99aab01cde not found"],
        [
            "error: 550e8400-e29b-41d4-a716-446655440000",
            "error: 123e4567-e89b-12d3-a456-426614174000",
        ],
        ["no such user 'alice'", "no such user 'bob the builder'"],
        ["no such user \"alice\"", "no such user \"\""],
        [
            "fetch of https://a.example/x?y=1 failed",
            "fetch of http://b.example failed",
        ],
        ["\u{1b}[31mfatal: gone\u{1b}[0m", "fatal:   gone"],
        [
            "File \"a.py\", line 17: error",
            "File \"b/c.py\", line 3: error",
        ],
    ];
    for [one, other] in same {
        assert_eq!(
            key("a.service", &[one]),
            key("a.service", &[other]),
            "{one} / {other}"
        );
    }
}

#[test]
fn what_says_something_is_not() {
    let different = [
        ["error: connection refused", "error: connection timed out"],
        [
            "error: can't read it, isn't there",
            "error: can't write it, isn't there",
        ],
        ["facade error", "decade error"],
    ];
    for [one, other] in different {
        assert_ne!(
            key("a.service", &[one]),
            key("a.service", &[other]),
            "{one} / {other}"
        );
    }
}

#[test]
fn instances_fail_for_one_cause() {
    let one = key(
        "import@requests.service",
        &["importing requests", "requests: error: no space left"],
    );
    let other = key(
        "import@numpy.service",
        &["importing numpy", "numpy: error: no space left"],
    );
    assert_eq!(one, other);
    let escaped = key(
        r"import@zope\x2dinterface.service",
        &["zope-interface: error: no space left"],
    );
    assert_eq!(escaped, one);
}

#[test]
fn the_end_and_the_task_are_part_of_it() {
    let of_end = |end: &End| of("import", "a.service", end, &[]);
    let killed = End {
        result: "signal".to_owned(),
        signal: Some(9),
        ..End::default()
    };
    assert_eq!(of_end(&killed).text, "signal SIGKILL");
    assert_eq!(of_end(&failed(75)).text, "exit status 75");
    assert_ne!(of_end(&failed(75)).key, of_end(&failed(76)).key);
    assert_ne!(
        of_end(&failed(75)).key,
        of("other", "a.service", &failed(75), &[]).key
    );
}

#[test]
fn a_cause_met_several_times_is_one() {
    let once = key(
        "a.service",
        &["try 1: error: timed out", "giving up: error"],
    );
    let thrice = key(
        "a.service",
        &[
            "try 1: error: timed out",
            "try 2: error: timed out",
            "try 3: error: timed out",
            "giving up: error",
        ],
    );
    assert_eq!(once, thrice);
}

#[test]
fn the_text_is_for_people() {
    let lines = [
        "start".to_owned(),
        "error: no space left on /dev/sda1".to_owned(),
    ];
    let it = of("import", "a.service", &failed(1), &lines);
    assert_eq!(it.text, "exit status 1: error: no space left on <path>");
    assert_eq!(it.key.len(), 12);
}

#[test]
fn all_that_a_rule_names_must_be_so() {
    let rule = FailureRule {
        kind: FailureKind::Permanent,
        tasks: vec!["import".to_owned()],
        exit_status: vec![65, 66],
        signals: vec![11],
        pattern: Some("corrupt".to_owned()),
        description: None,
        origin: Origin {
            path: "/etc/interlock/policy.d/a.toml".into(),
            line: 1,
        },
    };
    let rules: BTreeMap<String, FailureRule> = [("broken".to_owned(), rule)].into();
    let lines = ["archive is corrupt".to_owned()];
    let found = Some(("broken".to_owned(), Class::Permanent));
    assert_eq!(classify(&rules, "import", &failed(66), &lines), found);
    assert_eq!(classify(&rules, "other", &failed(66), &lines), None);
    assert_eq!(classify(&rules, "import", &failed(67), &lines), None);
    assert_eq!(classify(&rules, "import", &failed(66), &[]), None);
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(text in "\\PC{0,120}") {
        let once = fold::line(&text, Some("instance"));
        prop_assert_eq!(fold::line(&once, Some("instance")), once);
    }

    #[test]
    fn numbers_do_not_matter(before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", one: u32, other: u32) {
        let lines = |n: u32| vec![format!("error {before} {n} {after}")];
        let of = |n| of("t", "t.service", &failed(1), &lines(n));
        prop_assert_eq!(of(one), of(other));
    }

    #[test]
    fn anything_has_a_short_signature(lines in prop::collection::vec("\\PC{0,1200}", 0..3)) {
        let it = of("t", "t@x.service", &failed(1), &lines);
        prop_assert_eq!(it.key.len(), 12);
        prop_assert!(it.text.chars().count() <= WIDTH + 40);
    }
}
