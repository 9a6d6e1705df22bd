//! The arbiter's rules, each by example; then all of them under random events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::examples::{arbiter, behind, claim, grant, look, uses};
use super::*;

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

/// What tasks and PID 1 do around the arbiter, as far as it can tell.
struct World {
    arbiter: Arbiter,
    claims: Vec<Claim>,
    /// Task i is ordered after task j < i for all (i, j) here.
    order: Vec<(usize, usize)>,
    /// Tasks at their gates, that is with a job.
    waiting: Vec<bool>,
    running: Vec<bool>,
    time: u64,
}

#[derive(Debug, Clone)]
enum Deed {
    Start(usize),
    Cancel(usize),
    Finish(usize),
    Crash,
    Sweep,
}

const TASKS: usize = 6;

impl World {
    fn name(i: usize) -> String {
        format!("t{i}")
    }

    fn index(unit: &str) -> usize {
        unit[1..].parse().expect("made by name()")
    }

    fn standing(&self, i: usize) -> Standing {
        if !self.waiting[i] {
            return Standing::Jobless;
        }
        let before = self.order.iter().filter(|(after, _)| *after == i);
        let before: Vec<String> = before
            .filter(|(_, j)| self.waiting[*j] || self.running[*j])
            .map(|(_, j)| Self::name(*j))
            .collect();
        match before.is_empty() {
            true => Standing::Clear,
            false => Standing::Behind(before),
        }
    }

    fn feed(&mut self, event: Event) {
        let mut todo: std::collections::VecDeque<Action> = self.arbiter.handle(event).into();
        while let Some(action) = todo.pop_front() {
            let next = match action {
                Action::Grant { unit } => {
                    let i = Self::index(&unit);
                    assert!(self.waiting[i], "{unit} was granted without waiting");
                    assert_eq!(
                        self.standing(i),
                        Standing::Clear,
                        "{unit} opens before its time"
                    );
                    self.waiting[i] = false;
                    self.running[i] = true;
                    self.check_capacities();
                    vec![]
                }
                Action::Look { unit } => {
                    let standing = self.standing(Self::index(&unit));
                    self.arbiter.handle(Event::Looked { unit, standing })
                }
                Action::LookBehindLease { unit } => self
                    .arbiter
                    .handle(Event::LookedBehindLease { unit, behind: None }),
                other => panic!("unexpected {other:?}"),
            };
            todo.extend(next);
        }
    }

    fn check_capacities(&self) {
        for (resource, capacity) in self.arbiter.capacities() {
            let running = (0..TASKS).filter(|i| self.running[*i]);
            let held: u32 = running
                .filter_map(|i| self.claims[i].uses.get(resource))
                .sum();
            assert!(
                held <= *capacity,
                "{held} of {capacity} {resource} are held"
            );
        }
    }

    fn request(&mut self, i: usize, since: u64) {
        let standing = self.standing(i);
        self.feed(Event::Request {
            unit: Self::name(i),
            claim: self.claims[i].clone(),
            since,
            standing,
            now: self.time,
        });
    }

    fn end(&mut self, i: usize) {
        self.waiting[i] = false;
        self.running[i] = false;
        let unit = Self::name(i);
        self.feed(Event::Released { unit: unit.clone() });
        self.feed(Event::Cancelled { unit: unit.clone() });
        self.feed(Event::JobGone { unit });
    }

    fn act(&mut self, deed: &Deed) {
        self.time += 1;
        match *deed {
            Deed::Start(i) if !self.waiting[i] && !self.running[i] => {
                self.waiting[i] = true;
                self.request(i, self.time);
            }
            Deed::Cancel(i) if self.waiting[i] => self.end(i),
            Deed::Finish(i) if self.running[i] => self.end(i),
            Deed::Crash => self.crash(),
            Deed::Sweep => self.feed(Event::Sweep),
            _ => {}
        }
    }

    fn crash(&mut self) {
        let places: BTreeMap<String, u64> = self
            .arbiter
            .queue()
            .iter()
            .map(|w| (w.unit.clone(), w.since))
            .collect();
        self.arbiter = Arbiter::new(self.arbiter.capacities().clone());
        for i in (0..TASKS).filter(|i| self.running[*i] || self.waiting[*i]) {
            let unit = Self::name(i);
            self.arbiter.handle(Event::Adopt {
                since: places.get(&unit).copied().unwrap_or(0),
                unit,
                uses: self.claims[i].uses.clone(),
                presumed: self.waiting[i],
            });
        }
        for i in (0..TASKS).rev() {
            if let Some(since) = places.get(&Self::name(i)) {
                self.request(i, *since);
            }
        }
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..TASKS).prop_map(Deed::Start),
        1 => (0..TASKS).prop_map(Deed::Cancel),
        4 => (0..TASKS).prop_map(Deed::Finish),
        1 => Just(Deed::Crash),
        1 => Just(Deed::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn capacities_hold_and_everybody_is_served(
        weights in prop::collection::vec(prop::collection::vec(0_u32..3, 3), TASKS),
        order in prop::collection::vec((1..TASKS, 0..TASKS), 0..6),
        deeds in prop::collection::vec(deed(), 0..60),
    ) {
        let resources = [("a", 1_u32), ("b", 2), ("c", 4)];
        let claims = weights.iter().map(|weights| {
            let some = resources.iter().zip(weights).filter(|(_, weight)| **weight > 0);
            let some: Vec<(&str, u32)> = some.map(|((r, capacity), w)| (*r, *w.min(capacity))).collect();
            claim(&some)
        });
        let mut world = World {
            arbiter: arbiter(&resources),
            claims: claims.collect(),
            order: order.into_iter().filter(|(i, j)| j < i).collect(),
            waiting: vec![false; TASKS],
            running: vec![false; TASKS],
            time: 0,
        };
        for deed in &deeds {
            world.act(deed);
        }
        // Nobody starts any more: all that waits must be served within as many rounds as there are tasks.
        for _ in 0..=TASKS {
            for i in 0..TASKS {
                world.act(&Deed::Finish(i));
            }
            world.act(&Deed::Sweep);
        }
        prop_assert!(world.arbiter.queue().is_empty(), "left waiting: {:?}", world.arbiter.queue());
        prop_assert!(!world.waiting.contains(&true));
    }
}
