//! Points at which tests kill interlockd; nothing at all unless built with the feature `failpoints`.

/// interlockd passes this point. With the feature: counts it, and dies here if `/run/interlock/kill-at` says so.
#[cfg(feature = "failpoints")]
pub fn pass(name: &str) {
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};
    const KILL_AT: &str = "/run/interlock/kill-at";
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(text) = std::fs::read_to_string(KILL_AT) else {
        PASSED.store(0, Ordering::Relaxed);
        return;
    };
    let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    let points = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open("/run/interlock/points");
    if let Ok(mut points) = points {
        let _ = writeln!(points, "{passed} {name}");
    }
    if text.trim().parse() == Ok(passed) {
        let _ = std::fs::remove_file(KILL_AT);
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL);
    }
}

/// interlockd passes this point.
#[cfg(not(feature = "failpoints"))]
pub fn pass(_name: &str) {}
