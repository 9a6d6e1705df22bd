//! The lines of the gate protocol, written and read in one place.

use interlock_generator::names;

/// Longest line, in bytes, with its newline: a unit name has at most 255.
pub const LINE_MAX: usize = 1024;

const HELLO: &str = "interlock-gate 1 ";

/// The gate's only line: which unit asks.
pub fn hello(unit: &str) -> String {
    format!("{HELLO}{unit}\n")
}

/// Reads the gate's line; `None` if it isn't one.
pub fn parse_hello(line: &str) -> Option<&str> {
    let unit = line
        .strip_suffix('\n')
        .unwrap_or(line)
        .strip_prefix(HELLO)?;
    is_unit_name(unit).then_some(unit)
}

/// Whether a unit of this name could have a gate: whatever else comes is not passed on.
pub fn is_unit_name(unit: &str) -> bool {
    !unit.is_empty()
        && unit.len() <= names::UNIT_NAME_MAX
        && unit
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

/// What interlockd says to a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has been heard, and waits now.
    Queued,
    /// For the unit's status text.
    Status(String),
    /// The lease is granted.
    Go,
    /// The start is given up, with the reason.
    Refuse(String),
}

impl Verdict {
    /// As a line, cut to [`LINE_MAX`].
    pub fn to_line(&self) -> String {
        let mut line = match self {
            Self::Status(text) => format!("status {}", one_line(text)),
            Self::Queued => "queued".to_owned(),
            Self::Go => "go".to_owned(),
            Self::Refuse(text) => format!("refuse {}", one_line(text)),
        };
        while line.len() >= LINE_MAX {
            line.pop();
        }
        line.push('\n');
        line
    }

    /// Reads a line; `None` if it isn't one.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        match line.split_once(' ') {
            Some(("status", text)) => Some(Self::Status(text.to_owned())),
            Some(("refuse", text)) => Some(Self::Refuse(text.to_owned())),
            None if line == "go" => Some(Self::Go),
            None if line == "queued" => Some(Self::Queued),
            _ => None,
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive_the_way() {
        for verdict in [
            Verdict::Status("waits for rpm-db".into()),
            Verdict::Go,
            Verdict::Queued,
            Verdict::Refuse("busy".into()),
        ] {
            assert_eq!(Verdict::parse(&verdict.to_line()), Some(verdict));
        }
    }

    #[test]
    fn a_text_can_not_forge_a_second_line() {
        let line = Verdict::Status("x\ngo".into()).to_line();
        assert_eq!(line, "status x go\n");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let line = Verdict::Status("ä".repeat(LINE_MAX)).to_line();
        assert!(line.len() <= LINE_MAX && line.ends_with('\n'));
    }

    #[test]
    fn only_unit_names_are_taken() {
        assert_eq!(
            parse_hello(&hello("a@b\\x20c.service")),
            Some("a@b\\x20c.service")
        );
        for bad in [
            "interlock-gate 1 \n",
            "interlock-gate 1 a/b\n",
            "interlock-gate 2 a\n",
            "x",
        ] {
            assert_eq!(parse_hello(bad), None, "{bad:?}");
        }
    }
}
