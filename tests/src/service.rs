//! Service units for cases, whose processes write down when they run.

use std::fmt::Write as _;

/// Where the units' program is, inside the container.
pub const TASK_PROGRAM: &str = "/usr/local/libexec/testbed/task";

/// A service unit to be written.
#[derive(Debug, Clone)]
pub struct Service {
    /// Unit name with suffix.
    pub name: String,
    kind: &'static str,
    span: String,
    status: u8,
    exec: Option<String>,
    unit: Vec<String>,
    service: Vec<String>,
}

impl Service {
    /// `NAME.service` of `Type=oneshot`, which runs until it is released.
    pub fn oneshot(name: &str) -> Self {
        Self {
            name: format!("{name}.service"),
            kind: "oneshot",
            span: "hold".into(),
            status: 0,
            exec: None,
            unit: Vec::new(),
            service: Vec::new(),
        }
    }

    /// `NAME.service` of `Type=exec`, which runs until it is released.
    pub fn exec(name: &str) -> Self {
        Self {
            kind: "exec",
            ..Self::oneshot(name)
        }
    }

    /// It ends by itself after so many seconds.
    #[must_use]
    pub fn runs(mut self, seconds: f64) -> Self {
        self.span = seconds.to_string();
        self
    }

    /// Its exit status.
    #[must_use]
    pub fn exits(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Another command instead of the one that writes down when it runs.
    #[must_use]
    pub fn command(mut self, command: &str) -> Self {
        self.exec = Some(command.to_owned());
        self
    }

    /// One more line in `[Unit]`.
    #[must_use]
    pub fn unit(mut self, line: &str) -> Self {
        self.unit.push(line.to_owned());
        self
    }

    /// One more line in `[Service]`.
    #[must_use]
    pub fn service(mut self, line: &str) -> Self {
        self.service.push(line.to_owned());
        self
    }

    /// The unit file's text.
    pub fn text(&self) -> String {
        let mut text = String::from("[Unit]\n");
        for line in &self.unit {
            let _ = writeln!(text, "{line}");
        }
        // An instance's name is known to systemd only; a backslash would be taken for an escape.
        let special = self.name.contains(['@', '\\']);
        let name = if special { "%n" } else { &self.name };
        let exec = self
            .exec
            .clone()
            .unwrap_or_else(|| format!("{TASK_PROGRAM} {name} {} {}", self.span, self.status));
        let _ = writeln!(text, "[Service]\nType={}\nExecStart={exec}", self.kind);
        for line in &self.service {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
