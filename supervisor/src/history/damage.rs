//! A state database that is damaged is put aside before anybody opens it, and a new one is begun with what is whole
//! of it.
//!
//! It is never removed: `state.db.damaged-2026-11-01T02-00-00Z` lies beside the new one until somebody has looked at
//! it (`sqlite3 FILE .recover`) and taken it away. That is what monitoring warns of meanwhile.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::salvage::salvage;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// A file of up to this size is read and checked as a whole at each start, bytes; half a second at most.
const SMALL: u64 = 64 << 20;

/// Puts a damaged database aside. Says where it is now.
pub fn put_aside(path: &Path) -> Option<PathBuf> {
    let why = what_is_wrong(path)?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
    let aside = with(path, &format!(".damaged-{now}"));
    if let Err(error) = fs::rename(path, &aside) {
        tracing::error!(path = %path.display(), %error, "the state database is damaged ({why}), and can't be put aside");
        return None;
    }
    // They belong to it: a new database must not meet them, and what is in them may be wanted.
    for part in ["-wal", "-shm"] {
        let _ = fs::rename(with(path, part), with(&aside, part));
    }
    let _ = fs::remove_file(suspicion(path));
    let outcome = match salvage(&aside, path) {
        Ok(it) if it.lost.is_empty() => "all of its tables are whole".to_owned(),
        Ok(it) if !it.kept.is_empty() => format!(
            "its tables {} are lost, the others are whole",
            it.lost.join(", ")
        ),
        Ok(_) | Err(_) => "history, deployments and queue are lost".to_owned(),
    };
    tracing::error!(
        "the state database {} is damaged ({why}); it is now {}, and a new one is begun: {outcome}",
        path.display(),
        aside.display()
    );
    Some(aside)
}

/// Where the last damaged one lies.
pub fn aside(path: &Path) -> Option<PathBuf> {
    let prefix = with(path, ".damaged-");
    let prefix = prefix.file_name()?.to_str()?;
    let files = fs::read_dir(path.parent()?).ok()?.flatten();
    let mut found: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| {
                name.starts_with(prefix) && !name.ends_with("-wal") && !name.ends_with("-shm")
            })
        })
        .collect();
    found.sort();
    found.pop()
}

/// Whether the file itself is at fault.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// SQLite found damage while interlockd ran: the next start is to look closely.
pub(super) fn suspect(path: &Path) {
    let _ = fs::write(suspicion(path), "");
}

fn what_is_wrong(path: &Path) -> Option<String> {
    let size = fs::metadata(path).ok()?.len();
    if size == 0 {
        // An interlockd that was killed at once leaves an empty file; one with a log of changes was emptied.
        let log = fs::metadata(with(path, "-wal")).map_or(0, |log| log.len());
        return (log > 0).then(|| "it is empty".to_owned());
    }
    let is_suspect = suspicion(path).exists();
    match check(path, size <= SMALL || is_suspect) {
        Ok(None) => {
            let _ = fs::remove_file(suspicion(path));
            None
        }
        Ok(why) => why,
        // Anything else is not the file's fault, perhaps: a full disk, no permission.
        Err(error) => is_damage(&error).then(|| error.to_string()),
    }
}

/// SQLite's own check (https://www.sqlite.org/pragma.html#pragma_quick_check): the whole, or of a large file only
/// what must not be wrong.
fn check(path: &Path, whole: bool) -> rusqlite::Result<Option<String>> {
    // For writing, since a log of changes that was left behind is to be taken in.
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if whole {
        return of_check(&database, "PRAGMA quick_check(1)");
    }
    let mut tables = database.prepare(
        "SELECT name FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('runs', 'skips', 'tallies')",
    )?;
    let tables = tables.query_map([], |row| row.get::<_, String>(0))?;
    for table in tables.collect::<rusqlite::Result<Vec<_>>>()? {
        let wrong = of_check(&database, &format!("PRAGMA quick_check(\"{table}\")"))?;
        if wrong.is_some() {
            return Ok(wrong);
        }
    }
    // Its size must be what its header says.
    let pages: i64 = database.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page: i64 = database.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let last: rusqlite::Result<i64> =
        database.query_row("SELECT coalesce(max(id), 0) FROM runs", [], |row| {
            row.get(0)
        });
    if let Err(error) = last
        && is_damage(&error)
    {
        return Err(error);
    }
    let log = fs::metadata(with(path, "-wal")).map_or(0, |log| log.len());
    let size = fs::metadata(path).map_or(0, |file| file.len());
    Ok(
        (log == 0 && i64::try_from(size).is_ok_and(|size| size < pages * page))
            .then(|| "it is cut off".to_owned()),
    )
}

fn of_check(database: &Connection, sql: &str) -> rusqlite::Result<Option<String>> {
    let found: String = database.query_row(sql, [], |row| row.get(0))?;
    Ok((found != "ok").then(|| found.replace('\n', " ")))
}

fn suspicion(path: &Path) -> PathBuf {
    with(path, ".suspect")
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
