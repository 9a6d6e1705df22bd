//! Starts that are given up: by the policy's limits, or by an operator's word.

use interlock_core::arbiter::{Action, Refusal};

use super::super::{Notice, words};
use super::{Engine, OperatorEvent};
use crate::clock;
use crate::failpoint::step;
use crate::gate::protocol::Verdict;
use crate::journal::message;
use crate::pid1::is_refusal;
use crate::store::SkippedStart;

impl Engine {
    /// The arbiter's refusal: the job goes first, so that nothing fails with the gate.
    pub(super) async fn refuse(&mut self, unit: &str, why: Refusal) {
        // PID 1 hadn't answered, and a later start of it waits, which isn't refused.
        if self.arbiter.queue().iter().any(|w| w.unit == unit) {
            return;
        }
        let view = self.refusal_reason(unit, why);
        step("before refusal");
        if !self.turn_away(unit, &view, why == Refusal::Failed).await {
            let unit = unit.to_owned();
            return self.unanswered.push(Action::Refuse { unit, why });
        }
        step("after refusal");
        let task = self.policy.task_name(unit).to_owned();
        self.history.skipped(&task, unit, &view, clock::realtime());
        self.start_was_refused(unit);
        self.tell_of_refusal(task, unit, view);
    }

    /// The start of an operator's choice is given up for good, also if the queue had started it. Says whether PID 1 has
    /// answered; nothing is done if not.
    #[must_use]
    pub(super) async fn give_up_as_skipped(&mut self, start: &SkippedStart) -> bool {
        let SkippedStart {
            task,
            unit,
            reason,
            at,
            ..
        } = start;
        if !self.turn_away(unit, reason, false).await {
            return false;
        }
        // An earlier interlockd may have come as far as this.
        if !self.history.has_skip(unit, *at) {
            self.history.skipped(task, unit, reason, *at);
        }
        self.start_was_unwanted(unit);
        self.tell_of_refusal(task.clone(), unit, reason.clone());
        if self.arbiter.leases().contains_key(unit) {
            // One that was only presumed, or taken back.
            self.dirty.insert(unit.clone());
        }
        true
    }

    /// Its job goes, unless it is to fail, and then its gate. Says whether PID 1 has answered: the start would fail if its
    /// gate went first.
    async fn turn_away(&mut self, unit: &str, view: &str, fails: bool) -> bool {
        if !fails {
            let Some(pid1) = self.pid1.clone() else {
                return false;
            };
            let Ok(job) = pid1.job_of(unit).await else {
                return false;
            };
            match job {
                None => {}
                Some(job) => match pid1.cancel_job(job).await {
                    Ok(()) => {}
                    Err(error) if is_refusal(&error) => {
                        tracing::warn!(unit, %error, "cannot cancel the job of a refused start");
                    }
                    Err(_) => return false,
                },
            }
            // A start that comes just now meets a gate that ends: see rescue_start.
            self.remember_lost_gate(unit);
        }
        step("refused start cancelled");
        self.refuse_gate(unit, view);
        tracing::warn!(
            message_id = message::REFUSED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "a start of {unit} was given up: {view}"
        );
        true
    }

    /// Nobody needs it any more.
    pub(super) fn refuse_gate(&mut self, unit: &str, view: &str) {
        self.tell(unit, &Verdict::Refuse(view.to_owned()));
        self.refused.insert(unit.to_owned());
        self.gates.remove(unit);
        self.records.remove(unit);
    }

    fn tell_of_refusal(&mut self, task: String, unit: &str, view: String) {
        self.tell_operators(&OperatorEvent::Skipped {
            task: task.clone(),
            unit: unit.to_owned(),
            reason: view.clone(),
            in_a_row: self.history.skips_in_a_row(unit),
        });
        self.notify(Notice::Skipped {
            task,
            unit: unit.to_owned(),
            reason: view,
        });
        self.notify(Notice::Changed(unit.to_owned()));
    }

    fn refusal_reason(&mut self, unit: &str, why: Refusal) -> String {
        let locks = self.locked_out_by(unit);
        let busy = locks.unwrap_or_else(|| self.busy_with(unit));
        let task = self.policy.task_of(unit);
        match why {
            Refusal::Skipped => format!("{busy}, and its policy says when-busy = \"skip\""),
            Refusal::Failed => format!("{busy}, and its policy says when-busy = \"fail\""),
            Refusal::WaitedTooLong => format!(
                "it waited longer than max-wait = {}",
                words::duration(task.and_then(|t| t.max_wait).map_or(0, words::usec))
            ),
            Refusal::WindowOver => {
                let window = self.policy.limited_window_of(unit);
                format!(
                    "its window {} was over before it could start",
                    window.map_or("", |w| w.0.as_str())
                )
            }
        }
    }
}
