//! Messages of the generator: to stderr, and to the kernel's log, since at boot there is no journal yet.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The kernel refuses records above 1024 bytes.
const RECORD_MAX: usize = 1000;

/// Where messages go.
#[derive(Debug)]
pub struct Log {
    kmsg: Kmsg,
    errors: usize,
}

#[derive(Debug)]
enum Kmsg {
    Closed(PathBuf),
    Open(File),
    Unused,
}

impl Log {
    /// Messages go to stderr and to `/dev/kmsg` below `root`, which is opened at the first error.
    pub fn to_kmsg(root: &Path) -> Self {
        Self {
            kmsg: Kmsg::Closed(root.join("dev/kmsg")),
            errors: 0,
        }
    }

    /// Messages go only to stderr.
    pub fn to_stderr() -> Self {
        Self {
            kmsg: Kmsg::Unused,
            errors: 0,
        }
    }

    /// How many errors there were.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// An error: as it is to stderr, on one line to the kernel's log.
    pub fn error(&mut self, full: impl Display, one_line: impl Display) {
        self.errors += 1;
        to_stderr(full);
        if let Kmsg::Closed(path) = &self.kmsg {
            // Not there in a container, not writable for users: stderr has it.
            self.kmsg = open(path).map_or(Kmsg::Unused, Kmsg::Open);
        }
        if let Kmsg::Open(file) = &mut self.kmsg {
            let _ = file.write_all(record(&one_line.to_string()).as_bytes());
        }
    }

    /// A warning, only to stderr: the kernel's log is for what keeps a policy from taking effect.
    pub fn warning(&mut self, full: impl Display) {
        to_stderr(full);
    }
}

fn open(path: &Path) -> Option<File> {
    // Below some `--root` it may be anything, and opening a FIFO would wait for a reader.
    let kind = path.metadata().ok()?.file_type();
    if kind.is_fifo() {
        return None;
    }
    OpenOptions::new().append(true).open(path).ok()
}

fn to_stderr(message: impl Display) {
    // In one write, and not by eprintln!, which panics when stderr is closed.
    let _ = io::stderr().write_all(format!("{message}\n").as_bytes());
}

/// One record for `/dev/kmsg`: priority 3 (error), the way that systemd's generators name themselves.
fn record(message: &str) -> String {
    let mut record = format!("<3>interlock-generator[{}]: ", std::process::id());
    for character in message.chars() {
        if record.len() + character.len_utf8() >= RECORD_MAX {
            break;
        }
        record.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    record.push('\n');
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_one_line_that_the_kernel_takes() {
        let record = record(&format!("a\nb\u{1b}{}", "ü".repeat(2000)));
        let prefix = format!("<3>interlock-generator[{}]: a b ü", std::process::id());
        assert!(record.starts_with(&prefix), "{record}");
        assert_eq!(record.matches('\n').count(), 1);
        assert!(record.ends_with('\n') && record.len() <= RECORD_MAX);
    }

    #[test]
    fn log_without_kmsg_still_counts_errors() {
        let mut log = Log::to_kmsg(Path::new("/nonexistent"));
        log.error("x", "x");
        log.warning("y");
        assert_eq!(log.errors(), 1);
    }
}
