//! Writes a plan below the three directories of systemd.generator(7).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use crate::names;
use crate::plan::{Content, Directory, Entry, Plan};

/// The three directories that systemd passes to a generator.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// `argv[1]`.
    pub normal: &'a Path,
    /// `argv[2]`.
    pub early: &'a Path,
    /// `argv[3]`.
    pub late: &'a Path,
}

impl Output<'_> {
    fn path(&self, directory: Directory) -> &Path {
        match directory {
            Directory::Normal => self.normal,
            Directory::Early => self.early,
            Directory::Late => self.late,
        }
    }
}

/// Something that couldn't be written.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// A file or link that guards nothing by itself.
    #[error("can't write {}: {source}{}", .path.display(), hint(.source))]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why it wasn't.
        source: io::Error,
    },
    /// The drop-in that puts a task behind its gate; the unit was masked instead.
    #[error("can't write {}: {source}{}; {unit} is masked so that it can't run unguarded", .path.display(), hint(.source))]
    Masked {
        /// What was to be written.
        path: PathBuf,
        /// Why it wasn't.
        source: io::Error,
        /// The unit that is masked.
        unit: String,
    },
    /// The drop-in that puts a task behind its gate, and the unit couldn't be masked either.
    #[error("can't write {}: {source}{}; {unit} is NOT guarded", .path.display(), hint(.source))]
    Unguarded {
        /// What was to be written.
        path: PathBuf,
        /// Why it wasn't.
        source: io::Error,
        /// The unit that runs without its gate.
        unit: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AlreadyExists => " (another generator wrote it; give the task another name)",
        io::ErrorKind::NotFound => " (the output directories must exist)",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (make room there and run systemctl daemon-reload)"
        }
        _ => "",
    }
}

/// Fewer entries than these are written sooner than a thread is started.
const WORTH_A_THREAD: usize = 256;

/// Writes all that can be written; returns what couldn't.
pub fn emit(plan: &Plan, output: &Output<'_>) -> Vec<EmitError> {
    let entries = plan.entries();
    if entries.len() < WORTH_A_THREAD {
        return emit_all(entries, output);
    }
    // Nearly all of the time is spent in the kernel, making one file after the other.
    let (first, second) = entries.split_at(entries.len() / 2);
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, || emit_all(second, output));
        let mut errors = emit_all(first, output);
        match other {
            Ok(other) => errors.extend(other.join().unwrap_or_default()),
            Err(_) => errors.extend(emit_all(second, output)),
        }
        errors
    })
}

/// Writes the units of commands that run, but that the policy doesn't have any more. Without its unit PID 1 would take
/// a run for one of `Type=simple`, and end it after `DefaultTimeoutStartSec=`. It can't be started again.
pub fn emit_kept(root: &Path, plan: &Plan, output: &Output<'_>) -> Vec<EmitError> {
    let kept = root.join(names::UNITS_DIR.trim_start_matches('/'));
    let mut errors = Vec::new();
    for file in fs::read_dir(kept).into_iter().flatten().flatten() {
        let Ok(unit) = file.file_name().into_string() else {
            continue;
        };
        if !unit.ends_with(".service") || plan.has(Directory::Normal, &unit) {
            continue;
        }
        let path = output.normal.join(&unit);
        let written = fs::read_to_string(file.path()).and_then(|text| {
            let assert = names::DROPPED_ASSERT;
            let text = format!("{text}\n[Unit]\nAssertPathExists={assert}\n");
            File::create_new(&path)?.write_all(text.as_bytes())
        });
        if let Err(source) = written {
            errors.push(EmitError::Write { path, source });
        }
    }
    errors
}

fn emit_all(entries: &[Entry], output: &Output<'_>) -> Vec<EmitError> {
    let mut errors = Vec::new();
    let mut path = PathBuf::new();
    let mut parent = (Directory::Normal, "");
    for entry in entries {
        set(&mut path, output.path(entry.directory), &entry.path);
        // Entries are sorted, so that those of one directory follow each other.
        let made = match entry.path.rsplit_once('/') {
            Some((name, _)) if parent != (entry.directory, name) => {
                parent = (entry.directory, name);
                make_parent(&path)
            }
            _ => Ok(()),
        };
        if let Err(source) = made.and_then(|()| write(&path, entry)) {
            errors.push(failed(path.clone(), source, entry, output));
        }
    }
    errors
}

/// Makes `path` `directory/name`, in the memory that it already has.
fn set(path: &mut PathBuf, directory: &Path, name: &str) {
    let mut text: OsString = std::mem::take(path).into_os_string();
    text.clear();
    text.push(directory);
    text.push("/");
    text.push(name);
    *path = text.into();
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    match &entry.content {
        Content::File(file) => {
            // Never through a link or over a file that another generator has put there.
            let mut out = File::create_new(path)?;
            out.write_all(file.as_str().as_bytes()).inspect_err(|_| {
                // Half a drop-in may be worse than none.
                let _ = fs::remove_file(path);
            })
        }
        Content::Link(target) => match symlink(target, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let same = fs::read_link(path).is_ok_and(|there| there == Path::new(target));
                if same { Ok(()) } else { Err(error) }
            }
            made => made,
        },
    }
}

/// Makes the directory that an entry stands in; another generator may have made it.
fn make_parent(path: &Path) -> io::Result<()> {
    let made = path.parent().map_or(Ok(()), fs::create_dir);
    made.or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })
}

fn failed(path: PathBuf, source: io::Error, entry: &Entry, output: &Output<'_>) -> EmitError {
    let Some(unit) = entry.guards() else {
        return EmitError::Write { path, source };
    };
    let unit = unit.to_owned();
    // A link takes no room on a full tmpfs, other than a file.
    match symlink("/dev/null", output.early.join(&unit)) {
        Ok(()) => EmitError::Masked { path, source, unit },
        Err(_) => EmitError::Unguarded { path, source, unit },
    }
}

/// The last good policy couldn't be stored.
#[derive(Debug, thiserror::Error)]
#[error("can't store the policy for a later error in it: {}: {source}", .path.display())]
pub struct LastGoodError {
    path: PathBuf,
    source: io::Error,
}

/// Stores the last good policy below `root`, whole or not at all.
pub fn store_last_good(root: &Path, text: &str) -> Result<(), LastGoodError> {
    let path = root.join(names::LAST_GOOD.trim_start_matches('/'));
    replace(&path, text).map_err(|source| LastGoodError { path, source })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut new: OsString = path.into();
    new.push(format!(".{}", std::process::id()));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
}
