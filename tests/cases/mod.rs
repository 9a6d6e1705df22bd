//! The cases, by subject.

/// Lists a module's cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const CASES: &[crate::runner::Entry] = &[$((stringify!($name), $name)),*];
    };
}

mod attack;
mod change;
mod daemon;
mod gate;
mod gate_unit;
mod golden;
mod lease;
mod order;
mod package;
mod policy;
mod refuse;
mod support;
mod updates;
mod window;

use crate::runner::Entry;

/// All of them, in the order in which they run.
pub fn all() -> Vec<Entry> {
    [
        gate::CASES,
        gate_unit::CASES,
        attack::CASES,
        lease::CASES,
        change::CASES,
        order::CASES,
        refuse::CASES,
        window::CASES,
        policy::CASES,
        daemon::CASES,
        updates::CASES,
        golden::CASES,
        package::CASES,
    ]
    .concat()
}
