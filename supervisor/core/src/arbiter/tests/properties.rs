//! The arbiter's rules under random events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::examples::{arbiter, claim};
use crate::arbiter::*;

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
