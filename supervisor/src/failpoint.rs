//! Points at which tests kill interlockd; nothing at all unless built with the feature `failpoints`.

/// interlockd passes this point of a deployment or a hold. With the feature: counts it, and dies here if
/// `/run/interlock/kill-at` has its number.
pub fn pass(name: &str) {
    #[cfg(feature = "failpoints")]
    counted::pass(name, true);
    let _ = name;
}

/// interlockd passes this point of anything else: a grant, a lease's end, a step of the queue. These count only if
/// `/run/interlock/kill-at` says `any NUMBER`.
pub fn step(name: &str) {
    #[cfg(feature = "failpoints")]
    counted::pass(name, false);
    let _ = name;
}

#[cfg(feature = "failpoints")]
mod counted {
    use std::fs;
    use std::io::Write;
    use std::sync::atomic::{AtomicU64, Ordering};

    const KILL_AT: &str = "/run/interlock/kill-at";
    /// Which points were passed, or with `any` at which ones it died.
    const POINTS: &str = "/run/interlock/points";

    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub fn pass(name: &str, always: bool) {
        let Ok(text) = fs::read_to_string(KILL_AT) else {
            PASSED.store(0, Ordering::Relaxed);
            return;
        };
        let any = text.trim().strip_prefix("any ");
        if any.is_none() && !always {
            return;
        }
        let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        let dies = any.unwrap_or(text.trim()).parse() == Ok(passed);
        // Whoever takes the file away first: this, or who wanted it not to die after all.
        let dies = dies && fs::remove_file(KILL_AT).is_ok();
        if dies || any.is_none() {
            let points = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(POINTS);
            if let Ok(mut points) = points {
                let _ = writeln!(points, "{passed} {name}");
            }
        }
        if dies {
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL);
        }
    }
}
