//! The supervisor.

pub mod ctl;
