//! What the journal has of a run: its last words, and how it ended as PID 1 told it.
//!
//! journalctl(1) reads it, as a child: the journal's format is its own, and its library isn't everywhere. It is told
//! by arguments, never by a shell, and has so long and so much.

mod entry;
mod tail;
mod unit_end;

pub use tail::{last_lines, lines_in};
pub use unit_end::{Since, end_in, end_of};
