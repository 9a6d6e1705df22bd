//! Service units for cases, whose processes write down when they run.

use std::fmt::Write as _;

/// Where the units' program is, inside the container.
pub const TASK_PROGRAM: &str = "/usr/local/libexec/testbed/task";

/// Where the program is that holds locks as programs outside the policy do.
pub const LOCK_PROGRAM: &str = "/usr/local/libexec/testbed/lock";

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

    /// `NAME@.service` of `Type=oneshot`, whose instances run until they are released.
    pub fn template(name: &str) -> Self {
        Self::oneshot(&format!("{name}@"))
    }

    /// `NAME.service` of `Type=exec`, which runs until it is released.
    pub fn exec(name: &str) -> Self {
        Self {
            kind: "exec",
            ..Self::oneshot(name)
        }
    }

    /// Another `Type=`; one of `Type=notify` says that it is ready.
    #[must_use]
    pub fn of_type(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// It writes a counter while it runs, see [`crate::log::Counter`].
    #[must_use]
    pub fn counts(mut self) -> Self {
        self.span = "count".into();
        self
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
        let program = match self.kind {
            // The same process as what follows, since that is the one that systemd knows.
            "notify" => {
                format!("/bin/sh -c 'systemd-notify --ready; exec \"$$@\"' sh {TASK_PROGRAM}")
            }
            _ => TASK_PROGRAM.to_owned(),
        };
        let exec = self
            .exec
            .clone()
            .unwrap_or_else(|| format!("{program} {name} {} {}", self.span, self.status));
        let _ = writeln!(text, "[Service]\nType={}\nExecStart={exec}", self.kind);
        if self.kind == "notify" {
            text.push_str("NotifyAccess=all\n");
        }
        for line in &self.service {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
