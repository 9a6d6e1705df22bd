//! Who is let in next, and who is given up; each by example.

use std::collections::BTreeSet;

use super::examples::{arbiter, behind, claim, grant, look};
use crate::arbiter::*;

#[test]
fn one_at_a_time_in_the_order_of_asking() {
    let mut a = arbiter(&[("r", 1)]);
    assert_eq!(a.ask("a", 1, claim(&[("r", 1)])), [grant("a")]);
    assert!(!a.ask("b", 2, claim(&[("r", 1)])).contains(&grant("b")));
    a.ask("c", 3, claim(&[("r", 1)]));
    assert_eq!(a.released("a"), [look("b")]);
    assert_eq!(a.looked("b", Standing::Clear), [grant("b")]);
    assert_eq!(a.released("b"), [look("c")]);
}

#[test]
fn higher_priority_goes_first() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("low", 2, claim(&[("r", 1)]));
    let high = Claim {
        priority: 5,
        ..claim(&[("r", 1)])
    };
    a.ask("high", 3, high);
    assert_eq!(a.released("a"), [look("high")]);
}

#[test]
fn all_resources_or_none() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("both", 2, claim(&[("r", 1), ("s", 1)]));
    assert_eq!(a.leases().keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_waiter_reserves_what_it_waits_for_so_that_younger_ones_can_not_starve_it() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("both", 2, claim(&[("r", 1), ("s", 1)]));
    assert!(
        !a.ask("small", 3, claim(&[("s", 1)]))
            .contains(&grant("small"))
    );
    // Weights too: of four slots two are taken, the big one waits for three.
    let mut a = arbiter(&[("slots", 4)]);
    a.ask("a", 1, claim(&[("slots", 2)]));
    a.ask("big", 2, claim(&[("slots", 3)]));
    assert!(
        !a.ask("small", 3, claim(&[("slots", 1)]))
            .contains(&grant("small"))
    );
}

#[test]
fn a_waiter_behind_another_job_reserves_nothing() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask_standing("t", 1, claim(&[("r", 1)]), behind(&["x"]));
    assert_eq!(a.ask("x", 2, claim(&[("r", 1)])), [grant("x")]);
    assert_eq!(a.handle(Event::JobGone { unit: "x".into() }), []);
    assert_eq!(a.released("x"), [look("t")]);
}

#[test]
fn an_older_waiter_is_looked_at_again_before_it_keeps_a_free_resource_from_a_newcomer() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("t", 2, claim(&[("r", 1), ("s", 1)]));
    assert_eq!(
        a.ask("x", 3, claim(&[("s", 1)])),
        [Action::LookBehindLease { unit: "a".into() }, look("t")]
            .into_iter()
            .filter(|action| *action == look("t"))
            .collect::<Vec<_>>()
    );
    // It is x for which t has to wait: x goes first.
    assert_eq!(a.looked("t", behind(&["x"])), [look("x")]);
    assert_eq!(a.looked("x", Standing::Clear), [grant("x")]);
}

#[test]
fn nobody_slips_in_while_the_first_is_looked_at() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("b", 2, claim(&[("r", 1)]));
    a.released("a");
    assert!(!a.ask("c", 3, claim(&[("r", 1)])).contains(&grant("c")));
    assert_eq!(a.looked("b", Standing::Clear), [grant("b")]);
}

#[test]
fn a_gate_without_a_job_reserves_nothing() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask_standing("idle", 2, claim(&[("r", 1), ("s", 1)]), Standing::Jobless);
    assert_eq!(a.ask("b", 3, claim(&[("s", 1)])), [grant("b")]);
}

#[test]
fn busy_is_refused_if_the_policy_says_so() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    let skip = Claim {
        refuse_if_busy: Some(Refusal::Skipped),
        ..claim(&[("r", 1)])
    };
    let refused = Action::Refuse {
        unit: "b".into(),
        why: Refusal::Skipped,
    };
    assert!(a.ask("b", 2, skip.clone()).contains(&refused));
    a.released("a");
    assert_eq!(a.ask("b", 3, skip), [grant("b")]);
}

#[test]
fn patience_ends_at_the_deadline() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    let patient = Claim {
        deadline: Some(10),
        ..claim(&[("r", 1)])
    };
    a.ask("b", 2, patient);
    assert_eq!(a.next_deadline(), Some(10));
    assert_eq!(a.handle(Event::Tick { now: 9 }), []);
    let refused = Action::Refuse {
        unit: "b".into(),
        why: Refusal::WaitedTooLong,
    };
    assert_eq!(a.handle(Event::Tick { now: 10 }), [refused]);
    assert!(a.queue().is_empty());
}

#[test]
fn a_start_whose_time_is_over_before_it_asks_is_not_granted_though_all_is_free() {
    let mut a = arbiter(&[("r", 1)]);
    let late = Claim {
        deadline: Some(10),
        at_deadline: Refusal::WindowOver,
        ..claim(&[("r", 1)])
    };
    let refused = Action::Refuse {
        unit: "a".into(),
        why: Refusal::WindowOver,
    };
    assert_eq!(a.ask("a", 11, late), [refused]);
    assert!(a.leases().is_empty() && a.queue().is_empty());
}

#[test]
fn a_cancelled_wait_leaves_the_queue_at_once() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("a", 1, claim(&[("r", 1)]));
    a.ask("both", 2, claim(&[("r", 1), ("s", 1)]));
    a.ask("small", 3, claim(&[("s", 1)]));
    assert_eq!(
        a.handle(Event::Cancelled {
            unit: "both".into()
        }),
        [look("small")]
    );
}

#[test]
fn the_view_names_holders_and_those_who_come_first() {
    let mut a = arbiter(&[("r", 1)]);
    for (unit, since) in [("a", 1), ("b", 2), ("c", 3)] {
        a.ask(unit, since, claim(&[("r", 1)]));
    }
    let view = a.view("c").expect("it waits");
    assert_eq!((view.position, view.of), (2, 2));
    assert_eq!(
        view.hurdles,
        [Hurdle::Resource {
            name: "r".into(),
            needs: 1,
            capacity: 1,
            holders: vec!["a".into()],
            ahead: vec!["b".into()],
        }]
    );
}

#[test]
fn a_sweep_gets_around_to_each_of_a_long_queue() {
    let mut a = arbiter(&[("r", 1)]);
    let names: Vec<String> = (0..80).map(|n| format!("t{n:02}")).collect();
    for (since, name) in (1..).zip(&names) {
        a.ask_standing(name, since, claim(&[("r", 1)]), behind(&["x"]));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        for action in a.handle(Event::Sweep) {
            let Action::Look { unit } = action else {
                panic!("{action:?}");
            };
            a.looked(&unit, behind(&["x"]));
            seen.insert(unit);
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), names);
}
