//! The policy language: fragments, then merged inputs, then validated [`settings`].

pub mod settings;
