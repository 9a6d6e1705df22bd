//! What the processes of a unit have written, as the caller may read it in the journal.

use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

/// Reads on where it stopped.
#[derive(Debug)]
pub struct Journal {
    unit: String,
    cursor: Option<String>,
}

/// A message of `journalctl -o json`; bytes that are no UTF-8 make it an array.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "MESSAGE")]
    message: Option<Message>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

impl Message {
    fn text(self) -> String {
        match self {
            Message::Text(text) => text,
            Message::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

impl Journal {
    /// Of a unit that this boot makes.
    pub fn of(unit: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            cursor: None,
        }
    }

    /// Waits until the journal has all that was written so far. Only root may ask for that.
    pub async fn sync(&self) {
        let sync = Command::new("journalctl")
            .arg("--sync")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = sync.await;
    }

    /// The lines since the last time; none of what the caller may not read.
    pub async fn lines(&mut self) -> Vec<String> {
        let mut command = Command::new("journalctl");
        command
            .args(["--quiet", "--boot", "--output=json"])
            .arg(format!("_SYSTEMD_UNIT={}", self.unit))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        match command.output().await {
            Ok(output) => self.read(&output.stdout),
            Err(_) => Vec::new(),
        }
    }

    fn read(&mut self, output: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for line in output.split(|byte| *byte == b'\n') {
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
                continue;
            };
            lines.extend(entry.message.map(Message::text));
            self.cursor = Some(entry.cursor);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_whatever_they_are_made_of() {
        let mut journal = Journal::of("x.service");
        let output = b"{\"__CURSOR\":\"a\",\"MESSAGE\":\"one\"}\n\
            {\"__CURSOR\":\"b\",\"MESSAGE\":[104,195,40]}\n\
            {\"__CURSOR\":\"c\",\"MESSAGE\":null}\n\
            {\"__CURSOR\":\"d\"}\nno json\n";
        assert_eq!(journal.read(output), ["one", "h\u{fffd}("]);
        assert_eq!(journal.cursor.as_deref(), Some("d"));
    }
}
