//! The gate: the process of `interlock-gate@UNIT.service`, and what it and interlockd say to each other.
//!
//! One line each way at a time, over the socket of `interlock.socket`:
//!
//! ```text
//! gate:       interlock-gate 1 UNIT
//! interlockd: queued               (heard; from here on the wait may be long)
//! interlockd: status TEXT          (any number of times; shown by systemctl status)
//! interlockd: go                   (the lease is granted)
//! interlockd: refuse TEXT          (the start is given up)
//! ```
//!
//! A closed connection ends the wait, on either side.

pub mod process;
pub mod protocol;
