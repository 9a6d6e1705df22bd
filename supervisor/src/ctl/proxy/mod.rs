//! D-Bus interfaces as their clients see them, each in a file of its own.

pub mod fields;
pub mod history;
pub mod manager;
pub mod queue;
pub mod systemd;

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

/// Names of interlockd's own errors begin with it.
pub const ERRORS: &str = "org.interlock.Interlock1.Error.";

/// One row of an answer that may get more fields.
pub type Row = HashMap<String, OwnedVariant>;

/// Options of a request, or what a list is narrowed down by.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// Those options that have a value.
pub fn given<'a, const N: usize>(all: [(&'static str, Option<Variant<'a>>); N]) -> Options<'a> {
    let given = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    given.collect()
}
