//! Programs of others that cases try interlock with, each taken out of its Debian package once and kept beside the
//! roots: promtool and Nagios need nothing but the C library, and their packages would bring a hundred others.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};

use crate::command;
use crate::root;

/// Twenty megabytes may take a while.
const DOWNLOAD: Duration = Duration::from_secs(300);

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// promtool, which reads metrics and rules as Prometheus does.
    Promtool,
    /// Nagios core, without its web pages.
    Nagios,
}

impl Tool {
    fn package(self) -> &'static str {
        match self {
            Self::Promtool => "prometheus",
            Self::Nagios => "nagios4-core",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Promtool => "usr/bin/promtool",
            Self::Nagios => "usr/sbin/nagios4",
        }
    }

    /// Where it is on this host.
    ///
    /// # Errors
    ///
    /// If it can't be downloaded; says what apt said.
    pub fn fetch(self) -> Result<PathBuf> {
        let dir = root::cache_dir().join("tools");
        fs::create_dir_all(&dir)?;
        let tool = dir.join(self.package());
        let lock = File::create(dir.join("lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        if tool.exists() {
            return Ok(tool);
        }
        let package = self.package();
        eprintln!("testbed: fetching {package}");
        let work = tempfile::tempdir_in(&dir)?;
        // apt's sandbox user may not write there, which it warns of; without an index of packages it finds none.
        let mut apt = Command::new("sh");
        apt.args([
            "-c",
            "apt-get download \"$1\" || { apt-get update && apt-get download \"$1\"; }
             dpkg-deb -x \"$1\"_*.deb .",
            "sh",
            package,
        ])
        .current_dir(work.path());
        command::host(apt, DOWNLOAD).with_context(|| format!("can't fetch {package}"))?;
        let found = work.path().join(self.path());
        ensure!(found.is_file(), "{package} has no {}", self.path());
        fs::rename(&found, &tool)?;
        Ok(tool)
    }
}
