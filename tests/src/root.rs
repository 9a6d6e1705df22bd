//! Root file systems with systemd 252 and 257, built once and kept as archives.
//!
//! A cached root is an archive that is unpacked anew for each container, so no test can change it.

use std::fmt;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::command;

/// The systemd versions that the tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// systemd 252, as in EL9; from Debian bookworm.
    V252,
    /// systemd 257, as in EL10; from Debian trixie.
    V257,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V252, Self::V257];

    /// The number alone.
    pub fn number(self) -> u32 {
        match self {
            Self::V252 => 252,
            Self::V257 => 257,
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V252 => "bookworm",
            Self::V257 => "trixie",
        }
    }

    /// What is in the root beyond Debian's minimum.
    fn packages(self) -> Vec<&'static str> {
        let mut packages = vec![
            "systemd",
            "systemd-sysv",
            "dbus",
            "polkitd",
            "rpm",
            "dnf",
            "procps",
            "strace",
            "less",
            "util-linux",
        ];
        if self == Self::V257 {
            // Their generators are what the benchmarks compare with.
            packages.extend(["systemd-cron", "podman"]);
        }
        packages
    }

    /// What is changed in the root after its packages are in, as a shell script; `$1` is the root.
    ///
    /// Timers that do things of their own would disturb cases; `alice` is for what anybody may do.
    fn customization() -> &'static str {
        r#"set -eu
cd "$1"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer man-db.timer systemd-tmpfiles-clean.timer cron.target \
    systemd-cron-cleaner.timer console-getty.service systemd-networkd.service \
    systemd-resolved.service podman-auto-update.timer; do
    ln -sfn /dev/null "etc/systemd/system/$unit"
done
chroot . useradd --create-home alice
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc usr/share/locale
"#
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl std::str::FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.to_string() == text)
            .with_context(|| format!("no such systemd version here: {text} (252 and 257 are)"))
    }
}

/// Where roots and running containers are kept: `INTERLOCK_TEST_CACHE`, or below /var/cache.
pub fn cache_dir() -> PathBuf {
    std::env::var_os("INTERLOCK_TEST_CACHE").map_or_else(
        || PathBuf::from("/var/cache/interlock-tests"),
        PathBuf::from,
    )
}

/// Checks that containers can be run here, and installs what that needs.
///
/// # Errors
///
/// Says what is missing.
pub fn check_host() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the testbed boots containers with systemd-nspawn, so it must be run as root");
    }
    // Once, and one at a time, however many containers are booted.
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        *installed = Command::new("bash")
            .args(["-c", include_str!("../host-packages.sh")])
            .stdin(Stdio::null())
            .status()?
            .success();
    }
    if !*installed {
        bail!("this host lacks packages that the testbed needs, see above");
    }
    Ok(())
}

/// The archive of a root; it is built if there is none for the present package list.
///
/// # Errors
///
/// If it can't be built; says what mmdebstrap said.
pub fn archive(version: Version) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (version.packages(), Version::customization()).hash(&mut hasher);
    let dir = cache_dir();
    fs::create_dir_all(&dir)
        .with_context(|| format!("can't make the cache directory {}", dir.display()))?;
    let name = format!("{}-{:016x}.tar", version.suite(), hasher.finish());
    let path = dir.join(&name);

    // Two processes may want the same root; the second one finds it built.
    let lock = File::create(dir.join(format!("{}.lock", version.suite())))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if !path.exists() {
        remove_stale(&dir, version)?;
        build(version, &dir, &path)?;
    }
    Ok(path)
}

/// Removes archives of former package lists.
fn remove_stale(dir: &Path, version: Version) -> Result<()> {
    let prefix = format!("{}-", version.suite());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".tar") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn build(version: Version, dir: &Path, path: &Path) -> Result<()> {
    eprintln!(
        "testbed: building a root with systemd {version} ({}) in {}",
        version.suite(),
        dir.display()
    );
    let hook = dir.join(format!("{}-hook.sh", version.suite()));
    fs::write(&hook, Version::customization())?;
    let unfinished = path.with_extension("unfinished");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=minbase", "--format=tar"])
        .arg(format!("--include={}", version.packages().join(",")))
        .arg(format!("--customize-hook=sh {} \"$1\"", hook.display()))
        .arg(version.suite())
        .arg(&unfinished)
        .env("TMPDIR", dir);
    let built = command::host(mmdebstrap, Duration::from_secs(900));
    fs::remove_file(&hook)?;
    built.with_context(|| format!("can't build the root with systemd {version}"))?;
    fs::rename(&unfinished, path)?;
    Ok(())
}
