//! What follows from a run's end.

use std::hash::{BuildHasher, RandomState};

use interlock_core::ending::End;
use interlock_core::retry::{self, Verdict};
use interlock_core::signature::{self, Signature};
use interlock_generator::names;

use super::super::super::words;
use super::super::{Engine, OperatorEvent};
use super::examine::{Examined, Work};
use super::result::{Circumstances, Interruption, Meaning, end_of, meaning_of};
use super::{Conclusion, Ended, Run, Stop};
use crate::clock;
use crate::failpoint::step;
use crate::journal::message;
use crate::logs::Since;
use crate::pid1::RunOutcome;
use crate::store::{Entry, Kind, Outcome, State};

impl Engine {
    /// Asks how runs ended whose leases are over.
    pub(in super::super) async fn conclude_runs(&mut self) {
        while let Some(ended) = self.runs.ended.pop() {
            self.pulse.beat();
            self.conclude_run(ended).await;
        }
    }

    /// Before a new run of the unit makes PID 1 forget the last.
    pub(in super::super) async fn conclude_runs_of(&mut self, unit: &str) {
        while let Some(at) = self.runs.ended.iter().position(|it| it.unit == unit) {
            let ended = self.runs.ended.swap_remove(at);
            self.conclude_run(ended).await;
        }
    }

    async fn conclude_run(&mut self, ended: Ended) {
        let interruption = self.interruption_of(&ended.unit, &ended.run).await;
        let known = Circumstances {
            granted_monotonic: ended.run.granted_monotonic,
            at: ended.at,
            stop: ended.run.stop,
            interruption: interruption.as_ref(),
        };
        let outcome = match self.pid1.clone() {
            None => None,
            Some(pid1) => {
                let outcome = pid1.outcome(&ended.unit).await.ok();
                let _ = pid1.unref_unit(&ended.unit).await;
                // What was never run has no invocation.
                outcome.filter(|it| !it.invocation.is_empty() || it.unmet.is_some())
            }
        };
        // Unloaded already, since it ran when interlockd had just come; or reset: the journal knows.
        let is_known =
            interruption.is_some() || outcome.as_ref().is_some_and(|it| !is_forgiven(it));
        let restarts_itself = outcome
            .as_ref()
            .is_some_and(|it| it.sub.starts_with("auto-restart"));
        let end = match outcome {
            Some(outcome) => end_of(&outcome, known),
            None if interruption.is_some() => End {
                result: "interrupted".to_owned(),
                ..unknown_end(ended.at)
            },
            None => unknown_end(ended.at),
        };
        if let (Some(by), Some(run), "interrupted") =
            (&interruption, ended.run.id, end.result.as_str())
        {
            self.history.interrupted(run, by.text());
        }
        let conclusion = Conclusion {
            unit: ended.unit,
            task: ended.task,
            run: ended.run.id,
            entry: ended.run.entry,
            attempt: ended.run.attempt.max(1),
            not_after: ended.not_after,
            end,
            restarts_itself,
        };
        if is_known {
            self.conclude(conclusion);
        } else {
            let since = Since {
                realtime: ended.granted,
                monotonic: ended.run.since,
            };
            self.examine(Work::End(conclusion, since, ended.run.stop));
        }
    }

    fn examine(&self, work: Work) {
        // Only fails while interlockd ends.
        let _ = self.runs.examiner.send(work);
    }

    /// What else than an operator has ended a run, if something has.
    pub(super) async fn interruption_of(&mut self, unit: &str, run: &Run) -> Option<Interruption> {
        if let Some(deployment) = self.interrupted_by_deployment(unit) {
            return Some(Interruption::Deployment(deployment));
        }
        if run.preempted {
            return Some(Interruption::CutOff("preemption"));
        }
        if run.stop == Stop::No {
            return None;
        }
        let is_stopping = match &self.pid1 {
            Some(pid1) => pid1.is_stopping().await.unwrap_or(false),
            None => false,
        };
        is_stopping.then_some(Interruption::CutOff("shutdown"))
    }

    pub(super) fn conclude(&mut self, it: Conclusion) {
        let meaning = meaning_of(&it.end.result);
        // The queue first: it says what is still to be done.
        match (meaning, &it.entry) {
            (Meaning::Success, Some(entry)) => self.entry_is_over(entry.id, Outcome::Done),
            (Meaning::Given, Some(entry)) if it.end.result == "stopped" => {
                self.entry_is_over(entry.id, Outcome::Cancelled);
            }
            (Meaning::Given, Some(entry)) => self.entry_is_over(entry.id, Outcome::Done),
            (Meaning::Repeat, Some(entry)) => {
                self.entry_runs_again(Entry {
                    not_before: 0,
                    ..entry.clone()
                });
            }
            (Meaning::Repeat, None) if self.is_repeated(&it) => {
                self.try_again(&it, it.attempt, clock::realtime(), Vec::new());
            }
            (Meaning::Failure, _) | (_, None) => {}
        }
        if let Some(run) = it.run {
            let recovers = meaning == Meaning::Success && self.history.has_failed(&it.unit);
            let hard = recovers && self.history.is_hard(&it.unit);
            step("before end is kept");
            self.history.ended(run, &it.end);
            if recovers {
                self.tell_operators(&OperatorEvent::Recovered {
                    task: it.task.clone(),
                    unit: it.unit.clone(),
                    hard,
                });
            }
        }
        if meaning == Meaning::Failure {
            self.examine(Work::LastLines(it));
        }
    }

    /// The journal was asked.
    pub(in super::super) fn examined(&mut self, examined: Examined) {
        match examined {
            Examined::End(it) => self.conclude(it),
            Examined::LastLines(it, lines) => self.judge_failure(&it, &lines),
        }
    }

    /// The last lines of a failed run are known: its cause, and whether it is tried again.
    fn judge_failure(&mut self, it: &Conclusion, lines: &[String]) {
        let signature = signature::of(&it.task, &it.unit, &it.end, lines);
        let task = self.policy.task_of(&it.unit).cloned();
        let rules = self.policy.settings().failures();
        let class = match self.history.class_of(&signature.key) {
            Some(class) => Some((class, "an operator".to_owned())),
            None => signature::classify(rules, &it.task, &it.end, lines)
                .map(|(rule, class)| (class, format!("rule {rule}"))),
        };
        let mut signatures = it.entry.as_ref().map(|e| e.signatures.clone());
        let streak = signatures.get_or_insert_default();
        streak.push(signature.key.clone());
        let failure = retry::Failure {
            policy: task
                .as_ref()
                .filter(|task| task.gated)
                .and_then(|task| task.retry.as_ref()),
            class,
            attempt: it.attempt,
            signatures: streak,
            restarts_itself: it.restarts_itself,
        };
        let verdict = self.within_window(it, retry::decide(&failure, jitter(&it.unit)));
        let signatures = std::mem::take(streak);
        match &verdict {
            Verdict::Again { after, .. } => {
                let not_before = clock::realtime().saturating_add(words::usec(*after));
                self.try_again(it, it.attempt + 1, not_before, signatures);
            }
            Verdict::Hard { .. } => {
                if let Some(entry) = &it.entry {
                    self.entry_is_over(entry.id, Outcome::Failed);
                }
            }
        }
        self.tell_failure(it, &signature, &verdict);
    }

    /// A retry that its window doesn't leave time for isn't made.
    fn within_window(&self, it: &Conclusion, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Again { after, .. }
                if it.not_after > 0
                    && clock::realtime().saturating_add(words::usec(after)) > it.not_after =>
            {
                Verdict::Hard {
                    why: "its window is over before it could be tried again".to_owned(),
                }
            }
            verdict => verdict,
        }
    }

    /// Whether a run that nobody had submitted is made good for after it was cut off: by preemption, shutdown or a
    /// loss of power. What a deployment has stopped, it starts again itself, or leaves to its schedule.
    fn is_repeated(&self, it: &Conclusion) -> bool {
        let task = self.policy.task_of(&it.unit);
        task.is_some_and(|task| task.gated && task.retry.is_some())
            && (it.not_after == 0 || clock::realtime() < it.not_after)
            && self.interrupted_by_deployment(&it.unit).is_none()
    }

    fn try_again(
        &mut self,
        it: &Conclusion,
        attempt: u32,
        not_before: u64,
        signatures: Vec<String>,
    ) {
        match &it.entry {
            Some(entry) => self.entry_runs_again(Entry {
                not_before,
                not_after: it.not_after,
                attempt,
                signatures,
                ..entry.clone()
            }),
            None => self.add_retry(Entry {
                unit: it.unit.clone(),
                task: it.task.clone(),
                state: State::Delayed,
                kind: Kind::Retry,
                by: "interlock".to_owned(),
                at: clock::realtime(),
                not_before,
                not_after: it.not_after,
                attempt,
                signatures,
                ..Entry::default()
            }),
        }
    }

    fn tell_failure(&mut self, it: &Conclusion, signature: &Signature, verdict: &Verdict) {
        let (hard, line) = match verdict {
            Verdict::Again { after, why } => {
                let after = words::duration(words::usec(*after));
                (false, format!("{why}; tried again in {after}"))
            }
            Verdict::Hard { why } => (true, why.clone()),
        };
        // A command's unit never comes back: nobody could ever mend it.
        let lasts = hard && !names::is_run(&it.unit);
        let known = it.run.map(|run| {
            self.history
                .examined(run, signature, it.attempt, &line, lasts)
        });
        let count = known.map_or(1, |known| known.count);
        let message_id = if hard {
            message::FAILED
        } else {
            message::RETRIED
        };
        tracing::warn!(
            message_id,
            task = it.task,
            unit = it.unit,
            object_systemd_unit = it.unit,
            result = it.end.result,
            signature = signature.key,
            attempt = it.attempt,
            seen = count,
            "{} failed ({}): {line}",
            it.unit,
            signature.text
        );
        self.tell_operators(&OperatorEvent::Failed {
            task: it.task.clone(),
            unit: it.unit.clone(),
            result: it.end.result.clone(),
            exit_status: it.end.exit_status,
            signal: it.end.signal,
            signature: signature.key.clone(),
            signature_text: signature.text.clone(),
            attempt: it.attempt,
            hard,
            count,
            verdict: line,
        });
    }
}

/// `systemctl reset-failed` takes back the result, but not the exit status. (With SuccessExitStatus= of
/// systemd.service(5) that is so without it; the journal knows.)
fn is_forgiven(outcome: &RunOutcome) -> bool {
    outcome.result == "success"
        && (outcome.signal.is_some() || outcome.exit_status.is_some_and(|status| status != 0))
}

/// Nobody knows any more how it ended.
pub(super) fn unknown_end(at: u64) -> End {
    End {
        started: 0,
        ended: at,
        result: "unknown".to_owned(),
        exit_status: None,
        signal: None,
        invocation: String::new(),
    }
}

/// From 0 to 1, another each time.
fn jitter(unit: &str) -> f64 {
    let hash = RandomState::new().hash_one(unit);
    f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
