//! Root file systems with systemd 252 and 257, built once and kept.
//!
//! A container runs on an overlay (or a copy) of its root, so no test can change a cached one.

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
# Debian's rpm has its database in the home directory of whoever calls it. The journal is to survive a reboot.
mkdir -p etc/rpm var/log/journal
echo '%_dbpath /var/lib/rpm' >etc/rpm/macros.dbpath
# What upstream installs and Debian leaves out.
cat >usr/bin/dnf-automatic <<'END'
#!/usr/bin/python3
import sys
from dnf.automatic.main import main
sys.exit(main(sys.argv[1:]))
END
chmod 755 usr/bin/dnf-automatic
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/locale/*
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
        allow_many_containers();
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

/// Containers share the host's inotify instances of root, and use up the kernel's usual 128 when there are a dozen of
/// them: then they boot degraded.
fn allow_many_containers() {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    const ENOUGH: u32 = 1024;
    let limit = fs::read_to_string(LIMIT).ok();
    let limit = limit.and_then(|limit| limit.trim().parse::<u32>().ok());
    // Where it can't be changed a container that fails to boot says what it lacks.
    if limit.is_some_and(|limit| limit < ENOUGH) && fs::write(LIMIT, ENOUGH.to_string()).is_ok() {
        eprintln!("testbed: {LIMIT} is {ENOUGH} now, until the host reboots");
    }
}

/// The directory of a root; it is built if there is none for the present package list.
///
/// # Errors
///
/// If it can't be built; says what mmdebstrap said.
pub fn directory(version: Version) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (version.packages(), Version::customization()).hash(&mut hasher);
    let cache = cache_dir();
    fs::create_dir_all(&cache)
        .with_context(|| format!("can't make the cache directory {}", cache.display()))?;
    let root = cache.join(format!("{}-{:016x}", version.suite(), hasher.finish()));

    // Two processes may want the same root; the second one finds it built.
    let lock = File::create(cache.join(version.suite()).with_extension("lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if !root.exists() {
        remove_stale(&cache, version)?;
        build(version, &root)?;
    }
    Ok(root)
}

/// The lock of a root, which whoever uses it holds shared.
fn lock_of(root: &Path) -> PathBuf {
    root.with_extension("lock")
}

/// Removes roots of former package lists, unless somebody uses them.
fn remove_stale(cache: &Path, version: Version) -> Result<()> {
    let prefix = format!("{}-", version.suite());
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        let stale = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        if !stale || !path.is_dir() {
            continue;
        }
        let lock = File::create(lock_of(&path))?;
        if Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok() {
            fs::remove_dir_all(&path)?;
            fs::remove_file(lock_of(&path))?;
        }
    }
    Ok(())
}

fn build(version: Version, root: &Path) -> Result<()> {
    eprintln!(
        "testbed: building a root with systemd {version} ({}): {}",
        version.suite(),
        root.display()
    );
    let hook = root.with_extension("hook");
    fs::write(&hook, Version::customization())?;
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=minbase", "--format=directory"])
        .arg(format!("--include={}", version.packages().join(",")))
        .arg(format!("--customize-hook=sh {} \"$1\"", hook.display()))
        .arg(version.suite())
        .arg(&unfinished);
    let built = command::host(mmdebstrap, Duration::from_secs(900));
    fs::remove_file(&hook)?;
    built.with_context(|| format!("can't build the root with systemd {version}"))?;
    File::create(lock_of(root))?;
    fs::rename(&unfinished, root)?;
    Ok(())
}
