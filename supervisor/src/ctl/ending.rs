//! How a start ended, in one sentence that claims no more than is known.

use std::time::Duration;

use interlock_generator::names;

use super::clock;
use super::error::Outcome;
use super::jobs::{JobResult, UnitFacts};

/// A task that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is called in messages.
    pub label: String,
    /// The unit to start.
    pub unit: String,
    /// The policy refuses it.
    pub blocked: bool,
}

/// How a start ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// The job's result.
    pub result: JobResult,
    /// The unit before.
    pub before: UnitFacts,
    /// The unit after.
    pub after: UnitFacts,
    /// Why interlock gave the start up, if it did.
    pub skipped: Option<String>,
    /// Units that it requires and that failed.
    pub failed_requirements: Vec<String>,
    /// From the request to the end of the job.
    pub took: Duration,
}

/// The exit status and the sentence for people.
pub fn tell(target: &Target, ending: &Ending) -> (Outcome, String) {
    let Target { label, unit, .. } = target;
    let took = clock::span(ending.took);
    let journal = format!("journalctl -b -u {unit}");
    let failed = |sentence: String| (Outcome::Failed, sentence);
    if let Some(reason) = &ending.skipped {
        let what = match ending.result.as_deref() {
            Some("dependency") => "was refused",
            _ => "was skipped",
        };
        return failed(format!("{label} {what}: {reason}"));
    }
    match ending.result.as_deref() {
        Some("done") if ending.before.active == "active" => (
            Outcome::Done,
            format!("{unit} was active already; nothing was started."),
        ),
        Some("done") if ending.after.condition == Some(false) => (
            Outcome::Done,
            format!(
                "{unit} was left out: a condition in the unit isn't met (systemctl status {unit})."
            ),
        ),
        Some("done") if matches!(ending.after.active.as_str(), "active" | "reloading") => (
            Outcome::Done,
            format!("{label} runs ({unit}, started after {took})."),
        ),
        // Neither may be claimed of a run of which nothing is known.
        Some("done") if ending.after.condition.is_none() => (
            Outcome::Done,
            format!("systemd says that the start of {label} is done ({unit}, after {took})."),
        ),
        Some("done") => (
            Outcome::Done,
            format!("{label} ran and ended well ({unit}, after {took})."),
        ),
        Some("failed") => failed(format!(
            "{label} failed{} after {took}; see: {journal}",
            how(&ending.after)
        )),
        Some("canceled") => failed(format!(
            "the start of {label} was cancelled after {took}: its unit was stopped or its job taken out of the queue"
        )),
        Some("timeout") => failed(format!(
            "{label} did not start in time: its job waited {took} in systemd's queue"
        )),
        Some("dependency") => failed(requirement(target, &ending.failed_requirements)),
        Some("assert") if target.blocked => failed(format!(
            "{label} is blocked: its policy has errors; see: interlockctl verify"
        )),
        Some("assert") => failed(format!(
            "{label} was not started: an assertion in the unit isn't met (without its lease a task can't start); \
             see: {journal}"
        )),
        Some("skipped") => failed(format!(
            "{label} was not started: its unit can't be started in its present state"
        )),
        Some(other) => failed(format!(
            "{label} was not started: systemd says \"{other}\"; see: {journal}"
        )),
        None if ending.after.active == "active" => {
            (Outcome::Done, format!("{label} runs ({unit})."))
        }
        None => failed(format!(
            "systemd was restarted meanwhile and did not say how the start of {label} ended; see: systemctl status {unit}"
        )),
    }
}

fn requirement(target: &Target, failed: &[String]) -> String {
    let Target { label, unit, .. } = target;
    match failed {
        // A gate that failed is forgotten at once, so it is never among them.
        [] => format!(
            "{label} was not started: a unit that it requires could not be started, most likely its gate; \
             see: journalctl -b -u {}",
            names::gate_of(unit)
        ),
        [first, ..] => format!(
            "{label} was not started: {}, which it requires, failed; see: journalctl -b -u {first}",
            failed.join(", ")
        ),
    }
}

fn how(after: &UnitFacts) -> String {
    match (after.result.as_str(), after.status) {
        ("exit-code", status) => format!(" with exit status {status}"),
        ("signal" | "core-dump", signal) => format!(" (killed by signal {signal})"),
        ("" | "success", _) => String::new(),
        (result, _) => format!(" ({result})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: &str, after: UnitFacts) -> (Outcome, String) {
        let target = Target {
            label: "upcp".to_owned(),
            unit: "upcp.service".to_owned(),
            blocked: false,
        };
        let ending = Ending {
            result: Some(result.to_owned()),
            after,
            took: Duration::from_secs(184),
            ..Ending::default()
        };
        tell(&target, &ending)
    }

    #[test]
    fn each_result_of_a_job_has_its_sentence_and_status() {
        let facts = |active: &str, result: &str, status| UnitFacts {
            active: active.to_owned(),
            result: result.to_owned(),
            status,
            condition: Some(true),
        };
        for (result, after, outcome, words) in [
            (
                "done",
                facts("inactive", "success", 0),
                Outcome::Done,
                "upcp ran and ended well (upcp.service, after 3min 4s).",
            ),
            (
                "done",
                facts("active", "success", 0),
                Outcome::Done,
                "upcp runs (upcp.service, started after 3min 4s).",
            ),
            (
                "failed",
                facts("failed", "exit-code", 3),
                Outcome::Failed,
                "upcp failed with exit status 3 after 3min 4s",
            ),
            (
                "failed",
                facts("failed", "signal", 9),
                Outcome::Failed,
                "killed by signal 9",
            ),
            (
                "failed",
                facts("failed", "timeout", 0),
                Outcome::Failed,
                "upcp failed (timeout)",
            ),
            (
                "canceled",
                UnitFacts::default(),
                Outcome::Failed,
                "was cancelled",
            ),
            (
                "timeout",
                UnitFacts::default(),
                Outcome::Failed,
                "did not start in time",
            ),
            (
                "dependency",
                UnitFacts::default(),
                Outcome::Failed,
                "journalctl -b -u interlock-gate@upcp.service.service",
            ),
            ("assert", UnitFacts::default(), Outcome::Failed, "lease"),
            (
                "skipped",
                UnitFacts::default(),
                Outcome::Failed,
                "present state",
            ),
            (
                "frozen",
                UnitFacts::default(),
                Outcome::Failed,
                "systemd says \"frozen\"",
            ),
        ] {
            let (got, sentence) = told(result, after);
            assert_eq!(got, outcome, "{result}");
            assert!(sentence.contains(words), "{result}: {sentence}");
        }
    }

    #[test]
    fn a_condition_that_is_not_met_is_no_failure_but_said() {
        let after = UnitFacts {
            active: "inactive".to_owned(),
            condition: Some(false),
            ..UnitFacts::default()
        };
        let (outcome, sentence) = told("done", after);
        assert_eq!(outcome, Outcome::Done);
        assert!(sentence.contains("was left out"), "{sentence}");
    }

    #[test]
    fn a_blocked_task_points_to_verify() {
        let target = Target {
            label: "upcp".to_owned(),
            unit: "upcp.service".to_owned(),
            blocked: true,
        };
        let ending = Ending {
            result: Some("assert".to_owned()),
            ..Ending::default()
        };
        let (outcome, sentence) = tell(&target, &ending);
        assert_eq!(outcome, Outcome::Failed);
        assert!(sentence.contains("interlockctl verify"), "{sentence}");
    }

    #[test]
    fn success_is_not_claimed_of_a_run_of_which_nothing_is_known() {
        let forgotten = UnitFacts {
            active: "inactive".to_owned(),
            result: "success".to_owned(),
            ..UnitFacts::default()
        };
        let (outcome, sentence) = told("done", forgotten);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(
            sentence,
            "systemd says that the start of upcp is done (upcp.service, after 3min 4s)."
        );
    }

    #[test]
    fn a_start_that_interlock_gave_up_says_why() {
        let words = |result: &str| {
            let target = Target {
                label: "upcp".to_owned(),
                unit: "upcp.service".to_owned(),
                blocked: false,
            };
            let ending = Ending {
                result: Some(result.to_owned()),
                skipped: Some("rpm-db is busy".to_owned()),
                ..Ending::default()
            };
            tell(&target, &ending)
        };
        let skipped = "upcp was skipped: rpm-db is busy".to_owned();
        assert_eq!(words("canceled"), (Outcome::Failed, skipped));
        let refused = "upcp was refused: rpm-db is busy".to_owned();
        assert_eq!(words("dependency"), (Outcome::Failed, refused));
    }

    #[test]
    fn a_requirement_that_failed_is_named() {
        let target = Target {
            label: "upcp".to_owned(),
            unit: "upcp.service".to_owned(),
            blocked: false,
        };
        let sentence = requirement(&target, &["db.service".to_owned()]);
        assert!(
            sentence.contains("db.service, which it requires, failed"),
            "{sentence}"
        );
    }
}
