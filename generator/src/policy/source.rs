//! The text of one fragment, and places in it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::settings::Origin;

/// One fragment's text, with the path that messages name.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Byte offset of each line's beginning.
    lines: Vec<usize>,
}

/// A range of bytes in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Index of the source.
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(source: usize, range: Range<usize>) -> Self {
        Self {
            source,
            start: range.start,
            end: range.end,
        }
    }

    /// The beginning of a source, for what is about the file as a whole.
    pub(super) fn whole(source: usize) -> Self {
        Self::new(source, 0..0)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: Span,
}

/// A place for people.
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) text: String,
    pub(super) width: usize,
}

impl Source {
    /// `path` is what messages name; nothing is read.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            path: path.into(),
            text,
            lines,
        }
    }

    /// The path that messages name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line of a byte, from 0.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte) - 1
    }

    /// A line's text without its newline.
    pub(super) fn line(&self, line: usize) -> &str {
        let start = self.lines[line];
        let end = self
            .lines
            .get(line + 1)
            .map_or(self.text.len(), |next| next - 1);
        let text = &self.text[start..end];
        text.strip_suffix('\r').unwrap_or(text)
    }

    pub(super) fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// First byte of a line.
    pub(super) fn start_of(&self, line: usize) -> usize {
        self.lines[line]
    }

    pub(super) fn origin(&self, at: Span) -> Origin {
        Origin {
            path: self.path.clone(),
            line: self.line_of(at.start) + 1,
        }
    }

    pub(super) fn position(&self, at: Span) -> Position {
        let start = self.boundary(at.start);
        let end = self.boundary(at.end).max(start);
        let line = self.line_of(start);
        let text = self.line(line);
        let within = (start - self.lines[line]).min(text.len());
        let until = (end - self.lines[line]).min(text.len());
        Position {
            line: line + 1,
            column: text[..within].chars().count() + 1,
            width: text[within..until].chars().count().max(1),
            text: text.to_owned(),
        }
    }

    /// The byte itself, or the next lower one at which a character begins.
    fn boundary(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        (0..=byte)
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0)
    }
}
