//! A retry that somebody takes back by `systemctl stop` of the unit, as one of systemd's own (`Restart=`) is taken back.
//!
//! The unit is at rest already, so that the stop's job does nothing and is gone before PID 1 could be asked what it was.
//! A start is seen at its gate, and a `try-restart`, which does nothing there either, is no job of the unit's own: its
//! id is never in the unit's `Job` property.

use std::collections::VecDeque;

use super::super::Engine;
use crate::journal::message;
use crate::store::{Kind, Outcome};

/// The two signals about one job come soon after each other, in no order that could be relied on.
const KEPT: usize = 256;

/// Jobs of units at rest.
#[derive(Debug, Default)]
pub(super) struct IdleJobs {
    /// The last that units had.
    had: VecDeque<u32>,
    /// The last that are done, with their units, of which nothing came.
    done: VecDeque<(u32, String)>,
}

impl IdleJobs {
    /// A unit at rest has this job. Gives the unit, if the job is known to be done.
    fn has(&mut self, id: u32) -> Option<String> {
        keep(&mut self.had, id);
        let at = self.done.iter().position(|(done, _)| *done == id)?;
        self.done.remove(at).map(|(_, unit)| unit)
    }

    /// This job is done. Says whether the unit is known to have had it.
    fn is_done(&mut self, id: u32, unit: &str) -> bool {
        let was_had = self.had.contains(&id);
        if !was_had {
            keep(&mut self.done, (id, unit.to_owned()));
        }
        was_had
    }
}

fn keep<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() >= KEPT {
        all.pop_front();
    }
    all.push_back(one);
}

impl Engine {
    /// A unit at rest has this job.
    pub(in super::super) async fn idle_unit_has_job(&mut self, id: u32) {
        if let Some(unit) = self.queue.idle_jobs.has(id) {
            self.take_retry_back(&unit).await;
        }
    }

    /// A job of a unit has ended: it may have been a stop of one whose retry is pending.
    pub(in super::super) async fn idle_job_removed(&mut self, unit: &str, id: u32, result: &str) {
        if result == "done"
            && self.pending_retry(unit).is_some()
            && self.queue.idle_jobs.is_done(id, unit)
        {
            self.take_retry_back(unit).await;
        }
    }

    /// The entry of the queue that tries again what has failed, if nobody has started the unit meanwhile.
    fn pending_retry(&mut self, unit: &str) -> Option<u64> {
        let has_begun = self.live_units().any(|live| live == unit)
            || self.queue.in_flight.contains_key(unit)
            || !self.policy.is_gated(unit);
        if has_begun {
            return None;
        }
        let entry = self.store().waiting(unit).ok().flatten()?;
        (entry.kind == Kind::Retry || entry.attempt > 1).then_some(entry.id)
    }

    async fn take_retry_back(&mut self, unit: &str) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        // The host's shutdown isn't an operator's word about this unit.
        if pid1.is_stopping().await.unwrap_or(true) {
            return;
        }
        let state = pid1.states(vec![unit.to_owned()]).await;
        let state = state.ok().and_then(|states| states.into_values().next());
        let rests = state.is_some_and(|state| state.is_down() && state.job.is_none());
        let Some(entry) = self.pending_retry(unit).filter(|_| rests) else {
            return;
        };
        tracing::info!(
            message_id = message::SUBMITTED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "{unit} is not tried again: somebody has stopped it"
        );
        self.entry_is_over(entry, Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_signals_of_a_job_are_needed_in_any_order() {
        let mut jobs = IdleJobs::default();
        assert_eq!(jobs.has(1), None);
        assert!(jobs.is_done(1, "a.service"));
        assert!(!jobs.is_done(2, "b.service"));
        assert_eq!(jobs.has(2).as_deref(), Some("b.service"));
        assert_eq!(jobs.has(2), None);
    }

    #[test]
    fn a_job_that_no_unit_had_is_no_stop_and_is_forgotten() {
        let mut jobs = IdleJobs::default();
        for id in 0..1000 {
            assert!(!jobs.is_done(id, "a.service"));
        }
        assert_eq!((jobs.done.len(), jobs.has(1)), (KEPT, None));
    }
}
