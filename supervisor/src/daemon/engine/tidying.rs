//! The history is tidied now and then, a bite at a time, so that no gate waits long.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;

/// How often; the samples of an hour are as of the last time.
const EVERY: Duration = Duration::from_secs(900);
/// First, since there is enough to do at start.
const AT_FIRST: Duration = Duration::from_secs(20);
/// Between two bites.
const PAUSE: Duration = Duration::from_secs(1);

/// When it is tidied next.
#[derive(Debug)]
pub(super) struct Tidying(Instant);

impl Default for Tidying {
    fn default() -> Self {
        Self(Instant::now() + AT_FIRST)
    }
}

impl Tidying {
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.0)
    }
}

impl Engine {
    pub(super) fn tidy_history(&mut self) {
        let now = Instant::now();
        if now < self.tidying.0 {
            return;
        }
        let is_more = self.history.tidy(self.policy.settings().history());
        self.tidying.0 = now + if is_more { PAUSE } else { EVERY };
    }
}
