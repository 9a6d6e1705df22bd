//! Instances of template units, from what was typed: `import@foo`.

/// Characters that stand in a unit's name for themselves (systemd.unit(5)).
const VALID: &str = ":-_.\\@";

/// The name before the first `@`, and the instance behind it, without a unit's suffix.
pub fn split(typed: &str) -> Option<(&str, &str)> {
    let (task, instance) = typed.split_once('@')?;
    Some((task, instance.strip_suffix(".service").unwrap_or(instance)))
}

/// The instance of a template unit: `package-import@foo.service` from `package-import@.service` and `foo`.
///
/// As systemctl(1) does it, the instance is taken as escaped already; only what no unit name may contain is escaped.
pub fn of_template(template: &str, instance: &str) -> Option<String> {
    let (prefix, suffix) = template.split_once("@.")?;
    Some(format!("{prefix}@{}.{suffix}", mangle(instance)))
}

fn mangle(instance: &str) -> String {
    let mut mangled = String::new();
    for byte in instance.bytes() {
        match char::from(byte) {
            '/' => mangled.push('-'),
            c if c.is_ascii_alphanumeric() || VALID.contains(c) => mangled.push(c),
            _ => mangled.push_str(&format!("\\x{byte:02x}")),
        }
    }
    mangled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_first_at_is_the_instance() {
        assert_eq!(split("import@foo"), Some(("import", "foo")));
        assert_eq!(split("import@p@q"), Some(("import", "p@q")));
        assert_eq!(split("import@foo.service"), Some(("import", "foo")));
        assert_eq!(split("import@"), Some(("import", "")));
        assert_eq!(split("import"), None);
    }

    #[test]
    fn an_instance_is_escaped_as_systemctl_does() {
        let unit = |instance| of_template("package-import@.service", instance).unwrap();
        assert_eq!(unit("foo"), "package-import@foo.service");
        assert_eq!(unit("a-b\\x2dc"), "package-import@a-b\\x2dc.service");
        assert_eq!(unit("var/lib"), "package-import@var-lib.service");
        assert_eq!(unit("a b"), "package-import@a\\x20b.service");
        assert_eq!(unit("ü"), "package-import@\\xc3\\xbc.service");
        assert_eq!(of_template("upcp.service", "foo"), None);
    }
}
