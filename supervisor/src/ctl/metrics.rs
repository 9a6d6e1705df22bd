//! `interlockctl metrics`: for whoever scrapes, and as a file for node_exporter's textfile collector.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::error::{CtlError, Outcome};
use super::monitor;
use super::output;
use crate::monitor::{Format, down};

/// A scrape usually has ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// Of `metrics`.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// Print OpenMetrics 1.0 instead of Prometheus' text format
    #[arg(long)]
    pub openmetrics: bool,
    /// Write to this file, at once or not at all, instead of printing
    #[arg(long, value_name = "FILE", conflicts_with = "openmetrics")]
    pub textfile: Option<PathBuf>,
}

/// Asks and prints or writes. A daemon that doesn't answer is a metric too.
pub async fn run(args: &MetricsArgs) -> Result<Outcome, CtlError> {
    let (name, format) = match args.openmetrics {
        true => ("openmetrics", Format::OpenMetrics),
        false => ("prometheus", Format::Prometheus),
    };
    let answer = monitor::metrics(name, PATIENCE).await;
    let (text, silence) = match answer {
        Ok(text) => (text, None),
        Err(silence) => (down(format), Some(silence)),
    };
    match &args.textfile {
        Some(path) => replace(path, &text).map_err(|source| CtlError::Io {
            what: format!("can't write {}", path.display()),
            source,
        })?,
        None => output::print(&text)?,
    }
    match silence {
        // A file that says that it is down is all that can be done; the next one may say more.
        Some(silence) if args.textfile.is_some() => {
            output::complain(&silence.to_string());
            Ok(Outcome::Done)
        }
        Some(silence) => Err(CtlError::Unreachable {
            reason: silence.to_string(),
        }),
        None => Ok(Outcome::Done),
    }
}

/// The collector may read at any moment, but reads only `*.prom`.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    let written = write(&new, text).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// Readable by all, as whoever runs node_exporter; never through a link that the directory's owner laid.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_textfile_is_replaced_whole_and_readable_by_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("interlock.prom");
        replace(&path, "old 1\n").unwrap();
        replace(&path, "new 2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new 2\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, dir.path().join(".interlock.prom.new")).unwrap();
        let path = dir.path().join("interlock.prom");
        symlink(&victim, &path).unwrap();
        replace(&path, "new 2\n").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(!path.is_symlink());
    }

    #[test]
    fn a_directory_that_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(replace(&dir.path().join("none/interlock.prom"), "").is_err());
    }
}
