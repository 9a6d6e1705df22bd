//! What each lease holds, as it was granted, for an interlockd that comes after this one.
//!
//! PID 1 knows that a gate is open, and the policy what its task would need; what the task was let in with may be more
//! than that says by now, and it goes on using it. One file per lease below `/run/interlock/granted`, there before the
//! gate is told to open: it outlives interlockd, and goes with the gates at reboot.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use interlock_core::arbiter::Uses;
use interlock_generator::names;

use crate::gate::protocol::is_unit_name;

/// Whole or not at all: a file that was cut off would say nothing. No unit has such a name.
const DRAFT: &str = ".draft";

/// See the module's documentation.
#[derive(Debug)]
pub struct Granted {
    directory: PathBuf,
    /// As it is written.
    kept: BTreeMap<String, Uses>,
}

impl Granted {
    /// What an earlier interlockd has kept there.
    pub fn open(directory: &Path) -> Self {
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let kept = files.filter_map(|file| {
            let unit = file.file_name().into_string().ok()?;
            let uses = read(&file.path(), &unit)?;
            Some((unit, uses))
        });
        Self {
            kept: kept.collect(),
            directory: directory.to_owned(),
        }
    }

    /// What the unit's lease held, if there is or was one.
    pub fn of(&self, unit: &str) -> Option<&Uses> {
        self.kept.get(unit)
    }

    /// Units of which something is kept.
    pub fn units(&self) -> impl Iterator<Item = &String> {
        self.kept.keys()
    }

    /// A unit's lease holds this. If it can't be kept that is said, and the lease counts all the same.
    pub fn keep(&mut self, unit: &str, uses: &Uses) {
        if self.kept.get(unit) == Some(uses) {
            return;
        }
        match self.write(unit, uses) {
            Ok(()) => {
                self.kept.insert(unit.to_owned(), uses.clone());
            }
            Err(error) => {
                let directory = self.directory.display();
                tracing::warn!(unit, %error, "cannot keep in {directory} what the lease of {unit} holds");
            }
        }
    }

    /// The unit has no lease.
    pub fn forget(&mut self, unit: &str) {
        if self.kept.remove(unit).is_some()
            && let Err(error) = fs::remove_file(self.directory.join(unit))
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(unit, %error, "cannot forget what the lease of {unit} held");
        }
    }

    fn write(&self, unit: &str, uses: &Uses) -> io::Result<()> {
        let draft = self.directory.join(DRAFT);
        let text = serde_json::to_vec(uses)?;
        match fs::write(&draft, &text) {
            // tmpfiles.d(5) and the unit's RuntimeDirectory= make it; somebody may have removed it since.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&self.directory)?;
                fs::write(&draft, &text)?;
            }
            written => written?,
        }
        fs::rename(draft, self.directory.join(unit))
    }
}

/// `None` if it isn't a unit's, or (and then said) if it makes no sense.
fn read(path: &Path, unit: &str) -> Option<Uses> {
    // PID 1 is asked for the states of all of them at once, and answers for none if one can't be a unit.
    if !is_unit_name(unit) || !unit.ends_with(".service") || names::is_template(unit) {
        return None;
    }
    let uses = fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    if let Err(error) = &uses {
        let path = path.display();
        tracing::warn!(unit, %error, "cannot read {path}: the lease of {unit} holds what the policy says");
    }
    uses.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(shares: &[(&str, u32)]) -> Uses {
        shares.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect()
    }

    #[test]
    fn what_was_granted_is_known_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("granted");
        let held = uses(&[("rpm-db", 1), ("unit import@a\\x20b.service", 1)]);
        let mut first = Granted::open(&directory);
        first.keep("a.service", &uses(&[]));
        first.keep("a.service", &held);
        first.keep("b.service", &uses(&[]));
        let mut second = Granted::open(&directory);
        assert_eq!(second.of("a.service"), Some(&held));
        assert_eq!(second.of("b.service"), Some(&uses(&[])));
        second.forget("a.service");
        second.forget("never.service");
        let third = Granted::open(&directory);
        assert_eq!(third.units().collect::<Vec<_>>(), ["b.service"]);
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.service", ""),
            ("b.service", "{\"r\": -1}"),
            (".draft", "{}"),
            ("template@.service", "{}"),
            ("two words.service", "{}"),
            ("a.timer", "{}"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::create_dir(dir.path().join("c.service")).unwrap();
        let granted = Granted::open(dir.path());
        assert_eq!(granted.units().count(), 0);
    }

    #[test]
    fn what_can_not_be_kept_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("granted");
        fs::write(&directory, "in the way").unwrap();
        let mut granted = Granted::open(&directory);
        granted.keep("a.service", &uses(&[("r", 1)]));
        assert_eq!(granted.of("a.service"), None);
        fs::remove_file(&directory).unwrap();
        granted.keep("a.service", &uses(&[("r", 1)]));
        assert!(Granted::open(&directory).of("a.service").is_some());
    }
}
