//! The unit files below a root directory.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::listing::{File, Found, Listing};
use super::unit_text::Facts;
use super::{Host, Unit};
use crate::{names, rooted};

/// No unit file is this large; what is, isn't read.
const SIZE_MAX: u64 = 1024 * 1024;

/// What is read of a file at once.
const BUFFER: usize = 16 * 1024;

/// The unit files below a root directory. Directories are listed once, when first asked; files are read only
/// for the units that are asked for.
#[derive(Debug)]
pub struct DiskHost {
    root: PathBuf,
    listing: OnceCell<Listing>,
    /// For the text of one file after the other.
    buffer: RefCell<Vec<u8>>,
    /// Timers by the units of other names that they start.
    timers: OnceCell<BTreeMap<String, Vec<String>>>,
}

impl DiskHost {
    /// The host whose file system is below `root`. Nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            listing: OnceCell::new(),
            buffer: RefCell::default(),
            timers: OnceCell::new(),
        }
    }

    /// The timers that name this unit, and not just by their own names.
    fn timers_of(&self, unit: &str) -> Vec<String> {
        let timers = self.timers.get_or_init(|| self.timers());
        timers.get(unit).cloned().unwrap_or_default()
    }

    fn timers(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for timer in self.listing().timers() {
            let Some(found) = self.listing().resolve(timer) else {
                continue;
            };
            let Some(named) = self.facts(&found).0.starts() else {
                continue;
            };
            let unit = self.listing().resolve(&named).map_or(named, |it| it.name);
            all.entry(unit).or_default().push(timer.to_owned());
        }
        all.values_mut().for_each(|timers| timers.sort());
        all
    }

    fn listing(&self) -> &Listing {
        self.listing.get_or_init(|| Listing::read(&self.root))
    }

    /// Reads a file of the path that it has below the root.
    fn read_below(&self, path: &Path, facts: &mut Facts) {
        let Ok(real) = rooted::resolve(&self.root, path) else {
            return;
        };
        // Asked before it is opened: opening a FIFO would wait for ever.
        if fs::metadata(&real).is_ok_and(|kind| kind.is_file()) {
            self.read(&real, facts);
        }
    }

    fn read(&self, real: &Path, facts: &mut Facts) {
        let Ok(mut file) = fs::File::open(real) else {
            return;
        };
        let mut buffer = self.buffer.borrow_mut();
        buffer.resize(BUFFER, 0);
        let Ok(mut length) = file.read(&mut buffer) else {
            return;
        };
        // Nearly all end here: less than was asked for is all there is.
        if length == BUFFER {
            match file.take(SIZE_MAX).read_to_end(&mut buffer) {
                Ok(more) => length += more,
                Err(_) => return,
            }
        }
        facts.read(&String::from_utf8_lossy(&buffer[..length]));
    }

    /// Reads what the files say of a unit, and finds the drop-in that hides interlock's, if there is one.
    fn facts(&self, found: &Found<'_>) -> (Facts, Option<PathBuf>) {
        let mut facts = Facts::default();
        let mut hidden_by = None;
        match found.file {
            File::Here(dir) => self.read(&self.listing().dir(*dir).join(found.key), &mut facts),
            File::Elsewhere(path) => self.read_below(path, &mut facts),
            File::Alias(_) | File::Mask => {}
        }
        let mut drop_ins = BTreeMap::new();
        // Later ones here are more specific, and replace files of the same name.
        for dir_name in drop_in_names(&found.name) {
            let dirs = self.listing().drop_ins(&dir_name);
            for dir in dirs.iter().rev() {
                let Ok(real) = rooted::resolve(&self.root, dir) else {
                    continue;
                };
                for entry in fs::read_dir(real).into_iter().flatten().flatten() {
                    let path = dir.join(entry.file_name());
                    if entry.file_name() == names::DROP_IN && comes_before_generators(dir) {
                        hidden_by = Some(path.clone());
                    }
                    drop_ins.insert(entry.file_name(), path);
                }
            }
        }
        for (name, path) in drop_ins {
            let is_conf = Path::new(&name).extension() == Some(OsStr::new("conf"));
            if is_conf {
                self.read_below(&path, &mut facts);
            }
        }
        (facts, hidden_by)
    }
}

impl Host for DiskHost {
    fn find(&self, unit: &str) -> Option<Unit> {
        let listing = self.listing();
        let found = listing
            .resolve(unit)
            .or_else(|| listing.resolve(&listing.by_timer(unit)?))?;
        let aliases = listing.aliases_of(&found.name);
        if matches!(found.file, File::Mask) {
            return Some(Unit {
                name: found.name,
                aliases,
                masked: true,
                ..Unit::default()
            });
        }
        let (facts, hidden_by) = self.facts(&found);
        let (service_type, early) = (facts.service_type(), facts.early());
        let (after, before) = facts.order();
        Some(Unit {
            hidden_by,
            service_type,
            early,
            masked: false,
            timers: self.timers_of(&found.name),
            name: found.name,
            aliases,
            after,
            before,
        })
    }

    fn has_file(&self, unit: &str) -> bool {
        self.listing().has_file(unit)
    }
}

/// Whether a drop-in in this directory is taken instead of one of the same name by a generator (systemd.unit(5)).
/// Those of all services come last, wherever they are.
fn comes_before_generators(dir: &Path) -> bool {
    let mut before = ["/etc/systemd/system", "/run/systemd/system"].iter();
    before.any(|before| dir.starts_with(before)) && !dir.ends_with("service.d")
}

/// Names of the directories of a unit's drop-ins, from the least to the most specific (systemd.unit(5)).
fn drop_in_names(unit: &str) -> Vec<String> {
    let Some((stem, suffix)) = unit.rsplit_once('.') else {
        return Vec::new();
    };
    let mut all = vec![format!("{suffix}.d")];
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn find(&self, unit: &str) -> Option<Unit> {
            DiskHost::new(self.0.path()).find(unit)
        }

        fn name(&self, unit: &str) -> Option<String> {
            self.find(unit).map(|found| found.name)
        }
    }

    #[test]
    fn chains_of_aliases_end_at_the_real_unit() {
        let root = Root::new();
        root.write("usr/lib/systemd/system/c.service", "");
        root.link("usr/lib/systemd/system/b.service", "c.service");
        root.link(
            "etc/systemd/system/a.service",
            "/usr/lib/systemd/system/b.service",
        );
        assert_eq!(root.name("a.service").as_deref(), Some("c.service"));
        assert_eq!(
            root.find("c.service").unwrap().aliases,
            ["a.service", "b.service"]
        );
    }

    #[test]
    fn a_drop_in_of_interlocks_name_hides_it_where_it_comes_first() {
        let hidden_by = |drop_in: &str| {
            let root = Root::new();
            root.write("usr/lib/systemd/system/a-b@.service", "");
            root.write(drop_in, "");
            root.find("a-b@x.service").unwrap().hidden_by
        };
        for dir in ["a-b@x.service.d", "a-b@.service.d", "a-.service.d"] {
            let drop_in = format!("etc/systemd/system/{dir}/50-interlock.conf");
            assert_eq!(hidden_by(&drop_in), Some(Path::new("/").join(&drop_in)));
        }
        assert!(hidden_by("run/systemd/system/a-b@.service.d/50-interlock.conf").is_some());
        assert_eq!(
            hidden_by("usr/lib/systemd/system/a-b@.service.d/50-interlock.conf"),
            None
        );
        assert_eq!(
            hidden_by("etc/systemd/system/service.d/50-interlock.conf"),
            None
        );
        assert_eq!(
            hidden_by("etc/systemd/system/a-b@.service.d/50-other.conf"),
            None
        );
    }

    #[test]
    fn a_circle_of_aliases_is_no_unit() {
        let root = Root::new();
        root.link("etc/systemd/system/a.service", "b.service");
        root.link("etc/systemd/system/b.service", "a.service");
        assert_eq!(root.find("a.service"), None);
    }

    #[test]
    fn a_link_out_of_the_unit_directories_is_no_alias() {
        let root = Root::new();
        root.write("opt/app/real.service", "[Service]\nType=oneshot\n");
        root.link("etc/systemd/system/app.service", "/opt/app/real.service");
        let found = root.find("app.service").unwrap();
        assert_eq!(found.name, "app.service");
        assert_eq!(found.service_type.as_deref(), Some("oneshot"));
    }

    #[test]
    fn instances_are_found_by_their_template_and_its_aliases() {
        let root = Root::new();
        root.write(
            "usr/lib/systemd/system/new@.service",
            "[Service]\nType=exec\nExecStart=/bin/true\n",
        );
        root.link("usr/lib/systemd/system/old@.service", "new@.service");
        let found = root.find("old@x.service").unwrap();
        assert_eq!(found.name, "new@x.service");
        assert_eq!(found.aliases, ["old@x.service"]);
        assert_eq!(found.service_type.as_deref(), Some("exec"));
        assert_eq!(root.name("new@.service").as_deref(), Some("new@.service"));
        assert_eq!(root.find("new.service"), None);
    }

    #[test]
    fn a_service_is_found_by_the_alias_of_its_timer() {
        let root = Root::new();
        root.write("usr/lib/systemd/system/dnf5-automatic.service", "");
        root.write("usr/lib/systemd/system/dnf5-automatic.timer", "");
        root.link(
            "usr/lib/systemd/system/dnf-automatic.timer",
            "dnf5-automatic.timer",
        );
        assert_eq!(
            root.name("dnf-automatic.service").as_deref(),
            Some("dnf5-automatic.service")
        );
    }

    #[test]
    fn timers_of_other_names_are_found_by_what_they_start() {
        let root = Root::new();
        root.write("usr/lib/systemd/system/upcp.service", "");
        root.write("usr/lib/systemd/system/upcp.timer", "[Timer]\n");
        root.link(
            "etc/systemd/system/panel.service",
            "/usr/lib/systemd/system/upcp.service",
        );
        for (timer, unit) in [
            ("night", "upcp.service"),
            ("day", "panel.service"),
            ("no", "x.service"),
        ] {
            root.write(
                &format!("etc/systemd/system/{timer}.timer"),
                &format!("[Timer]\nOnCalendar=daily\nUnit={unit}\n"),
            );
        }
        root.write(
            "usr/lib/systemd/system/own.timer",
            "[Timer]\nOnCalendar=daily\n",
        );
        root.write(
            "etc/systemd/system/own.timer.d/1.conf",
            "[Timer]\nUnit=upcp.service\n",
        );
        root.link("etc/systemd/system/off.timer", "/dev/null");
        let found = root.find("upcp.service").unwrap();
        assert_eq!(found.timers, ["day.timer", "night.timer", "own.timer"]);
    }

    #[test]
    fn a_mask_hides_the_unit_below_it() {
        let root = Root::new();
        root.write("usr/lib/systemd/system/a.service", "");
        root.link("etc/systemd/system/a.service", "/dev/null");
        assert!(root.find("a.service").unwrap().masked);
        assert!(!DiskHost::new(root.0.path()).has_file("a.service"));
    }

    #[test]
    fn drop_ins_count_wherever_they_lie_and_the_higher_replaces() {
        let root = Root::new();
        root.write(
            "usr/lib/systemd/system/a-b@.service",
            "[Unit]\nDefaultDependencies=no\n",
        );
        assert!(root.find("a-b@x.service").unwrap().early);
        root.write(
            "usr/lib/systemd/system/a-.service.d/1.conf",
            "[Unit]\nDefaultDependencies=yes\n",
        );
        assert!(!root.find("a-b@x.service").unwrap().early);
        root.write(
            "etc/systemd/system/a-b@.service.d/1.conf",
            "[Service]\nType=oneshot\n",
        );
        assert!(root.find("a-b@x.service").unwrap().early);
        root.write(
            "run/systemd/system/a-b@x.service.d/2.conf",
            "[Unit]\nAfter=basic.target\n",
        );
        assert!(!root.find("a-b@x.service").unwrap().early);
        assert!(root.find("a-b@y.service").unwrap().early);
    }

    #[test]
    fn the_unit_of_the_highest_directory_counts() {
        let root = Root::new();
        root.write("lib/systemd/system/a.service", "[Service]\nType=simple\n");
        assert_eq!(
            root.find("a.service").unwrap().service_type.as_deref(),
            Some("simple")
        );
        root.write("etc/systemd/system/a.service", "[Service]\nType=notify\n");
        assert_eq!(
            root.find("a.service").unwrap().service_type.as_deref(),
            Some("notify")
        );
    }
}
