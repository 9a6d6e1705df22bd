//! What follows from what PID 1 says, each by example.

use super::*;
use crate::arbiter::{Arbiter, Claim, Event, Standing, Uses};

fn adopted(presumed: bool) -> Lease {
    let mut arbiter = Arbiter::default();
    arbiter.handle(Event::Adopt {
        unit: "a".to_owned(),
        uses: Uses::new(),
        since: 1,
        presumed,
    });
    arbiter.leases()["a"].clone()
}

fn revoked() -> Lease {
    let mut lease = adopted(false);
    lease.revoked = Some(1);
    lease
}

fn service(doing: Doing, job: Job) -> Service {
    Service { doing, job }
}

fn open(adopt: bool, may_be_behind: bool, is_orphan: bool) -> Verdict {
    Verdict::Open {
        adopt,
        may_be_behind,
        is_orphan,
    }
}

#[test]
fn who_asks_without_a_lease_asks_whatever_is_known() {
    for task in [None, Some(Doing::Down), Some(Doing::Pausing)] {
        assert_eq!(hello(None, task, None), Hello::Ask(Earlier::Keep));
    }
    assert_eq!(hello(None, Some(Doing::Up), None), Hello::Adopt);
}

#[test]
fn a_lease_from_before_a_crash_is_kept_if_something_uses_it() {
    let lease = adopted(true);
    let hello = |task, left| hello(Some(&lease), task, left);
    assert_eq!(
        hello(Some(Doing::Down), Some(true)),
        Hello::Ask(Earlier::Adopt)
    );
    assert_eq!(
        hello(Some(Doing::Down), Some(false)),
        Hello::Ask(Earlier::Keep)
    );
    // Whether something does isn't known.
    assert_eq!(hello(None, None), Hello::Later);
    assert_eq!(hello(Some(Doing::Down), None), Hello::Later);
}

#[test]
fn a_lease_whose_end_was_not_seen_is_released() {
    let lease = adopted(false);
    let hello = |task, left| hello(Some(&lease), task, left);
    assert_eq!(
        hello(Some(Doing::Down), Some(false)),
        Hello::Ask(Earlier::Release)
    );
    assert_eq!(
        hello(Some(Doing::Down), Some(true)),
        Hello::Ask(Earlier::Keep)
    );
    assert_eq!(hello(None, None), Hello::Later);
    assert!(asks_for_leftovers(Some(&lease)));
}

#[test]
fn a_lease_that_was_taken_back_keeps_its_place() {
    let lease = revoked();
    assert!(!asks_for_leftovers(Some(&lease)));
    for task in [None, Some(Doing::Down)] {
        assert_eq!(hello(Some(&lease), task, None), Hello::Ask(Earlier::Keep));
    }
}

#[test]
fn an_open_gate_is_a_lease_until_its_task_has_exited() {
    let lease = adopted(false);
    let exited = service(Doing::Exited, Job::None);
    let gate = service(Doing::Exited, Job::None);
    assert_eq!(judge(Some(&lease), false, true, exited, gate), Verdict::End);
    assert_eq!(judge(None, false, true, exited, gate), Verdict::Nothing);
    let up = service(Doing::Up, Job::None);
    assert_eq!(
        judge(Some(&lease), false, true, up, gate),
        open(false, false, false)
    );
    assert_eq!(judge(None, false, true, up, gate), open(true, false, false));
    let presumed = adopted(true);
    assert_eq!(
        judge(Some(&presumed), false, true, up, gate),
        open(true, false, false)
    );
}

#[test]
fn an_open_gate_without_a_start_is_an_orphan_and_with_one_may_be_behind() {
    let lease = adopted(false);
    let gate = service(Doing::Exited, Job::None);
    let idle = service(Doing::Down, Job::None);
    let starts = service(Doing::Down, Job::Start);
    assert_eq!(
        judge(Some(&lease), false, true, idle, gate),
        open(false, false, true)
    );
    assert_eq!(
        judge(Some(&lease), false, true, starts, gate),
        open(false, true, false)
    );
    let stopping = service(Doing::Exited, Job::Stop);
    assert_eq!(
        judge(Some(&lease), false, true, idle, stopping),
        open(false, false, false)
    );
}

#[test]
fn a_closed_gate_ends_a_lease_and_guards_what_runs() {
    let lease = adopted(false);
    let closed = Service::default();
    let idle = Service::default();
    let up = service(Doing::Up, Job::None);
    assert_eq!(judge(Some(&lease), false, true, idle, closed), Verdict::End);
    assert_eq!(
        judge(None, false, true, up, closed),
        Verdict::Unguarded,
        "it ran before the policy came"
    );
    assert_eq!(judge(None, false, false, up, closed), Verdict::Nothing);
    let asks = service(Doing::Starting, Job::Start);
    assert_eq!(
        judge(Some(&lease), false, true, idle, asks),
        Verdict::Nothing
    );
    assert_eq!(judge(Some(&lease), true, true, idle, asks), Verdict::End);
}

#[test]
fn a_lease_is_over_when_nothing_is_left_of_its_task() {
    assert!(is_over(Some(Doing::Down), false));
    assert!(is_over(Some(Doing::Pausing), false));
    assert!(!is_over(Some(Doing::Down), true));
    assert!(!is_over(Some(Doing::Leaving), false));
    assert!(is_over(Some(Doing::Exited), true));
    assert!(!is_over(None, false), "PID 1 didn't answer");
}

#[test]
fn what_is_found_after_a_restart() {
    let lease = adopted(false);
    let down = Some(Doing::Down);
    let asks = Some(Doing::Starting);
    let opened = Some(Doing::Exited);
    assert_eq!(found(Some(&lease), false, down, asks), Found::Nothing);
    assert_eq!(found(None, false, down, asks), Found::Presumed);
    assert_eq!(found(None, true, down, asks), Found::Nothing);
    assert_eq!(found(None, false, Some(Doing::Up), opened), Found::Held);
    assert_eq!(found(None, false, opened, opened), Found::Nothing);
    assert_eq!(
        found(None, false, down, Some(Doing::Leaving)),
        Found::Held,
        "its end will be told"
    );
    for gate in [None, down] {
        assert_eq!(found(None, false, down, gate), Found::HeldIfPopulated);
        assert_eq!(
            found(None, true, down, gate),
            Found::HeldIfPopulated,
            "its connection's end is on its way"
        );
        assert_eq!(found(None, false, Some(Doing::Up), gate), Found::Nothing);
        assert_eq!(found(None, false, None, gate), Found::Nothing);
    }
}

#[test]
fn a_sweep_looks_at_what_does_not_fit_together() {
    let lease = adopted(false);
    let (up, down, opened) = (Some(Doing::Up), Some(Doing::Down), Some(Doing::Exited));
    assert!(!is_news(Some(&lease), up, opened));
    assert!(is_news(Some(&lease), down, opened));
    assert!(is_news(Some(&lease), up, down));
    assert!(is_news(None, down, opened));
    assert!(is_news(None, up, None));
    assert!(!is_news(None, down, down));
    assert!(!is_news(None, up, Some(Doing::Starting)));
}

#[test]
fn a_gate_is_not_restarted_unless_its_task_is_known_to_wait() {
    let lease = revoked();
    assert_eq!(revoke(Some(&lease), Some(true)), Revoking::Restart);
    assert_eq!(revoke(Some(&lease), Some(false)), Revoking::Spare);
    assert_eq!(revoke(Some(&lease), None), Revoking::AskAgain);
    // It has asked again meanwhile, or was let in anew.
    assert_eq!(revoke(None, Some(true)), Revoking::Forget);
    assert_eq!(revoke(Some(&adopted(false)), Some(true)), Revoking::Forget);
}

#[test]
fn who_waits_behind_nobody_any_more_keeps_the_lease_that_was_to_be_taken_back() {
    let mut arbiter = Arbiter::new(Uses::from([("r".to_owned(), 1)]));
    let claim = Claim {
        uses: Uses::from([("r".to_owned(), 1)]),
        ..Claim::default()
    };
    for (since, unit) in [(1, "t"), (2, "x")] {
        arbiter.handle(Event::Request {
            unit: unit.to_owned(),
            claim: claim.clone(),
            since,
            standing: Standing::Clear,
            now: 0,
        });
    }
    let mut told = |behind: &[&str]| {
        let behind = behind.iter().map(|it| (*it).to_owned()).collect();
        let unit = "t".to_owned();
        let behind = Some(behind);
        arbiter.handle(Event::LookedBehindLease { unit, behind });
        revoke(arbiter.leases().get("t"), Some(true))
    };
    assert_eq!(told(&["x"]), Revoking::Restart);
    assert_eq!(told(&[]), Revoking::Forget);
}
