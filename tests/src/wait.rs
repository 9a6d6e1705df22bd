//! Waiting for a condition with a deadline; nothing in the testbed sleeps for a guessed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const PERIOD: Duration = Duration::from_millis(10);

/// The deadline of a condition that should hold in a moment.
///
/// Generous, since the machine may be slow and busy; reached only when a test fails.
pub const SOON: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value; an error of `condition` ends the wait.
///
/// # Errors
///
/// When `deadline` has passed, naming `what` was waited for.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if began.elapsed() > deadline {
            bail!(
                "waited {:.1} s in vain for: {what}",
                began.elapsed().as_secs_f64()
            );
        }
        std::thread::sleep(PERIOD);
    }
}
