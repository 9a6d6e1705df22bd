//! A newcomer that has to wait has those stopped that its policy preempts: `preempts`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::journal::message;

/// How often one is looked at that can't be stopped yet: that it gave a lock back has no event.
const POLL: Duration = Duration::from_secs(1);

/// Who was stopped for others, and who is to be.
#[derive(Debug, Default)]
pub(super) struct Preemption {
    /// Units that were stopped for others: they didn't fail.
    stopped: BTreeSet<String>,
    /// Those that are inside a transaction, with who waits for its end.
    spared: BTreeMap<String, BTreeSet<String>>,
    again: Option<Instant>,
}

impl Preemption {
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Whether it was stopped for another; says so once.
    pub(super) fn forgive(&mut self, unit: &str) -> bool {
        self.spared.remove(unit);
        self.stopped.remove(unit)
    }
}

impl Engine {
    /// A newcomer that has to wait has those stopped that its policy preempts and that hold what it needs, each as
    /// soon as it isn't inside a transaction.
    ///
    /// By stopping the running ones only, never by `Conflicts=`: that would cancel those that wait, and their
    /// runs would be lost.
    pub(super) async fn preempt_for(&mut self, unit: &str) {
        let low = self.preempted_by(unit);
        self.preempt(unit, low).await;
    }

    async fn preempt(&mut self, unit: &str, low: Vec<String>) {
        let Some(pid1) = self.pid1.clone().filter(|_| !low.is_empty()) else {
            return;
        };
        let mut busy = BTreeMap::new();
        let mut groups = BTreeMap::new();
        for holder in &low {
            match pid1.details(holder).await {
                Ok(details) => drop(groups.insert(holder.clone(), details.control_group)),
                Err(error) => {
                    let why = format!("PID 1 doesn't say which processes it has ({error})");
                    busy.insert(holder.clone(), why);
                }
            }
        }
        busy.extend(self.in_transactions(&pid1, &groups).await);
        for holder in low {
            if let Some(why) = busy.get(&holder) {
                let waiting = self.preemption.spared.entry(holder.clone()).or_default();
                if waiting.insert(unit.to_owned()) {
                    tracing::info!(
                        task = self.policy.task_name(&holder),
                        unit = holder,
                        object_systemd_unit = holder,
                        "{holder} isn't stopped for {unit} yet: {why}"
                    );
                }
                self.preempt_later();
                continue;
            }
            self.preemption.spared.remove(&holder);
            tracing::info!(
                message_id = message::PREEMPTED,
                task = self.policy.task_name(&holder),
                unit = holder,
                object_systemd_unit = holder,
                "{holder} is stopped: {unit} waits for what it holds and preempts it"
            );
            if let Err(error) = pid1.stop(&holder, "replace").await {
                tracing::warn!(unit = holder, %error, "cannot stop a preempted task");
            }
            self.run_is_preempted(&holder);
            self.preemption.stopped.insert(holder);
        }
    }

    /// Units that hold what this one waits for, and that it may have stopped.
    fn preempted_by(&self, unit: &str) -> Vec<String> {
        // One that is held would have them stopped for nothing.
        let mut queue = self.arbiter.queue().iter();
        let waits = queue.any(|w| w.unit == unit && w.held.is_none());
        let Some(task) = self
            .policy
            .task_of(unit)
            .filter(|task| waits && !task.preempts.is_empty())
        else {
            return Vec::new();
        };
        let leases = self.arbiter.leases().iter();
        let low = leases.filter(|(holder, lease)| {
            let known = self.policy.task_of(holder);
            known.is_some_and(|known| task.preempts.contains(&known.name))
                && lease
                    .uses
                    .keys()
                    .any(|resource| task.uses.contains_key(resource))
        });
        low.map(|(holder, _)| holder.clone()).collect()
    }

    fn preempt_later(&mut self) {
        self.preemption.again = Some(Instant::now() + POLL);
    }

    /// Looks again at those that were inside a transaction, if it is time.
    pub(super) async fn preempt_again(&mut self) {
        if self.preemption.again.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.preemption.again = None;
        let queue = self.arbiter.queue().iter();
        let waiting: Vec<String> = queue.map(|waiter| waiter.unit.clone()).collect();
        for unit in waiting {
            let mut low = self.preempted_by(&unit);
            low.retain(|holder| self.preemption.spared.contains_key(holder));
            self.preempt(&unit, low).await;
        }
    }
}
