//! The world as [`crate::search`] goes through it.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use crate::faults;
use crate::search::Machine;
use crate::setup::{Budget, GROUPS, Setup, TASKS};
use crate::world::{Daemon, Event, Gate, Retry, World};

/// A setup, as a machine.
pub struct Interlock<'a>(pub &'a Setup);

/// 64 bits that tell worlds apart.
pub fn fingerprint(world: &World) -> u64 {
    FixedState::default().hash_one(world)
}

impl Machine for Interlock<'_> {
    type State = World;
    type Event = Event;

    fn initial(&self) -> World {
        let setup = self.0;
        let mut world = World {
            units: Default::default(),
            locked: 0,
            held: 0,
            policy: 0,
            stored: [None, None],
            hooks: Default::default(),
            boot: 0,
            owners: [false; 2],
            clocks: [0; 2],
            daemon: None,
            budget: setup.budget.clone(),
            fault: None,
        };
        self.happen(&mut world, Event::Up);
        world
    }

    fn next(&self, world: &World, out: &mut Vec<(Event, World)>) {
        let setup = self.0;
        let mut events = Vec::new();
        let is_busy = world.daemon.as_ref().is_some_and(|it| !it.is_idle());
        if setup.is_eager && world.daemon.is_some() && !is_busy {
            let mut seen = world.clone();
            self.happen(&mut seen, Event::Round);
            if fingerprint(&seen) != fingerprint(world) {
                out.push((Event::Round, seen));
                cut_off(&world.budget, &mut events);
                out.extend(events.into_iter().map(|event| {
                    let mut killed = world.clone();
                    self.happen(&mut killed, event);
                    (event, killed)
                }));
                return;
            }
        }
        if setup.is_fine || !is_busy {
            world.pid1_events(setup, &mut events);
        } else {
            cut_off(&world.budget, &mut events);
        }
        world.daemon_events(setup, &mut events);
        out.extend(events.into_iter().map(|event| {
            let mut next = world.clone();
            self.happen(&mut next, event);
            (event, next)
        }));
    }

    fn fingerprint(&self, world: &World) -> u64 {
        fingerprint(world)
    }

    fn fault(&self, world: &World) -> Option<String> {
        faults::fault(self.0, world)
    }

    fn open(&self, world: &World) -> u16 {
        let waits = world.units.iter().enumerate();
        let waits = waits.filter(|(_, it)| it.waits());
        let open = waits.fold(0, |open, (at, _)| open | 1 << at);
        let live = world.stored.iter().enumerate();
        let live = live.filter(|(_, it)| it.is_some());
        let open = live.fold(open, |open, (at, _)| open | 1 << (TASKS + at));
        let failed = world.units.iter().enumerate();
        let failed = failed.filter(|(_, it)| it.retry != Retry::None);
        failed.fold(open, |open, (at, _)| open | 1 << (TASKS + GROUPS + at))
    }
}

impl Interlock<'_> {
    /// Has it happen.
    pub fn happen(&self, world: &mut World, event: Event) {
        let setup = self.0;
        if !world.pid1_event(setup, event) {
            world.daemon_event(setup, event);
            if !setup.is_fine {
                world.go_on(setup, event);
            }
        }
        if setup.is_prompt {
            world.hear_all(setup);
        }
        world.forget(setup);
    }
}

/// What may come between any two things that the daemon does.
fn cut_off(budget: &Budget, out: &mut Vec<Event>) {
    if budget.crashes > 0 {
        out.push(Event::Crash);
    }
    if budget.reboots > 0 {
        out.push(Event::Reboot);
    }
}

/// So many steps follow from one event at the most.
const LONGEST: usize = 1000;

impl World {
    /// A daemon that nobody kills does all that follows before it hears of anything else. One that may be killed
    /// stops after each thing that somebody can see: what only it knows is forgotten with it.
    fn go_on(&mut self, setup: &Setup, event: Event) {
        let may_miss = self.budget.misses > 0;
        let stops = may_miss || self.budget.crashes > 0 || self.budget.reboots > 0;
        let mut acts = !(may_miss || (stops && event == Event::Act));
        for _ in 0..LONGEST {
            let Some(daemon) = &self.daemon else {
                return;
            };
            let is_step = !daemon.steps.is_empty();
            if is_step && !stops {
                self.step(setup, None);
            } else if !is_step && !daemon.actions.is_empty() && acts {
                acts = !self.act(setup) || !stops;
            } else {
                return;
            }
        }
        self.never_rests();
    }

    fn never_rests(&mut self) {
        self.fault
            .get_or_insert("the daemon goes on and on, though nothing happens".into());
    }

    /// The daemon hears of all that it doesn't know.
    fn hear_all(&mut self, setup: &Setup) {
        let mut news = Vec::new();
        for _ in 0..LONGEST {
            if !self.daemon.as_ref().is_some_and(Daemon::is_idle) {
                return;
            }
            self.news(&mut news);
            // It makes a difference whether PID 1 answers.
            let may_miss = self.budget.misses > 0;
            let is_plain = |event: &&Event| {
                !(may_miss && matches!(event, Event::Hear(_) | Event::HearUnanswered(_)))
            };
            let Some(event) = news.iter().find(is_plain).copied() else {
                return;
            };
            news.clear();
            self.daemon_event(setup, event);
            self.go_on(setup, event);
        }
        self.never_rests();
    }

    /// Forgets what nothing depends on, and when things were but for their order.
    fn forget(&mut self, setup: &Setup) {
        let is_rebuilt =
            self.budget.crashes > 0 || self.budget.reloads > 0 || self.daemon.is_none();
        let may_fail = self.budget.fails > 0;
        for it in &mut self.units {
            if !(it.works() || it.go || it.gate == Gate::Open) {
                it.used = 0;
            }
            if it.gate != Gate::Waiting || it.go {
                it.asked = 0;
                it.heard = 0;
            }
            if !is_rebuilt {
                it.asked = 0;
            }
            if setup.policies.len() == 1 {
                it.kept = 0;
            }
            if !may_fail && it.retry == Retry::None {
                it.attempt = 0;
            }
        }
        let is_fresh = self.daemon.as_ref().is_some_and(|it| it.arbiter.is_fresh());
        if let Some(daemon) = self.daemon.as_mut().filter(|_| is_fresh) {
            let may_revoke = !setup.order.is_empty();
            let arbiter = &mut daemon.arbiter;
            arbiter.change(|arbiter| arbiter.rename_moments(may_revoke, |moment| moment));
        }
        let arbiter = self.daemon.as_ref().map(|it| it.arbiter.moments());
        let mut moments: BTreeSet<u64> = arbiter.unwrap_or_default();
        moments.extend(self.units.iter().flat_map(|it| [it.asked, it.heard]));
        moments.insert(0);
        let is_named = moments
            .iter()
            .zip(0..)
            .all(|(moment, name)| *moment == name);
        if !is_named {
            let moments: Vec<u64> = moments.into_iter().collect();
            let name = |moment: u64| moments.partition_point(|it| *it < moment) as u64;
            for it in &mut self.units {
                it.asked = name(it.asked);
                it.heard = name(it.heard);
            }
            if let Some(daemon) = &mut self.daemon {
                let arbiter = &mut daemon.arbiter;
                arbiter.change(|arbiter| arbiter.rename_moments(true, name));
            }
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.arbiter.settle();
        }
    }
}
