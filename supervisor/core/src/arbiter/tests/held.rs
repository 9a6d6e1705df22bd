//! What deployments hold, what others lock, and what would wait for itself; each by example.

use std::collections::BTreeSet;

use super::examples::{arbiter, claim, grant, look, uses};
use crate::arbiter::*;

fn of_task(task: &str, list: &[(&str, u32)]) -> Claim {
    Claim {
        task: task.to_owned(),
        ..claim(list)
    }
}

fn admission(closed: &[&str], now: u64) -> Event {
    let closed: BTreeSet<String> = closed.iter().map(|task| (*task).to_owned()).collect();
    Event::Admission { closed, now }
}

fn locked() -> Standing {
    Standing::Locked(vec![Lock {
        resource: "r".to_owned(),
        holder: "dnf (pid 7)".to_owned(),
    }])
}

#[test]
fn what_a_deployment_holds_waits_reserves_nothing_and_starts_at_its_end() {
    let mut a = arbiter(&[("r", 1)]);
    a.handle(admission(&["wiki"], 1));
    assert_eq!(a.ask("wiki", 2, of_task("wiki", &[("r", 1)])), []);
    assert_eq!(a.view("wiki").unwrap().hurdles, [Hurdle::Held]);
    // Younger, and of no group: nothing is kept from it.
    let other = a.ask("other", 3, of_task("other", &[("r", 1)]));
    assert_eq!(other, [grant("other")]);
    a.released("other");
    assert_eq!(a.handle(admission(&[], 9)), [look("wiki")]);
    assert_eq!(a.looked("wiki", Standing::Clear), [grant("wiki")]);
}

#[test]
fn what_an_operator_holds_is_the_unit_or_all_instances_but_not_its_repairs() {
    let mut a = arbiter(&[]);
    a.handle(admission(
        &["upcp.service", "imp@.service", "job@a.service"],
        1,
    ));
    for (unit, task, is_held) in [
        ("upcp.service", "upcp", true),
        ("imp@a.service", "imp", true),
        ("job@a.service", "job", true),
        ("job@b.service", "job", false),
        ("interlock-run-reset-1.service", "upcp", false),
    ] {
        let asked = a.ask(unit, 2, of_task(task, &[]));
        assert_eq!(asked.contains(&grant(unit)), !is_held, "{unit}");
    }
    let released = a.handle(admission(&["job@a.service"], 3));
    assert_eq!(released[..2], [look("upcp.service"), look("imp@a.service")]);
    assert!(!released.contains(&look("job@a.service")), "{released:?}");
}

#[test]
fn who_waits_already_when_a_deployment_begins_is_held_too() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("first", 1, of_task("first", &[("r", 1)]));
    a.ask("wiki", 2, of_task("wiki", &[("r", 1)]));
    a.handle(admission(&["wiki"], 3));
    assert_eq!(a.released("first"), []);
    assert_eq!(a.handle(admission(&[], 4)), [look("wiki")]);
}

#[test]
fn the_time_of_a_deployment_is_not_counted_against_its_patience_but_its_window_ends() {
    for (at_deadline, refused) in [(Refusal::WaitedTooLong, false), (Refusal::WindowOver, true)] {
        let mut a = arbiter(&[("r", 1)]);
        a.handle(admission(&["wiki"], 0));
        let patient = Claim {
            deadline: Some(10),
            at_deadline,
            ..of_task("wiki", &[("r", 1)])
        };
        a.ask("wiki", 2, patient);
        let tick = a.handle(Event::Tick { now: 11 });
        assert_eq!(!tick.is_empty(), refused, "{at_deadline:?}");
        a.handle(admission(&[], 20));
        let left = if refused { None } else { Some(28) };
        assert_eq!(a.next_deadline(), left);
    }
}

#[test]
fn one_that_starts_anew_over_what_it_left_behind_is_held_all_the_same() {
    let mut a = arbiter(&[("r", 1)]);
    a.ask("wiki", 1, of_task("wiki", &[("r", 1)]));
    a.handle(admission(&["wiki"], 2));
    // Its gate was restarted, and its lease isn't over: children of the last run are left.
    let again = a.ask("wiki", 3, of_task("wiki", &[("r", 1)]));
    assert!(!again.contains(&grant("wiki")), "{again:?}");
    // It doesn't wait for itself at the end.
    assert!(a.handle(admission(&[], 4)).contains(&look("wiki")));
    assert_eq!(a.looked("wiki", Standing::Clear), [grant("wiki")]);
}

#[test]
fn a_lease_whose_start_waits_for_one_that_is_held_is_taken_back() {
    let mut a = arbiter(&[("r", 1), ("s", 1)]);
    a.ask("early", 1, of_task("early", &[("r", 1)]));
    a.ask("wiki", 2, of_task("wiki", &[("s", 1), ("r", 1)]));
    let actions = a.handle(admission(&["wiki"], 3));
    let looks = Action::LookBehindLease {
        unit: "early".to_owned(),
    };
    assert!(actions.contains(&looks), "{actions:?}");
    let behind = a.handle(Event::LookedBehindLease {
        unit: "early".to_owned(),
        behind: Some(vec!["wiki".to_owned()]),
    });
    let revoked = Action::Revoke {
        unit: "early".to_owned(),
    };
    assert_eq!(behind, [revoked]);
}

#[test]
fn a_lock_from_outside_is_waited_for_and_what_it_needs_is_kept() {
    let mut a = arbiter(&[("r", 1)]);
    assert_eq!(a.ask_standing("a", 1, claim(&[("r", 1)]), locked()), []);
    let younger = a.ask("b", 2, claim(&[("r", 1)]));
    assert!(!younger.contains(&grant("b")), "{younger:?}");
    assert_eq!(a.looked("a", locked()), []);
    assert_eq!(a.handle(Event::LocksChanged), [look("a")]);
    assert_eq!(a.looked("a", Standing::Clear), [grant("a")]);
}

#[test]
fn a_lock_from_outside_is_busy_too() {
    let mut a = arbiter(&[("r", 1)]);
    let skip = Claim {
        refuse_if_busy: Some(Refusal::Skipped),
        ..claim(&[("r", 1)])
    };
    let refused = Action::Refuse {
        unit: "a".to_owned(),
        why: Refusal::Skipped,
    };
    assert_eq!(a.ask_standing("a", 1, skip, locked()), [refused]);
}

#[test]
fn who_asks_from_inside_waits_for_itself_only_if_nothing_else_is_left() {
    let mut a = arbiter(&[("r", 1), ("s", 1), ("slots", 8)]);
    a.ask("me", 1, claim(&[("r", 1), ("slots", 1)]));
    assert!(a.would_wait_for("me", &uses(&[("r", 1)])));
    assert!(!a.would_wait_for("me", &uses(&[("s", 1)])));
    assert!(!a.would_wait_for("me", &uses(&[("slots", 7)])));
    assert!(a.would_wait_for("me", &uses(&[("slots", 8)])));
    // One that waits for me, and comes first at what I don't hold.
    a.ask("between", 2, claim(&[("r", 1), ("s", 1)]));
    assert!(a.would_wait_for("me", &uses(&[("s", 1)])));
    assert!(!a.would_wait_for("nobody", &uses(&[("r", 1)])));
}
