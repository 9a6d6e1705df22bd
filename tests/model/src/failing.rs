//! Runs that fail and are tried again, calls to PID 1 that go wrong, and power that is lost.

use std::time::Duration;

use interlock_core::arbiter::Action;
use interlock_core::deploy::{Step, Todo as Decided};
use interlock_core::retry::{self, Verdict};
use interlock_generator::policy::settings;

use crate::daemon::daemon_policy;
use crate::setup::{Setup, TASK};
use crate::world::{Daemon, Event, HookUnit, Hooks, Miss, Retry, Run, Todo, Unit, World};

impl World {
    /// What can go wrong with what the daemon does next.
    pub fn misses(&self, daemon: &Daemon, out: &mut Vec<Event>) {
        if self.budget.misses == 0 {
            return;
        }
        let (is_call, may_be_refused) = match (daemon.steps.first(), daemon.actions.first()) {
            (Some(Todo::Do(Decided::Stop(..))), _) => (true, false),
            (Some(Todo::Do(Decided::Take(_, step))), _) => match step {
                Step::Freeze(_) => (false, true),
                Step::Start(..) | Step::Hook(_) => (true, true),
                Step::Signal(..) | Step::EndHook(_) => (true, false),
                _ => (false, false),
            },
            (Some(_), _) => (false, false),
            (None, Some(Action::Grant { .. }) | None) => (false, false),
            (None, Some(_)) => (true, false),
        };
        let event = |miss| match daemon.steps.is_empty() {
            true => Event::ActFails(miss),
            false => Event::StepFails(miss),
        };
        if is_call {
            out.push(event(Miss::Lost));
            out.push(event(Miss::Unheard));
        }
        if may_be_refused {
            out.push(event(Miss::Refused));
        }
    }

    /// What failed runs lead to.
    pub fn retry_events(&self, out: &mut Vec<Event>) {
        for (at, it) in (0_u8..).zip(&self.units) {
            match it.retry {
                Retry::Unjudged => out.push(Event::Judge(at)),
                Retry::Due if !it.job && !it.is_running() => out.push(Event::TryAgain(at)),
                Retry::None | Retry::Due => {}
            }
        }
    }

    /// `Engine::judge_failure`.
    pub fn judge_failure(&mut self, setup: &Setup, unit: usize) {
        let attempts = daemon_policy(setup, self).attempts[unit];
        let policy = settings::Retry {
            attempts: u32::from(attempts),
            delay: Duration::ZERO,
            max_delay: Duration::ZERO,
        };
        let it = &mut self.units[unit];
        let attempt = u32::from(it.attempt) + 1;
        let signatures: Vec<String> = (0..attempt).map(|_| TASK[unit].to_owned()).collect();
        let failure = retry::Failure {
            policy: (attempts > 0).then_some(&policy),
            attempt,
            signatures: &signatures,
            ..retry::Failure::default()
        };
        (it.retry, it.attempt) = match retry::decide(&failure, 0.0) {
            Verdict::Again { .. } => (Retry::Due, it.attempt + 1),
            Verdict::Hard { .. } => (Retry::None, 0),
        };
        if it.attempt >= attempts && attempts > 0 {
            let fault = format!("{} is tried more than {attempts} times", TASK[unit]);
            self.fault.get_or_insert(fault.into());
        }
    }

    /// A task's run failed by itself.
    pub fn run_fails(&mut self, setup: &Setup, unit: usize) {
        self.rest(setup, unit, Run::Down, true);
        let attempts = setup.policies.iter().map(|it| it.attempts[unit]).max();
        if attempts > Some(0) {
            self.units[unit].retry = Retry::Unjudged;
        }
    }

    /// All that isn't on disk is gone, and all that ran.
    pub fn reboot(&mut self, setup: &Setup) {
        for it in &mut self.units {
            *it = Unit {
                owed: it.owed,
                refused: it.refused,
                retry: it.retry,
                attempt: it.attempt,
                ..Unit::default()
            };
        }
        self.locked = 0;
        self.daemon = None;
        self.boot ^= 1;
        for hooks in &mut self.hooks {
            // What they did to others stays.
            *hooks = Hooks {
                before: HookUnit::Absent,
                after: HookUnit::Absent,
                ..*hooks
            };
        }
        for (group, owner) in self.owners.iter_mut().enumerate() {
            *owner &= setup.lasting;
            let settles = self.stored[group].as_ref();
            let settles = settles.is_some_and(|it| it.holds() && !it.was_ready());
            self.clocks[group] = u8::from(settles);
        }
    }
}
