//! Where output goes: how wide the screen is, whether it takes colour, and what happens when nobody reads it.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use terminal_size::{Width, terminal_size_of};

use super::cli::Form;
use super::clock::Clock;
use super::error::{CtlError, Outcome};

/// What lines must fit when nothing says how wide the screen is.
pub const USUAL_WIDTH: usize = 80;

/// How a text looks where colour is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Of a table.
    Heading,
    /// Goes on as it should.
    Good,
    /// Waits.
    Waiting,
    /// Wants somebody's attention.
    Bad,
    /// Of no interest just now.
    Dim,
}

/// The text in its style (SGR sequences, as console_codes(4)), or as it is.
pub fn paint(text: &str, style: Style, colour: bool) -> String {
    let code = match style {
        _ if !colour || text.is_empty() => return text.to_owned(),
        Style::Plain => return text.to_owned(),
        Style::Heading => "1",
        Style::Good => "32",
        Style::Waiting => "33",
        Style::Bad => "1;31",
        Style::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// What is known of the place where standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Lines must fit so many cells; `None`: any length.
    pub width: Option<usize>,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Whether somebody looks at it.
    pub terminal: bool,
}

impl Screen {
    /// That of standard output; `full` cuts nothing.
    pub fn of_stdout(full: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let size = terminal_size_of(io::stdout()).map(|(Width(cells), _)| usize::from(cells));
        let columns = std::env::var("COLUMNS").ok();
        let no_color = std::env::var_os("NO_COLOR");
        let term = std::env::var_os("TERM");
        Self {
            width: (!full).then(|| screen_width(columns.as_deref(), size)),
            colour: wants_colour(terminal, no_color.as_deref(), term.as_deref()),
            terminal,
        }
    }

    /// How wide prose may be: not wider than is good to read, and unbroken where a program reads it.
    pub fn prose(&self) -> Option<usize> {
        self.terminal
            .then(|| self.width.unwrap_or(USUAL_WIDTH).min(USUAL_WIDTH))
    }
}

fn screen_width(columns: Option<&str>, size: Option<usize>) -> usize {
    let told = columns.and_then(|columns| columns.parse().ok());
    // A serial console tells 0.
    told.or(size)
        .filter(|&cells| cells > 0)
        .unwrap_or(USUAL_WIDTH)
}

fn wants_colour(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    // https://no-color.org: any value but the empty one.
    let refused = no_color.is_some_and(|value| !value.is_empty());
    terminal && !refused && term != Some(OsStr::new("dumb"))
}

/// Writes to standard output. A reader that has gone away (`| head`) has seen enough: that is no error.
pub fn print(text: &str) -> Result<(), CtlError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CtlError::Io {
            what: "can't write to standard output".to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Prints an answer as the options say: as JSON, or as text for people.
pub fn show<T: serde::Serialize>(
    answer: &T,
    args: &Form,
    render: impl FnOnce(&T, &Clock, &Screen) -> String,
) -> Result<Outcome, CtlError> {
    match args.json {
        true => print_json(answer)?,
        false => print(&render(
            answer,
            &Clock::of_host(),
            &Screen::of_stdout(args.full),
        ))?,
    }
    Ok(Outcome::Done)
}

/// A value as JSON, for `--json`.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CtlError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CtlError::Io {
        what: "can't make JSON".to_owned(),
        source: error.into(),
    })?;
    print(&format!("{text}\n"))
}

/// Tells of an error on standard error.
pub fn complain(message: &str) {
    complain_of(&format!("interlockctl: {}\n", super::text::lines(message)));
}

/// Writes this to standard error; there is nobody to tell that it failed.
pub fn complain_of(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let xterm = Some(OsStr::new("xterm"));
        assert!(wants_colour(true, None, xterm));
        assert!(
            wants_colour(true, Some(OsStr::new("")), xterm),
            "an empty NO_COLOR means nothing"
        );
        assert!(!wants_colour(true, Some(OsStr::new("1")), xterm));
        assert!(!wants_colour(false, None, xterm));
        assert!(!wants_colour(true, None, Some(OsStr::new("dumb"))));
    }

    #[test]
    fn the_width_comes_from_columns_then_the_terminal_then_is_eighty() {
        assert_eq!(screen_width(Some("100"), Some(120)), 100);
        assert_eq!(screen_width(None, Some(120)), 120);
        assert_eq!(screen_width(Some("wide"), Some(120)), 120);
        assert_eq!(screen_width(None, Some(0)), 80);
        assert_eq!(screen_width(None, None), 80);
    }

    #[test]
    fn prose_is_broken_only_where_somebody_looks() {
        let mut screen = Screen {
            width: Some(200),
            colour: false,
            terminal: true,
        };
        assert_eq!(screen.prose(), Some(80));
        screen.width = Some(40);
        assert_eq!(screen.prose(), Some(40));
        screen.terminal = false;
        assert_eq!(screen.prose(), None);
    }
}
