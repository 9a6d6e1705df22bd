//! Gates come, wait, are opened or refused, and go.

use interlock_core::arbiter::{Action, Claim, Event, Refusal, Standing, resources};
use interlock_core::lease::{self, Earlier, Hello, Revoking};
use interlock_generator::names;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::{Duration, Instant};

use super::super::{Notice, words};
use super::runs::Stop;
use super::{Engine, Gate, OperatorEvent, Record};
use crate::clock;
use crate::failpoint::step;
use crate::gate::protocol::Verdict;
use crate::journal::message;
use crate::pid1::{UnitState, is_refusal};
use crate::store::SkippedStart;

/// How long after its gate was lost a task's failed start is taken to be due to that.
const LOST_MEMORY: Duration = Duration::from_secs(10);

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
        let standing = self.with_locks(&unit, standing);
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

    /// A newcomer that has to wait has those stopped that its policy preempts and that hold what it needs.
    ///
    /// By stopping the running ones only, never by `Conflicts=`: that would cancel those that wait, and their
    /// runs would be lost.
    pub(super) async fn preempt_for(&mut self, unit: &str) {
        // One that is held would have them stopped for nothing.
        let mut queue = self.arbiter.queue().iter();
        let waits = queue.any(|w| w.unit == unit && w.held.is_none());
        let Some(task) = self
            .policy
            .task_of(unit)
            .filter(|task| waits && !task.preempts.is_empty())
        else {
            return;
        };
        let leases = self.arbiter.leases().iter();
        let low = leases.filter(|(holder, lease)| {
            let holder = self.policy.task_of(holder);
            holder.is_some_and(|holder| task.preempts.contains(&holder.name))
                && lease
                    .uses
                    .keys()
                    .any(|resource| task.uses.contains_key(resource))
        });
        let low: Vec<String> = low.map(|(holder, _)| holder.clone()).collect();
        for holder in low {
            tracing::info!(
                message_id = message::PREEMPTED,
                task = self.policy.task_name(&holder),
                unit = holder,
                object_systemd_unit = holder,
                "{holder} is stopped: {unit} waits for what it holds and preempts it"
            );
            if let Some(pid1) = &self.pid1
                && let Err(error) = pid1.stop(&holder, "replace").await
            {
                tracing::warn!(unit = holder, %error, "cannot stop a preempted task");
            }
            self.run_is_preempted(&holder);
            self.preempted.insert(holder);
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

    fn tell(&mut self, unit: &str, verdict: &Verdict) -> bool {
        let line = verdict.to_line();
        let told = |gate: &Gate| {
            gate.writer
                .try_write(line.as_bytes())
                .is_ok_and(|n| n == line.len())
        };
        self.gates.get(unit).is_some_and(told)
    }

    /// The arbiter's refusal: the job goes first, so that nothing fails with the gate.
    pub(super) async fn refuse(&mut self, unit: &str, why: Refusal) {
        // PID 1 hadn't answered, and a later start of it waits, which isn't refused.
        if self.arbiter.queue().iter().any(|w| w.unit == unit) {
            return;
        }
        let view = self.refusal_reason(unit, why);
        step("before refusal");
        if !self.turn_away(unit, &view, why == Refusal::Failed).await {
            let unit = unit.to_owned();
            return self.unanswered.push(Action::Refuse { unit, why });
        }
        step("after refusal");
        let task = self.policy.task_name(unit).to_owned();
        self.history.skipped(&task, unit, &view, clock::realtime());
        self.start_was_refused(unit);
        self.tell_of_refusal(task, unit, view);
    }

    /// The start of an operator's choice is given up for good, also if the queue had started it. Says whether PID 1 has
    /// answered; nothing is done if not.
    #[must_use]
    pub(super) async fn give_up_as_skipped(&mut self, start: &SkippedStart) -> bool {
        let SkippedStart {
            task,
            unit,
            reason,
            at,
            ..
        } = start;
        if !self.turn_away(unit, reason, false).await {
            return false;
        }
        // An earlier interlockd may have come as far as this.
        if !self.history.has_skip(unit, *at) {
            self.history.skipped(task, unit, reason, *at);
        }
        self.start_was_unwanted(unit);
        self.tell_of_refusal(task.clone(), unit, reason.clone());
        if self.arbiter.leases().contains_key(unit) {
            // One that was only presumed, or taken back.
            self.dirty.insert(unit.clone());
        }
        true
    }

    /// Its job goes, unless it is to fail, and then its gate. Says whether PID 1 has answered: the start would fail if its
    /// gate went first.
    async fn turn_away(&mut self, unit: &str, view: &str, fails: bool) -> bool {
        if !fails {
            let Some(pid1) = self.pid1.clone() else {
                return false;
            };
            let Ok(job) = pid1.job_of(unit).await else {
                return false;
            };
            match job {
                None => {}
                Some(job) => match pid1.cancel_job(job).await {
                    Ok(()) => {}
                    Err(error) if is_refusal(&error) => {
                        tracing::warn!(unit, %error, "cannot cancel the job of a refused start");
                    }
                    Err(_) => return false,
                },
            }
            // A start that comes just now meets a gate that ends: see rescue_start.
            self.remember_lost_gate(unit);
        }
        step("refused start cancelled");
        self.refuse_gate(unit, view);
        tracing::warn!(
            message_id = message::REFUSED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "a start of {unit} was given up: {view}"
        );
        true
    }

    /// Nobody needs it any more.
    pub(super) fn refuse_gate(&mut self, unit: &str, view: &str) {
        self.tell(unit, &Verdict::Refuse(view.to_owned()));
        self.refused.insert(unit.to_owned());
        self.gates.remove(unit);
        self.records.remove(unit);
    }

    fn tell_of_refusal(&mut self, task: String, unit: &str, view: String) {
        self.tell_operators(&OperatorEvent::Skipped {
            task: task.clone(),
            unit: unit.to_owned(),
            reason: view.clone(),
            in_a_row: self.history.skips_in_a_row(unit),
        });
        self.notify(Notice::Skipped {
            task,
            unit: unit.to_owned(),
            reason: view,
        });
        self.notify(Notice::Changed(unit.to_owned()));
    }

    fn refusal_reason(&mut self, unit: &str, why: Refusal) -> String {
        let locks = self.locked_out_by(unit);
        let busy = locks.unwrap_or_else(|| self.busy_with(unit));
        let task = self.policy.task_of(unit);
        match why {
            Refusal::Skipped => format!("{busy}, and its policy says when-busy = \"skip\""),
            Refusal::Failed => format!("{busy}, and its policy says when-busy = \"fail\""),
            Refusal::WaitedTooLong => format!(
                "it waited longer than max-wait = {}",
                words::duration(task.and_then(|t| t.max_wait).map_or(0, words::usec))
            ),
            Refusal::WindowOver => {
                let window = self.policy.limited_window_of(unit);
                format!(
                    "its window {} was over before it could start",
                    window.map_or("", |w| w.0.as_str())
                )
            }
        }
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

    /// A job's end moves waiters on that stood behind it, and may be the end of a wait.
    pub(super) async fn job_removed(&mut self, unit: &str, result: &str) {
        if let Some(task_unit) = names::unit_of_gate(unit) {
            if self.refused.remove(task_unit)
                && let Some(pid1) = &self.pid1
            {
                // Usually collected already (CollectMode=); an error says just that.
                let _ = pid1.reset_failed(unit).await;
            }
            // The end of its start: it is open now, or never will be.
            if result != "done" && self.arbiter.leases().contains_key(task_unit) {
                self.dirty.insert(task_unit.to_owned());
            }
        }
        self.feed(Event::JobGone {
            unit: unit.to_owned(),
        });
        // A running oneshot's start is cancelled by its stop.
        if result == "canceled" {
            self.stop_was_asked(unit, Stop::Asked);
        }
        // A start that came to nothing leaves the gate open for nobody.
        if result != "done" && self.arbiter.leases().contains_key(unit) {
            self.dirty.insert(unit.to_owned());
        }
        let waits = self.arbiter.queue().iter().any(|w| w.unit == unit);
        if waits {
            self.job_of_waiter_removed(unit).await;
        }
        self.rescue_start(unit, result).await;
    }

    /// The start that a gate waits for was cancelled or timed out: nobody needs its gate.
    async fn job_of_waiter_removed(&mut self, unit: &str) {
        let Some((_, Standing::Jobless)) = self.state_and_standing(unit).await else {
            return;
        };
        self.tell(unit, &Verdict::Refuse("the start was cancelled".to_owned()));
        // A start that comes just now finds a gate that ends: see rescue_start.
        self.remember_lost_gate(unit);
        self.refused.insert(unit.to_owned());
        self.gates.remove(unit);
        self.records.remove(unit);
        self.feed(Event::Cancelled {
            unit: unit.to_owned(),
        });
        self.notify(Notice::Changed(unit.to_owned()));
    }

    fn remember_lost_gate(&mut self, unit: &str) {
        let now = Instant::now();
        self.lost_gates.retain(|_, at| now - *at < LOST_MEMORY);
        self.lost_gates.insert(unit.to_owned(), now);
    }

    /// A start that failed only because of what became of its gate is queued again: no run is lost by an
    /// accident of ours. Either its gate's process was killed while it waited, or it found the gate still
    /// open after the lease's end (being closed, or of a `RemainAfterExit=` task that was stopped and started),
    /// so that nobody asked for a new lease.
    async fn rescue_start(&mut self, unit: &str, result: &str) {
        // Whatever became of that start: a later one stands for itself. One that was cancelled is the one whose gate was
        // refused, if it was; then it is a later one that meets what is left of that.
        let lost = match result {
            "canceled" => None,
            _ => self.lost_gates.remove(unit),
        };
        let lost = lost.filter(|_| result == "dependency");
        let lost = lost.is_some_and(|at| at.elapsed() <= LOST_MEMORY);
        let unasked = result == "assert" && self.met_open_gate(unit).await;
        if !(lost || unasked) || !self.policy.is_gated(unit) {
            return;
        }
        tracing::warn!(
            message_id = message::RESCUED,
            task = self.policy.task_name(unit),
            unit,
            object_systemd_unit = unit,
            "a start of {unit} lost its gate; it is queued again"
        );
        let Some(pid1) = &self.pid1 else {
            return;
        };
        let again = async {
            if unasked {
                pid1.restart(&names::gate_of(unit), "replace").await?;
            }
            pid1.start(unit, "fail").await
        };
        if let Err(error) = again.await {
            tracing::warn!(unit, %error, "cannot queue the start again");
        }
    }

    /// Whether a start that found no lease file found its gate open, or closed by us just now. If not, it went
    /// around its gate (`--job-mode=ignore-dependencies`), and was rightly refused.
    async fn met_open_gate(&mut self, unit: &str) -> bool {
        let closed = self.closing.remove(unit);
        if closed.is_some_and(|at| at.elapsed() <= LOST_MEMORY) {
            return true;
        }
        let (Some(pid1), false) = (&self.pid1, self.arbiter.leases().contains_key(unit)) else {
            return false;
        };
        let gate = pid1.states(vec![names::gate_of(unit)]).await;
        let gate = gate.ok().and_then(|states| states.into_values().next());
        gate.is_some_and(|gate| matches!(gate.active.as_str(), "active" | "deactivating"))
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
