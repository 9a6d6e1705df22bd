//! Text made of what means something to systemd, TOML, SQLite, a terminal or a shell.

use arbitrary::Unstructured;

use crate::input::{below, once_in, one_of};

/// What such text is made of.
pub const PIECES: &[&str] = &[
    "%",
    "%%",
    "%n",
    "%i",
    "%h",
    "$",
    "$$",
    "${HOME}",
    "$HOME",
    ";",
    " ; ",
    "\"",
    "'",
    "\\",
    "\\\\",
    "\\\n",
    "\\x20",
    "\\u0000",
    "\n",
    "\r\n",
    "\t",
    "\u{0}",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{ffff}",
    "\u{fdd0}",
    "\u{1b}[2J",
    "\u{202e}",
    "#",
    "[",
    "]",
    "[Service]",
    "\n[Service]\nExecStart=/bin/evil\n",
    "ExecStart=/bin/evil",
    "=",
    ":",
    "@",
    "-",
    "--",
    "+",
    "!",
    "!!",
    "|",
    "~",
    ".",
    "..",
    "/",
    "//",
    "/../",
    ",",
    "*",
    "?",
    "{}",
    "()",
    "`id`",
    " ",
    "  ",
    "\u{a0}",
    "\u{3000}",
    "ü",
    "Ж漢🚂",
    "e\u{301}",
    "a",
    "b",
    "name",
    "/bin/true",
    "root",
    "0",
    "1",
    "-1",
    "65536",
    "99999999999999999999",
    "infinity",
    "true",
    "none",
    "x.service",
    ".timer",
];

/// Some of it, mostly short.
pub fn text(input: &mut Unstructured<'_>) -> String {
    let mut text = String::new();
    for _ in 0..=below(input, 8) {
        match below(input, 10) {
            0 => text.extend(input.arbitrary::<char>()),
            _ => text.push_str(PIECES[below(input, PIECES.len())]),
        }
    }
    if once_in(input, 40) {
        let long = *one_of(input, &[60_usize, 250, 4096, 70_000]);
        text = text.repeat(long / text.len().max(1) + 1);
    }
    text
}

/// `plain`, or something hostile instead, or with something hostile in it.
pub fn instead_of(input: &mut Unstructured<'_>, plain: &str) -> String {
    match below(input, 6) {
        0 => text(input),
        1 => format!("{plain}{}", text(input)),
        2 => format!("{}{plain}", text(input)),
        _ => plain.to_owned(),
    }
}
