//! RPM packages made for a test, and local repositories of them for dnf.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::command;
use crate::machine::Machine;

const BUILD: Duration = Duration::from_secs(120);

/// The macros for packagers' scriptlets.
const INTERLOCK_MACROS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/macros.interlock");

/// A package to be built, without files unless told otherwise.
#[derive(Debug, Clone)]
pub struct Package {
    name: String,
    version: String,
    provides: Vec<String>,
    scriptlets: Vec<(&'static str, String)>,
    files: Vec<(String, String)>,
    parts: usize,
}

impl Package {
    /// `NAME-VERSION-1.noarch`.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            provides: Vec::new(),
            scriptlets: Vec::new(),
            files: Vec::new(),
            parts: 0,
        }
    }

    /// What else it provides.
    #[must_use]
    pub fn provides(mut self, what: &str) -> Self {
        self.provides.push(what.to_owned());
        self
    }

    /// A script that runs in the transaction after its files are there (`%post`).
    #[must_use]
    pub fn post(mut self, script: &str) -> Self {
        self.scriptlets.push(("post", script.to_owned()));
        self
    }

    /// A text file in it.
    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// So many packages `NAME-part-N` are built with it.
    #[must_use]
    pub fn parts(mut self, parts: usize) -> Self {
        self.parts = parts;
        self
    }

    fn spec(&self) -> String {
        let mut spec = format!(
            "Name: {}\nVersion: {}\nRelease: 1\nSummary: A package for tests\nLicense: MIT\n\
             BuildArch: noarch\nAutoReqProv: no\n",
            self.name, self.version
        );
        for provided in &self.provides {
            let _ = writeln!(spec, "Provides: {provided}");
        }
        spec.push_str("%description\nA package for tests.\n%install\n");
        for (path, content) in &self.files {
            let _ = writeln!(
                spec,
                "install -d \"%{{buildroot}}$(dirname '{path}')\"\n\
                 cat >'%{{buildroot}}{path}' <<'END-OF-FILE'\n{content}\nEND-OF-FILE"
            );
        }
        for (name, script) in &self.scriptlets {
            let _ = writeln!(spec, "%{name}\n{script}");
        }
        for part in 1..=self.parts {
            let part = format!("-n {}-part-{part}", self.name);
            let _ = writeln!(
                spec,
                "%package {part}\nSummary: A part\n%description {part}\nA part.\n%files {part}"
            );
        }
        spec.push_str("%files\n");
        for (path, _) in &self.files {
            let _ = writeln!(spec, "{path}");
        }
        spec
    }
}

/// A repository in a directory of this host, copied into machines.
#[derive(Debug)]
pub struct Repository {
    dir: TempDir,
}

impl Repository {
    /// With these packages; `files` are RPMs that exist already.
    ///
    /// # Errors
    ///
    /// If one can't be built.
    pub fn new(packages: &[Package], files: &[PathBuf]) -> Result<Self> {
        let repository = Self {
            dir: tempfile::Builder::new()
                .prefix("interlock-repo")
                .tempdir()?,
        };
        for package in packages {
            repository.build(package)?;
        }
        for file in files {
            let name = file.file_name().context("an RPM without a name")?;
            fs::copy(file, repository.dir.path().join(name))?;
        }
        let mut createrepo = Command::new("createrepo_c");
        createrepo.arg("--quiet").arg(repository.dir.path());
        command::host(createrepo, BUILD)?;
        Ok(repository)
    }

    fn build(&self, package: &Package) -> Result<()> {
        let build = tempfile::Builder::new()
            .prefix("interlock-rpmbuild")
            .tempdir()?;
        let spec = build.path().join("package.spec");
        fs::write(&spec, package.spec())?;
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild
            .arg("-bb")
            // As where interlock is installed when packages are built.
            .args(["--load", INTERLOCK_MACROS])
            .args(["--define", &format!("_topdir {}", build.path().display())])
            .args([
                "--define",
                &format!("_rpmdir {}", self.dir.path().display()),
            ])
            .args(["--define", "_build_name_fmt %%{NAME}-%%{VERSION}.rpm"])
            .arg(&spec);
        command::host(rpmbuild, BUILD)
            .map(drop)
            .with_context(|| format!("can't build the package {}", package.name))
    }

    /// Makes it known to dnf in a machine under this name; whatever had that name is replaced.
    ///
    /// # Errors
    ///
    /// If it can't be copied.
    pub fn install(&self, machine: &Machine, name: &str) -> Result<()> {
        let target = format!("/srv/{name}");
        machine.sh(&format!("rm -rf {target}; mkdir -p {target}"))?;
        copy_tree(self.dir.path(), &machine.path(&target)?)?;
        machine.write(
            &format!("/etc/yum.repos.d/{name}.repo"),
            &format!(
                "[{name}]\nname={name}\nbaseurl=file://{target}\nenabled=1\ngpgcheck=0\nmetadata_expire=0\n"
            ),
        )
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A package that provides what `rpm` requires, for a root whose own packages are no RPMs.
///
/// # Errors
///
/// If the RPM can't be read.
pub fn stand_in_for_requirements(rpm: &Path, systemd: u32) -> Result<Package> {
    let mut query = Command::new("rpm");
    query.args(["-qp", "--requires"]).arg(rpm);
    let requirements = command::host(query, BUILD)?;
    let mut package = Package::new("host", "1")
        .provides("/bin/sh")
        .provides(&format!("systemd = {systemd}"));
    for requirement in requirements.lines() {
        let words: Vec<&str> = requirement.split_whitespace().collect();
        match words.as_slice() {
            // What rpm itself provides, what the package provides itself, and what is there already.
            [name, ..] if name.starts_with("rpmlib(") || name.starts_with("config(") => {}
            ["/bin/sh" | "systemd", ..] => {}
            [name] => package = package.provides(name),
            [name, _, version] => package = package.provides(&format!("{name} = {version}")),
            _ => {}
        }
    }
    Ok(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_carries_scriptlets_and_files() {
        let spec = Package::new("slow", "2")
            .post("sleep 1")
            .file("/etc/slow.conf", "x = 1")
            .spec();
        assert!(spec.contains("%post\nsleep 1\n"), "{spec}");
        assert!(spec.ends_with("%files\n/etc/slow.conf\n"), "{spec}");
    }
}
