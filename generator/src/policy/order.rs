//! Finds orders that contradict each other.

use super::validate::Context;

pub(super) fn check(_: &mut Context<'_>) {}
