//! What operators ask of holds, and what they are told of them.

use std::time::Duration;

use interlock_generator::names;

use super::super::super::{Notice, words};
use super::super::Engine;
use super::super::nested::RequestError;
use super::super::notify::clean;
use crate::clock;
use crate::failpoint::pass;
use crate::journal::message;
use crate::store::{Hold, HoldKey, HoldKind, StoreError};

/// Longest reason in bytes.
const REASON: usize = 1000;
/// The most starts that are skipped by one word: more is a hold.
const MOST_SKIPS: u32 = 1000;

/// What somebody wants held.
#[derive(Debug)]
pub struct HoldRequest {
    /// A task, or an instance of a template's.
    pub task: String,
    /// Why.
    pub reason: String,
    /// Who asks, for people.
    pub by: String,
    /// When it ends by itself.
    pub end: HoldEnd,
    /// How many starts are to be skipped; `None` if they are to wait.
    pub skips: Option<u32>,
}

/// When a hold ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// It doesn't.
    Never,
    /// So long from now.
    After(Duration),
    /// At a time, microseconds of `CLOCK_REALTIME`.
    At(u64),
}

/// Why something isn't held or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// What was asked for isn't there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its starts never come to a gate.
    #[error("{0} is not gated (gated = false): interlock never holds its starts")]
    NotGated(String),
    /// It can't be started anyway.
    #[error("{0} can't be started as it is: its policy has errors; see \"interlockctl verify\"")]
    Blocked(String),
    /// Nobody would know what to do about it.
    #[error("a hold needs a reason, for those who find it later")]
    NoReason,
    /// Nobody would read it.
    #[error("the reason is longer than {REASON} bytes")]
    ReasonTooLong,
    /// It would be over at once.
    #[error("the hold would end in the past ({0})")]
    Past(String),
    /// None, or more than anybody means.
    #[error("{0} starts can't be skipped; it may be from 1 to {MOST_SKIPS}, or a hold")]
    BadSkips(u32),
    /// A start that is given up would come again at once.
    #[error(
        "{unit} is started by {trigger}, again and again until it has run: skipping it would only make that fail; it can be held"
    )]
    Triggered {
        /// The unit.
        unit: String,
        /// A socket or path unit.
        trigger: String,
    },
    /// There is nothing to release.
    #[error("{0} isn't held; see \"interlockctl holds\"")]
    NotHeld(String),
    /// It can't be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A hold, for D-Bus.
#[derive(Debug, Clone)]
pub struct HoldView {
    /// As it is kept, with the task's name as it is now.
    pub hold: Hold,
    /// Units that wait at their gates for its end.
    pub waiting: Vec<String>,
    /// Whether the policy has its task.
    pub is_known: bool,
}

impl Engine {
    /// Holds what starts from now on, and what waits at its gate already; it is on disk when this returns.
    /// Gives the unit.
    pub(in super::super) async fn hold_task(
        &mut self,
        request: HoldRequest,
    ) -> Result<String, HoldError> {
        let hold = self.checked(&request).await?;
        let unit = hold.unit.clone();
        pass("before hold");
        self.store().hold(&hold)?;
        pass("after hold");
        let (is_skip, until) = (hold.kind == HoldKind::Skip, hold.until);
        let what = match hold.skips {
            0 => format!("{unit} is held"),
            1 => format!("the next start of {unit} is to be skipped"),
            n => format!("the next {n} starts of {unit} are to be skipped"),
        };
        let end = match until {
            0 => String::new(),
            until => format!(" until {}", words::time_of_day(until)),
        };
        tracing::info!(
            message_id = message::HELD,
            task = hold.task,
            unit,
            object_systemd_unit = unit,
            "{what}{end}, says {}: {}",
            hold.by,
            hold.reason
        );
        self.notify(Notice::Held {
            task: hold.task.clone(),
            unit: unit.clone(),
            reason: hold.reason.clone(),
            until,
            skips: hold.skips,
        });
        self.holds.all.insert(hold.key(), hold);
        self.tell_admission(false);
        if is_skip {
            self.skip_waiters().await;
        }
        self.notify(Notice::Changed(unit.clone()));
        Ok(unit)
    }

    async fn checked(&self, request: &HoldRequest) -> Result<Hold, HoldError> {
        let reason = clean(request.reason.trim());
        if reason.is_empty() {
            return Err(HoldError::NoReason);
        }
        if request.reason.len() > REASON {
            return Err(HoldError::ReasonTooLong);
        }
        let no_such_task = || RequestError::NoSuchTask(request.task.clone());
        let unit = self.resolve(&request.task).ok_or_else(no_such_task)?;
        if self.policy.settings().blocked().contains_key(&unit) {
            return Err(HoldError::Blocked(unit));
        }
        let task = self.policy.task_of(&unit).ok_or_else(no_such_task)?;
        if !task.gated {
            return Err(HoldError::NotGated(unit));
        }
        let unit = match names::template_of(&unit).is_some_and(|it| it == task.unit) {
            true => unit,
            // Whatever alias it was called by: its gate knows it by this name.
            false => task.unit.clone(),
        };
        let now = clock::realtime();
        let until = match request.end {
            HoldEnd::Never => 0,
            HoldEnd::After(span) => now.saturating_add(words::usec(span)),
            HoldEnd::At(at) => at,
        };
        if until > 0 && until <= now {
            return Err(HoldError::Past(words::time_of_day(until)));
        }
        if let Some(skips) = request.skips {
            if skips == 0 || skips > MOST_SKIPS {
                return Err(HoldError::BadSkips(skips));
            }
            if let Some(trigger) = self.trigger_of(&unit).await {
                return Err(HoldError::Triggered { unit, trigger });
            }
        }
        Ok(Hold {
            kind: match request.skips {
                Some(_) => HoldKind::Skip,
                None => HoldKind::Wait,
            },
            task: task.name.clone(),
            unit,
            reason,
            by: clean(&request.by),
            since: now,
            until,
            skips: request.skips.unwrap_or(0),
        })
    }

    /// The end of all holds of exactly this task or instance. What waited goes on. Gives their unit.
    pub(in super::super) fn release_task(
        &mut self,
        name: &str,
        by: &str,
    ) -> Result<String, HoldError> {
        let unit = self.held_unit(name)?;
        let held = self.holds.all.values().filter(|hold| hold.unit == unit);
        let held: Vec<Hold> = held.cloned().collect();
        if held.is_empty() {
            return Err(HoldError::NotHeld(name.to_owned()));
        }
        let keys: Vec<HoldKey> = held.iter().map(Hold::key).collect();
        pass("before release");
        self.store().release(&keys)?;
        pass("after release");
        for hold in &held {
            self.holds.all.remove(&hold.key());
            self.released(hold, &format!("released by {}", clean(by)));
        }
        self.tell_admission(false);
        Ok(unit)
    }

    /// What a name stands for among what is held; also if the policy has lost it.
    fn held_unit(&self, name: &str) -> Result<String, HoldError> {
        let unit = self.resolve(name);
        let canonical = unit.map(|unit| match self.policy.task_of(&unit) {
            Some(task) if names::template_of(&unit).is_none() => task.unit.clone(),
            _ => unit,
        });
        let is_meant = |hold: &&Hold| {
            canonical.as_ref() == Some(&hold.unit)
                || hold.unit == name
                || hold.unit.strip_suffix(".service") == Some(name)
                || (hold.task == name && self.policy.task_of(&hold.unit).is_none())
        };
        let found = self.holds.all.values().find(is_meant);
        match (found, canonical) {
            (Some(hold), _) => Ok(hold.unit.clone()),
            (None, Some(unit)) => Ok(unit),
            (None, None) => Err(RequestError::NoSuchTask(name.to_owned()).into()),
        }
    }

    /// All of them, by unit.
    pub(in super::super) fn hold_views(&self) -> Vec<HoldView> {
        let view = |hold: &Hold| {
            let waiting = self.arbiter.queue().iter().filter(|waiter| {
                hold.kind == HoldKind::Wait
                    && waiter.held.is_some()
                    && (waiter.unit == hold.unit
                        || names::template_of(&waiter.unit).as_ref() == Some(&hold.unit))
            });
            let task = self.policy.task_of(&hold.unit);
            HoldView {
                waiting: waiting.map(|waiter| waiter.unit.clone()).collect(),
                is_known: task.is_some(),
                hold: Hold {
                    task: task.map_or_else(|| hold.task.clone(), |task| task.name.clone()),
                    ..hold.clone()
                },
            }
        };
        self.holds.all.values().map(view).collect()
    }
}
