//! journalctl(1) as a child, and the lines that it prints.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines, Take};
use tokio::process::{Child, ChildStdout, Command};

/// So long may one question to the journal take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// journald is to have written so soon what it was sent.
const SYNC: Duration = Duration::from_secs(2);

/// No more is read of an answer, bytes.
const MOST: u64 = 4 << 20;

/// A journalctl that prints an entry a line. It is killed when this is dropped.
pub(super) struct Entries {
    _child: Child,
    lines: Lines<BufReader<Take<ChildStdout>>>,
}

impl Entries {
    pub(super) fn read(arguments: &[String]) -> Option<Self> {
        let mut child = journalctl()
            .args(["--output=json", "--quiet", "--all"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .inspect_err(|error| tracing::warn!(%error, "journalctl(1) can't be run"))
            .ok()?;
        let stdout = child.stdout.take()?;
        Some(Self {
            _child: child,
            lines: BufReader::new(stdout.take(MOST)).lines(),
        })
    }

    pub(super) async fn next(&mut self) -> Option<Entry> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            if let Some(entry) = Entry::parse(&line) {
                return Some(entry);
            }
        }
    }
}

/// Has journald write down what it was sent: a run's last line comes just before its end.
pub(super) async fn synchronise() {
    let sync = journalctl().arg("--sync").stdout(Stdio::null()).status();
    match tokio::time::timeout(SYNC, sync).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => tracing::debug!(%status, "journalctl --sync failed"),
        Ok(Err(error)) => tracing::debug!(%error, "journalctl can't be run"),
        Err(_) => tracing::debug!("journald takes long to write"),
    }
}

fn journalctl() -> Command {
    let mut command = Command::new("journalctl");
    command
        .arg("--no-pager")
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// One entry (systemd.journal-fields(7)).
pub(super) struct Entry(Map<String, Value>);

impl Entry {
    /// Reads a line; `None` if it is no entry.
    pub(super) fn parse(line: &str) -> Option<Self> {
        match serde_json::from_str(line) {
            Ok(Value::Object(fields)) => Some(Self(fields)),
            _ => None,
        }
    }

    pub(super) fn text(&self, field: &str) -> Option<String> {
        as_text(self.0.get(field)?)
    }

    pub(super) fn number<T: std::str::FromStr>(&self, field: &str) -> Option<T> {
        self.text(field)?.parse().ok()
    }

    /// When it was received, microseconds of `CLOCK_MONOTONIC`.
    pub(super) fn received(&self) -> Option<u64> {
        self.number("__MONOTONIC_TIMESTAMP")
    }

    /// When it was sent, or else received, microseconds of `CLOCK_REALTIME`.
    pub(super) fn at(&self) -> u64 {
        let sent = self.number("_SOURCE_REALTIME_TIMESTAMP");
        sent.or_else(|| self.number("__REALTIME_TIMESTAMP"))
            .unwrap_or(0)
    }
}

/// journalctl prints what isn't plain text as an array of bytes, and what is there several times as an array.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> = items
                .iter()
                .map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok()))
                .collect();
            match bytes {
                Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                None => items.last().and_then(as_text),
            }
        }
        _ => None,
    }
}
