//! Freezing a task's processes, so that whatever happens to interlockd they are thawed again.
//!
//! PID 1's `FreezeUnit` refuses a oneshot that runs, so `cgroup.freeze` of the task's own control group is written.
//! A marker below `/run/interlock/frozen` is there for as long as it may say 1, whatever becomes of the database.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use interlock_generator::names;

use crate::cgroup;
use crate::failpoint::pass;

mod rescue;

pub use rescue::watch;

/// Freezes a unit's processes; [`cgroup::is_frozen`] says when they stand still.
///
/// # Errors
/// If it can't be done here; nothing is frozen then.
pub fn freeze(unit: &str, control_group: &str) -> io::Result<()> {
    let Some(file) = cgroup::freezer(control_group) else {
        return Err(io::Error::new(
            ErrorKind::Unsupported,
            "its control group has no cgroup.freeze",
        ));
    };
    mark(unit, control_group)?;
    if let Err(error) = write(&file, "1") {
        unmark(unit);
        return Err(error);
    }
    rescue::watch();
    Ok(())
}

/// Thaws what [`freeze`] froze. No error if there is nothing to thaw.
pub fn thaw(unit: &str) {
    let marker = names::frozen_file(unit);
    let control_group = match fs::read_to_string(&marker) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::error!(unit, %error, "cannot read {marker}");
            }
            return;
        }
    };
    pass("before thaw");
    if let Some(file) = cgroup::freezer(&control_group)
        && let Err(error) = write(&file, "0")
        // The group may go at any moment.
        && cgroup::freezer(&control_group).is_some()
    {
        tracing::error!(unit, %error, "cannot thaw {control_group}");
        return;
    }
    pass("after thaw");
    unmark(unit);
}

/// The units that are frozen, or may be.
pub fn marked() -> Vec<String> {
    let Ok(files) = fs::read_dir(names::FROZEN_DIR) else {
        return Vec::new();
    };
    let files = files.flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn mark(unit: &str, control_group: &str) -> io::Result<()> {
    fs::create_dir_all(names::FROZEN_DIR)?;
    // Whole or not at all: a marker without its group would thaw nothing.
    let draft = format!("{}/.draft", names::FROZEN_DIR);
    let mut file = fs::File::create(&draft)?;
    file.write_all(control_group.as_bytes())?;
    fs::rename(draft, names::frozen_file(unit))
}

fn unmark(unit: &str) {
    let _ = fs::remove_file(names::frozen_file(unit));
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}
