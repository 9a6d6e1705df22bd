//! The lines that gates and interlockd say to each other.

use interlock_generator::names;
use interlock_supervisor::gate::protocol::{LINE_MAX, Verdict, hello, parse_hello};

use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "gate_protocol",
    run,
    words: &[
        "interlock-gate 1 ",
        "a@b.service",
        "\\x2d",
        "\n",
        "\r",
        "queued",
        "status ",
        "go",
        "refuse ",
    ],
};

fn run(bytes: &[u8]) {
    let line = input::lossy(bytes);
    if let Some(unit) = parse_hello(&line) {
        assert!(unit.len() <= names::UNIT_NAME_MAX);
        // It becomes a file's name, and part of a unit's.
        assert!(!unit.contains(['/', '\0', '\n', ' ', '%']), "{unit:?}");
        assert_eq!(parse_hello(&hello(unit)), Some(unit));
        assert_eq!(names::unit_of_gate(&names::gate_of(unit)), Some(unit));
    }
    if let Some(verdict) = Verdict::parse(&line) {
        one_line(&verdict);
    }
    for text in [&line, line.trim_end()] {
        one_line(&Verdict::Status(text.to_owned()));
        one_line(&Verdict::Refuse(text.to_owned()));
    }
}

/// Whatever text is in it: one line, not too long, of the same kind.
fn one_line(verdict: &Verdict) {
    let line = verdict.to_line();
    assert!(line.len() <= LINE_MAX, "{} bytes", line.len());
    assert!(line.ends_with('\n') && line.trim_end_matches('\n').len() + 1 == line.len());
    assert!(!line.trim_end_matches('\n').contains('\n'), "{line:?}");
    let again = Verdict::parse(&line).expect("what was written can be read");
    assert_eq!(
        std::mem::discriminant(&again),
        std::mem::discriminant(verdict)
    );
    assert_eq!(again.to_line(), line);
}
