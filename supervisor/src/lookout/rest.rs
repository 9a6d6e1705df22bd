//! For how long processes have done nothing but wait, over several looks.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::processes::Proc;
use crate::process::Stat;

/// Who waits by looking again and again is awake for a moment: asked again after so long, so often.
const BLINK: Duration = Duration::from_millis(10);
const BLINKS: usize = 3;
/// The most of its time that a waiting process spends on a processor: one in so many.
const CPU_SHARE: u64 = 20;
/// Clock ticks that it may have used besides.
const CPU_SLACK: u64 = 3;

/// A process by pid and start time.
type Id = (i32, u64);

/// Since when, and how much of a processor it had used by then.
#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    cpu: u64,
}

/// Who was found waiting at each look since a first one.
#[derive(Debug, Default)]
pub struct Rests {
    resting: BTreeMap<Id, Rest>,
    asked: BTreeSet<Id>,
}

/// How long a process must be seen to wait before it counts as one that does nothing else: shorter than its grace,
/// since it may have begun by reading its configuration.
pub fn least(grace: Duration) -> Duration {
    (grace / 4).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

impl Rests {
    /// Whether a process has done nothing but wait for at least so long; `None` if that can't be seen.
    pub fn see(&mut self, proc: &Proc, stat: &Stat, least: Duration) -> Option<bool> {
        let id = (stat.pid, stat.start_time);
        self.asked.insert(id);
        let mut at_rest = proc.is_at_rest(stat.pid)?;
        for _ in 0..BLINKS {
            if at_rest || !self.resting.contains_key(&id) {
                break;
            }
            thread::sleep(BLINK);
            at_rest = proc.is_at_rest(stat.pid)?;
        }
        Some(self.note(id, at_rest, stat.cpu, proc.ticks_per_second(), least))
    }

    /// Forgets who wasn't asked about since it was last called.
    pub fn end_of_look(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.resting.retain(|id, _| asked.contains(id));
    }

    fn note(&mut self, id: Id, at_rest: bool, cpu: u64, second: u64, least: Duration) -> bool {
        let now = Instant::now();
        if !at_rest {
            self.resting.remove(&id);
            return false;
        }
        let rest = self.resting.entry(id).or_insert(Rest { since: now, cpu });
        let length = now - rest.since;
        let ticks = u64::try_from(length.as_millis()).unwrap_or(u64::MAX) * second / 1000;
        if cpu.saturating_sub(rest.cpu) > CPU_SLACK + ticks / CPU_SHARE {
            // It naps between spells of work.
            *rest = Rest { since: now, cpu };
            return false;
        }
        length >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = (7, 1);

    #[test]
    fn only_who_waits_all_the_time_waits() {
        let mut rests = Rests::default();
        let mut note = |at_rest, cpu| rests.note(ID, at_rest, cpu, 100, Duration::from_millis(0));
        assert!(note(true, 10));
        assert!(note(true, 11));
        assert!(!note(true, 400), "it has worked in between");
        assert!(note(true, 400));
        assert!(!note(false, 400));
    }

    #[test]
    fn a_short_wait_is_none_yet() {
        let mut rests = Rests::default();
        assert!(!rests.note(ID, true, 10, 100, Duration::from_secs(60)));
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut rests = Rests::default();
        rests.asked.insert(ID);
        rests.note(ID, true, 10, 100, Duration::ZERO);
        rests.end_of_look();
        assert!(rests.resting.contains_key(&ID));
        rests.end_of_look();
        assert!(rests.resting.is_empty());
    }
}
