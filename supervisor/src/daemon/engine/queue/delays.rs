//! Delays of retries are kept as times of the clock, which may be set.

use interlock_core::retry;

use super::super::super::words;
use super::super::Engine;
use super::pump::REFUSED;
use crate::clock;
use crate::store::StoreError;

/// The clock was set if it is this far from where it was to be, microseconds.
const STEP: u64 = 1_000_000;

impl Engine {
    /// A delay was counted by a clock that has been set back since, or was when interlockd was away: none is longer
    /// than its attempt's longest.
    pub(super) fn shorten_delays(&mut self, now: u64) -> Result<(), StoreError> {
        let epoch = now.saturating_sub(clock::boottime());
        let same = |before: u64| before.abs_diff(epoch) < STEP;
        if self.queue.epoch.is_some_and(same) {
            return Ok(());
        }
        for (task, attempt) in self.store().delayed()? {
            let settings = self.policy.settings().tasks().get(&task);
            let policy = settings.and_then(|task| task.retry.as_ref());
            let longest = policy.map_or(REFUSED, |policy| {
                // One whose start was refused waits as before the first retry.
                retry::longest_delay(policy, attempt).max(policy.delay)
            });
            let until = now.saturating_add(words::usec(longest));
            self.store().delay_at_most(&task, attempt, until)?;
        }
        self.queue.epoch = Some(epoch);
        Ok(())
    }
}
