//! Which names are valid, for units (systemd.unit(5)) and in the policy.

use crate::names;

/// Unit types that a name may end in.
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// Longest name in the policy. The longest unit name that is made of one (`interlock-window-NAME.target`,
/// `interlock-gate@NAME.service.service`) stays well below systemd's 255.
pub(super) const POLICY_NAME_MAX: usize = 200;

/// What is wrong with a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// To be read after the name.
    pub(super) message: String,
    pub(super) help: String,
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong {
        message: message.into(),
        help: help.into(),
    })
}

/// Characters that systemd allows in a unit's name, besides `@`.
fn is_unit_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\')
}

/// Checks the name of a task, resource, window, group or action: units are named after it.
pub(super) fn check_policy_name(name: &str) -> Result<(), Wrong> {
    if name.is_empty() {
        return wrong("is empty", "give it a name");
    }
    if name.len() > POLICY_NAME_MAX {
        let message = format!("is too long ({} bytes)", name.len());
        return wrong(message, format!("use at most {POLICY_NAME_MAX}"));
    }
    if name.starts_with('.') {
        return wrong(
            "begins with a dot: systemd ignores files of such names",
            "write it without the dot",
        );
    }
    if let Some((stem, suffix)) = name.rsplit_once('.')
        && SUFFIXES.contains(&suffix)
    {
        let help = format!("write \"{stem}\" here, and unit = \"{name}\" in the task");
        return wrong("looks like a unit's name", help);
    }
    match name.chars().find(|c| !is_unit_char(*c)) {
        None => Ok(()),
        Some(bad) => {
            let message = format!(
                "contains {}, which no unit could be named after",
                shown(bad)
            );
            let plain: String = name
                .chars()
                .map(|c| if is_unit_char(c) { c } else { '-' })
                .collect();
            wrong(message, format!("write \"{}\"", plain.trim_matches('-')))
        }
    }
}

/// Checks the name of a task's unit.
pub(super) fn check_unit(name: &str) -> Result<(), Wrong> {
    // Somebody pasted the unit's path.
    if let Some(base) = name
        .strip_prefix('/')
        .and_then(|path| path.rsplit('/').next())
        && check_unit(base).is_ok()
    {
        return wrong("is a path", format!("write {}", quoted(base)));
    }
    let is_type = |suffix: &str| suffix.bytes().all(|b| b.is_ascii_lowercase());
    let Some((stem, suffix)) = name.rsplit_once('.').filter(|(_, suffix)| is_type(suffix)) else {
        let help = format!("write {}", quoted(&(mangle(name) + ".service")));
        return wrong("has no suffix", help);
    };
    if !SUFFIXES.contains(&suffix) {
        let help = format!("write {}", quoted(&(mangle(name) + ".service")));
        return wrong(
            format!("ends in \".{suffix}\", which is no type of unit"),
            help,
        );
    }
    if suffix != "service" {
        let help = format!("write {}", quoted(&(mangle(stem) + ".service")));
        return wrong(format!("is a {suffix}, but a task is a service"), help);
    }
    if stem.is_empty() || stem.starts_with('@') {
        return wrong("has no name before its suffix", "write \"name.service\"");
    }
    if stem.starts_with('.') {
        return wrong(
            "begins with a dot: systemd ignores files of such names",
            "rename the unit",
        );
    }
    if stem.chars().any(|c| !is_unit_char(c) && c != '@') {
        let escaped = mangle(stem) + ".service";
        let bad = stem
            .chars()
            .find(|c| !is_unit_char(*c) && *c != '@')
            .unwrap_or(' ');
        let help = format!("write {} (see systemd-escape(1))", quoted(&escaped));
        return wrong(
            format!("contains {}, which must be escaped", shown(bad)),
            help,
        );
    }
    if is_prefix(stem) {
        let prefix = stem.split('@').next().unwrap_or(stem);
        let message = format!(
            "ends in a dash before its {}: what is set for it goes for all units whose names begin with {prefix}",
            if stem.contains('@') { "@" } else { "suffix" }
        );
        let plain = stem.replacen(prefix, prefix.trim_end_matches('-'), 1);
        return wrong(
            message,
            format!("rename the unit, as to {}", quoted(&(plain + ".service"))),
        );
    }
    if name.len() > names::UNIT_NAME_MAX {
        let message = format!("is too long for a gate of its own ({} bytes)", name.len());
        return wrong(
            message,
            format!("use at most {} bytes", names::UNIT_NAME_MAX),
        );
    }
    Ok(())
}

/// Whether systemd takes the drop-ins of such a unit for those of all units that begin so: `a-.service.d` is for
/// `a-b.service` too (systemd.unit(5)).
pub(super) fn is_prefix(stem: &str) -> bool {
    stem.split('@')
        .next()
        .is_some_and(|prefix| prefix.ends_with('-'))
}

/// What systemctl makes of such a name: `/` becomes `-`, and whatever isn't allowed `\xNN`.
fn mangle(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'/' => out.push('-'),
            _ if is_unit_char(byte.into()) || byte == b'@' => out.push(byte.into()),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

/// As a TOML string; a backslash is itself only in single quotes.
fn quoted(name: &str) -> String {
    let quote = if name.contains('\\') { '\'' } else { '"' };
    format!("{quote}{name}{quote}")
}

fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        c if c.is_control() => format!("the control character {}", c.escape_unicode()),
        c => format!("\"{c}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(name: &str) -> String {
        check_unit(name).expect_err("it is invalid").help
    }

    #[test]
    fn units_that_systemd_takes_are_taken() {
        for name in [
            "a.service",
            "a@.service",
            "a@b.service",
            "imp@p@q.service",
            r"foo\x20bar.service",
            "a:b_c-d.e.service",
        ] {
            assert_eq!(check_unit(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_need_escaping_are_given_escaped() {
        assert!(help("foo bar.service").starts_with(r"write 'foo\x20bar.service'"));
        assert!(help("a/b.service").starts_with("write \"a-b.service\""));
        assert!(help("\u{fc}.service").starts_with(r"write '\xc3\xbc.service'"));
    }

    #[test]
    fn a_missing_suffix_is_given() {
        assert_eq!(help("dnf-automatic"), "write \"dnf-automatic.service\"");
        assert_eq!(help("dnf.timer"), "write \"dnf.service\"");
        assert_eq!(help("php8.2-fpm"), "write \"php8.2-fpm.service\"");
    }

    #[test]
    fn names_are_refused_that_leave_no_room_for_a_gate() {
        let longest = format!(
            "{}.service",
            "a".repeat(names::UNIT_NAME_MAX - ".service".len())
        );
        assert_eq!(check_unit(&longest), Ok(()));
        assert_eq!(names::gate_of(&longest).len(), 255);
        assert!(check_unit(&format!("a{longest}")).is_err());
    }

    #[test]
    fn nameless_units_are_refused() {
        for name in [".service", "@.service", "@a.service", "", ".a.service"] {
            assert!(check_unit(name).is_err(), "{name}");
        }
    }

    #[test]
    fn units_are_refused_whose_drop_ins_would_be_other_units_too() {
        for name in [
            "a-.service",
            "a-b--.service",
            "a-@.service",
            "a-@x.service",
            "-.service",
        ] {
            assert!(check_unit(name).is_err(), "{name}");
        }
        for name in ["a-b.service", "-a.service", "a@-.service", "a@b-.service"] {
            assert_eq!(check_unit(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn policy_names_are_what_units_can_be_named_after() {
        assert_eq!(check_policy_name("rpm-db"), Ok(()));
        assert_eq!(check_policy_name("php8.2-fpm"), Ok(()));
        for name in ["", ".a", "a b", "a@b", "a/b", "a.service", "\u{fc}", "%i"] {
            assert!(check_policy_name(name).is_err(), "{name}");
        }
        assert!(check_policy_name(&"a".repeat(201)).is_err());
    }
}
