//! A booted container: commands and files inside it.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{Output, Running};
use crate::root::{self, Version};
use crate::wait::{SOON, wait_for};

/// How long booting may take, on a slow and busy machine.
const BOOT: Duration = Duration::from_secs(120);

/// How long a command inside may take, unless told otherwise.
const COMMAND: Duration = Duration::from_secs(60);

/// A container with systemd as its first process. Nothing is left of it once it is dropped.
#[derive(Debug)]
pub struct Machine {
    version: Version,
    dir: PathBuf,
    keeper: Child,
    // Its end is what tells the keeper to clean up.
    lifeline: Option<ChildStdin>,
    cgroup: PathBuf,
}

impl Machine {
    /// Boots a fresh copy of the root with this systemd.
    ///
    /// # Errors
    ///
    /// Says what this host lacks, or what the container printed.
    pub fn boot(version: Version) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        root::check_host()?;
        let root = root::directory(version)?;
        let name = format!(
            "interlock-{version}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let machines = root::cache_dir().join("machines");
        remove_orphans(&machines);
        let dir = machines.join(&name);
        fs::create_dir_all(&dir)?;
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .args(["bash", "-c", include_str!("keeper.sh"), "keeper"])
            .arg(&dir)
            .arg(&name)
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("can't start the container's keeper")?;
        let lifeline = keeper.stdin.take();
        let unified = Path::new("/sys/fs/cgroup/unified");
        let hierarchy = if unified.is_dir() {
            unified
        } else {
            Path::new("/sys/fs/cgroup")
        };
        let machine = Self {
            version,
            dir,
            keeper,
            lifeline,
            cgroup: hierarchy.join(&name).join("payload").join("testbed"),
        };
        machine.wait_until_booted(None)?;
        Ok(machine)
    }

    /// Reboots it.
    ///
    /// # Errors
    ///
    /// If it doesn't come back.
    pub fn reboot(&self) -> Result<()> {
        let before = self.pid()?;
        // Its connection may be gone before the answer comes.
        let _ = self.try_sh("systemctl reboot");
        self.wait_until_booted(Some(before))
    }

    fn wait_until_booted(&self, former: Option<u32>) -> Result<()> {
        let what = format!("boot of systemd {}", self.version);
        wait_for(&what, BOOT, || {
            if let Ok(reason) = fs::read_to_string(self.dir.join("failed")) {
                bail!("can't boot systemd {}: {}", self.version, reason.trim());
            }
            Ok(self.pid().ok().filter(|pid| Some(*pid) != former))
        })?;
        let state = wait_for(&what, BOOT, || {
            let state = self.try_sh("systemctl is-system-running --wait 2>/dev/null")?;
            let state = state.stdout.trim().to_owned();
            let settled = ["running", "degraded"].contains(&state.as_str());
            Ok(settled.then_some(state))
        })?;
        if state != "running" {
            let failed =
                self.try_sh("systemctl --failed --no-legend; journalctl -b -p warning --no-pager")?;
            bail!(
                "systemd {} booted {state}:\n{}",
                self.version,
                failed.text()
            );
        }
        // Commands get a cgroup inside the container's, or they would be in a group that nobody
        // in there can name.
        fs::create_dir_all(&self.cgroup)
            .with_context(|| format!("can't make {}", self.cgroup.display()))
    }

    /// The systemd version inside.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The pid of its systemd on this host.
    fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(self.dir.join("pid")).context("the container isn't up")?;
        text.trim().parse().context("the container has no systemd")
    }

    /// A command that runs a shell script inside, as root.
    ///
    /// # Errors
    ///
    /// If the container is gone.
    pub fn command(&self, script: &str) -> Result<Command> {
        let mut command = self.enter()?;
        command.args(["bash", "-c", script]);
        Ok(command)
    }

    /// The beginning of a command inside: what is to be run follows as further arguments.
    ///
    /// # Errors
    ///
    /// If the container is gone.
    pub fn enter(&self) -> Result<Command> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(
                r#"echo $$ >"$1/cgroup.procs" 2>/dev/null; pid=$2; shift 2
                exec nsenter -t "$pid" -m -u -i -n -p -C -r -w "$@""#,
            )
            .arg("sh")
            .arg(&self.cgroup)
            .arg(self.pid()?.to_string())
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .env(
                "TERM",
                std::env::var("TERM").unwrap_or_else(|_| "dumb".into()),
            )
            .env("SYSTEMD_PAGER", "")
            .env("SYSTEMD_COLORS", "0");
        Ok(command)
    }

    /// Runs a shell script inside, as root.
    ///
    /// # Errors
    ///
    /// If it can't be run or outlasts a minute; an exit status other than 0 is no error here.
    pub fn try_sh(&self, script: &str) -> Result<Output> {
        self.spawn(script)?.wait(COMMAND)
    }

    /// Runs a shell script inside, as root, and gives its output without the last newline.
    ///
    /// # Errors
    ///
    /// If it fails; says what it printed.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.try_sh(script)?;
        if !output.success() {
            bail!(
                "`{script}` failed ({:?}):\n{}",
                output.status,
                output.text().trim_end()
            );
        }
        Ok(output.stdout.trim_end().to_owned())
    }

    /// Starts a shell script inside, as root, and doesn't wait for it.
    ///
    /// # Errors
    ///
    /// If it can't be started.
    pub fn spawn(&self, script: &str) -> Result<Running> {
        Running::start(script, self.command(script)?)
    }

    /// Runs a shell script inside as the ordinary user `alice`.
    ///
    /// # Errors
    ///
    /// If it can't be run or outlasts a minute; an exit status other than 0 is no error here.
    pub fn as_alice(&self, script: &str) -> Result<Output> {
        let mut command = self.enter()?;
        command.args([
            "setpriv",
            "--reuid=alice",
            "--regid=alice",
            "--init-groups",
            "bash",
            "-c",
            script,
        ]);
        Running::start(script, command)?.wait(COMMAND)
    }

    /// Where a file inside is seen from this host. Links inside must not be absolute.
    ///
    /// # Errors
    ///
    /// If the container is gone.
    pub fn path(&self, inside: &str) -> Result<PathBuf> {
        // Through /proc, so that what is mounted inside (/run, /tmp) is seen too.
        Ok(PathBuf::from(format!("/proc/{}/root{inside}", self.pid()?)))
    }

    /// Writes a file inside; directories are made as needed.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn write(&self, inside: &str, content: &str) -> Result<()> {
        let path = self.path(inside)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&path, content).with_context(|| format!("can't write {inside}"))
    }

    /// Reads a file inside; an absent one is empty.
    ///
    /// # Errors
    ///
    /// If the container is gone.
    pub fn read(&self, inside: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(inside)?).unwrap_or_default())
    }

    /// Whether a path is there.
    ///
    /// # Errors
    ///
    /// If the container is gone.
    pub fn exists(&self, inside: &str) -> Result<bool> {
        Ok(fs::symlink_metadata(self.path(inside)?).is_ok())
    }

    /// Copies a file of this host to a path inside.
    ///
    /// # Errors
    ///
    /// If it can't be copied.
    pub fn copy_in(&self, from: &Path, inside: &str) -> Result<()> {
        let path = self.path(inside)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::copy(from, &path)
            .with_context(|| format!("can't copy {} to {inside}", from.display()))
            .map(drop)
    }

    /// Waits until a shell condition inside holds.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub fn wait_until(&self, condition: &str) -> Result<()> {
        wait_for(condition, SOON, || {
            Ok(self.try_sh(condition)?.success().then_some(()))
        })
    }
}

/// Removes what containers left whose keeper was killed, or the host switched off.
fn remove_orphans(machines: &Path) {
    let Ok(entries) = fs::read_dir(machines) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // interlock-VERSION-PID-NUMBER; a keeper may still be at work for a moment after its owner's end.
        let owner = name
            .split('-')
            .nth(2)
            .map(|pid| Path::new("/proc").join(pid));
        let age = entry
            .metadata()
            .and_then(|data| data.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if owner.is_some_and(|owner| !owner.exists()) && age > Some(Duration::from_secs(3600)) {
            // Only disk space is at stake.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = lifeline.flush();
        }
        let _ = self.keeper.wait();
    }
}
