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
    /// See [`Self::keep_unit_file`].
    units: PathBuf,
    /// As it is written.
    kept: BTreeMap<String, Uses>,
}

impl Granted {
    /// What an earlier interlockd has kept there.
    pub fn open(directory: &Path, units: &Path) -> Self {
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let kept = files.filter_map(|file| {
            let unit = file.file_name().into_string().ok()?;
            let uses = read(&file.path(), &unit)?;
            Some((unit, uses))
        });
        let kept: BTreeMap<_, _> = kept.collect();
        for file in fs::read_dir(units).into_iter().flatten().flatten() {
            let unit = file.file_name();
            if !unit.to_str().is_some_and(|unit| kept.contains_key(unit)) {
                let _ = fs::remove_file(file.path());
            }
        }
        Self {
            kept,
            directory: directory.to_owned(),
            units: units.to_owned(),
        }
    }

    /// A command of the policy runs in a unit that the generator made, here: should the policy lose it before the run
    /// ends, the generator makes that unit again from what is kept.
    pub fn keep_unit_file(&self, unit: &str, generated: &Path) {
        let kept =
            fs::read(generated.join(unit)).and_then(|text| write_whole(&self.units, unit, &text));
        match kept {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let directory = self.units.display();
                tracing::warn!(unit, %error, "cannot keep in {directory} the unit file of {unit}");
            }
            // The unit is an administrator's own, in /etc.
            Ok(()) | Err(_) => {}
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
        // Most have none.
        let _ = fs::remove_file(self.units.join(unit));
    }

    fn write(&self, unit: &str, uses: &Uses) -> io::Result<()> {
        write_whole(&self.directory, unit, &serde_json::to_vec(uses)?)
    }
}

fn write_whole(directory: &Path, unit: &str, text: &[u8]) -> io::Result<()> {
    let draft = directory.join(DRAFT);
    match fs::write(&draft, text) {
        // tmpfiles.d(5) and the unit's RuntimeDirectory= make it; somebody may have removed it since.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(directory)?;
            fs::write(&draft, text)?;
        }
        written => written?,
    }
    fs::rename(draft, directory.join(unit))
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

    fn open(directory: &Path) -> Granted {
        Granted::open(directory, &directory.with_file_name("units"))
    }

    #[test]
    fn unit_file_of_a_command_is_kept_as_long_as_its_lease() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, generated) = (dir.path().join("granted"), dir.path().join("generator"));
        let file = dir.path().join("units/a.service");
        fs::create_dir(&generated).unwrap();
        fs::write(generated.join("a.service"), "[Service]").unwrap();
        let mut granted = open(&directory);
        granted.keep("a.service", &uses(&[]));
        granted.keep_unit_file("a.service", &generated);
        granted.keep_unit_file("b.service", &generated);
        assert_eq!(fs::read_to_string(&file).unwrap(), "[Service]");
        let mut granted = open(&directory);
        assert!(file.exists());
        granted.forget("a.service");
        assert!(!file.exists());
        fs::write(&file, "[Service]").unwrap();
        open(&directory);
        assert!(!file.exists(), "nothing is known of its lease");
    }

    #[test]
    fn what_was_granted_is_known_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("granted");
        let held = uses(&[("rpm-db", 1), ("unit import@a\\x20b.service", 1)]);
        let mut first = open(&directory);
        first.keep("a.service", &uses(&[]));
        first.keep("a.service", &held);
        first.keep("b.service", &uses(&[]));
        let mut second = open(&directory);
        assert_eq!(second.of("a.service"), Some(&held));
        assert_eq!(second.of("b.service"), Some(&uses(&[])));
        second.forget("a.service");
        second.forget("never.service");
        let third = open(&directory);
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
        let granted = open(dir.path());
        assert_eq!(granted.units().count(), 0);
    }

    #[test]
    fn what_can_not_be_kept_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("granted");
        fs::write(&directory, "in the way").unwrap();
        let mut granted = open(&directory);
        granted.keep("a.service", &uses(&[("r", 1)]));
        assert_eq!(granted.of("a.service"), None);
        fs::remove_file(&directory).unwrap();
        granted.keep("a.service", &uses(&[("r", 1)]));
        assert!(open(&directory).of("a.service").is_some());
    }
}
