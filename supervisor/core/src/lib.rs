//! What interlockd decides by, without I/O, clock or D-Bus: events and sights come in, actions come out.
//!
//! [`arbiter`] grants leases, [`lease`] says what becomes of them by what PID 1 says of a [`unit`], [`deploy`] sees
//! deployments through, [`deadlock`] finds those that wait for themselves; [`signature`] tells causes of failures apart,
//! [`retry`] says when to try again. The daemon around it makes events of what happens and does what it is told; a model
//! check puts the same code through every interleaving.

pub mod arbiter;
pub mod deadlock;
pub mod deploy;
pub mod ending;
pub mod lease;
pub mod retry;
pub mod signature;
pub mod unit;
