//! `lock-files` of a resource: the locks by which others may hold it.

use toml::de::DeValue;

use super::fragment::has;
use super::reader::{Reader, Value};
use super::settings::{LockFile, LockKind};

/// Keys of an element of `lock-files`.
pub const LOCK_FILE_KEYS: &[&str] = &["path", "kind", "comm"];

const LOCK_KINDS: [(&str, LockKind); 5] = [
    ("posix", LockKind::Posix),
    ("ofd", LockKind::Ofd),
    ("flock", LockKind::Flock),
    ("pidfile", LockKind::Pidfile),
    ("toml", LockKind::Toml),
];

const LOCK_FILES_EXAMPLE: &str = "lock-files = [{ path = \"/path/to/lock\", kind = \"flock\" }]";

/// Longest comm that the kernel keeps (`TASK_COMM_LEN` less its NUL).
const COMM_MAX: usize = 15;

/// Reads them all.
pub(super) fn read(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<LockFile> {
    let Some(items) = reader.array(key, value, LOCK_FILES_EXAMPLE) else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| lock_file(reader, key, item))
        .collect()
}

fn lock_file(reader: &mut Reader<'_>, key: &str, item: &Value<'_>) -> Option<LockFile> {
    if let DeValue::String(path) = item.get_ref() {
        let at = reader.span(item);
        reader
            .problems
            .error(at, "a lock file needs its kind")
            .help(format!("write {{ path = \"{path}\", kind = \"flock\" }}"));
        return None;
    }
    let table = reader.table(key, item, LOCK_FILES_EXAMPLE)?;
    let (mut path, mut kind, mut comm) = (None, None, None);
    let before = reader.problems.len();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "path" => path = reader.path(name, value),
            "kind" => kind = reader.one_of(name, value, &LOCK_KINDS),
            "comm" => comm = reader.string(name, value),
            _ => reader.unknown_key(key, LOCK_FILE_KEYS, "a lock file"),
        }
    }
    let at = reader.span(item);
    for (name, help) in [
        ("path", "path = \"/path/to/lock\""),
        ("kind", "kind = \"flock\""),
    ] {
        if !has(table, name) {
            reader
                .problems
                .error(at, format!("a lock file needs \"{name}\""))
                .help(format!("add {help}"));
        }
    }
    if let (Some(comm), Some(kind)) = (&comm, &kind)
        && kind.value != LockKind::Pidfile
    {
        reader
            .problems
            .error(
                comm.at,
                "\"comm\" is only for pid files: other locks name their holder themselves",
            )
            .note(kind.at, "the kind is set here")
            .help("remove it, or write kind = \"pidfile\"");
    }
    if let Some(comm) = comm.as_ref().filter(|comm| comm.value.len() > COMM_MAX) {
        let cut: String = comm.value.chars().take(COMM_MAX).collect();
        reader
            .problems
            .error(
                comm.at,
                format!(
                    "no process name contains \"{}\": they end at 15 bytes",
                    comm.value
                ),
            )
            .help(format!("write \"{cut}\""));
    }
    (reader.problems.len() == before).then_some(())?;
    Some(LockFile {
        path: path?.value.into(),
        kind: kind?.value,
        comm: comm.map(|comm| comm.value),
    })
}
