//! The arbiter's rules, each by example; then all of them under random events.
