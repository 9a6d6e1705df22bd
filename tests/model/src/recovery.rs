//! A daemon that comes up, or hears of another policy: who holds and who waits, from PID 1 alone.

use std::collections::BTreeMap;
use std::ops::Deref;

use interlock_core::arbiter::{Arbiter, Event as Told};
use interlock_core::deploy::{Deployment, wants_frozen};
use interlock_core::lease::{self, Found};

use crate::daemon::capacities;
use crate::deploying::{NOW, forget_times};
use crate::setup::{GROUPS, Setup, TASK, TASKS, has, unit};
use crate::shared::Shared;
use crate::world::{Daemon, Gate, World};

impl World {
    /// A new daemon: `Engine::recover_deployments`, then `rebuild`.
    pub fn up(&mut self, setup: &Setup) {
        let policy = &setup.policies[usize::from(self.policy)];
        let mut deployments: [Option<Shared<Deployment>>; GROUPS] = self.stored.clone();
        let boot = self.boot.to_string();
        for it in deployments.iter_mut().flatten() {
            if it.boot != boot {
                it.change(|it| {
                    it.rebooted(&boot, NOW, 1);
                    forget_times(it);
                });
            }
        }
        for (at, it) in self.units.iter_mut().enumerate() {
            let live = deployments.iter().flatten().map(Deref::deref);
            it.frozen &= wants_frozen(live, TASK[at]);
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
            unanswered: Vec::new(),
            steps: Vec::new(),
            unfreezable: 0,
            hooks_refused: 0,
            deployments,
            connected: 0,
            closed: 0,
            policy: self.policy,
        });
        self.close_admission(setup);
        self.rebuild(setup);
    }

    /// `Engine::rebuild`.
    fn rebuild(&mut self, setup: &Setup) {
        for unit in 0..TASKS {
            let it = self.units[unit];
            let connected = self.daemon.as_ref().map_or(0, |daemon| daemon.connected);
            let (task, gate) = (it.service().doing, it.gate().doing);
            let is_connected = has(connected, unit);
            match lease::found(self.lease(unit), is_connected, Some(task), Some(gate)) {
                Found::Nothing => {}
                Found::Presumed => self.adopt(setup, unit, it.asked, true),
                Found::Held => self.adopt_running(setup, unit),
                Found::HeldIfPopulated if it.works() => self.adopt_running(setup, unit),
                Found::HeldIfPopulated => {}
            }
        }
        for unit in 0..TASKS {
            let it = &self.units[unit];
            let is_loaded = it.gate != Gate::Down || it.job || it.is_running();
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
        (0..TASKS).for_each(|unit| self.keep(unit));
        self.admission_again();
        self.close_admission(setup);
        self.rebuild(setup);
    }
}
