//! Leases that were found, taken back, or let in by another policy; each by example.

use std::collections::BTreeMap;

use super::examples::{arbiter, behind, claim, grant, look, uses};
use crate::arbiter::*;

#[test]
fn a_lease_whose_task_waits_for_one_that_waits_for_it_is_revoked_and_keeps_its_place() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("t", 1, claim(&[("r", 1)]));
    a.ask("other", 2, claim(&[("r", 1)]));
    let actions = a.ask("x", 3, claim(&[("r", 1)]));
    assert_eq!(actions, [Action::LookBehindLease { unit: "t".into() }]);
    let found = Event::LookedBehindLease {
        unit: "t".into(),
        behind: Some(vec!["x".into()]),
    };
    assert_eq!(
        a.handle(found.clone()),
        [Action::Revoke { unit: "t".into() }]
    );
    assert_eq!(a.handle(found), [], "once is enough");
    a.ask_standing("t", 9, claim(&[("r", 1)]), behind(&["x"]));
    assert_eq!(a.queue()[0].unit, "t");
    assert_eq!(a.looked("other", Standing::Clear), [grant("other")]);
}

#[test]
fn a_started_task_is_never_revoked() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("t", 1, claim(&[("r", 1)]));
    a.handle(Event::LookedBehindLease {
        unit: "t".into(),
        behind: None,
    });
    assert_eq!(a.ask("x", 3, claim(&[("r", 1)])), []);
}

#[test]
fn a_job_may_come_before_a_task_that_was_looked_at_and_has_not_started() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("t", 1, claim(&[("r", 1)]));
    a.ask("other", 2, claim(&[("r", 1)]));
    a.handle(Event::LookedBehindLease {
        unit: "t".into(),
        behind: Some(vec![]),
    });
    let actions = a.ask("x", 3, claim(&[("r", 1)]));
    assert_eq!(actions, [Action::LookBehindLease { unit: "t".into() }]);
}

#[test]
fn what_was_let_in_by_an_earlier_policy_goes_on_holding_what_it_uses() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    let adopt = |uses, presumed| Event::Adopt {
        unit: "a".into(),
        uses,
        since: 1,
        presumed,
    };
    a.handle(adopt(uses(&[("r", 1)]), true));
    // Its grant had been on the way, and it runs; the policy has changed meanwhile.
    a.handle(adopt(uses(&[("s", 1)]), false));
    assert_eq!(a.leases()["a"].uses, uses(&[("r", 1), ("s", 1)]));
}

#[test]
fn a_found_lease_may_break_a_capacity_and_then_nothing_new_is_granted_until_it_fits() {
    let mut a = arbiter(&[("slots", 1)]);
    for unit in ["a", "b"] {
        a.handle(Event::Adopt {
            unit: unit.into(),
            uses: uses(&[("slots", 1)]),
            since: 0,
            presumed: false,
        });
    }
    assert_eq!(a.ask("c", 1, claim(&[("slots", 1)])), []);
    assert_eq!(a.released("a"), []);
    assert_eq!(a.released("b"), [look("c")]);
}

#[test]
fn a_gate_that_has_not_reconnected_counts_as_a_lease_until_it_does() {
    let mut a = arbiter(&[("r", 1)]);
    for (unit, since) in [("first", 10), ("second", 20)] {
        a.handle(Event::Adopt {
            unit: unit.into(),
            uses: uses(&[("r", 1)]),
            since,
            presumed: true,
        });
    }
    // They come back in the other order, and are served in the old one.
    assert_eq!(a.ask("second", 20, claim(&[("r", 1)])), []);
    assert_eq!(a.ask("first", 10, claim(&[("r", 1)])), [grant("first")]);
}

#[test]
fn nothing_is_given_up_for_one_that_may_not_hold_at_all() {
    let mut a = arbiter(&[("r", 1)]);
    a.handle(Event::Adopt {
        unit: "a".into(),
        uses: uses(&[("r", 1)]),
        since: 10,
        presumed: true,
    });
    let skip = Claim {
        refuse_if_busy: Some(Refusal::Skipped),
        ..claim(&[("r", 1)])
    };
    assert_eq!(a.ask("b", 20, skip), []);
    assert_eq!(a.released("a"), [look("b")]);
}

#[test]
fn a_restart_over_its_own_leftovers_does_not_wait_for_itself() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("b", 2, claim(&[("r", 1)]));
    assert_eq!(a.ask("a", 3, claim(&[("r", 1)])), [grant("a")]);
    assert_eq!(a.queue().len(), 1);
}

#[test]
fn a_new_policy_loses_neither_leases_nor_waiters() {
    let mut a = arbiter(&[("slots", 2)]);
    a.ask("a", 1, claim(&[("slots", 1)]));
    a.ask("b", 2, claim(&[("slots", 1)]));
    a.ask("c", 3, claim(&[("slots", 1)]));
    let claims = ["a", "b", "c"].map(|unit| (unit.to_owned(), claim(&[("slots", 1)])));
    let shrunk = Event::Policy {
        capacities: uses(&[("slots", 1)]),
        claims: BTreeMap::from(claims),
    };
    assert_eq!(a.handle(shrunk), []);
    assert_eq!((a.leases().len(), a.queue().len()), (2, 1));
    assert_eq!(a.released("a"), []);
    assert_eq!(a.released("b"), [look("c")]);
}

#[test]
fn what_runs_goes_on_holding_what_it_had_when_its_policy_changes() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    let claims = BTreeMap::from([("a".to_owned(), claim(&[("s", 1)]))]);
    a.handle(Event::Policy {
        capacities: uses(&[("r", 1), ("s", 1)]),
        claims,
    });
    assert_eq!(a.leases()["a"].uses, uses(&[("r", 1), ("s", 1)]));
}

#[test]
fn what_a_run_has_left_behind_goes_on_holding_what_that_was_let_in_with() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    let admission = |closed: &[&str]| Event::Admission {
        closed: closed.iter().map(|it| (*it).to_owned()).collect(),
        now: 2,
    };
    // Its next start is held, and the policy changes meanwhile.
    a.handle(admission(&["a"]));
    a.ask("a", 3, claim(&[("s", 1)]));
    a.handle(admission(&[]));
    assert_eq!(a.looked("a", Standing::Clear), [grant("a")]);
    assert_eq!(a.leases()["a"].uses, uses(&[("r", 1), ("s", 1)]));
}
