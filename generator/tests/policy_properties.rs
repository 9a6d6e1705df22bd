//! What holds for every text that somebody might save as a policy.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;

use interlock_generator::host::UnknownHost;
use interlock_generator::policy::{self, Loaded, PolicyState, Source};
use proptest::prelude::*;

/// Every fixture, as a beginning of texts that get far.
fn texts() -> Vec<String> {
    let mut files = Vec::new();
    for dir in [
        "tests/policy",
        "tests/policy-errors",
        "tests/policy-errors/several-fragments",
    ] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        files.extend(
            std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files.sort();
    files.retain(|path| path.extension().is_some_and(|it| it == "toml"));
    files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// A fixture, damaged in a few places.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        "[\\[\\]{}\"'=.,\n# \\\\]{1,4}",
        "\\PC{0,6}",
        prop::sample::select(vec![
            "tasks",
            "unit = ",
            "[tasks.a]\n",
            "uses",
            "after = [\"a\"]\n",
            "true",
            "-1",
            "\u{0}",
            "\r\n",
            "\u{1b}[2J",
            "\"\"\"",
            "'''",
            "1979-05-27T07:32:00Z",
            "99999999999999999999",
            "{ a = 1 }",
            "[[tasks]]\n",
            "\u{feff}",
        ])
        .prop_map(str::to_owned),
    ];
    let cut = (any::<prop::sample::Index>(), 0usize..40, piece);
    (
        prop::sample::select(texts()),
        prop::collection::vec(cut, 0..4),
    )
        .prop_map(|(text, cuts)| {
            let mut text: Vec<char> = text.chars().collect();
            for (at, length, piece) in cuts {
                let start = at.index(text.len() + 1);
                let end = (start + length).min(text.len());
                text.splice(start..end, piece.chars());
            }
            text.into_iter().collect()
        })
}

fn check(texts: &[String], kept: &str) -> Loaded {
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            Source::new(
                format!("/etc/interlock/policy.d/{index}.toml"),
                text.clone(),
            )
        })
        .collect();
    let loaded = policy::from_sources(sources.clone(), &UnknownHost, kept);
    for it in &loaded.diagnostics {
        let source = sources
            .iter()
            .find(|source| source.path() == it.path)
            .unwrap();
        let mut lines: Vec<&str> = source.text().split('\n').collect();
        lines
            .iter_mut()
            .for_each(|line| *line = line.strip_suffix('\r').unwrap_or(line));
        assert!((1..=lines.len()).contains(&it.line), "{it:?}");
        assert_eq!(it.text, lines[it.line - 1]);
        let length = it.text.chars().count();
        assert!((1..=length + 1).contains(&it.column), "{it:?}");
        assert!(
            it.width >= 1 && it.column + it.width <= length + 2,
            "{it:?}"
        );
        assert!(!it.one_line().contains(char::is_control), "{it:?}");
        let shown = it.to_string();
        assert!(
            !shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
            "{shown}"
        );
        assert!(it.help.is_some(), "{it:?}");
    }
    assert_eq!(loaded.has_errors(), loaded.state != PolicyState::Good);
    assert_eq!(loaded.has_errors(), loaded.last_good.is_none());
    loaded
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), kept in any::<String>()) {
        check(&[text], &kept);
    }

    #[test]
    fn no_damage_to_a_policy_makes_it_panic(texts in prop::collection::vec(damaged(), 1..3), kept in damaged()) {
        let good = check(&[kept], "").last_good.unwrap_or_default();
        check(&texts, &good);
    }

    #[test]
    fn every_unit_that_is_written_down_is_guarded_or_blocked(
        good in prop::collection::vec(any::<bool>(), 5),
        was_good in prop::collection::vec(any::<bool>(), 5),
    ) {
        let text = |index: usize, good: bool, more: &str| {
            let wrong = if good { "" } else { "wrong = 1\n" };
            format!(
                "[resources.r{index}]\n[tasks.t{index}]\nunit = \"u{index}.service\"\nuses = [\"r{index}\"]\n{wrong}{more}"
            )
        };
        let kept: Vec<String> = (0..5)
            .map(|index| if was_good[index] { text(index, true, "") } else { String::new() })
            .collect();
        let kept = check(&kept, "").last_good.unwrap();
        let now: Vec<String> = (0..5)
            .map(|index| text(index, good[index], &format!("[tasks.n{index}]\nunit = \"n{index}.service\"\nafter = [\"n0\"]\n")))
            .map(|text| text.replace("unit = \"n0.service\"\nafter = [\"n0\"]", "unit = \"n0.service\""))
            .collect();
        let loaded = check(&now, &kept);
        for index in 0..5 {
            let (old, new) = (format!("u{index}.service"), format!("n{index}.service"));
            let guarded = |unit: &str| loaded.settings.task_of_unit(unit).is_some();
            let blocked = |unit: &str| loaded.settings.blocked().contains_key(unit);
            prop_assert_ne!(guarded(&old), blocked(&old));
            prop_assert_ne!(guarded(&new), blocked(&new));
            prop_assert_eq!(guarded(&old), good[index] || was_good[index]);
            prop_assert_eq!(guarded(&new), good[index]);
        }
    }
}
