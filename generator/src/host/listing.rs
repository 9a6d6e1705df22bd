//! Which unit files there are, and what their links mean.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::{names, rooted};

/// Where the administrator, packages and the runtime put units, highest priority first. The generators'
/// directories are left out: what is in them would come from ourselves, or from others of the same run.
const DIRS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Longest chain of aliases that is followed.
const CHAIN: usize = 8;

/// The unit files below a root directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The directories, as they are for us.
    dirs: Vec<PathBuf>,
    /// The file of each name in the highest directory that has one.
    files: HashMap<String, File>,
    /// Directories of drop-ins, of every `UNIT.d`.
    drop_ins: HashMap<String, Vec<PathBuf>>,
    /// Other names of each unit.
    aliases: HashMap<String, Vec<String>>,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum File {
    /// A file in the directory of that index, under its own name.
    Here(usize),
    /// A file elsewhere, as seen below the root.
    Elsewhere(PathBuf),
    /// Another name.
    Alias(String),
    /// A unit that never starts.
    Mask,
}

/// A unit and its file.
pub(super) struct Found<'a> {
    /// The unit's real name.
    pub(super) name: String,
    /// The file's name: the unit's, or that of its template.
    pub(super) key: &'a str,
    /// The file.
    pub(super) file: &'a File,
}

impl Listing {
    /// Reads the directories, and no file.
    pub(super) fn read(root: &Path) -> Self {
        let mut listing = Self::default();
        // On a merged /usr both name one directory, and reading it twice would only cost.
        let merged = fs::symlink_metadata(root.join("lib")).is_ok_and(|lib| lib.is_symlink());
        for dir in DIRS {
            if !(merged && dir.starts_with("/lib/")) {
                listing.read_dir(root, Path::new(dir));
            }
        }
        let names: Vec<String> = listing
            .files
            .iter()
            .filter(|(_, file)| matches!(file, File::Alias(_)))
            .map(|(name, _)| name.clone())
            .collect();
        for alias in names {
            if let Some(found) = listing.resolve(&alias) {
                let name = found.name;
                listing.aliases.entry(name).or_default().push(alias);
            }
        }
        listing.aliases.values_mut().for_each(|names| names.sort());
        listing
    }

    fn read_dir(&mut self, root: &Path, dir: &Path) {
        let Ok(real) = rooted::resolve(root, dir) else {
            return;
        };
        let entries = fs::read_dir(&real);
        self.dirs.push(real);
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.ends_with(".service.d") || name.ends_with(".timer.d") {
                let dir = dir.join(&name);
                self.drop_ins.entry(name).or_default().push(dir);
                continue;
            }
            let is_wanted = name.ends_with(".service") || name.ends_with(".timer");
            if !is_wanted || self.files.contains_key(&name) {
                continue;
            }
            let file = match entry.file_type() {
                Ok(kind) if kind.is_file() => File::Here(self.dirs.len() - 1),
                Ok(kind) if kind.is_symlink() => match fs::read_link(entry.path()) {
                    Ok(target) => link(dir, &name, &target),
                    Err(_) => continue,
                },
                _ => continue,
            };
            self.files.insert(name, file);
        }
    }

    /// A directory, as it is for us.
    pub(super) fn dir(&self, index: usize) -> &Path {
        &self.dirs[index]
    }

    /// Directories of that name (`UNIT.d`), highest first.
    pub(super) fn drop_ins(&self, name: &str) -> &[PathBuf] {
        self.drop_ins.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether there is a unit file of just this name that isn't a mask.
    pub(super) fn has_file(&self, unit: &str) -> bool {
        !matches!(self.files.get(unit), None | Some(File::Mask))
    }

    /// The real name of a unit, and its file; that of its template for an instance.
    pub(super) fn resolve(&self, unit: &str) -> Option<Found<'_>> {
        let mut name = unit.to_owned();
        for _ in 0..CHAIN {
            let (key, file) = match self.files.get_key_value(&name) {
                Some(found) => found,
                None => self.files.get_key_value(&names::template_of(&name)?)?,
            };
            let File::Alias(target) = file else {
                return Some(Found { name, key, file });
            };
            name = instantiate(target, &name);
        }
        None
    }

    /// The service that a timer of that name starts under its real name: on a host with dnf5,
    /// dnf-automatic.timer is a link to dnf5-automatic.timer, while the service has only its new name.
    pub(super) fn by_timer(&self, unit: &str) -> Option<String> {
        let timer = format!("{}.timer", unit.strip_suffix(".service")?);
        let real = self.resolve(&timer)?.name;
        (real != timer).then_some(())?;
        Some(format!("{}.service", real.strip_suffix(".timer")?))
    }

    /// Every timer but templates, under each of its names.
    pub(super) fn timers(&self) -> impl Iterator<Item = &str> {
        let names = self.files.keys().map(String::as_str);
        names.filter(|name| name.ends_with(".timer") && !names::is_template(name))
    }

    /// The other names of a unit.
    pub(super) fn aliases_of(&self, name: &str) -> Vec<String> {
        let own = self.aliases.get(name).into_iter().flatten().cloned();
        let template = names::template_of(name);
        let of_template = template
            .and_then(|template| self.aliases.get(&template))
            .into_iter()
            .flatten()
            .map(|alias| instantiate(alias, name));
        own.chain(of_template).collect()
    }
}

/// What a link in a directory of units stands for.
fn link(dir: &Path, name: &str, target: &Path) -> File {
    if target == Path::new("/dev/null") {
        return File::Mask;
    }
    let whole = simplified(&dir.join(target));
    let in_search_path = whole
        .parent()
        .is_some_and(|parent| DIRS.iter().any(|dir| parent == Path::new(dir)));
    match whole.file_name().and_then(OsStr::to_str) {
        // A link to a unit of another name is an alias; to anywhere else, it is just where the file lies.
        Some(other) if in_search_path && other != name => File::Alias(other.to_owned()),
        _ => File::Elsewhere(whole),
    }
}

/// The path without `.` and `..`, by its text alone.
fn simplified(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// `target`, with the instance of `name` if it is a template: an alias of a template is one of each instance.
fn instantiate(target: &str, name: &str) -> String {
    let instance = name
        .rsplit_once('.')
        .and_then(|(stem, _)| stem.split_once('@'))
        .map(|(_, instance)| instance);
    match (
        names::is_template(target),
        instance,
        target.split_once("@."),
    ) {
        (true, Some(instance), Some((prefix, suffix))) => format!("{prefix}@{instance}.{suffix}"),
        _ => target.to_owned(),
    }
}
