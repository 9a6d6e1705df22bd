//! The policy language of interlock, and what it compiles to.
//!
//! Data flows one way: [`policy`] reads TOML fragments and makes validated [`policy::settings::Settings`]
//! of them; the plan turns settings into unit files; the generator's `main` writes those into the
//! directories that systemd gave it (systemd.generator(7)).

pub mod emit;
pub mod host;
pub mod kmsg;
pub mod names;
pub mod plan;
pub mod policy;
pub mod rooted;
pub mod unitfile;
