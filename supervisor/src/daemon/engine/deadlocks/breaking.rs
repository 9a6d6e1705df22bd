//! Tells of deadlocks and of their end, and ends who is in the way if the policy says so.

use std::time::Duration;

use interlock_core::deadlock::{Deadlock, Who};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::super::super::{Input, Notice};
use super::super::{Engine, OperatorEvent};
use super::cases::{self, DeadlockView, Ending};
use crate::clock;
use crate::journal::message;
use crate::lookout::{self, Ended};

/// How long a process may take to end by SIGTERM.
const TERM: Duration = Duration::from_secs(10);

impl Engine {
    /// Tells everybody; returns its id.
    pub(super) fn report_deadlock(&mut self, deadlock: &Deadlock) -> u64 {
        let waiter = deadlock.waiters.first();
        let resource = waiter.and_then(|it| it.resource.clone());
        let mut view = DeadlockView {
            id: 0,
            found: clock::realtime(),
            kind: cases::name(deadlock.kind).to_owned(),
            unit: self.unit_of_deadlock(deadlock),
            resource: resource.unwrap_or_default(),
            state: "stuck".to_owned(),
            text: deadlock.lines().join("\n"),
            waiters: cases::waiters(deadlock),
        };
        view.id = self.deadlocks.cases.add(view.clone());
        let outlook = match deadlock.to_end() {
            Some(waiter) => {
                let (comm, pid) = (&waiter.process.comm, waiter.process.pid);
                format!(
                    "{comm} (pid {pid}) is ended, so that the others can go on (on-deadlock = \"kill-nested\")."
                )
            }
            None => "Nobody is ended: they wait until somebody interferes.".to_owned(),
        };
        tracing::warn!(
            message_id = message::DEADLOCK,
            task = self.policy.task_name(&view.unit),
            unit = view.unit,
            object_systemd_unit = view.unit,
            resource = view.resource,
            kind = view.kind,
            "{}, for ever:\n{}\n{outlook}",
            headline(&view),
            view.text
        );
        self.history.deadlock(&view);
        self.tell_operators(&OperatorEvent::Deadlock {
            task: self.policy.task_name(&view.unit).to_owned(),
            unit: view.unit.clone(),
            text: view.text.clone(),
        });
        self.notify(Notice::DeadlockFound {
            id: view.id,
            kind: view.kind,
            unit: view.unit.clone(),
            resource: view.resource,
            text: view.text,
        });
        self.notify(Notice::Changed(view.unit));
        view.id
    }

    /// The unit with a lease that is caught in it, the innermost waiter's if it is one.
    fn unit_of_deadlock(&self, deadlock: &Deadlock) -> String {
        let waiters = deadlock.waiters.iter().map(|it| it.process.unit.as_ref());
        let chain = deadlock.chain.iter().rev().map(|link| match &link.who {
            Who::Process(process) => process.unit.as_ref(),
            Who::Unit(unit) => Some(unit),
        });
        let units: Vec<&String> = waiters.chain(chain).flatten().collect();
        let leased = units
            .iter()
            .find(|unit| self.arbiter.leases().contains_key(**unit));
        leased
            .or(units.first())
            .map_or_else(String::new, |it| (*it).clone())
    }

    /// Ends the innermost waiter if the policy says so. Says whether one is being ended.
    pub(super) fn end_waiter(&mut self, case: u64, deadlock: &Deadlock) -> bool {
        let Some(waiter) = deadlock.to_end() else {
            return false;
        };
        let (pid, start_time) = (waiter.process.pid, waiter.process.start_time);
        let now = Instant::now();
        let known = self.deadlocks.cases.ending(case);
        let known = known.filter(|it| (it.pid, it.start_time) == (pid, start_time));
        if known.is_some_and(|ending| ending.killed || now - ending.tried < TERM) {
            return true;
        }
        let kill = known.is_some_and(|ending| ending.asked);
        let ending = Ending {
            pid,
            start_time,
            tried: now,
            asked: kill,
            killed: false,
        };
        self.deadlocks.cases.set_ending(case, ending);
        let Some(terms) = self.deadlocks.terms.clone() else {
            return true;
        };
        let who = Who::Process(Box::new(waiter.process.clone())).to_string();
        let inputs = self.deadlocks.inputs.clone();
        tokio::spawn(async move {
            let end = move || lookout::end(pid, start_time, kill, &terms);
            let ended = spawn_blocking(end).await;
            let ended = ended.unwrap_or_else(|error| Ended::Failed(error.to_string()));
            let _ = inputs.send(Input::WaiterEnded {
                case,
                who,
                kill,
                ended,
            });
        });
        true
    }

    /// What came of it.
    pub(in super::super) fn waiter_ended(
        &mut self,
        case: u64,
        who: &str,
        kill: bool,
        ended: &Ended,
    ) {
        let Some(view) = self.deadlocks.cases.view(case).cloned() else {
            return;
        };
        let signal = if kill { "SIGKILL" } else { "SIGTERM" };
        match ended {
            Ended::Signalled => {
                self.deadlocks.cases.was_broken(case, kill);
                tracing::warn!(
                    message_id = message::DEADLOCK_BROKEN,
                    task = self.policy.task_name(&view.unit),
                    unit = view.unit,
                    object_systemd_unit = view.unit,
                    resource = view.resource,
                    "{who} was sent {signal}, so that the others can go on; it could never have:\n{}",
                    view.text
                );
            }
            Ended::Gone => {}
            Ended::Holds(resource) => tracing::warn!(
                unit = view.unit,
                "{who} isn't ended: by now it holds the lock of {resource}"
            ),
            Ended::Failed(error) => {
                tracing::warn!(unit = view.unit, "cannot send {signal} to {who}: {error}");
            }
        }
    }

    /// A deadlock is over.
    pub(super) fn resolve_deadlock(&mut self, id: u64) {
        let Some(view) = self.deadlocks.cases.resolve(id).cloned() else {
            return;
        };
        let how = match view.state.as_str() {
            "ended" => "is over: a process of it was ended",
            _ => "is over",
        };
        tracing::info!(
            task = self.policy.task_name(&view.unit),
            unit = view.unit,
            object_systemd_unit = view.unit,
            resource = view.resource,
            "{}; that {how}",
            headline(&view)
        );
        self.history.deadlock(&view);
        self.notify(Notice::DeadlockResolved {
            id,
            how: view.state,
        });
        self.notify(Notice::Changed(view.unit));
    }

    pub(super) fn resolve_all_deadlocks(&mut self) {
        for case in self.deadlocks.cases.stuck() {
            self.resolve_deadlock(case);
        }
    }

    pub(in super::super) fn deadlock_views(&self) -> Vec<DeadlockView> {
        self.deadlocks.cases.views().cloned().collect()
    }

    /// For `why`: the deadlock that a unit is in.
    pub(in super::super) fn deadlock_of(&self, unit: &str) -> Option<&DeadlockView> {
        let mut views = self.deadlocks.cases.views();
        views.find(|view| view.state == "stuck" && view.unit == unit)
    }
}

fn headline(view: &DeadlockView) -> String {
    let who = match view.unit.as_str() {
        "" => "Processes outside the policy",
        unit => unit,
    };
    match view.kind.as_str() {
        "nested-client" => format!("In {who} a process waits for its own ancestor"),
        "blocking-start" => format!("In {who} a process waits for a unit that waits for it"),
        _ => format!("In {who} and others, processes wait for one another"),
    }
}
