//! Runs of tasks without a gate. Nobody asks for them: PID 1's signals tell of them. They are remembered, and never
//! tried again, since interlock doesn't hold their starts either.

use super::super::Engine;
use super::result::{Circumstances, end_of};
use super::{Conclusion, Run, Stop};
use crate::clock;
use crate::history::Begun;
use crate::pid1::{self, RunOutcome, UnitState};

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Going {
    run: Run,
    invocation: String,
}

impl Engine {
    /// At start: what runs already.
    pub(super) async fn find_ungated_runs(&mut self) {
        let tasks = self.policy.settings().tasks().values();
        let ungated = tasks.filter(|task| !task.gated && !task.is_template());
        let units: Vec<String> = ungated.map(|task| task.unit.clone()).collect();
        for unit in units {
            self.look_at_ungated_run(&unit).await;
        }
    }

    /// A job of a unit has ended: it may be the start of one without a gate.
    pub(in super::super) async fn ungated_job_removed(&mut self, unit: &str) {
        let is_ungated = self.policy.task_of(unit).is_some_and(|task| !task.gated);
        if is_ungated || self.runs.ungated.contains_key(unit) {
            self.look_at_ungated_run(unit).await;
        }
    }

    /// A unit has come to rest.
    pub(in super::super) async fn ungated_rested(&mut self, path: &str) {
        let mut going = self.runs.ungated.keys();
        if let Some(unit) = going.find(|unit| pid1::unit_path(unit) == path).cloned() {
            self.look_at_ungated_run(&unit).await;
        }
    }

    async fn look_at_ungated_run(&mut self, unit: &str) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        let (states, outcome) =
            tokio::join!(pid1.states(vec![unit.to_owned()]), pid1.outcome(unit));
        let state = states.ok().and_then(|states| states.into_values().next());
        let (Some(state), Ok(outcome)) = (state, outcome) else {
            return;
        };
        let known = self.runs.ungated.get(unit).map(|it| &it.invocation);
        let is_same = known.is_some_and(|known| *known == outcome.invocation);
        if known.is_some() && !(is_same && state.is_working()) {
            self.ungated_ended(unit, is_same.then_some(&outcome)).await;
        }
        if !is_same && outcome.started_monotonic > 0 {
            self.ungated_began(unit, &state, &outcome).await;
        }
    }

    async fn ungated_began(&mut self, unit: &str, state: &UnitState, outcome: &RunOutcome) {
        // One that was over before interlockd started was seen by an earlier one, or never will be.
        let is_news = state.is_working() || outcome.exited > self.started;
        let is_told = self.runs.told.get(unit) == Some(&outcome.invocation);
        if !is_news || is_told {
            return;
        }
        let run = match self.take_open_run(unit) {
            Some(open) => Some(open.id),
            None => self.history.began(&Begun {
                task: self.policy.task_name(unit).to_owned(),
                unit: unit.to_owned(),
                boot: self.boot.clone(),
                asked: outcome.started,
                granted: outcome.started,
                attempt: 1,
                gated: false,
                ..Begun::default()
            }),
        };
        let going = Going {
            run: Run {
                id: run,
                attempt: 1,
                ..Run::default()
            },
            invocation: outcome.invocation.clone(),
        };
        self.runs.ungated.insert(unit.to_owned(), going);
        if state.is_working() {
            self.remember_outcome(unit).await;
        } else {
            self.ungated_ended(unit, Some(outcome)).await;
        }
    }

    async fn ungated_ended(&mut self, unit: &str, outcome: Option<&RunOutcome>) {
        let Some(going) = self.runs.ungated.remove(unit) else {
            return;
        };
        if let Some(pid1) = &self.pid1 {
            let _ = pid1.unref_unit(unit).await;
        }
        let interruption = self.interruption_of(unit, &going.run).await;
        let known = Circumstances {
            at: clock::realtime(),
            stop: going.run.stop,
            interruption: interruption.as_ref(),
            ..Circumstances::default()
        };
        let end = match outcome {
            Some(outcome) => end_of(outcome, known),
            // Another run has begun since.
            None => super::conclude::unknown_end(known.at),
        };
        if let (Some(by), Some(run), "interrupted") =
            (&interruption, going.run.id, end.result.as_str())
        {
            self.history.interrupted(run, by.text());
        }
        self.runs.told.insert(unit.to_owned(), going.invocation);
        let restarts_itself = outcome.is_some_and(|it| it.sub.starts_with("auto-restart"));
        self.conclude(Conclusion {
            unit: unit.to_owned(),
            task: self.policy.task_name(unit).to_owned(),
            run: going.run.id,
            entry: None,
            attempt: 1,
            not_after: 0,
            end,
            restarts_itself,
        });
    }

    pub(super) fn ungated_stop_was_asked(&mut self, unit: &str, stop: Stop) {
        if let Some(going) = self.runs.ungated.get_mut(unit) {
            going.run.stop = going.run.stop.max(stop);
        }
    }
}
