//! Fuzz targets: functions that take any bytes and panic if interlock does with them what it must not.
//!
//! `make test` feeds them the corpus, what once crashed, and new inputs for some seconds; `make fuzz` has libFuzzer
//! do it for as long as it is told. A target asks for more than that nothing panics wherever it can say what must come
//! out: units are read back by a reader of their own, lines that are written are read again.

mod command_line;
mod database;
mod dbus;
mod deployment;
mod failure;
mod gate;
mod hostile;
mod input;
mod journal;
mod locks;
pub mod mutate;
mod policy_text;
mod policy_values;
#[path = "../../../generator/tests/escaping/reader.rs"]
mod reader;
mod units;

pub use hostile::{PIECES, text};
pub use policy_values::string as toml_string;

/// Something that takes bytes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes an input; panics if something is wrong.
    pub run: fn(&[u8]),
    /// Words that mean something to it, for mutations.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    policy_text::TARGET,
    policy_values::TARGET,
    gate::TARGET,
    locks::TARGET,
    dbus::TARGET,
    database::TARGET,
    deployment::TARGET,
    command_line::TARGET,
    failure::TARGET,
    journal::TARGET,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
