//! What each start asks for: claims by the policy, windows that are open, commands with a gate of their own.

use std::collections::BTreeMap;

use interlock_core::arbiter::{Claim, Event, Refusal, Uses};
use interlock_generator::names;
use interlock_generator::policy::settings::{Task, WhenBusy};

use super::super::words;
use super::Engine;
use super::actions::{self, Run};
use crate::clock;
use crate::journal::message;
use crate::pid1::{Pid1, UnitState};

/// A window whose target's job is in PID 1's queue.
#[derive(Debug, Clone, Copy)]
pub struct OpenWindow {
    /// The target's job.
    job: u32,
    /// Since when, microseconds of `CLOCK_MONOTONIC`.
    since: u64,
}

impl Engine {
    /// What a unit asks for when it starts now.
    pub(super) async fn claim_of(
        &mut self,
        unit: &str,
        since: u64,
        state: Option<&UnitState>,
    ) -> Claim {
        let window = self.window_deadline(unit, since, state).await;
        let Some(task) = self.policy.task_of(unit) else {
            let run = self.policy.run(unit);
            return run
                .map(|run| self.policy.claim_of_run(run))
                .unwrap_or_default();
        };
        let mut claim = base_claim(task, unit, since);
        if let Some(over) = window
            && claim.deadline.is_none_or(|deadline| over < deadline)
        {
            claim.deadline = Some(over);
            claim.at_deadline = Refusal::WindowOver;
        }
        if (claim.deadline.is_some() || claim.refuse_if_busy.is_some())
            && self.is_activated_by_event(unit).await
        {
            // A refusal would be tried again at once, until the socket or path unit gives up for good.
            claim.deadline = None;
            claim.refuse_if_busy = None;
        }
        claim
    }

    async fn is_activated_by_event(&self, unit: &str) -> bool {
        self.trigger_of(unit).await.is_some()
    }

    /// The socket or path unit that starts this unit, if one does.
    pub(super) async fn trigger_of(&self, unit: &str) -> Option<String> {
        let triggers = self.pid1.as_ref()?.triggered_by(unit).await;
        let mut triggers = triggers.unwrap_or_default().into_iter();
        triggers.find(|it| it.ends_with(".socket") || it.ends_with(".path"))
    }

    /// When the window that this start belongs to is over, microseconds of `CLOCK_MONOTONIC`.
    ///
    /// The start belongs to it if its job came with the target's (ids grow) and the task hasn't run
    /// since: one that is started by hand meanwhile has a younger run behind it, or an older job.
    async fn window_deadline(
        &mut self,
        unit: &str,
        since: u64,
        state: Option<&UnitState>,
    ) -> Option<u64> {
        let (window, limit) = self.policy.limited_window_of(unit)?;
        let (window, limit) = (window.clone(), words::usec(limit));
        let (own_job, _) = state?.job.as_ref()?;
        let target = self
            .pid1
            .as_ref()?
            .job_of(&names::window_target(&window))
            .await
            .ok()??;
        let known = self.windows.get(&window).copied();
        let open = known
            .filter(|open| open.job == target)
            .unwrap_or(OpenWindow { job: target, since });
        self.windows.insert(window, open);
        let began = clock::realtime().saturating_sub(clock::monotonic().saturating_sub(open.since));
        let ran_since = self
            .history
            .last_start(unit)
            .is_some_and(|start| start > began);
        (*own_job > target && !ran_since).then_some(open.since + limit)
    }

    /// What a command uses that is run behind a gate of its own; PID 1 has it in the unit's environment. Says whether
    /// that is known: until it is, the command must not be taken for one that uses nothing.
    #[must_use]
    pub(super) async fn learn_run(&mut self, pid1: &Pid1, unit: &str) -> bool {
        if !names::is_run(unit) || self.policy.run(unit).is_some() {
            return true;
        }
        let Ok(environment) = pid1.environment(unit).await else {
            return false;
        };
        let Some(uses) = actions::variable(&environment, names::RUN_USES) else {
            return true;
        };
        let one = |word: &str| {
            let (resource, shares) = word.split_once('=')?;
            let capacity = self.policy.settings().resources().get(resource)?.capacity;
            // More than there is would wait for ever.
            let shares = shares.parse::<u32>().ok()?.clamp(1, capacity);
            Some((resource.to_owned(), shares))
        };
        let uses: Uses = uses.split_whitespace().filter_map(one).collect();
        let run = Run::learned(uses, &environment);
        self.policy.learned_run(unit, run);
        if self.arbiter.queue().iter().any(|w| w.unit == unit) {
            // It asked when PID 1 didn't answer.
            self.tell_claims();
        }
        true
    }

    /// That command is over.
    pub(super) fn forget_run(&mut self, unit: &str) {
        self.policy.forget_run(unit);
    }

    /// The arbiter learns what those who hold and who wait need now. A lease may hold more after that.
    pub(super) fn tell_claims(&mut self) {
        let claims = self.current_claims();
        self.feed(Event::Policy {
            capacities: self.capacities(),
            claims,
        });
        self.keep_all_granted();
    }

    fn current_claims(&self) -> BTreeMap<String, Claim> {
        let waiters = self
            .arbiter
            .queue()
            .iter()
            .map(|w| (&w.unit, w.since, Some(&w.claim)));
        let leases = self.arbiter.leases().keys().map(|unit| (unit, 0, None));
        let claims = waiters.chain(leases).filter_map(|(unit, since, old)| {
            let Some(task) = self.policy.task_of(unit) else {
                // A command's claim is its own; a task that lost its policy has none.
                let run = self.policy.run(unit);
                return run.map(|run| (unit.clone(), self.policy.claim_of_run(run)));
            };
            let mut claim = base_claim(task, unit, since);
            // Only at its start was it known whether it belongs to a window, or may be refused at all.
            match old {
                Some(old) if old.at_deadline == Refusal::WindowOver => {
                    claim.deadline = old.deadline;
                    claim.at_deadline = old.at_deadline;
                }
                Some(old) if old.deadline.is_none() => claim.deadline = None,
                _ => {}
            }
            claim.refuse_if_busy = None;
            Some((unit.clone(), claim))
        });
        claims.collect()
    }

    pub(super) fn complain_of_excess(&self) {
        for (resource, capacity) in self.arbiter.capacities() {
            let leases = self.arbiter.leases().values();
            let held: u64 = leases
                .filter_map(|l| l.uses.get(resource))
                .map(|n| u64::from(*n))
                .sum();
            if held > u64::from(*capacity) {
                tracing::warn!(
                    message_id = message::OVER_CAPACITY,
                    resource,
                    "{held} of {resource} are held but its capacity is {capacity}: nothing more is granted until it fits"
                );
            }
        }
    }
}

/// The claim that follows from the policy alone.
fn base_claim(task: &Task, unit: &str, since: u64) -> Claim {
    Claim {
        task: task.name.clone(),
        uses: actions::uses_of(task, unit),
        priority: task.priority,
        refuse_if_busy: match task.when_busy {
            WhenBusy::Queue => None,
            WhenBusy::Skip => Some(Refusal::Skipped),
            WhenBusy::Fail => Some(Refusal::Failed),
        },
        deadline: task.max_wait.map(|wait| since + words::usec(wait)),
        at_deadline: Refusal::WaitedTooLong,
    }
}
