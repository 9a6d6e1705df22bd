//! Holds in words.

use super::super::super::words::{duration, list, time_of_day, times};
use super::super::Engine;
use crate::clock;
use crate::store::{Hold, HoldKind};

/// `the hold` or `the skip`.
pub(super) fn what(hold: &Hold) -> &'static str {
    match hold.kind {
        HoldKind::Wait => "the hold",
        HoldKind::Skip => "the skip",
    }
}

/// `the hold by alice (uid 1000) until 14:00:00 (migration)`
fn named(hold: &Hold) -> String {
    let until = match hold.until {
        0 => String::new(),
        until => format!(" until {}", time_of_day(until)),
    };
    format!("{} by {}{until} ({})", what(hold), hold.by, hold.reason)
}

/// Why a start was given up.
pub(super) fn skipped_because(hold: &Hold) -> String {
    let left = match hold.skips.saturating_sub(1) {
        0 => String::new(),
        left => format!("; {left} more to be skipped"),
    };
    format!("{} wanted it skipped: {}{left}", hold.by, hold.reason)
}

impl Engine {
    /// What a start of this unit waits for that is closed to it: deployments, and what operators have said.
    pub(in super::super) fn end_of_what_holds(&self, unit: &str) -> String {
        let deployments = self.deployments_that_hold(unit);
        let holds = self.holds.of(unit, HoldKind::Wait).map(named);
        let all: Vec<String> = deployments.into_iter().chain(holds).collect();
        if self.holds.uncounted.contains(unit) && all.is_empty() {
            return "the state database: its start is to be skipped, which can't be written down"
                .to_owned();
        }
        match all.is_empty() {
            true => "the end of a deployment".to_owned(),
            false => format!("the end of {}", list(&all)),
        }
    }

    /// Of a unit that does nothing just now: what becomes of its next start.
    pub(in super::super) fn held_line(&self, unit: &str) -> Option<String> {
        let skip = self.holds.of(unit, HoldKind::Skip).next().map(|hold| {
            let times = times(usize::try_from(hold.skips).unwrap_or(usize::MAX));
            format!("to be skipped {times}, says {} ({})", hold.by, hold.reason)
        });
        let wait = self.holds.of(unit, HoldKind::Wait).next().map(|hold| {
            let until = match hold.until {
                0 => String::new(),
                until => format!(" until {}", time_of_day(until)),
            };
            format!("held{until} by {} ({})", hold.by, hold.reason)
        });
        let all: Vec<String> = wait.into_iter().chain(skip).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Sentences about it for `why`.
    pub(in super::super) fn explain_holds(&self, unit: &str) -> String {
        let mut text = String::new();
        for hold in self.holds.of(unit, HoldKind::Wait) {
            let ago = duration(clock::realtime().saturating_sub(hold.since));
            let end = match hold.until {
                0 => String::new(),
                until => format!("at {}, or ", time_of_day(until)),
            };
            text.push_str(&format!(
                " {} holds {} since {} ({ago} ago): {}. That ends {end}with \"interlockctl release {}\".",
                hold.by,
                self.held_what(hold),
                time_of_day(hold.since),
                hold.reason,
                self.typed(hold)
            ));
        }
        for hold in self.holds.of(unit, HoldKind::Skip) {
            let starts = match hold.skips {
                1 => "next start".to_owned(),
                n => format!("next {n} starts"),
            };
            let end = match hold.until {
                0 => String::new(),
                until => format!(" if they come before {}", time_of_day(until)),
            };
            text.push_str(&format!(
                " {} wants the {starts} of {} skipped{end}: {}. \"interlockctl release {}\" takes that back.",
                hold.by,
                self.held_what(hold),
                hold.reason,
                self.typed(hold)
            ));
        }
        text
    }

    fn held_what(&self, hold: &Hold) -> String {
        match interlock_generator::names::is_template(&hold.unit) {
            true => format!("all of {}", self.policy.task_name(&hold.unit)),
            false => "it".to_owned(),
        }
    }

    /// As somebody would type it.
    pub(super) fn typed(&self, hold: &Hold) -> String {
        match self.policy.task_of(&hold.unit) {
            Some(task) if task.unit == hold.unit => task.name.clone(),
            _ => hold.unit.clone(),
        }
    }
}
