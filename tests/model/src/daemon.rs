//! The daemon around the real arbiter: what it hears and what it does, as `supervisor/src/daemon/engine` does it.

use interlock_core::arbiter::{Action, Event as Told, Standing, Waiter};

use crate::faults;
use crate::setup::{PATIENCE, Policy, RESOURCE, Setup, TASK, TASKS, has, unit};
use crate::world::{Event, Gate, Run, World};

/// Nothing in the model depends on how late it is but what it says itself.
const NOW: u64 = 0;

/// Each resource's capacity.
pub fn capacities(policy: &Policy) -> std::collections::BTreeMap<String, u32> {
    let capacities = RESOURCE.iter().zip(policy.capacities);
    capacities
        .map(|(name, capacity)| ((*name).to_owned(), capacity))
        .collect()
}

impl World {
    /// What the daemon can do.
    pub fn daemon_events(&self, setup: &Setup, out: &mut Vec<Event>) {
        let Some(daemon) = &self.daemon else {
            return out.push(Event::Up);
        };
        if !daemon.steps.is_empty() {
            return out.push(Event::Step);
        }
        if !daemon.actions.is_empty() {
            return out.push(Event::Act);
        }
        self.news(out);
        for (at, _) in (0_u8..).zip(&self.units) {
            let is_held = has(self.held, usize::from(at));
            if is_held {
                out.push(Event::Release(at));
            } else if self.budget.holds > 0 && has(setup.holds, usize::from(at)) {
                out.push(Event::Hold(at));
            }
        }
        let queue = daemon.arbiter.queue();
        for waiter in queue {
            if waiter.claim.deadline.is_some() && waiter.held.is_none() {
                out.push(Event::Overdue(number(&waiter.unit)));
            }
        }
        let is_locked = |w: &Waiter| matches!(w.standing, Standing::Locked(_));
        if queue.iter().any(is_locked) {
            out.push(Event::PollLocks);
        }
        if self.budget.sweeps > 0 {
            out.push(Event::Sweep);
        }
        self.deployment_events(daemon, out);
    }

    /// What it hasn't heard of yet.
    pub fn news(&self, out: &mut Vec<Event>) {
        for (at, it) in (0_u8..).zip(&self.units) {
            if it.closed {
                out.push(Event::HearClosed(at));
            }
            if it.job_gone {
                out.push(Event::HearJobGone(at));
            }
            if it.dirty {
                out.push(Event::Refresh(at));
            }
            if it.hello && it.gate == Gate::Waiting {
                out.push(Event::Hear(at));
            }
        }
        let Some(daemon) = &self.daemon else {
            return;
        };
        if daemon.policy != self.policy {
            out.push(Event::HearReload);
        }
        for (at, deployment) in (0_u8..).zip(&daemon.deployments) {
            let holds = deployment.as_ref().is_some_and(|it| it.holds());
            if holds && !self.owners[usize::from(at)] {
                out.push(Event::HearOwner(at));
            }
        }
    }

    /// Has it happen.
    pub fn daemon_event(&mut self, setup: &Setup, event: Event) {
        match event {
            Event::Up => self.up(setup),
            Event::Hear(at) => self.hear(setup, usize::from(at)),
            Event::HearClosed(at) => self.hear_closed(usize::from(at)),
            Event::HearJobGone(at) => self.hear_job_gone(usize::from(at)),
            Event::Refresh(at) => self.refresh(setup, usize::from(at)),
            Event::Hold(at) => {
                self.budget.intrude(|it| &mut it.holds);
                self.held |= 1 << at;
                self.close_admission(setup);
            }
            Event::Release(at) => {
                self.held &= !(1 << at);
                self.close_admission(setup);
            }
            Event::Overdue(at) => self.feed(Told::Tick {
                now: PATIENCE + u64::from(at),
            }),
            Event::HearReload => self.hear_reload(setup),
            Event::PollLocks => self.feed(Told::LocksChanged),
            Event::Sweep => {
                crate::setup::spend(&mut self.budget.sweeps);
                for unit in 0..TASKS {
                    self.units[unit].dirty |= self.holds(unit);
                }
                self.feed(Told::Sweep);
            }
            Event::Act => {
                self.act(setup);
            }
            Event::Step => self.step(setup),
            _ => self.deployment_event(setup, event),
        }
    }

    /// Tells the arbiter.
    pub fn feed(&mut self, told: Told) {
        if let Some(daemon) = &mut self.daemon {
            let actions = daemon.arbiter.change(|arbiter| arbiter.handle(told));
            daemon.actions.extend(actions);
        }
    }

    pub fn holds(&self, unit: usize) -> bool {
        let daemon = self.daemon.as_ref();
        daemon.is_some_and(|it| it.arbiter.leases().contains_key(TASK[unit]))
    }

    fn is_queued(&self, unit: usize) -> bool {
        let daemon = self.daemon.as_ref();
        let mut queue = daemon.iter().flat_map(|it| it.arbiter.queue());
        queue.any(|waiter| waiter.unit == TASK[unit])
    }

    fn connect(&mut self, unit: usize, is_there: bool) {
        if let Some(daemon) = &mut self.daemon {
            daemon.connected &= !(1 << unit);
            daemon.connected |= u8::from(is_there) << unit;
        }
    }

    /// `Engine::hello`.
    fn hear(&mut self, setup: &Setup, unit: usize) {
        self.units[unit].hello = false;
        // What becomes of an earlier connection means nothing now.
        self.units[unit].closed = false;
        self.connect(unit, true);
        let it = self.units[unit];
        if it.is_running() {
            self.adopt_running(setup, unit);
            self.units[unit].go = true;
            return;
        }
        let daemon = self.daemon.as_ref();
        let lease = daemon.and_then(|it| it.arbiter.leases().get(TASK[unit]));
        let is_left = it.run == Run::Leftovers;
        let is_presumed = lease.is_some_and(|lease| lease.presumed) && !is_left;
        let was_granted = lease.is_some_and(|lease| lease.presumed) && is_left;
        let is_plain = lease.is_some_and(|lease| !lease.presumed && lease.revoked.is_none());
        let place = lease.and_then(|lease| lease.revoked);
        if is_plain && it.run != Run::Leftovers {
            self.feed(Told::Released {
                unit: TASK[unit].to_owned(),
            });
        }
        if was_granted {
            self.adopt_running(setup, unit);
        }
        let since = if is_presumed { it.asked } else { self.now() };
        self.units[unit].heard = place.map_or(since, |place| place.min(since));
        let policy = daemon_policy(setup, self);
        let claim = policy.claim(unit);
        let standing = self.standing(setup, unit);
        self.feed(Told::Request {
            unit: TASK[unit].to_owned(),
            claim,
            since,
            standing,
            now: NOW,
        });
    }

    /// `Engine::closed`.
    fn hear_closed(&mut self, unit: usize) {
        self.units[unit].closed = false;
        self.connect(unit, false);
        if self.is_queued(unit) {
            self.feed(Told::Cancelled {
                unit: TASK[unit].to_owned(),
            });
        }
    }

    /// `Engine::job_removed`.
    fn hear_job_gone(&mut self, unit: usize) {
        self.units[unit].job_gone = false;
        self.feed(Told::JobGone {
            unit: TASK[unit].to_owned(),
        });
        if self.holds(unit) {
            self.units[unit].dirty = true;
        }
        if self.is_queued(unit) && !self.units[unit].job {
            self.give_up(unit);
            self.feed(Told::Cancelled {
                unit: TASK[unit].to_owned(),
            });
        }
    }

    /// Tells a gate that its start was given up.
    fn give_up(&mut self, unit: usize) {
        let it = self.units[unit];
        // A new process of the gate hears nothing of it: that comes to the old one's connection.
        if it.gate == Gate::Waiting && !it.hello {
            self.stop_gate(unit);
            self.units[unit].closed = false;
        }
        self.connect(unit, false);
    }

    /// `Engine::refresh` and `judge`.
    fn refresh(&mut self, setup: &Setup, unit: usize) {
        self.units[unit].dirty = false;
        let it = self.units[unit];
        match it.gate {
            Gate::Down | Gate::Queued => {
                if self.holds(unit) {
                    self.end_lease(unit);
                }
            }
            Gate::Waiting => {
                if self.holds(unit) && self.is_queued(unit) {
                    self.end_lease(unit);
                }
            }
            Gate::Open => {
                let daemon = self.daemon.as_ref();
                let lease = daemon.and_then(|it| it.arbiter.leases().get(TASK[unit]));
                let holds = lease.is_some();
                if lease.is_none_or(|lease| lease.presumed) {
                    self.adopt_running(setup, unit);
                }
                if holds && it.waits() {
                    let behind = self.all_behind(setup, unit);
                    let unit = TASK[unit].to_owned();
                    self.feed(Told::LookedBehindLease { unit, behind });
                }
            }
        }
    }

    /// What still runs is looked at again when it has ended: it says so.
    fn end_lease(&mut self, unit: usize) {
        if !self.units[unit].works() {
            self.feed(Told::Released {
                unit: TASK[unit].to_owned(),
            });
        }
    }

    pub fn adopt(&mut self, setup: &Setup, unit: usize, since: u64, presumed: bool) {
        let uses = daemon_policy(setup, self).uses(unit);
        self.feed(Told::Adopt {
            unit: TASK[unit].to_owned(),
            uses,
            since,
            presumed,
        });
    }

    pub fn adopt_running(&mut self, setup: &Setup, unit: usize) {
        let now = self.now();
        self.adopt(setup, unit, now, false);
    }

    /// Carries out the arbiter's next action; says whether somebody else can see it.
    pub fn act(&mut self, setup: &Setup) -> bool {
        let Some(daemon) = self.daemon.as_mut().filter(|it| !it.actions.is_empty()) else {
            return false;
        };
        match daemon.actions.remove(0) {
            Action::Look { unit: name } => {
                let standing = self.standing(setup, unit(&name));
                self.feed(Told::Looked {
                    unit: name,
                    standing,
                });
                return false;
            }
            Action::LookBehindLease { unit: name } => {
                let behind = self.all_behind(setup, unit(&name));
                self.feed(Told::LookedBehindLease { unit: name, behind });
                return false;
            }
            Action::Grant { unit: name } => self.grant(setup, unit(&name)),
            Action::Refuse { unit: name, .. } => self.refuse(unit(&name)),
            Action::Revoke { unit: name } => self.revoke(setup, unit(&name)),
        }
        true
    }

    /// `Engine::open`.
    fn grant(&mut self, setup: &Setup, unit: usize) {
        faults::check_grant(self, setup, unit);
        let connected = self.daemon.as_ref().map_or(0, |daemon| daemon.connected);
        let policy = self.policy_read();
        let it = &mut self.units[unit];
        it.used |= 1 << policy;
        // It goes to the connection that it has, which a restart of the gate may have closed.
        it.go |= it.gate == Gate::Waiting && !it.hello && has(connected, unit);
    }

    pub fn policy_read(&self) -> u8 {
        self.daemon.as_ref().map_or(self.policy, |it| it.policy)
    }

    /// `Engine::refuse`.
    fn refuse(&mut self, unit: usize) {
        let it = &mut self.units[unit];
        if it.waits() {
            it.job = false;
            it.job_gone = true;
            it.owed = 0;
        }
        self.give_up(unit);
    }

    /// `Engine::revoke`.
    fn revoke(&mut self, setup: &Setup, unit: usize) {
        let behind = self.all_behind(setup, unit);
        if behind.as_ref().is_none_or(Vec::is_empty) {
            return self.feed(Told::LookedBehindLease {
                unit: TASK[unit].to_owned(),
                behind,
            });
        }
        self.restart_gate(setup, unit);
        self.units[unit].dirty = true;
    }
}

/// The policy that the daemon has read.
pub fn daemon_policy<'a>(setup: &'a Setup, world: &World) -> &'a Policy {
    &setup.policies[usize::from(world.policy_read())]
}

fn number(name: &str) -> u8 {
    u8::try_from(unit(name)).unwrap_or_default()
}
