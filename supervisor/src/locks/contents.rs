//! Pure: what stands in a lock file that names its holder.

use std::fmt;

/// Who a lock file says that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// The process, as its own pid namespace numbers it.
    pub pid: i32,
    /// When it took the lock, in seconds since 1970, if the file says so.
    pub since: Option<i64>,
}

/// Why a lock file names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobody {
    /// Nothing is in it.
    Empty,
    /// It isn't what such a file must be.
    Malformed,
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Malformed => "is malformed: no pid in it",
        })
    }
}

/// Reads a pid file: a decimal number on its first line. What programs write below it (PostgreSQL) is theirs.
pub fn pid_file(bytes: &[u8]) -> Result<Named, Nobody> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    if bytes.iter().all(blank) {
        return Err(Nobody::Empty);
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let start = line.iter().position(|b| !blank(b)).unwrap_or(0);
    let end = line
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |i| i + 1);
    let digits = &line[start..end];
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Nobody::Malformed);
    }
    let pid = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    named(pid, None)
}

/// Reads dnf5's `rpmtransaction.lock`: TOML with `pid`, and `start_time`, which is when the transaction began,
/// not the process. Without them dnf5 itself writes -1 and 0.
pub fn toml_file(bytes: &[u8]) -> Result<Named, Nobody> {
    let text = std::str::from_utf8(bytes).map_err(|_| Nobody::Malformed)?;
    if text.trim().is_empty() {
        return Err(Nobody::Empty);
    }
    let table: toml::Table = text.parse().map_err(|_| Nobody::Malformed)?;
    let number = |key: &str| table.get(key).and_then(toml::Value::as_integer);
    let pid = number("pid").and_then(|pid| i32::try_from(pid).ok());
    named(pid, number("start_time").filter(|time| *time > 0))
}

fn named(pid: Option<i32>, since: Option<i64>) -> Result<Named, Nobody> {
    match pid {
        Some(pid) if pid > 0 => Ok(Named { pid, since }),
        _ => Err(Nobody::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pid(bytes: &[u8]) -> Result<i32, Nobody> {
        pid_file(bytes).map(|named| named.pid)
    }

    #[test]
    fn pid_files_are_read_as_programs_write_them() {
        for text in [
            "42",
            "42\n",
            "  42 \n",
            "0000000042\n",
            "42\0",
            "42\n/var/lib/pgsql\n",
            "42\r\n",
        ] {
            assert_eq!(pid(text.as_bytes()), Ok(42), "{text:?}");
        }
        for text in ["", "\n", " \n\n", "\0\0"] {
            assert_eq!(pid(text.as_bytes()), Err(Nobody::Empty), "{text:?}");
        }
        let bad: [&[u8]; 8] = [
            b"0",
            b"-1",
            b"+5",
            b"4 2",
            b"99999999999",
            b"pid 4",
            b"\n42",
            b"\xff",
        ];
        for bytes in bad {
            assert_eq!(pid(bytes), Err(Nobody::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn the_file_of_dnf5_is_read() {
        let text = "comment = \"\"\ndescription = \"dnf5 install \\\"x\\\"\"\npid = 42\nstart_time = 1789000000\n";
        let named = Named {
            pid: 42,
            since: Some(1_789_000_000),
        };
        assert_eq!(toml_file(text.as_bytes()), Ok(named));
        assert_eq!(toml_file(b"pid = 42\nstart_time = 0").unwrap().since, None);
        assert_eq!(toml_file(b" \n"), Err(Nobody::Empty));
        for bad in [
            "pid = -1",
            "pid = \"42\"",
            "start_time = 5",
            "pid =",
            "42",
            "pid = 4294967338",
        ] {
            assert_eq!(toml_file(bad.as_bytes()), Err(Nobody::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_read(bytes: Vec<u8>, text in "[ -~\n]{0,80}") {
            let _ = (pid_file(&bytes), toml_file(&bytes));
            let _ = (pid_file(text.as_bytes()), toml_file(text.as_bytes()));
        }

        #[test]
        fn every_pid_survives(pid in 1..i32::MAX, since in 1..i64::MAX, description in "[ -~]{0,30}") {
            prop_assert_eq!(pid_file(format!("{pid}\n").as_bytes()), Ok(Named { pid, since: None }));
            let mut table = toml::Table::new();
            table.insert("description".into(), description.into());
            table.insert("pid".into(), i64::from(pid).into());
            table.insert("start_time".into(), since.into());
            let text = table.to_string();
            prop_assert_eq!(toml_file(text.as_bytes()), Ok(Named { pid, since: Some(since) }));
        }
    }
}
