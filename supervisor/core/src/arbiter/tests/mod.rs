//! The arbiter's rules, each by example; then all of them under random events.

mod examples;
mod held;
mod leases;
mod properties;
mod serving;
mod unit_share;
