//! The last lines of a run that failed: whatever a program prints becomes a signature.

use interlock_core::ending::End;
use interlock_core::signature;

use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "failure",
    run,
    words: &[
        "error: ",
        "Connection refused",
        "2026-11-22T01:02:03Z ",
        "Nov 22 01:02:03 ",
        "https://example.org/a?b=c ",
        "/var/lib/rpm/x ",
        "0xdeadbeef ",
        "0123456789abcdef ",
        "550e8400-e29b-41d4-a716-446655440000 ",
        "'quoted' ",
        "\"a\" ",
        "10.5 KiB ",
        "\u{1b}[31m",
        "\u{1b}]0;title\u{7}",
        "instance",
        "\n",
    ],
};

/// Longer than any text for people may be, characters.
const LONG: usize = 400;

fn run(bytes: &[u8]) {
    let (unit, rest) = input::halves(bytes);
    let text = input::lossy(rest);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let end = End {
        result: "exit-code".to_owned(),
        exit_status: Some(rest.first().copied().unwrap_or(1).into()),
        ..End::default()
    };
    let unit = format!("import@{}.service", input::lossy(unit));
    let one = signature::of("import", &unit, &end, &lines);
    assert!(one.key.len() == 12 && one.key.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(one.text.chars().count() < LONG, "{}", one.text);
    assert!(!one.text.contains('\n'));
    // What differs from run to run makes no other cause.
    let later: Vec<String> = lines.iter().map(|line| other_digits(line)).collect();
    if lines
        .iter()
        .all(|line| line.is_ascii() && has_lone_numbers(line))
    {
        assert_eq!(
            signature::of("import", "import@x.service", &end, &lines).key,
            signature::of("import", "import@x.service", &end, &later).key,
            "{lines:?} {later:?}"
        );
    }
}

/// Only words of letters, and words of digits.
fn has_lone_numbers(line: &str) -> bool {
    line.split(' ').all(|word| {
        word.bytes().all(|b| b.is_ascii_digit())
            || word.bytes().all(|b| b.is_ascii_lowercase() && b > b'f')
    })
}

fn other_digits(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_ascii_digit() { '7' } else { c })
        .collect()
}
