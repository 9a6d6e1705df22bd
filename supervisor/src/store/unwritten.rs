//! Changes of the queue that the state database didn't take, as on a full disk: kept below `/run` until it does, so that
//! an interlockd that dies meanwhile repeats no run and loses no retry.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Outcome};

/// A change that is to be written down as soon as it can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unwritten {
    /// The beginning of an entry's run.
    Begun(Entry),
    /// An entry's end.
    Over(u64, Outcome),
    /// An entry that is to run again.
    Again(Entry),
    /// A retry of what nobody had submitted.
    Retry(Entry),
}

/// What isn't written yet, in order.
#[derive(Debug)]
pub struct Backlog {
    file: PathBuf,
    changes: Vec<Unwritten>,
    /// Whether the file says the same.
    is_kept: bool,
}

impl Backlog {
    /// With what an earlier interlockd of this boot left.
    pub fn open(file: &Path) -> Self {
        let changes = match read(file) {
            Ok(changes) => changes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "cannot read what of the queue wasn't written down");
                Vec::new()
            }
        };
        Self {
            file: file.to_owned(),
            changes,
            is_kept: true,
        }
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The change before which so many are to be written.
    pub fn get(&self, number: usize) -> Option<&Unwritten> {
        self.changes.get(number)
    }

    /// One more, after the others.
    pub fn push(&mut self, change: Unwritten) {
        if let Unwritten::Retry(new) = &change {
            // A unit waits once.
            self.changes
                .retain(|it| !matches!(it, Unwritten::Retry(old) if old.unit == new.unit));
        }
        self.changes.push(change);
        self.keep();
    }

    /// So many of the first ones are written.
    pub fn written(&mut self, number: usize) {
        if number > 0 {
            self.changes.drain(..number.min(self.changes.len()));
            self.keep();
        }
    }

    /// The entries that run, of those that do by the database.
    pub fn running(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        for change in &self.changes {
            match change {
                Unwritten::Begun(it) => {
                    entries.retain(|entry| entry.id != it.id);
                    entries.push(it.clone());
                }
                Unwritten::Over(id, _) => entries.retain(|entry| entry.id != *id),
                Unwritten::Again(it) => entries.retain(|entry| entry.id != it.id),
                Unwritten::Retry(_) => {}
            }
        }
        entries
    }

    /// The entry of a unit that waits, of the one that does by the database.
    pub fn waiting(&self, unit: &str, mut waiting: Option<Entry>) -> Option<Entry> {
        for change in &self.changes {
            match change {
                Unwritten::Again(it) if it.unit == unit => waiting = Some(it.clone()),
                Unwritten::Begun(Entry { id, .. }) | Unwritten::Over(id, _) => {
                    waiting = waiting.filter(|it| it.id != *id);
                }
                Unwritten::Again(_) | Unwritten::Retry(_) => {}
            }
        }
        waiting
    }

    fn keep(&mut self) {
        let done = match self.changes.is_empty() {
            true => remove(&self.file),
            false => write(&self.file, &self.changes),
        };
        if let Err(error) = &done
            && self.is_kept
        {
            tracing::error!(file = %self.file.display(), %error,
                "cannot keep what of the queue isn't written down; if interlockd dies before there is room, it is repeated");
        }
        self.is_kept = done.is_ok();
    }
}

fn read(file: &Path) -> io::Result<Vec<Unwritten>> {
    Ok(serde_json::from_slice(&fs::read(file)?)?)
}

fn write(file: &Path, changes: &[Unwritten]) -> io::Result<()> {
    let text = serde_json::to_vec(changes)?;
    // Whole or as it was: interlockd may die here, too.
    let draft = file.with_extension("draft");
    fs::File::create(&draft)?.write_all(&text)?;
    fs::rename(draft, file)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, unit: &str) -> Entry {
        Entry {
            id,
            unit: unit.to_owned(),
            signatures: vec!["a".to_owned()],
            ..Entry::default()
        }
    }

    #[test]
    fn who_comes_after_a_crash_finds_all_of_it_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("unwritten");
        let mut backlog = Backlog::open(&file);
        assert!(backlog.is_empty());
        let changes = [
            Unwritten::Begun(entry(1, "a")),
            Unwritten::Over(1, Outcome::Failed),
            Unwritten::Again(entry(2, "b")),
            Unwritten::Retry(entry(0, "c")),
        ];
        changes.iter().for_each(|it| backlog.push(it.clone()));
        let mut again = Backlog::open(&file);
        assert_eq!(again.changes, changes);
        again.written(3);
        assert_eq!(Backlog::open(&file).get(0), changes.last());
        again.written(1);
        assert!(!file.exists());
    }

    #[test]
    fn nothing_is_lost_to_rubbish_but_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("unwritten");
        fs::write(&file, "[{\"Begun\":").unwrap();
        let mut backlog = Backlog::open(&file);
        assert!(backlog.is_empty());
        backlog.push(Unwritten::Over(1, Outcome::Done));
        assert!(!Backlog::open(&file).is_empty());
    }

    #[test]
    fn what_is_not_written_counts_as_if_it_were() {
        let dir = tempfile::tempdir().unwrap();
        let mut backlog = Backlog::open(&dir.path().join("unwritten"));
        let waits = |backlog: &Backlog| backlog.waiting("a", Some(entry(1, "a"))).is_some();
        assert!(waits(&backlog));
        backlog.push(Unwritten::Begun(entry(1, "a")));
        assert!(!waits(&backlog));
        assert_eq!(backlog.running(vec![entry(2, "b")]).len(), 2);
        backlog.push(Unwritten::Again(entry(1, "a")));
        assert!(waits(&backlog));
        backlog.push(Unwritten::Over(2, Outcome::Done));
        assert!(backlog.running(vec![entry(2, "b")]).is_empty());
    }

    #[test]
    fn of_a_unit_one_retry_waits() {
        let dir = tempfile::tempdir().unwrap();
        let mut backlog = Backlog::open(&dir.path().join("unwritten"));
        for unit in ["a", "b", "a"] {
            backlog.push(Unwritten::Retry(entry(0, unit)));
        }
        assert_eq!(backlog.changes.len(), 2);
    }
}
