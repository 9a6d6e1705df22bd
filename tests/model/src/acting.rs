//! What the arbiter's actions come to, as the engine carries them out.

use interlock_core::arbiter::{Action, Event as Told};
use interlock_core::lease::{self, Revoking};

use crate::faults;
use crate::setup::{Setup, TASK, has, unit};
use crate::world::{Gate, Miss, World};

impl World {
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
            Action::Revoke { unit: name } => {
                self.revoke(setup, unit(&name), true);
            }
        }
        true
    }

    /// `Engine::open`.
    fn grant(&mut self, setup: &Setup, unit: usize) {
        faults::check_grant(self, setup, unit);
        let connected = self.daemon.as_ref().map_or(0, |daemon| daemon.connected);
        let policy = self.policy_read();
        self.keep(unit);
        let it = &mut self.units[unit];
        it.used |= 1 << policy;
        // It goes to the connection that it has, which a restart of the gate may have closed.
        it.go |= it.gate == Gate::Waiting && !it.hello && has(connected, unit);
    }

    /// `Engine::refuse`.
    fn refuse(&mut self, unit: usize) {
        // A later start isn't the one that was refused.
        if self.is_queued(unit) {
            return;
        }
        self.cancel_refused(unit);
        self.give_up(unit);
    }

    fn cancel_refused(&mut self, unit: usize) {
        let it = &mut self.units[unit];
        if it.waits() {
            it.job = false;
            it.job_gone = true;
            it.owed = 0;
        }
    }

    /// `Engine::revoke`.
    fn revoke(&mut self, setup: &Setup, unit: usize, is_answered: bool) -> Revoking {
        let behind = self.all_behind(setup, unit);
        let is_behind = behind.iter().any(|it| !it.is_empty());
        let todo = lease::revoke(self.lease(unit), is_answered.then_some(is_behind));
        match todo {
            Revoking::Forget | Revoking::AskAgain => {}
            Revoking::Spare => self.feed(Told::LookedBehindLease {
                unit: TASK[unit].to_owned(),
                behind,
            }),
            Revoking::Restart => {
                if self.units[unit].is_running() {
                    let fault = format!("the gate of {} is restarted while it runs", TASK[unit]);
                    self.fault.get_or_insert(fault.into());
                }
                self.restart_gate(setup, unit);
                self.units[unit].dirty = true;
            }
        }
        todo
    }

    /// The next action, whose calls to PID 1 aren't answered; those that it was to carry out may have been.
    pub fn act_fails(&mut self, setup: &Setup, miss: Miss) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let action = daemon.actions.remove(0);
        let is_asked_again = match &action {
            Action::Grant { .. } => false,
            Action::Look { .. } | Action::LookBehindLease { .. } => true,
            Action::Refuse { unit: name, .. } => {
                let at = unit(name);
                let is_stale = self.is_queued(at);
                if miss == Miss::Unheard && !is_stale {
                    self.cancel_refused(at);
                }
                !is_stale
            }
            Action::Revoke { unit: name } => {
                let at = unit(name);
                let todo = self.revoke(setup, at, miss == Miss::Unheard);
                matches!(todo, Revoking::AskAgain | Revoking::Restart)
            }
        };
        if let Some(daemon) = self.daemon.as_mut().filter(|_| is_asked_again) {
            daemon.unanswered.push(action);
        }
    }
}
