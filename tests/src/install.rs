//! interlock as it is shipped: the RPM, built once and installed into machines with dnf.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::command;
use crate::machine::Machine;
use crate::rpm::{Repository, stand_in_for_requirements};

/// Building everything in release mode may take minutes.
const BUILD: Duration = Duration::from_secs(1500);

/// The top of the source tree.
pub fn source_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// interlock's RPM: `INTERLOCK_RPM` if that is set, otherwise `make rpm` builds it, once per process.
///
/// # Errors
///
/// If it can't be built.
pub fn rpm() -> Result<&'static Path> {
    static RPM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    RPM.get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

/// The same as an RPM of a later version, to upgrade to; built once per process.
///
/// # Errors
///
/// If it can't be built.
pub fn newer_rpm() -> Result<&'static Path> {
    static RPM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    RPM.get_or_init(|| {
        make("target/rpm-newer", &["package_version=999.0"]).map_err(|error| format!("{error:#}"))
    })
    .as_deref()
    .map_err(|error| anyhow!("{error}"))
}

/// An interlockd that kills itself where it is told to, and otherwise is as the one that is shipped;
/// built once per process.
///
/// It shares cargo's target directory with the other builds, so that only interlock itself is compiled
/// once more, and is copied out of it, since the next build puts the ordinary one there again.
///
/// # Errors
///
/// If it can't be built.
pub fn daemon_with_failpoints() -> Result<&'static Path> {
    static DAEMON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DAEMON
        .get_or_init(|| build_with_failpoints().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("{error}"))
}

fn build_with_failpoints() -> Result<PathBuf> {
    eprintln!("testbed: building interlockd with failpoints");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| source_dir().join("target"), PathBuf::from);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--quiet", "--locked", "-p", "interlock-supervisor"])
        .args(["--features", "failpoints", "--bin", "interlockd"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(source_dir());
    command::host(cargo, BUILD).context("can't build interlockd with failpoints")?;
    let daemon = target.join("failpoints").join("interlockd");
    std::fs::create_dir_all(target.join("failpoints"))?;
    std::fs::copy(target.join("debug").join("interlockd"), &daemon)?;
    Ok(daemon)
}

fn build() -> Result<PathBuf> {
    match std::env::var_os("INTERLOCK_RPM") {
        Some(path) => Ok(PathBuf::from(path)),
        None => make("target/rpm", &[]),
    }
}

fn make(dir: &str, variables: &[&str]) -> Result<PathBuf> {
    eprintln!("testbed: building the RPM (make rpm) into {dir}");
    let mut make = Command::new("make");
    make.args(["--silent", "rpm", &format!("rpmdir={dir}")])
        .args(variables)
        .current_dir(source_dir());
    command::host(make, BUILD).context("can't build the RPM")?;
    let dir = source_dir().join(dir);
    let mut rpms: Vec<PathBuf> = std::fs::read_dir(&dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rpm"))
        .collect();
    match (rpms.pop(), rpms.is_empty()) {
        (Some(rpm), true) => Ok(rpm),
        _ => bail!("make rpm should leave one RPM in {}", dir.display()),
    }
}

/// Makes interlock available to dnf as the repository `interlock`, beside what it requires.
///
/// # Errors
///
/// If the RPM can't be built.
pub fn provide(machine: &Machine) -> Result<()> {
    provide_rpm(machine, rpm()?)
}

/// The same with a certain RPM.
///
/// # Errors
///
/// If it can't be read.
pub fn provide_rpm(machine: &Machine, rpm: &Path) -> Result<()> {
    let host = stand_in_for_requirements(rpm, machine.version().number())?;
    Repository::new(&[host], &[rpm.to_owned()])?.install(machine, "interlock")
}

/// Installs interlock with dnf, and leaves the daemon ready to answer.
///
/// # Errors
///
/// If dnf refuses.
pub fn install(machine: &Machine) -> Result<()> {
    provide(machine)?;
    machine.sh("dnf -y --quiet install interlock </dev/null")?;
    machine.sh("systemctl start interlockd.service")?;
    Ok(())
}
