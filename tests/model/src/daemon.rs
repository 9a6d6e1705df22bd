//! The daemon around the real arbiter: what it hears and what it does, as `supervisor/src/daemon/engine` does it.

use interlock_core::arbiter::{Event as Told, Lease, Standing, Waiter, add_uses};
use interlock_core::lease::{self, Earlier, Hello, Verdict};

use crate::setup::{PATIENCE, Policy, RESOURCE, Setup, TASK, TASKS, has, members, unit};
use crate::world::{Event, Gate, Retry, World};

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
        if !daemon.is_idle() {
            self.misses(daemon, out);
            return out.push(match daemon.steps.is_empty() {
                true => Event::Act,
                false => Event::Step,
            });
        }
        self.news(out);
        if !daemon.unanswered.is_empty() {
            out.push(Event::AskAgain);
        }
        self.retry_events(out);
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
        self.deployment_events(setup, daemon, out);
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
                if self.budget.misses > 0 {
                    out.push(Event::HearUnanswered(at));
                }
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
            Event::Hear(at) => self.hear(setup, usize::from(at), true),
            Event::HearUnanswered(at) => {
                self.budget.intrude(|it| &mut it.misses);
                self.hear(setup, usize::from(at), false);
            }
            Event::Judge(at) => self.judge_failure(setup, usize::from(at)),
            Event::TryAgain(at) => {
                self.units[usize::from(at)].retry = Retry::None;
                self.start(setup, usize::from(at));
            }
            Event::AskAgain => {
                if let Some(daemon) = &mut self.daemon {
                    let again = std::mem::take(&mut daemon.unanswered);
                    daemon.actions.extend(again);
                }
            }
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
                    let it = self.units[unit];
                    let (task, gate) = (it.service().doing, it.gate().doing);
                    let is_news = lease::is_news(self.lease(unit), Some(task), Some(gate));
                    self.units[unit].dirty |= is_news || self.holds(unit);
                }
                self.feed(Told::Sweep);
            }
            Event::Act => {
                self.act(setup);
            }
            Event::ActFails(miss) => {
                self.budget.intrude(|it| &mut it.misses);
                self.act_fails(setup, miss);
            }
            Event::Step => self.step(setup, None),
            Event::StepFails(miss) => {
                self.budget.intrude(|it| &mut it.misses);
                self.step(setup, Some(miss));
            }
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

    /// What the daemon knows of the lease of a task.
    pub fn lease(&self, unit: usize) -> Option<&Lease> {
        self.daemon.as_ref()?.arbiter.leases().get(TASK[unit])
    }

    pub fn holds(&self, unit: usize) -> bool {
        self.lease(unit).is_some()
    }

    pub fn policy_read(&self) -> u8 {
        self.daemon.as_ref().map_or(self.policy, |it| it.policy)
    }

    /// `Engine::keep_granted`.
    pub fn keep(&mut self, unit: usize) {
        if self.lease(unit).is_some_and(|lease| !lease.presumed) {
            self.units[unit].kept |= 1 << self.policy_read();
        }
    }

    fn release(&mut self, unit: usize) {
        self.units[unit].kept = 0;
        self.feed(Told::Released {
            unit: TASK[unit].to_owned(),
        });
    }

    pub fn is_queued(&self, unit: usize) -> bool {
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

    /// `Engine::hear`. Without an answer of PID 1 nothing is known of the task.
    fn hear(&mut self, setup: &Setup, unit: usize, is_answered: bool) {
        // What becomes of an earlier connection means nothing now.
        self.units[unit].closed = false;
        self.connect(unit, true);
        let it = self.units[unit];
        let task = is_answered.then(|| it.service().doing);
        let asks = lease::asks_for_leftovers(self.lease(unit));
        let left = (is_answered && asks).then(|| it.works());
        match lease::hello(self.lease(unit), task, left) {
            // It is heard again as if it hadn't been.
            Hello::Later => return,
            Hello::Adopt => {
                self.adopt_running(setup, unit);
                self.units[unit].hello = false;
                self.units[unit].go = true;
                return;
            }
            Hello::Ask(Earlier::Adopt) => self.adopt_running(setup, unit),
            Hello::Ask(Earlier::Release) => self.release(unit),
            Hello::Ask(Earlier::Keep) => {}
        }
        self.units[unit].hello = false;
        // `Engine::waiting_since`.
        let is_presumed = self.lease(unit).is_some_and(|lease| lease.presumed);
        let since = match is_presumed && is_answered {
            true => it.asked,
            false => self.now(),
        };
        let place = self.lease(unit).and_then(|lease| lease.revoked);
        self.units[unit].heard = place.map_or(since, |place| place.min(since));
        let claim = daemon_policy(setup, self).claim(unit);
        let standing = match is_answered {
            true => self.standing(setup, unit),
            false => Standing::Unknown,
        };
        self.feed(Told::Request {
            unit: TASK[unit].to_owned(),
            claim,
            since,
            standing,
            now: NOW,
        });
        if !self.holds(unit) {
            self.units[unit].kept = 0;
        }
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
    pub fn give_up(&mut self, unit: usize) {
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
        let waits = self.is_queued(unit);
        let is_gated = daemon_policy(setup, self).is_gated(unit);
        match lease::judge(self.lease(unit), waits, is_gated, it.service(), it.gate()) {
            Verdict::Nothing => {}
            Verdict::End => self.end_lease(unit),
            Verdict::Unguarded => {
                self.adopt_running(setup, unit);
                self.units[unit].used |= 1 << self.policy_read();
                self.start_gate(setup, unit);
            }
            // PID 1 closes those that nobody needs, some time.
            Verdict::Open {
                adopt,
                may_be_behind,
                is_orphan: _,
            } => {
                if adopt {
                    self.adopt_running(setup, unit);
                }
                if may_be_behind {
                    let behind = self.all_behind(setup, unit);
                    let unit = TASK[unit].to_owned();
                    self.feed(Told::LookedBehindLease { unit, behind });
                }
            }
        }
    }

    /// What still runs is looked at again when it has ended: it says so.
    fn end_lease(&mut self, unit: usize) {
        let it = &self.units[unit];
        if lease::is_over(Some(it.service().doing), it.works()) {
            self.release(unit);
        }
    }

    pub fn adopt(&mut self, setup: &Setup, unit: usize, since: u64, presumed: bool) {
        // `Engine::uses_held_by`.
        let mut uses = daemon_policy(setup, self).uses(unit);
        for policy in members(self.units[unit].kept) {
            add_uses(&mut uses, &setup.policies[policy].uses(unit));
        }
        self.feed(Told::Adopt {
            unit: TASK[unit].to_owned(),
            uses,
            since,
            presumed,
        });
        self.keep(unit);
    }

    pub fn adopt_running(&mut self, setup: &Setup, unit: usize) {
        let now = self.now();
        self.adopt(setup, unit, now, false);
    }
}

/// The policy that the daemon has read.
pub fn daemon_policy<'a>(setup: &'a Setup, world: &World) -> &'a Policy {
    &setup.policies[usize::from(world.policy_read())]
}

fn number(name: &str) -> u8 {
    u8::try_from(unit(name)).unwrap_or_default()
}
