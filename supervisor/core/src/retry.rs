//! Whether and when a failed run is tried again. Pure: the caller brings jitter and history.

use std::time::Duration;

use interlock_generator::policy::settings::Retry;

use crate::signature::Class;

/// What is done about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again.
    Again {
        /// So long from now.
        after: Duration,
        /// One line.
        why: String,
    },
    /// It is not.
    Hard {
        /// One line.
        why: String,
    },
}

/// What is known of a failure.
#[derive(Debug, Clone, Default)]
pub struct Failure<'a> {
    /// The task's `retry`.
    pub policy: Option<&'a Retry>,
    /// What the policy's rules or an operator say of its cause, and who.
    pub class: Option<(Class, String)>,
    /// Which run of its streak it was, from 1.
    pub attempt: u32,
    /// The signatures of the streak's failures, this one's last.
    pub signatures: &'a [String],
    /// systemd starts it again by itself (`Restart=` of systemd.service(5)).
    pub restarts_itself: bool,
}

/// Decides. `jitter`, from 0 to 1, tells apart what failed together, so that it doesn't come back together.
pub fn decide(failure: &Failure<'_>, jitter: f64) -> Verdict {
    let hard = |why: String| Verdict::Hard { why };
    if failure.restarts_itself {
        return hard("systemd starts it again by itself (Restart=)".to_owned());
    }
    if let Some((Class::Permanent, who)) = &failure.class {
        return hard(format!("permanent ({who})"));
    }
    let Some(policy) = failure.policy else {
        return hard("its task has no retry".to_owned());
    };
    if failure.attempt < policy.attempts {
        let after = delay(policy, failure.attempt).mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 4.0);
        let cause = match &failure.class {
            Some((_, who)) => format!("transient ({who})"),
            None => "taken to be transient".to_owned(),
        };
        let why = format!(
            "{cause}; attempt {} of {}",
            failure.attempt, policy.attempts
        );
        return Verdict::Again { after, why };
    }
    let same = failure
        .signatures
        .first()
        .filter(|first| failure.signatures.iter().all(|it| it == *first));
    hard(match (same, failure.attempt) {
        (Some(_), attempts @ 2..) if failure.signatures.len() >= attempts as usize => {
            format!("permanent: the same failure on each of {attempts} attempts")
        }
        (_, attempts) => format!("given up after {attempts} attempts"),
    })
}

/// The longest that attempt `attempt` may be put off, after those before it.
pub fn longest_delay(policy: &Retry, attempt: u32) -> Duration {
    let delay = delay(policy, attempt.saturating_sub(1));
    delay.saturating_add(delay / 4)
}

/// Before the retry that follows attempt `attempt`: doubled each time, up to the policy's limit.
fn delay(policy: &Retry, attempt: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempt.saturating_sub(1));
    doubled
        .and_then(|factor| policy.delay.checked_mul(factor))
        .map_or(policy.max_delay, |delay| delay.min(policy.max_delay))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Retry = Retry {
        attempts: 4,
        delay: Duration::from_secs(60),
        max_delay: Duration::from_secs(200),
    };

    fn failure(attempt: u32, signatures: &[String]) -> Failure<'_> {
        Failure {
            policy: Some(&POLICY),
            attempt,
            signatures,
            ..Failure::default()
        }
    }

    fn after(verdict: &Verdict) -> Option<Duration> {
        match verdict {
            Verdict::Again { after, .. } => Some(*after),
            Verdict::Hard { .. } => None,
        }
    }

    fn same(number: usize) -> Vec<String> {
        vec!["x".to_owned(); number]
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let delays: Vec<_> = (1..=4)
            .map(|n| after(&decide(&failure(n, &same(n as usize)), 0.0)).map(|d| d.as_secs()))
            .collect();
        assert_eq!(delays, [Some(60), Some(120), Some(200), None]);
    }

    #[test]
    fn the_same_failure_on_every_attempt_is_permanent_and_says_so() {
        let signatures = same(4);
        let Verdict::Hard { why } = decide(&failure(4, &signatures), 0.0) else {
            panic!("it is over");
        };
        assert_eq!(why, "permanent: the same failure on each of 4 attempts");
        let mut other = signatures;
        other[1] = "y".to_owned();
        let Verdict::Hard { why } = decide(&failure(4, &other), 0.0) else {
            panic!("it is over");
        };
        assert_eq!(why, "given up after 4 attempts");
    }

    #[test]
    fn what_is_known_to_be_permanent_is_not_tried_again() {
        let signatures = same(1);
        let mut it = failure(1, &signatures);
        it.class = Some((Class::Permanent, "alice".to_owned()));
        assert_eq!(after(&decide(&it, 0.0)), None);
        it.class = Some((Class::Transient, "alice".to_owned()));
        assert!(after(&decide(&it, 0.0)).is_some());
        it.restarts_itself = true;
        assert_eq!(after(&decide(&it, 0.0)), None);
    }

    #[test]
    fn without_a_policy_nothing_is_tried_again() {
        assert_eq!(after(&decide(&Failure::default(), 0.0)), None);
    }

    proptest! {
        #[test]
        fn the_delay_grows_and_never_overflows(attempt in 1_u32..200, seconds in 0_u64..1 << 40, jitter in 0.0..1.0) {
            let policy = Retry {
                attempts: u32::MAX,
                delay: Duration::from_secs(seconds),
                max_delay: Duration::from_secs(1 << 41),
            };
            let of = |attempt, jitter| {
                after(&decide(&Failure { policy: Some(&policy), attempt, ..Failure::default() }, jitter)).unwrap()
            };
            prop_assert!(of(attempt, jitter) <= of(attempt + 1, 0.0).mul_f64(1.25));
            prop_assert!(of(attempt, 0.0) <= of(attempt + 1, 0.0));
        }
    }
}
