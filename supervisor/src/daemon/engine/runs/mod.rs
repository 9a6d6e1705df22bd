//! Runs: each is written down when its lease begins, and completed when that ends; failures are looked into, and
//! tried again.

mod conclude;
mod examine;
mod recover;
mod result;
mod ungated;

use std::collections::BTreeMap;

use interlock_core::ending::End;
use tokio::sync::mpsc::UnboundedSender;

use super::super::Input;
use super::Engine;
use crate::clock;
use crate::history::{Begun, OpenRun};
use crate::pid1::UnitState;
use crate::store::Entry;

pub use examine::Examined;

/// What the engine knows of runs beyond [`super::Record`].
#[derive(Debug)]
pub(super) struct Runs {
    /// Those that an earlier interlockd began and didn't see the end of.
    open: Vec<OpenRun>,
    /// Whether what became of those has been found out.
    recovered: bool,
    /// Ended, but not yet asked how.
    ended: Vec<Ended>,
    /// Of units without a gate.
    ungated: BTreeMap<String, ungated::Going>,
    /// The last of those that is over, by unit: its invocation.
    told: BTreeMap<String, String>,
    examiner: UnboundedSender<examine::Work>,
}

/// A run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// Its row in the history.
    id: Option<i64>,
    /// The entry of the queue that it serves.
    entry: Option<Entry>,
    /// Which of its streak it is, from 1.
    attempt: u32,
    /// When its lease was granted here, microseconds of `CLOCK_MONOTONIC`; 0 if it was found.
    granted_monotonic: u64,
    /// The same, also if an earlier interlockd had granted it and had written that down; 0 if it had not.
    since: u64,
    /// Whether somebody has asked systemd to stop it.
    stop: Stop,
    /// It was stopped for one that preempts it.
    preempted: bool,
}

/// Whether a run was asked to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// Nobody has.
    #[default]
    No,
    /// A job came, and was gone with the run before PID 1 could be asked what it was.
    Likely,
    /// Somebody has.
    Asked,
}

/// A run whose lease is over.
#[derive(Debug, Clone)]
struct Ended {
    unit: String,
    task: String,
    run: Run,
    /// When its lease was granted, microseconds of `CLOCK_REALTIME`.
    granted: u64,
    /// When that ended, microseconds of `CLOCK_REALTIME`.
    at: u64,
    /// Its window's end, microseconds of `CLOCK_REALTIME`; 0 if none.
    not_after: u64,
}

/// What came of a run, to be drawn conclusions from.
#[derive(Debug, Clone)]
pub struct Conclusion {
    unit: String,
    task: String,
    run: Option<i64>,
    entry: Option<Entry>,
    attempt: u32,
    not_after: u64,
    end: End,
    /// systemd starts it again by itself.
    restarts_itself: bool,
}

impl Run {
    /// Whether it has begun; its row may be missing, if the disk is full.
    fn is_one(&self) -> bool {
        self.attempt > 0
    }
}

impl Runs {
    pub(super) fn new(inputs: UnboundedSender<Input>, open: Vec<OpenRun>) -> Self {
        Self {
            open,
            recovered: false,
            ended: Vec::new(),
            ungated: BTreeMap::new(),
            told: BTreeMap::new(),
            examiner: examine::start(inputs),
        }
    }
}

impl Engine {
    /// A unit's lease begins: that is a run. It serves the entry of the queue that waits for the unit, if there is
    /// one, whoever started it.
    pub(super) fn run_begins(&mut self, unit: &str, granted_here: bool) {
        let Some(record) = self.records.get(unit) else {
            return;
        };
        if record.run.is_one() {
            return;
        }
        let (asked, granted) = (record.asked, record.granted);
        let waited_for = record.waited_for.clone();
        let known = match granted_here {
            // A lease that was found may be one that an earlier interlockd had written down.
            false => self.take_open_run(unit),
            true => None,
        };
        let run = match known {
            Some(open) => Run {
                entry: self.running_entry(unit),
                id: Some(open.id),
                attempt: open.attempt,
                since: open.granted_monotonic,
                ..Run::default()
            },
            None => self.new_run(unit, asked, granted, waited_for, granted_here),
        };
        if let Some(record) = self.records.get_mut(unit) {
            record.run = run;
        }
        self.queue.in_flight.remove(unit);
    }

    fn take_open_run(&mut self, unit: &str) -> Option<OpenRun> {
        let goes_on =
            |run: &OpenRun| run.unit == unit && run.boot == self.boot && run.end.is_none();
        let at = self.runs.open.iter().rposition(goes_on)?;
        Some(self.runs.open.remove(at))
    }

    fn new_run(
        &mut self,
        unit: &str,
        asked: u64,
        granted: u64,
        waited_for: Vec<String>,
        granted_here: bool,
    ) -> Run {
        let boot = self.boot.clone();
        let granted_monotonic = if granted_here { clock::monotonic() } else { 0 };
        // Of a lease that was found, the history may have a gap where the queue has none.
        let found = if granted_here {
            None
        } else {
            self.running_entry(unit)
        };
        let since = found.as_ref().map_or(0, |entry| entry.granted_monotonic);
        let entry = found.or_else(|| self.entry_begins(unit, granted, granted_monotonic));
        let attempt = entry.as_ref().map_or(1, |entry| entry.attempt);
        let id = self.history.began(&Begun {
            task: self.policy.task_name(unit).to_owned(),
            unit: unit.to_owned(),
            boot,
            asked,
            granted,
            granted_monotonic,
            attempt,
            waited_for,
            cause: self.cause_of(unit, entry.as_ref()),
            gated: true,
        });
        Run {
            id,
            entry,
            attempt,
            granted_monotonic,
            since: granted_monotonic.max(since),
            stop: Stop::No,
            preempted: false,
        }
    }

    /// Why a run happens, for people; empty if its unit was started by systemd's usual means.
    fn cause_of(&self, unit: &str, entry: Option<&Entry>) -> String {
        use crate::store::Kind;
        match entry {
            None => self.cause_of_run(unit),
            Some(it) if it.attempt > 1 => format!("retry {} of what failed", it.attempt - 1),
            Some(it) if it.kind == Kind::Submitted => format!("submitted by {}", it.by),
            Some(_) => String::new(),
        }
    }

    /// Has PID 1 remember how the run of a unit ends, until that was asked.
    pub(super) async fn remember_outcome(&self, unit: &str) {
        if let Some(pid1) = &self.pid1
            && let Err(error) = pid1.ref_unit(unit).await
        {
            tracing::debug!(unit, %error, "cannot have systemd remember the run's end");
        }
    }

    /// A lease is over. What became of its run is asked for when everything else that this means has been done.
    pub(super) fn run_ends(&mut self, unit: &str, record: super::Record) {
        self.runs.ended.push(Ended {
            unit: unit.to_owned(),
            task: self.policy.task_name(unit).to_owned(),
            granted: record.granted,
            at: clock::realtime(),
            not_after: record.not_after,
            run: record.run,
        });
    }

    /// A job of a unit that runs was queued: it may be a stop.
    pub(super) async fn note_stop(&mut self, unit: &str) {
        let runs = self.records.get(unit).is_some_and(|r| r.run.is_one())
            || self.runs.ungated.contains_key(unit);
        let (true, Some(pid1)) = (runs, &self.pid1) else {
            return;
        };
        let state = pid1.states(vec![unit.to_owned()]).await;
        let state = state.ok().and_then(|states| states.into_values().next());
        let stop = match state {
            Some(state) if state.is_down() && state.job.is_none() => Stop::Likely,
            Some(UnitState {
                job: Some((_, kind)),
                ..
            }) if matches!(kind.as_str(), "stop" | "restart" | "try-restart") => Stop::Asked,
            Some(_) | None => Stop::No,
        };
        self.stop_was_asked(unit, stop);
    }

    pub(super) fn stop_was_asked(&mut self, unit: &str, stop: Stop) {
        if let Some(record) = self.records.get_mut(unit) {
            record.run.stop = record.run.stop.max(stop);
        }
        self.ungated_stop_was_asked(unit, stop);
    }

    pub(super) fn run_is_preempted(&mut self, unit: &str) {
        if let Some(record) = self.records.get_mut(unit) {
            record.run.preempted = true;
        }
    }

    /// The entry that a run of this boot serves.
    fn running_entry(&mut self, unit: &str) -> Option<Entry> {
        let running = self.running_entries().into_iter();
        let mut of_unit = running.filter(|entry| entry.unit == unit && entry.boot == self.boot);
        of_unit.next_back()
    }
}
