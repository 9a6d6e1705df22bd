//! How the last good policy is kept: the texts of its fragments, one after the other in one file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use super::source::Source;

const TITLE: &str =
    "# The last policy without errors, kept by interlock-generator. Not to be edited.\n";
const MARK: &str = "#=== ";

/// The text to keep for these fragments.
pub(super) fn write(sources: &[Source]) -> String {
    let size: usize = sources.iter().map(|source| source.text().len() + 100).sum();
    let mut out = String::with_capacity(TITLE.len() + size);
    out.push_str(TITLE);
    for source in sources {
        // The length says where a text ends, whatever is in it.
        let (length, path) = (source.text().len(), source.path().display());
        out.push_str(&format!("{MARK}{length} {path}\n"));
        out.push_str(source.text());
        out.push('\n');
    }
    out
}

/// The fragments in a kept text by their file names. What isn't as we wrote it is left out.
pub(super) fn read(kept: &str) -> BTreeMap<String, Source> {
    let mut all = BTreeMap::new();
    let mut rest = kept.strip_prefix(TITLE).unwrap_or_default();
    while let Some((source, after)) = fragment(rest) {
        rest = after;
        if let Some(name) = source.path().file_name().and_then(OsStr::to_str) {
            all.insert(name.to_owned(), source);
        }
    }
    all
}

fn fragment(text: &str) -> Option<(Source, &str)> {
    let (head, rest) = text.split_once('\n')?;
    let (length, path) = head.strip_prefix(MARK)?.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let (body, rest) = (rest.get(..length)?, rest.get(length..)?);
    Some((
        Source::new(PathBuf::from(path), body),
        rest.strip_prefix('\n')?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again_whatever_is_in_it() {
        let texts = [
            "",
            "#=== 3 /x.toml\n",
            "a = 1\n\n",
            "no newline",
            "\u{fc}\r\n",
        ];
        let sources: Vec<Source> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                Source::new(format!("/etc/interlock/policy.d/{index} a.toml"), *text)
            })
            .collect();
        let read = read(&write(&sources));
        let again: Vec<&str> = read.values().map(Source::text).collect();
        assert_eq!(again, texts);
        assert_eq!(read["0 a.toml"].path(), sources[0].path());
    }

    #[test]
    fn a_damaged_file_gives_what_is_whole() {
        let kept = write(&[
            Source::new("/a.toml", "x = 1"),
            Source::new("/b.toml", "y = 2"),
        ]);
        assert_eq!(read(&kept[..kept.len() - 3]).len(), 1);
        assert!(read("").is_empty());
        assert!(read("[resources.x]\n").is_empty());
        assert!(read(&format!("{TITLE}{MARK}99999999999999999999999 /a\nx")).is_empty());
    }
}
