//! Starts that operators want skipped are given up at their gates.
//!
//! Each is counted on disk, with the job that it is, before it is given up: if interlockd dies in between, the next
//! one gives that same start up and no other.

use tokio::time::Instant;

use super::super::Engine;
use super::{PAUSE, words};
use crate::clock;
use crate::failpoint::pass;
use crate::pid1::UnitState;
use crate::store::{Hold, HoldKind, SkippedStart};
use interlock_core::arbiter::Event;

impl Engine {
    /// A start has come to its gate. If an operator wants it skipped it is given up; says whether it was.
    pub(in super::super) async fn skip_start(
        &mut self,
        unit: &str,
        state: Option<&UnitState>,
    ) -> bool {
        let Some(hold) = self.holds.of(unit, HoldKind::Skip).next().cloned() else {
            self.holds.uncounted.remove(unit);
            return false;
        };
        let Some(state) = state.filter(|_| self.pid1.is_some()) else {
            // Which start it is only PID 1 knows.
            self.put_skip_off(unit);
            return false;
        };
        // A gate that was started alone stands for no start; what a deployment has stopped, and what systemd restarts
        // by itself, goes on with what was begun before.
        let goes_on = |job: u32| {
            let is_restart =
                state.sub.starts_with("auto-restart") || self.holds.restarts.has(unit, job);
            is_restart || self.is_resumed(unit)
        };
        let Some((job, _)) = state.job.as_ref().filter(|(job, _)| !goes_on(*job)) else {
            self.holds.uncounted.remove(unit);
            return false;
        };
        let start = SkippedStart {
            unit: unit.to_owned(),
            task: self.policy.task_name(unit).to_owned(),
            boot: self.boot.clone(),
            job: *job,
            reason: words::skipped_because(&hold),
            at: clock::realtime(),
        };
        pass("before skip");
        if let Err(error) = self.store().skip(&hold, &start) {
            if self.holds.uncounted.is_empty() {
                tracing::error!(unit, %error, "a start is to be skipped, which can't be written down: it waits until it can");
            }
            self.put_skip_off(unit);
            return false;
        }
        pass("skip counted");
        self.count_down(hold);
        self.holds.uncounted.remove(unit);
        self.feed(Event::Cancelled {
            unit: unit.to_owned(),
        });
        self.give_up_skipped(&start).await;
        self.tell_admission(false);
        true
    }

    fn count_down(&mut self, hold: Hold) {
        let key = hold.key();
        if hold.skips > 1 {
            let skips = hold.skips - 1;
            self.holds.all.insert(key, Hold { skips, ..hold });
        } else {
            self.holds.all.remove(&key);
            self.released(&hold, "all that were to be skipped are");
        }
    }

    async fn give_up_skipped(&mut self, start: &SkippedStart) {
        if !self.give_up_as_skipped(start).await {
            // It is finished later, as if it had been counted by an earlier interlockd.
            self.holds.unfinished.push(start.clone());
            self.holds.retry = Some(Instant::now() + PAUSE);
            return;
        }
        pass("skip told");
        self.store().start_was_skipped(&start.unit);
    }

    /// A gate comes back to this interlockd, whose start was given up meanwhile: it has nothing to wait for.
    pub(in super::super) fn was_given_up(&mut self, unit: &str, state: &UnitState) -> bool {
        let Some(reason) = self.holds.given_up.remove(unit) else {
            return false;
        };
        let is_it = state.job.is_none() && state.is_down();
        if is_it {
            self.refuse_gate(unit, &reason);
            if self.arbiter.leases().contains_key(unit) {
                self.dirty.insert(unit.to_owned());
            }
        }
        is_it
    }

    /// It waits, and isn't granted, until it can be counted.
    fn put_skip_off(&mut self, unit: &str) {
        self.holds.uncounted.insert(unit.to_owned());
        self.holds.retry = Some(Instant::now() + PAUSE);
        self.tell_admission(false);
    }

    pub(super) async fn retry_skips(&mut self) {
        if self.holds.retry.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.holds.retry = None;
        let queue = self.arbiter.queue().iter().map(|waiter| &waiter.unit);
        let waiting: Vec<String> = queue.cloned().collect();
        self.holds.uncounted.retain(|unit| waiting.contains(unit));
        for unit in self.holds.uncounted.clone() {
            self.skip_waiter(&unit).await;
        }
        self.tell_admission(false);
    }

    /// Starts that wait at their gates already are the next ones, in the order of the queue.
    pub(super) async fn skip_waiters(&mut self) {
        let queue = self.arbiter.queue().iter().map(|waiter| &waiter.unit);
        let met = queue.filter(|unit| self.holds.of(unit, HoldKind::Skip).next().is_some());
        for unit in met.cloned().collect::<Vec<_>>() {
            self.skip_waiter(&unit).await;
        }
    }

    async fn skip_waiter(&mut self, unit: &str) {
        let state = self.state_and_standing(unit).await.map(|it| it.0);
        self.skip_start(unit, state.as_ref()).await;
    }

    /// What an earlier interlockd has counted as skipped, and perhaps not given up: that start is, if it still waits.
    pub(in super::super) async fn finish_skips(&mut self) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        for start in std::mem::take(&mut self.holds.unfinished) {
            let job = match start.boot == self.boot {
                true => pid1.job_of(&start.unit).await,
                false => Ok(None),
            };
            match job {
                Err(_) => {
                    self.holds.unfinished.push(start);
                    self.holds.retry = Some(Instant::now() + PAUSE);
                }
                Ok(job) if job == Some(start.job) => {
                    if !self.gates.contains_key(&start.unit) {
                        let unit = start.unit.clone();
                        self.holds.given_up.insert(unit, start.reason.clone());
                    }
                    self.feed(Event::Cancelled {
                        unit: start.unit.clone(),
                    });
                    self.give_up_skipped(&start).await;
                }
                Ok(_) => {
                    // It has been: all that may be missing is the line about it.
                    if !self.history.has_skip(&start.unit, start.at) {
                        let SkippedStart {
                            task,
                            unit,
                            reason,
                            at,
                            ..
                        } = &start;
                        self.history.skipped(task, unit, reason, *at);
                    }
                    self.store().start_was_skipped(&start.unit);
                }
            }
        }
    }
}
