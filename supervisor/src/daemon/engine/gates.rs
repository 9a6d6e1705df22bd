//! Gates come, wait, are opened, and go.

use interlock_core::arbiter::{Action, Claim, Event, Refusal, Standing, resources};
use interlock_core::lease::{self, Earlier, Hello, Revoking};
use interlock_generator::names;
use tokio::net::unix::OwnedWriteHalf;

use super::super::{Notice, words};
use super::{Engine, Gate, Record};
use crate::clock;
use crate::failpoint::step;
use crate::gate::protocol::Verdict;
use crate::journal::message;
use crate::pid1::UnitState;

impl Engine {
    pub(super) async fn hello(&mut self, unit: String, connection: u64, writer: OwnedWriteHalf) {
        let gate = Gate {
            connection,
            writer,
            status: String::new(),
        };
        self.gates.insert(unit.clone(), gate);
        self.tell(&unit, &Verdict::Queued);
        self.orphans.remove(&unit);
        self.lost_gates.remove(&unit);
        self.hear(unit).await;
    }

    /// Those gates again of which PID 1 alone could say what they stand for, and didn't.
    pub(super) async fn hear_unheard(&mut self) {
        if self.pid1.is_none() {
            return;
        }
        for unit in std::mem::take(&mut self.unheard_gates) {
            if self.gates.contains_key(&unit) {
                self.hear(unit).await;
                self.carry_out().await;
            }
        }
    }

    fn hear_later(&mut self, unit: String) {
        self.unheard_gates.insert(unit);
    }

    /// What is done about a gate that asks, by what PID 1 says of its task.
    async fn judge_hello(&self, unit: &str, state: Option<&UnitState>) -> Hello {
        let lease = self.arbiter.leases().get(unit);
        let task = state.map(UnitState::doing);
        let left = match lease::asks_for_leftovers(lease) && task.is_some() {
            true => self.leftovers(unit).await,
            false => None,
        };
        lease::hello(lease, task, left)
    }

    /// What a gate asks for.
    async fn hear(&mut self, unit: String) {
        if names::is_run(&unit) {
            let is_known = match self.pid1.clone() {
                Some(pid1) => self.learn_run(&pid1, &unit).await,
                None => false,
            };
            if !is_known {
                return self.request_unseen(unit).await;
            }
        } else if self.policy.task_of(&unit).is_none() {
            // PID 1 has a drop-in for it: this gate was quicker than the news of a daemon-reload.
            self.policy_may_have_changed().await;
        }
        let Some((state, standing)) = self.state_and_standing(&unit).await else {
            return self.request_unseen(unit).await;
        };
        if self.was_given_up(&unit, &state) {
            return;
        }
        match self.judge_hello(&unit, Some(&state)).await {
            Hello::Adopt => {
                self.adopt_running(&unit);
                return self.open(&unit);
            }
            Hello::Later => return self.hear_later(unit),
            Hello::Ask(Earlier::Adopt) => self.adopt_running(&unit),
            Hello::Ask(Earlier::Release) => self.release(&unit),
            Hello::Ask(Earlier::Keep) => {}
        }
        let standing = self.whole_standing(&unit, standing);
        self.request(unit, standing, Some(state)).await;
    }

    /// Without PID 1 nothing can be said about it: it waits, and is looked at when PID 1 answers.
    async fn request_unseen(&mut self, unit: String) {
        match self.judge_hello(&unit, None).await {
            Hello::Later => self.hear_later(unit),
            _ => self.request(unit, Standing::Unknown, None).await,
        }
    }

    async fn request(&mut self, unit: String, standing: Standing, state: Option<UnitState>) {
        if self.skip_start(&unit, state.as_ref()).await {
            return;
        }
        let known = self.records.get(&unit).map(|record| record.asked);
        let since = self.waiting_since(&unit).await;
        let claim = self.claim_of(&unit, since, state.as_ref()).await;
        let waited = clock::monotonic().saturating_sub(since);
        let asked = known.filter(|asked| *asked > 0);
        let record = Record {
            asked: asked.unwrap_or_else(|| clock::realtime().saturating_sub(waited)),
            not_after: self.window_end(&claim),
            ..Record::default()
        };
        self.records.insert(unit.clone(), record);
        self.feed(Event::Request {
            unit: unit.clone(),
            claim,
            since,
            standing,
            now: clock::monotonic(),
        });
        if !self.arbiter.leases().contains_key(&unit) {
            // An earlier run's.
            self.granted.forget(&unit);
        }
        self.note_wait(&unit);
        self.preempt_for(&unit).await;
        self.notify(Notice::Changed(unit));
    }

    /// When the window is over that a claim belongs to, microseconds of `CLOCK_REALTIME`; 0 if it belongs to none.
    fn window_end(&self, claim: &Claim) -> u64 {
        match claim.deadline {
            Some(deadline) if claim.at_deadline == Refusal::WindowOver => {
                clock::realtime() + deadline.saturating_sub(clock::monotonic())
            }
            _ => 0,
        }
    }

    /// Keeps what a waiter waits for, for its run's history.
    fn note_wait(&mut self, unit: &str) {
        /// More tell nothing more.
        const KEPT: usize = 8;
        let Some(wait) = self.arbiter.view(unit) else {
            return;
        };
        let lines = wait.hurdles.iter().map(|h| self.hurdle_line(unit, h));
        let lines: Vec<String> = lines.collect();
        if let Some(record) = self.records.get_mut(unit) {
            for line in lines {
                if record.waited_for.len() < KEPT && !record.waited_for.contains(&line) {
                    record.waited_for.push(line);
                }
            }
        }
    }

    /// When the gate began to wait, microseconds of `CLOCK_MONOTONIC`. PID 1 knows it also for gates that
    /// waited before interlockd started.
    async fn waiting_since(&self, unit: &str) -> u64 {
        let now = clock::monotonic();
        let presumed = self.arbiter.leases().get(unit).is_some_and(|l| l.presumed);
        match &self.pid1 {
            Some(pid1) if presumed => match pid1.left_inactive_at(&names::gate_of(unit)).await {
                Ok(since) if since > 0 => since,
                _ => now,
            },
            _ => now,
        }
    }

    pub(super) async fn state_and_standing(&self, unit: &str) -> Option<(UnitState, Standing)> {
        let pid1 = self.pid1.as_ref()?;
        let hint = self.jobs.get(unit).copied();
        pid1.state_and_standing(unit, hint).await.ok()
    }

    pub(super) fn closed(&mut self, unit: String, connection: u64) {
        let current = self.gates.get(&unit);
        if current.is_none_or(|gate| gate.connection != connection) {
            return;
        }
        self.gates.remove(&unit);
        self.unheard_gates.remove(&unit);
        if self.arbiter.queue().iter().any(|w| w.unit == unit) {
            self.remember_lost_gate(&unit);
            self.records.remove(&unit);
            self.feed(Event::Cancelled { unit: unit.clone() });
            self.notify(Notice::Changed(unit));
        }
    }

    /// The arbiter's grant.
    pub(super) async fn grant(&mut self, unit: &str) {
        self.conclude_runs_of(unit).await;
        let now = clock::realtime();
        let record = self.records.entry(unit.to_owned()).or_default();
        let waited = now.saturating_sub(record.asked);
        record.granted = now;
        let resources = self
            .arbiter
            .leases()
            .get(unit)
            .map(|l| words::names(resources(&l.uses)));
        tracing::info!(
            message_id = message::GRANTED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            resource = resources.unwrap_or_default(),
            waited_usec = waited,
            "{unit} may start; it waited {} at its gate",
            words::duration(waited),
        );
        step("before grant");
        self.run_begins(unit, true);
        step("granted, not kept");
        // Before the gate opens: whatever happens to interlockd then, what the task uses is known.
        self.keep_granted(unit);
        step("granted, not told");
        self.open(unit);
        step("after grant");
        self.remember_outcome(unit).await;
        self.notify(Notice::Changed(unit.to_owned()));
    }

    /// Tells the gate that it may open. If it can't be told, its job's end says what became of it.
    pub(super) fn open(&mut self, unit: &str) {
        self.tell(unit, &Verdict::Go);
    }

    pub(super) fn tell(&mut self, unit: &str, verdict: &Verdict) -> bool {
        let line = verdict.to_line();
        let told = |gate: &Gate| {
            gate.writer
                .try_write(line.as_bytes())
                .is_ok_and(|n| n == line.len())
        };
        self.gates.get(unit).is_some_and(told)
    }

    /// The arbiter takes back a lease whose task can't start before one that waits for it.
    pub(super) async fn revoke(&mut self, unit: &str) {
        let answer = match &self.pid1 {
            None => None,
            Some(pid1) => pid1.all_behind(unit).await.ok(),
        };
        let is_behind = |behind: &Option<Vec<String>>| behind.iter().any(|it| !it.is_empty());
        let is_behind = answer.as_ref().map(is_behind);
        let action = Action::Revoke {
            unit: unit.to_owned(),
        };
        match lease::revoke(self.arbiter.leases().get(unit), is_behind) {
            Revoking::Restart => {}
            Revoking::Forget => return,
            Revoking::AskAgain => return self.unanswered.push(action),
            Revoking::Spare => {
                let (unit, behind) = (unit.to_owned(), answer.flatten());
                return self.feed(Event::LookedBehindLease { unit, behind });
            }
        }
        tracing::warn!(
            message_id = message::REVOKED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "the lease of {unit} is taken back: its start waits for a task that waits for this lease"
        );
        if let Some(pid1) = &self.pid1
            && let Err(error) = pid1.restart(&names::gate_of(unit), "replace").await
        {
            tracing::warn!(unit, %error, "cannot restart the gate; it is tried again");
            self.unanswered.push(action);
        }
        self.dirty.insert(unit.to_owned());
    }

    /// Brings the status texts of waiting gates up to date, few at a time: each costs PID 1 a message.
    pub(super) fn tell_waiters(&mut self) {
        const AT_ONCE: usize = 32;
        let mut news = Vec::new();
        for waiter in self.arbiter.queue() {
            if news.len() >= AT_ONCE {
                break;
            }
            let Some(gate) = self.gates.get(&waiter.unit) else {
                continue;
            };
            let text = self.waiting_line(&waiter.unit);
            if gate.status != text {
                news.push((waiter.unit.clone(), text));
            }
        }
        for (unit, text) in news {
            self.note_wait(&unit);
            if self.tell(&unit, &Verdict::Status(text.clone()))
                && let Some(gate) = self.gates.get_mut(&unit)
            {
                gate.status = text;
            }
        }
    }
}
