//! A daemon that comes up, or hears of another policy: who holds and who waits, from PID 1 alone.

use std::collections::BTreeMap;

use interlock_core::arbiter::{Arbiter, Event as Told};
use interlock_core::deploy::Deployment;

use crate::daemon::capacities;
use crate::setup::{GROUPS, Setup, TASKS, has, unit};
use crate::shared::Shared;
use crate::world::{Daemon, Gate, Run, World};

impl World {
    /// A new daemon: `Engine::recover_deployments`, then `rebuild`.
    pub fn up(&mut self, setup: &Setup) {
        let policy = &setup.policies[usize::from(self.policy)];
        let mut deployments: [Option<Shared<Deployment>>; GROUPS] = self.stored.clone();
        for (at, it) in self.units.iter_mut().enumerate() {
            let live = deployments.iter().flatten();
            it.frozen &= crate::deploying::wants_frozen(live, at);
        }
        for (at, deployment) in deployments.iter_mut().enumerate() {
            if let Some(it) = deployment.as_mut().filter(|it| it.holds())
                && !self.owners[at]
            {
                it.change(|it| it.fail("its caller is gone"));
            }
        }
        self.daemon = Some(Daemon {
            arbiter: Shared::new(Arbiter::new(capacities(policy))),
            actions: Vec::new(),
            steps: Vec::new(),
            deployments,
            connected: 0,
            closed: 0,
            policy: self.policy,
        });
        for it in &mut self.units {
            it.used = if it.used == 0 { 0 } else { 1 << self.policy };
        }
        self.close_admission(setup);
        self.rebuild(setup);
    }

    /// `Engine::rebuild`.
    fn rebuild(&mut self, setup: &Setup) {
        for unit in 0..TASKS {
            let it = self.units[unit];
            let connected = self.daemon.as_ref().map_or(0, |daemon| daemon.connected);
            if has(connected, unit) || self.holds(unit) {
                continue;
            }
            match it.gate {
                Gate::Waiting => self.adopt(setup, unit, it.asked, true),
                Gate::Open => self.adopt_running(setup, unit),
                Gate::Down | Gate::Queued if it.run == Run::Leftovers => {
                    self.adopt_running(setup, unit);
                }
                Gate::Down | Gate::Queued => {}
            }
        }
        for unit in 0..TASKS {
            let is_loaded = self.units[unit].gate != Gate::Down || self.units[unit].job;
            self.units[unit].dirty |= is_loaded || self.holds(unit);
        }
        self.feed(Told::Sweep);
    }

    /// `Engine::take_policy`, then `rebuild`.
    pub fn hear_reload(&mut self, setup: &Setup) {
        let policy = &setup.policies[usize::from(self.policy)];
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        daemon.policy = self.policy;
        let waiters = daemon.arbiter.queue().iter().map(|w| {
            let mut claim = policy.claim(unit(&w.unit));
            if w.claim.deadline.is_none() {
                claim.deadline = None;
            }
            (w.unit.clone(), claim)
        });
        let leases = daemon.arbiter.leases().keys();
        let leases = leases.map(|name| (name.clone(), policy.claim(unit(name))));
        let mut claims: BTreeMap<_, _> = leases.chain(waiters).collect();
        for claim in claims.values_mut() {
            claim.refuse_if_busy = None;
        }
        for it in self.units.iter_mut().filter(|it| it.used != 0) {
            it.used |= 1 << self.policy;
        }
        self.feed(Told::Policy {
            capacities: capacities(policy),
            claims,
        });
        self.admission_again();
        self.close_admission(setup);
        self.rebuild(setup);
    }
}
