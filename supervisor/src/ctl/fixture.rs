//! What tests of texts look from and at: a clock that stands still, and a screen of eighty columns.

use jiff::tz::TimeZone;

use super::clock::Clock;
use super::output::Screen;

/// 2026-03-01 02:03:16 UTC.
pub const NOW: u64 = 1_772_330_596_000_000;

/// Eighty columns that nobody looks at.
pub const SCREEN: Screen = Screen {
    width: Some(80),
    colour: false,
    terminal: false,
};

/// It shows [`NOW`].
pub fn clock() -> Clock {
    Clock::at(NOW, TimeZone::UTC)
}
