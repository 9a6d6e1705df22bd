//! Finds and reads the fragments.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::diagnostic::Problems;
use super::source::{Source, Span};
use crate::names::POLICY_DIRS;
use crate::rooted;

/// Largest fragment that is read. A thousand tasks take a tenth of it.
pub(super) const SIZE_MAX: u64 = 1024 * 1024;

/// Largest sum of all fragments that are read: boot waits for it. That is some 60,000 tasks, read in two seconds.
pub(super) const SUM_MAX: u64 = 4 * 1024 * 1024;

/// A fragment's text, or why there is none.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: Result<Vec<u8>, String>,
}

/// Where a fragment is, or why that can't be known.
type Found = BTreeMap<OsString, Result<PathBuf, File>>;

/// The fragments that count below `root`, in the order of their names: of files with the same name the one in
/// the highest directory, and none if that is a link to `/dev/null`.
pub(super) fn scan(root: &Path) -> Vec<File> {
    let mut found = Found::new();
    for dir in POLICY_DIRS {
        scan_dir(root, Path::new(dir), &mut found);
    }
    read_all(root, found)
}

/// The fragments of one directory.
pub(super) fn scan_one(dir: &Path) -> Vec<File> {
    let mut found = Found::new();
    scan_dir(Path::new("/"), dir, &mut found);
    if let Err(error) = fs::metadata(dir) {
        found.insert(OsString::new(), Err(unreadable(dir, &error)));
    }
    read_all(Path::new("/"), found)
}

// liboverdrop does much of this, but passes over links and what it can't read in silence. Here a fragment
// that isn't read is a task that isn't guarded, so each has to be told.
fn scan_dir(root: &Path, dir: &Path, found: &mut Found) {
    let entries = rooted::resolve(root, dir).and_then(|real| {
        let names: io::Result<Vec<_>> = fs::read_dir(real)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect();
        names
    });
    let names = match entries {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            found.insert(dir.into(), Err(unreadable(dir, &error)));
            return;
        }
    };
    for name in names {
        let path = dir.join(&name);
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            found.insert(name, Ok(path));
        }
    }
}

/// Reads them in their order, until together they are too large.
fn read_all(root: &Path, found: Found) -> Vec<File> {
    let mut left = SUM_MAX;
    let mut files = Vec::new();
    for each in found.into_values() {
        let path = match each {
            Ok(path) => path,
            Err(unreadable) => {
                files.push(unreadable);
                continue;
            }
        };
        let text = match read(root, &path, left) {
            Ok(None) => continue,
            Ok(Some(bytes)) => Ok(bytes),
            Err(why) => Err(why),
        };
        left -= text.as_ref().map_or(0, |bytes| bytes.len() as u64);
        files.push(File { path, text });
    }
    files
}

fn unreadable(path: &Path, error: &io::Error) -> File {
    File {
        path: path.to_owned(),
        text: Err(format!("can't be read: {error}")),
    }
}

/// A fragment's bytes, of which there may be `left`; `None` if it is a link to `/dev/null`.
fn read(root: &Path, path: &Path, left: u64) -> Result<Option<Vec<u8>>, String> {
    let name_is_plain = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| !name.contains(char::is_control));
    if !name_is_plain {
        return Err("has a name that isn't plain UTF-8 text".to_owned());
    }
    let failed = |error: io::Error| format!("can't be read: {error}");
    let real = rooted::resolve(root, path).map_err(failed)?;
    if real == rooted::resolve(root, Path::new("/dev/null")).map_err(failed)? {
        return Ok(None);
    }
    // Asked before it is opened: opening a FIFO would wait for ever.
    let kind = fs::metadata(&real).map_err(failed)?;
    if !kind.is_file() {
        if fs::canonicalize(&real).is_ok_and(|target| target == Path::new("/dev/null")) {
            return Ok(None);
        }
        return Err("is not a regular file".to_owned());
    }
    let too_large = |size: u64| match size {
        size if size > SIZE_MAX => Some(format!("is larger than {} KiB", SIZE_MAX / 1024)),
        size if size > left => Some(format!(
            "isn't read: with it the policy is larger than {} KiB",
            SUM_MAX / 1024
        )),
        _ => None,
    };
    if let Some(why) = too_large(kind.len()) {
        return Err(why);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(kind.len()).unwrap_or(0) + 1);
    let file = fs::File::open(&real).map_err(failed)?;
    file.take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    // It may have grown meanwhile.
    match too_large(bytes.len() as u64) {
        Some(why) => Err(why),
        None => Ok(Some(bytes)),
    }
}

/// Makes sources of files, and reports those that have no text.
pub(super) fn sources(files: Vec<File>, problems: &mut Problems) -> Vec<Source> {
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        let index = sources.len();
        let text = match file.text.map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                problems
                    .error(Span::new(index, at..at + 3), "this is not UTF-8 text")
                    .help("save the file as UTF-8");
                // Read on in spite of it, to know which tasks it is about. The replacement takes three bytes.
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            }
            Err(why) => {
                problems
                    .error(Span::whole(index), format!("this file {why}"))
                    .help("make it a readable file, or remove it");
                String::new()
            }
        };
        sources.push(Source::new(file.path, text));
    }
    sources
}
