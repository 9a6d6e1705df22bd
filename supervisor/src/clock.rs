//! The clocks, in microseconds as systemd counts.

use nix::time::{ClockId, clock_gettime};

fn usec(clock: ClockId) -> u64 {
    // These clocks always exist on Linux (clock_gettime(2)).
    let time = clock_gettime(clock).map_or((0, 0), |t| (t.tv_sec(), t.tv_nsec()));
    u64::try_from(time.0).unwrap_or(0) * 1_000_000 + u64::try_from(time.1).unwrap_or(0) / 1000
}

/// Microseconds of `CLOCK_MONOTONIC`.
pub fn monotonic() -> u64 {
    usec(ClockId::CLOCK_MONOTONIC)
}

/// Microseconds since 1970, `CLOCK_REALTIME`.
pub fn realtime() -> u64 {
    usec(ClockId::CLOCK_REALTIME)
}

/// Microseconds of `CLOCK_BOOTTIME`: since boot, sleep included.
pub fn boottime() -> u64 {
    usec(ClockId::CLOCK_BOOTTIME)
}

/// Tells this boot from others (random(4)).
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}
