//! How fast a batch comes along, by its last ends.

use std::collections::VecDeque;

/// How many of a batch's last ends its estimate is made from.
const ENDS: usize = 256;

/// When entries of a batch ended, microseconds of `CLOCK_MONOTONIC`: the other clock may be set meanwhile.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<u64>);

impl Pace {
    /// One more has ended.
    pub(super) fn count(&mut self, at: u64) {
        self.0.push_back(at);
        if self.0.len() > ENDS {
            self.0.pop_front();
        }
    }

    /// Microseconds from one end to the next; none if there are too few to say.
    pub(super) fn each(&self, now: u64) -> Option<u64> {
        if self.0.len() < 2 {
            return None;
        }
        now.checked_sub(*self.0.front()?)?
            .checked_div(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_make_a_pace() {
        let mut pace = Pace::default();
        assert_eq!(pace.each(50), None);
        pace.count(10);
        assert_eq!(pace.each(50), None);
        pace.count(30);
        assert_eq!(pace.each(50), Some(20));
    }

    #[test]
    fn old_ends_say_nothing() {
        let mut pace = Pace::default();
        pace.count(0);
        for end in 1..=ENDS as u64 {
            pace.count(1_000_000 + end * 10);
        }
        assert_eq!(pace.each(1_000_000 + ENDS as u64 * 10), Some(9));
    }
}
