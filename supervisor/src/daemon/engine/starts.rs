//! What becomes of starts whose jobs end while their gates wait, and of those that lost their gate by an accident.

use interlock_core::arbiter::{Event, Standing};
use interlock_generator::names;
use tokio::time::{Duration, Instant};

use super::super::Notice;
use super::Engine;
use super::runs::Stop;
use crate::gate::protocol::Verdict;
use crate::journal::message;

/// How long after its gate was lost a task's failed start is taken to be due to that.
const LOST_MEMORY: Duration = Duration::from_secs(10);

impl Engine {
    /// A job's end moves waiters on that stood behind it, and may be the end of a wait.
    pub(super) async fn job_removed(&mut self, unit: &str, result: &str) {
        if let Some(task_unit) = names::unit_of_gate(unit) {
            if self.refused.remove(task_unit)
                && let Some(pid1) = &self.pid1
            {
                // Usually collected already (CollectMode=); an error says just that.
                let _ = pid1.reset_failed(unit).await;
            }
            // The end of its start: it is open now, or never will be.
            if result != "done" && self.arbiter.leases().contains_key(task_unit) {
                self.dirty.insert(task_unit.to_owned());
            }
        }
        self.feed(Event::JobGone {
            unit: unit.to_owned(),
        });
        // A running oneshot's start is cancelled by its stop.
        if result == "canceled" {
            self.stop_was_asked(unit, Stop::Asked);
        }
        // A start that came to nothing leaves the gate open for nobody.
        if result != "done" && self.arbiter.leases().contains_key(unit) {
            self.dirty.insert(unit.to_owned());
        }
        let waits = self.arbiter.queue().iter().any(|w| w.unit == unit);
        if waits {
            self.job_of_waiter_removed(unit).await;
        }
        self.rescue_start(unit, result).await;
    }

    /// The start that a gate waits for was cancelled or timed out: nobody needs its gate.
    async fn job_of_waiter_removed(&mut self, unit: &str) {
        let Some((_, Standing::Jobless)) = self.state_and_standing(unit).await else {
            return;
        };
        self.tell(unit, &Verdict::Refuse("the start was cancelled".to_owned()));
        // A start that comes just now finds a gate that ends: see rescue_start.
        self.remember_lost_gate(unit);
        self.refused.insert(unit.to_owned());
        self.gates.remove(unit);
        self.records.remove(unit);
        self.feed(Event::Cancelled {
            unit: unit.to_owned(),
        });
        self.notify(Notice::Changed(unit.to_owned()));
    }

    pub(super) fn remember_lost_gate(&mut self, unit: &str) {
        let now = Instant::now();
        self.lost_gates.retain(|_, at| now - *at < LOST_MEMORY);
        self.lost_gates.insert(unit.to_owned(), now);
    }

    /// A start that failed only because of what became of its gate is queued again: no run is lost by an
    /// accident of ours. Either its gate's process was killed while it waited, or it found the gate still
    /// open after the lease's end (being closed, or of a `RemainAfterExit=` task that was stopped and started),
    /// so that nobody asked for a new lease.
    async fn rescue_start(&mut self, unit: &str, result: &str) {
        // Whatever became of that start: a later one stands for itself. One that was cancelled is the one whose gate was
        // refused, if it was; then it is a later one that meets what is left of that.
        let lost = match result {
            "canceled" => None,
            _ => self.lost_gates.remove(unit),
        };
        let lost = lost.filter(|_| result == "dependency");
        let lost = lost.is_some_and(|at| at.elapsed() <= LOST_MEMORY);
        let unasked = result == "assert"
            && self.met_open_gate(unit).await
            && !self.fails_own_assertion(unit).await;
        if !(lost || unasked) || !self.policy.is_gated(unit) {
            return;
        }
        tracing::warn!(
            message_id = message::RESCUED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "a start of {unit} lost its gate; it is queued again"
        );
        let Some(pid1) = &self.pid1 else {
            return;
        };
        let again = async {
            if unasked {
                pid1.restart(&names::gate_of(unit), "replace").await?;
            }
            pid1.start(unit, "fail").await
        };
        if let Err(error) = again.await {
            tracing::warn!(unit, %error, "cannot queue the start again");
        }
    }

    /// Whether a start that found no lease file found its gate open, or closed by us just now. If not, it went
    /// around its gate (`--job-mode=ignore-dependencies`), and was rightly refused.
    async fn met_open_gate(&mut self, unit: &str) -> bool {
        let closed = self.closing.remove(unit);
        if closed.is_some_and(|at| at.elapsed() <= LOST_MEMORY) {
            return true;
        }
        let (Some(pid1), false) = (&self.pid1, self.arbiter.leases().contains_key(unit)) else {
            return false;
        };
        let gate = pid1.states(vec![names::gate_of(unit)]).await;
        let gate = gate.ok().and_then(|states| states.into_values().next());
        gate.is_some_and(|gate| matches!(gate.active.as_str(), "active" | "deactivating"))
    }

    /// Whether it is another assertion than that of its lease which a unit fails: one of its owner's, who meant it so.
    async fn fails_own_assertion(&self, unit: &str) -> bool {
        let Some(pid1) = &self.pid1 else {
            return false;
        };
        let lease = names::lease_file(unit);
        let other = pid1.fails_other_assertion(unit, &lease).await;
        other.unwrap_or(false)
    }
}
