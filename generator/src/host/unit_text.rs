//! Reads the few settings of a unit file that the policy depends on (systemd.syntax(7)).

use std::borrow::Cow;

/// What the file and drop-ins of a service or a timer say, so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    service_type: Option<String>,
    has_exec_start: bool,
    no_default_dependencies: bool,
    after: Vec<String>,
    before: Vec<String>,
    starts: Option<String>,
}

/// Targets after which basic.target is reached for certain. Others, as network.target, may come earlier.
const LATE: [&str; 3] = ["basic.target", "multi-user.target", "graphical.target"];

/// What interlockd and the bus, which open the gates, start after or are.
const NEEDED: [&str; 6] = [
    "sysinit.target",
    "sockets.target",
    "basic.target",
    "dbus.socket",
    "dbus.service",
    "dbus-broker.service",
];

impl Facts {
    /// Reads one file; later files win, as drop-ins do.
    pub(super) fn read(&mut self, text: &str) {
        let mut section = "";
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name;
                continue;
            }
            let mut whole = Cow::Borrowed(line);
            while let Some(begun) = whole.strip_suffix('\\') {
                // Comments may stand between the lines of one value.
                let next = lines
                    .by_ref()
                    .find(|next| !next.trim_start().starts_with(['#', ';']))
                    .unwrap_or_default();
                whole = Cow::Owned(format!("{begun} {}", next.trim()));
            }
            if let Some((key, value)) = whole.split_once('=') {
                self.set(section, key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        match (section, key) {
            ("Unit", "DefaultDependencies") => {
                self.no_default_dependencies =
                    ["no", "false", "off", "0", "n", "f"].contains(&value.to_lowercase().as_str());
            }
            ("Unit", "After") => add(&mut self.after, value),
            ("Unit", "Before") => add(&mut self.before, value),
            ("Service", "Type") => {
                self.service_type = (!value.is_empty()).then(|| value.to_owned());
            }
            ("Timer", "Unit") => self.starts = (!value.is_empty()).then(|| value.to_owned()),
            ("Service", "ExecStart") => self.has_exec_start = !value.is_empty(),
            _ => {}
        }
    }

    /// Whether the unit may start before basic.target, or interlockd can't start before it.
    pub(super) fn early(&self) -> bool {
        let before = self
            .before
            .iter()
            .any(|unit| NEEDED.contains(&unit.as_str()));
        let late = self.after.iter().any(|unit| LATE.contains(&unit.as_str()));
        before || (self.no_default_dependencies && !late)
    }

    /// What it names in `After=` and in `Before=`.
    pub(super) fn order(self) -> (Vec<String>, Vec<String>) {
        (self.after, self.before)
    }

    /// What a timer names in `Unit=`.
    pub(super) fn starts(self) -> Option<String> {
        self.starts
    }

    /// `Type=`, or what systemd takes in its absence as far as it matters.
    pub(super) fn service_type(&self) -> Option<String> {
        match (&self.service_type, self.has_exec_start) {
            (Some(service_type), _) => Some(service_type.clone()),
            (None, false) => Some("oneshot".to_owned()),
            (None, true) => None,
        }
    }
}

/// Adds to a list of dependencies. An empty value takes nothing back: systemd can't reset dependencies.
fn add(list: &mut Vec<String>, value: &str) {
    list.extend(value.split_whitespace().map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        let mut facts = Facts::default();
        facts.read(text);
        facts
    }

    #[test]
    fn a_unit_without_default_dependencies_is_early_unless_it_says_otherwise() {
        assert!(facts("[Unit]\nDefaultDependencies=no\n").early());
        assert!(facts("[Unit]\nDefaultDependencies = false\nAfter=local-fs.target\n").early());
        assert!(facts("[Unit]\nDefaultDependencies=no\nAfter=sysinit.target\n").early());
        assert!(facts("[Unit]\nBefore=dbus.service\n").early());
        assert!(!facts("[Unit]\nDefaultDependencies=no\nAfter=x.service basic.target\n").early());
        assert!(
            !facts("[Unit]\nDefaultDependencies=no\nAfter=a.service \\\n# why\n basic.target\n")
                .early()
        );
        assert!(!facts("[Unit]\nDescription=DefaultDependencies=no\n").early());
        assert!(!facts("[Unit]\n#DefaultDependencies=no\n").early());
    }

    #[test]
    fn a_drop_in_overrides() {
        let mut facts =
            facts("[Unit]\nDefaultDependencies=no\n[Service]\nType=simple\nExecStart=/bin/true\n");
        facts.read("[Unit]\nDefaultDependencies=yes\n[Service]\nType=oneshot\n");
        assert!(!facts.early());
        assert_eq!(facts.service_type().as_deref(), Some("oneshot"));
    }

    #[test]
    fn a_service_without_a_command_is_a_oneshot() {
        assert_eq!(
            facts("[Service]\nExecStop=/bin/true\n")
                .service_type()
                .as_deref(),
            Some("oneshot")
        );
        assert_eq!(
            facts("[Service]\nExecStart=/bin/true\n").service_type(),
            None
        );
    }
}
