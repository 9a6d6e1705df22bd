//! The unit files below a root directory.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::unit_text::Facts;
use super::{Host, Unit};
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

/// No unit file is this large; what is, isn't read.
const SIZE_MAX: u64 = 1024 * 1024;

/// The unit files below a root directory. Directories are listed once, when first asked; files are read only
/// for the units that are asked for.
#[derive(Debug)]
pub struct DiskHost {
    root: PathBuf,
    listing: OnceCell<Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    /// The file of each name in the highest directory that has one.
    files: HashMap<String, File>,
    /// Directories of drop-ins, of every `UNIT.d`.
    drop_ins: HashMap<String, Vec<PathBuf>>,
    /// Other names of each unit.
    aliases: HashMap<String, Vec<String>>,
}

#[derive(Debug)]
enum File {
    Regular(PathBuf),
    Alias(String),
    Mask,
}

impl DiskHost {
    /// The host whose file system is below `root`. Nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            listing: OnceCell::new(),
        }
    }

    fn listing(&self) -> &Listing {
        self.listing.get_or_init(|| Listing::read(&self.root))
    }

    fn read(&self, path: &Path) -> Option<String> {
        let real = rooted::resolve(&self.root, path).ok()?;
        let kind = fs::metadata(&real).ok()?;
        (kind.is_file() && kind.len() <= SIZE_MAX).then_some(())?;
        let bytes = fs::read(real).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads what the files say of a unit whose real name is `name`.
    fn facts(&self, name: &str, main: &Path) -> Facts {
        let mut facts = Facts::default();
        if let Some(text) = self.read(main) {
            facts.read(&text);
        }
        let mut drop_ins = BTreeMap::new();
        // Later ones here are more specific, and replace files of the same name.
        for dir_name in drop_in_names(name) {
            let dirs = self.listing().drop_ins.get(&dir_name);
            for dir in dirs.into_iter().flatten().rev() {
                let Ok(real) = rooted::resolve(&self.root, dir) else {
                    continue;
                };
                for entry in fs::read_dir(real).into_iter().flatten().flatten() {
                    drop_ins.insert(entry.file_name(), dir.join(entry.file_name()));
                }
            }
        }
        for (name, path) in drop_ins {
            let is_conf = Path::new(&name).extension() == Some(OsStr::new("conf"));
            if let Some(text) = is_conf.then(|| self.read(&path)).flatten() {
                facts.read(&text);
            }
        }
        facts
    }
}

impl Host for DiskHost {
    fn find(&self, unit: &str) -> Option<Unit> {
        let listing = self.listing();
        let (name, file) = listing
            .resolve(unit)
            .or_else(|| listing.resolve(&listing.by_timer(unit)?))?;
        let aliases = listing.aliases_of(&name);
        let File::Regular(path) = file else {
            return Some(Unit {
                name,
                aliases,
                masked: true,
                ..Unit::default()
            });
        };
        let facts = self.facts(&name, path);
        Some(Unit {
            service_type: facts.service_type(),
            early: facts.early(),
            masked: false,
            name,
            aliases,
        })
    }

    fn has_file(&self, unit: &str) -> bool {
        !matches!(self.listing().files.get(unit), None | Some(File::Mask))
    }
}

impl Listing {
    fn read(root: &Path) -> Self {
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
            if let Some((name, _)) = listing.resolve(&alias) {
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
        for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.ends_with(".service.d") {
                self.drop_ins
                    .entry(name)
                    .or_default()
                    .push(dir.join(entry.file_name()));
                continue;
            }
            if !(name.ends_with(".service") || name.ends_with(".timer"))
                || self.files.contains_key(&name)
            {
                continue;
            }
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let file = match is_link.then(|| fs::read_link(entry.path())) {
                None => File::Regular(dir.join(&name)),
                Some(Ok(target)) => link(dir, &name, &target),
                Some(Err(_)) => continue,
            };
            self.files.insert(name, file);
        }
    }

    /// The real name of a unit, and its file; that of its template for an instance.
    fn resolve(&self, unit: &str) -> Option<(String, &File)> {
        let mut name = unit.to_owned();
        for _ in 0..CHAIN {
            let file = match self.files.get(&name) {
                Some(file) => file,
                None => self.files.get(&names::template_of(&name)?)?,
            };
            let File::Alias(target) = file else {
                return Some((name, file));
            };
            name = instantiate(target, &name);
        }
        None
    }

    /// The service that a timer of that name starts under its real name: on a host with dnf5,
    /// dnf-automatic.timer is a link to dnf5-automatic.timer, while the service has only its new name.
    fn by_timer(&self, unit: &str) -> Option<String> {
        let timer = format!("{}.timer", unit.strip_suffix(".service")?);
        let (real, _) = self.resolve(&timer)?;
        (real != timer).then_some(())?;
        Some(format!("{}.service", real.strip_suffix(".timer")?))
    }

    fn aliases_of(&self, name: &str) -> Vec<String> {
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
        _ => File::Regular(whole),
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

/// Names of the directories of a unit's drop-ins, from the least to the most specific (systemd.unit(5)).
fn drop_in_names(unit: &str) -> Vec<String> {
    let mut all = vec!["service.d".to_owned()];
    let Some((stem, suffix)) = unit.rsplit_once('.') else {
        return all;
    };
    let prefix = stem.split('@').next().unwrap_or(stem);
    all.extend(
        prefix
            .match_indices('-')
            .map(|(at, _)| format!("{}.{suffix}.d", &prefix[..=at])),
    );
    all.extend(names::template_of(unit).map(|template| format!("{template}.d")));
    all.push(format!("{unit}.d"));
    all
}
