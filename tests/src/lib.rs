//! The testbed: real systemd in a container, and what the integration tests, the demo and the benchmarks share.

pub mod boot;
pub mod case;
pub mod chaos;
pub mod command;
pub mod counter;
pub mod deployment;
pub mod install;
pub mod log;
pub mod machine;
pub mod nested;
pub mod root;
pub mod rpm;
pub mod service;
pub mod timeline;
pub mod tools;
pub mod transaction;
pub mod updates;
pub mod wait;
