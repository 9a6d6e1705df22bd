//! The testbed: real systemd in a container, and what the integration tests, the demo and the benchmarks share.

pub mod command;
pub mod machine;
pub mod root;
pub mod wait;
