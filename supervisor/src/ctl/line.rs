//! A line on a terminal that says how far something is.

use std::io::{self, IsTerminal, Write};

use super::output::{self, Screen};
use super::text;

/// One line on a terminal, written over and over.
pub struct Line {
    cells: Option<usize>,
    dirty: bool,
}

impl Line {
    /// That of standard error, if somebody looks at it.
    pub fn on_stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let shown = io::stderr().is_terminal() && !dumb;
        // One cell less, so that the cursor doesn't wrap to the next line.
        let cells = Screen::of_stdout(false)
            .width
            .unwrap_or(output::USUAL_WIDTH)
            .saturating_sub(1);
        Self {
            cells: shown.then_some(cells),
            dirty: false,
        }
    }

    /// Whether somebody looks at it.
    pub fn shown(&self) -> bool {
        self.cells.is_some()
    }

    /// Writes it anew.
    pub fn show(&mut self, line: &str) {
        let Some(cells) = self.cells else { return };
        let mut stderr = io::stderr().lock();
        let line = text::fit(&text::one_line(line), cells);
        // EL: the rest of the old line goes.
        let _ = write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush());
        self.dirty = true;
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.dirty) {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
        }
    }
}
