//! From what PID 1 knows of a run's end to one word. Pure.

use interlock_core::ending::End;

use super::Stop;
use crate::pid1::{RunOutcome, Unmet};

/// PID 1 takes both times from the same clock, but not at the same instant.
const SLACK: u64 = 100_000;

/// What else is known of the run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Circumstances<'a> {
    /// When its lease was granted, microseconds of `CLOCK_MONOTONIC`; 0 if that isn't known.
    pub granted_monotonic: u64,
    /// When its lease ended, microseconds of `CLOCK_REALTIME`.
    pub at: u64,
    /// Whether somebody has asked for its end.
    pub stop: Stop,
    /// What else has.
    pub interruption: Option<&'a Interruption>,
}

/// What has ended a run that was neither done nor unwanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    /// A deployment, of this name and by this action. It may have ended well, at a checkpoint: it isn't done.
    Deployment(String),
    /// A preemption, or the host's shutdown.
    CutOff(&'static str),
}

impl Interruption {
    /// For people.
    pub fn text(&self) -> &str {
        match self {
            Self::Deployment(text) => text,
            Self::CutOff(by) => by,
        }
    }
}

/// How it ended.
pub(super) fn end_of(outcome: &RunOutcome, known: Circumstances<'_>) -> End {
    let ran = outcome.started_monotonic > 0
        && outcome.started_monotonic + SLACK >= known.granted_monotonic;
    // What came of an earlier start isn't of this one.
    let unmet = outcome.unmet.filter(|(_, at)| {
        *at + SLACK >= known.granted_monotonic && *at >= outcome.started_monotonic
    });
    let ran = ran && unmet.is_none();
    let result = match outcome.result.as_str() {
        _ if matches!(known.interruption, Some(Interruption::Deployment(_))) => "interrupted",
        // The result may be that of an earlier run, still.
        _ if unmet.is_some() => match unmet {
            Some((Unmet::Assertion, _)) => "assert",
            // That of ExecCondition= counts as one of the unit's.
            _ if outcome.result == "exec-condition" => "exec-condition",
            _ => "not-started",
        },
        "success" if !ran => "not-started",
        // Told to stop, it had nothing left to do.
        "success" if outcome.is_oneshot && outcome.exit_status == Some(0) => "success",
        _ if known.interruption.is_some() => "interrupted",
        _ if was_stopped(outcome, known.stop) => "stopped",
        "success" => "success",
        failed => failed,
    };
    End {
        started: if ran { outcome.started } else { 0 },
        ended: match outcome.exited {
            exited if ran && exited >= outcome.started => exited,
            _ => known.at,
        },
        result: result.to_owned(),
        exit_status: outcome.exit_status.filter(|_| ran),
        signal: outcome.signal.filter(|_| ran),
        invocation: outcome.invocation.clone(),
    }
}

/// By its end a run that was likely stopped is told from one that ended in the same moment by itself.
fn was_stopped(outcome: &RunOutcome, stop: Stop) -> bool {
    /// Of a shell whose command was ended by SIGTERM.
    const TERMINATED: i32 = 128 + 15;
    match stop {
        Stop::No => false,
        Stop::Asked => true,
        Stop::Likely => {
            outcome.signal.is_some() || matches!(outcome.exit_status, Some(0 | TERMINATED))
        }
    }
}

/// What a result means for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It has done its work.
    Success,
    /// There was nothing to do (a condition), or nobody wants it any more.
    Given,
    /// It is to run again, as if this run hadn't been.
    Repeat,
    /// It has failed.
    Failure,
}

/// See [`Meaning`].
pub(super) fn meaning_of(result: &str) -> Meaning {
    match result {
        "success" => Meaning::Success,
        "stopped" | "not-started" | "exec-condition" => Meaning::Given,
        "interrupted" | "unknown" => Meaning::Repeat,
        _ => Meaning::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: &str) -> RunOutcome {
        RunOutcome {
            result: result.to_owned(),
            started_monotonic: 1_000_000,
            started: 5_000_000,
            exited: 6_000_000,
            exit_status: Some(0),
            is_oneshot: true,
            ..RunOutcome::default()
        }
    }

    fn known() -> Circumstances<'static> {
        Circumstances {
            granted_monotonic: 1_000_100,
            at: 7_000_000,
            ..Circumstances::default()
        }
    }

    #[test]
    fn a_run_that_was_never_executed_is_no_success() {
        let mut it = outcome("success");
        it.started_monotonic = 0;
        assert_eq!(end_of(&it, known()).result, "not-started");
        // An earlier run's times.
        it.started_monotonic = 500_000;
        let end = end_of(&it, known());
        assert_eq!(
            (end.result.as_str(), end.exit_status),
            ("not-started", None)
        );
        assert_eq!((end.started, end.ended), (0, 7_000_000));
    }

    #[test]
    fn what_a_condition_left_out_is_given_and_an_assertion_fails_it() {
        // As PID 1 leaves it after a run that failed.
        let mut it = outcome("exit-code");
        (it.started_monotonic, it.exit_status) = (500_000, Some(3));
        it.unmet = Some((Unmet::Condition, 1_000_200));
        let end = end_of(&it, known());
        assert_eq!(
            (end.result.as_str(), end.exit_status),
            ("not-started", None)
        );
        assert_eq!(meaning_of(&end.result), Meaning::Given);
        it.unmet = Some((Unmet::Assertion, 1_000_200));
        let end = end_of(&it, known());
        assert_eq!(end.result, "assert");
        assert_eq!(meaning_of(&end.result), Meaning::Failure);
        let said = RunOutcome {
            result: "exec-condition".to_owned(),
            unmet: Some((Unmet::Condition, 1_000_200)),
            ..it.clone()
        };
        assert_eq!(end_of(&said, known()).result, "exec-condition");
        // That of a start before this run.
        it.unmet = Some((Unmet::Condition, 400_000));
        it.started_monotonic = 1_000_300;
        assert_eq!(end_of(&it, known()).result, "exit-code");
    }

    #[test]
    fn a_stop_is_no_failure_and_no_success() {
        let asked = Circumstances {
            stop: Stop::Asked,
            ..known()
        };
        let mut it = outcome("signal");
        it.exit_status = None;
        it.signal = Some(15);
        let end = end_of(&it, asked);
        assert_eq!((end.result.as_str(), end.signal), ("stopped", Some(15)));
        assert_eq!(end_of(&it, known()).result, "signal");
        let service = RunOutcome {
            is_oneshot: false,
            ..outcome("success")
        };
        assert_eq!(end_of(&service, asked).result, "stopped");
        assert_eq!(end_of(&outcome("success"), asked).result, "success");
        let likely = Circumstances {
            stop: Stop::Likely,
            ..known()
        };
        assert_eq!(end_of(&it, likely).result, "stopped");
        assert_eq!(end_of(&service, likely).result, "stopped");
        let failed = RunOutcome {
            exit_status: Some(3),
            ..outcome("exit-code")
        };
        assert_eq!(end_of(&failed, likely).result, "exit-code");
        let deployment = Interruption::Deployment("web-3: checkpoint".to_owned());
        let at_rest = Circumstances {
            interruption: Some(&deployment),
            ..asked
        };
        let cut_off = Circumstances {
            interruption: Some(&Interruption::CutOff("shutdown")),
            ..asked
        };
        assert_eq!(end_of(&outcome("success"), at_rest).result, "interrupted");
        assert_eq!(end_of(&outcome("success"), cut_off).result, "success");
        assert_eq!(end_of(&it, cut_off).result, "interrupted");
    }

    #[test]
    fn failures_keep_systemds_words() {
        let end = end_of(&outcome("exit-code"), known());
        assert_eq!(end.result, "exit-code");
        assert_eq!((end.started, end.ended), (5_000_000, 6_000_000));
        assert_eq!(meaning_of("exit-code"), Meaning::Failure);
        assert_eq!(meaning_of("unknown"), Meaning::Repeat);
    }
}
