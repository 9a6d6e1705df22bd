//! Programs of others that cases try interlock with, each taken out of its Debian package once and kept beside the
//! roots: promtool and Nagios need nothing but the C library, and their packages would bring a hundred others.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
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
        let package = self.package();
        kept(package, |work| {
            let found = work.join(self.path());
            ensure!(found.is_file(), "{package} has no {}", self.path());
            Ok(found)
        })
    }
}

/// A whole Debian package, unpacked: what it has are several files, or where they are depends on the architecture.
///
/// # Errors
///
/// If it can't be downloaded; says what apt said.
pub fn unpacked(package: &str) -> Result<PathBuf> {
    kept(package, |work| {
        let all = work.join("all");
        let mut dpkg = Command::new("sh");
        dpkg.args([
            "-c",
            "mkdir all; for dir in usr lib; do [ ! -d $dir ] || mv $dir all; done",
        ])
        .current_dir(work);
        command::host(dpkg, DOWNLOAD)?;
        Ok(all)
    })
}

/// Where libfaketime is put, inside a container.
pub const FAKETIME: &str = "/usr/local/lib/libfaketimeMT.so.1";

/// libfaketime on this host: its file for programs with threads.
///
/// # Errors
///
/// If it can't be downloaded.
pub fn faketime() -> Result<PathBuf> {
    let mut find = Command::new("find");
    find.arg(unpacked("libfaketime")?)
        .args(["-name", "libfaketimeMT.so.1"]);
    let found = command::host(find, DOWNLOAD)?;
    Ok(PathBuf::from(found.trim()))
}

/// What a process needs in its environment to see a clock as far from the true one as `file` says; its monotonic
/// clock is left.
#[must_use]
pub fn faketime_environment(file: &str) -> String {
    format!(
        "LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={file} FAKETIME_CACHE_DURATION=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1"
    )
}

/// What is kept of a package, which is fetched if it is not there yet; `choose` says which part of it.
fn kept(package: &str, choose: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let dir = root::cache_dir().join("tools");
    fs::create_dir_all(&dir)?;
    let kept = dir.join(package);
    let lock = File::create(dir.join("lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if kept.exists() {
        return Ok(kept);
    }
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
    fs::rename(choose(work.path())?, &kept)?;
    Ok(kept)
}
