//! Why a task waits, in a paragraph for people.

use interlock_core::arbiter::{Hurdle, unit_of_share};

use super::super::words::{duration, list, ordinal, short_list, time_of_day, times};
use super::Engine;
use super::views::{TaskView, needs};
use crate::clock;
use crate::history::Past;

impl Engine {
    /// A paragraph that a tired administrator understands.
    pub(super) fn explain(&self, name: &str) -> Option<String> {
        let unit = self.resolve(name)?;
        let view = self.task_view(&unit)?;
        let who = match view.name == view.unit {
            true => view.unit.clone(),
            false => format!("{} ({})", view.name, view.unit),
        };
        let past = self.history.past(&unit);
        let mut text = match view.state.as_str() {
            "blocked" => format!(
                "{who} can't be started: {}. Run \"interlockctl verify\" to see them all; when the policy is right, \"interlockctl reload\" frees it.",
                view.detail
            ),
            "running" if self.ungated.contains_key(&unit) => format!(
                "{who} runs since {}; it is not gated (gated = false), so interlock never holds its starts.",
                since(view.since)
            ),
            "running" => self.explain_running(&who, &view, &past),
            "frozen" => format!(
                "{who} is {} since {}: its processes stand still where they are, and go on when that ends.",
                view.detail,
                since(view.since)
            ),
            "held" if view.position == 0 => format!(
                "{who} has been started, but its turn to wait at its gate hasn't come: systemd first finishes what is ordered before it, by its window, by after = or by the unit files. \"systemctl list-jobs --before {unit}\" lists that."
            ),
            "idle" => self.explain_idle(&who, &view, &past),
            _ => self.explain_waiting(&who, &view, &past),
        };
        if view.state == "running" && !view.stale_since.is_empty() {
            text.push_str(&format!(
                " Its code is from before deployment {}, which it outlived.",
                view.stale_since
            ));
        }
        text.push_str(&self.explain_holds(&unit));
        if let Some(deadlock) = self.deadlock_of(&unit) {
            text.push_str(&format!(
                " It is deadlocked, found at {}: {}.",
                since(deadlock.found),
                deadlock.text.replace('\n', "; ")
            ));
        }
        if let Some(reason) = &past.last_skip {
            let times = match past.skips {
                1 => "One start was".to_owned(),
                n => format!("{n} starts were"),
            };
            text.push_str(&format!(
                " {times} given up so far, the last because {reason}."
            ));
        }
        Some(text)
    }

    fn explain_running(&self, who: &str, view: &TaskView, past: &Past) -> String {
        let held: Vec<&String> = view.uses.iter().map(|(name, _)| name).collect();
        let mut text = format!("{who} has its lease since {}", since(view.since));
        match held.is_empty() {
            true => text.push('.'),
            false => text.push_str(&format!(" and holds {}.", list(&held))),
        }
        if let Some(usual) = past.usual_duration {
            text.push_str(&format!(" It usually takes {}.", duration(usual)));
        }
        let waiting = self.arbiter.queue().iter().filter(|waiter| {
            let wait = self.arbiter.view(&waiter.unit);
            wait.is_some_and(|wait| needs(&wait).1.contains(&view.unit))
        });
        let waiting: Vec<&String> = waiting.map(|w| &w.unit).collect();
        if !waiting.is_empty() {
            text.push_str(&format!(" {} for it.", subject(&waiting, "waits", "wait")));
        }
        text
    }

    fn explain_idle(&self, who: &str, view: &TaskView, past: &Past) -> String {
        if !view.gated {
            return format!(
                "{who} is not gated (gated = false): interlock never holds its starts."
            );
        }
        let mut text = format!("{who} neither runs nor waits.");
        let busy = self.busy_with(&view.unit);
        if busy != "others come first" {
            text.push_str(&format!(" Started now, it would wait: {busy}."));
        }
        match past.usual_duration {
            Some(usual) => text.push_str(&format!(
                " It has run {}, usually for {}.",
                times(usize::try_from(past.runs).unwrap_or(usize::MAX)),
                duration(usual)
            )),
            None => text.push_str(" It has not run under interlock yet."),
        }
        if let Some(failure) = self.history.last_failure(&view.unit) {
            text.push_str(&format!(" Its last run failed: {failure}."));
        }
        if let Some(queued) = self.queued_line(&view.unit) {
            text.push_str(&format!(" In the queue: {queued}."));
        }
        text
    }

    fn explain_waiting(&self, who: &str, view: &TaskView, past: &Past) -> String {
        let mut text = format!(
            "{who} has been waiting at its gate since {}.",
            since(view.since)
        );
        let Some(wait) = self.arbiter.view(&view.unit) else {
            return text;
        };
        for hurdle in &wait.hurdles {
            text.push(' ');
            text.push_str(&self.explain_hurdle(&view.unit, hurdle));
        }
        if wait.hurdles.is_empty() {
            text.push_str(" Nothing stands in its way any more: it is about to start.");
        } else if wait.of > 1 {
            text.push_str(&format!(
                " It is {} of {} that want something of the same.",
                ordinal(wait.position),
                wait.of
            ));
        }
        if let Some(usual) = past.usual_wait.filter(|usual| *usual > 1_000_000) {
            text.push_str(&format!(" It usually waits {}.", duration(usual)));
        }
        text
    }

    fn explain_hurdle(&self, unit: &str, hurdle: &Hurdle) -> String {
        match hurdle {
            Hurdle::Held => match self.explain_deployments(unit).as_str() {
                // Those have sentences of their own.
                "" => "It is held.".to_owned(),
                deployments => {
                    format!("It is held by {deployments}: it starts after its end.")
                }
            },
            Hurdle::Lock(lock) => format!(
                "It needs {}, which is locked from outside the policy: by {}.",
                lock.resource, lock.holder
            ),
            Hurdle::Jobs(units) if units.is_empty() => "It waits for its own stop.".to_owned(),
            Hurdle::Jobs(units) => format!(
                "{} before it: it takes no resources until {} done.",
                subject(units, "comes", "come"),
                if units.len() == 1 {
                    "that is"
                } else {
                    "those are"
                }
            ),
            Hurdle::Resource {
                name,
                holders,
                ahead,
                ..
            } if unit_of_share(name).is_some() => {
                format!("It waits for {}.", self.unit_hurdle(holders, ahead))
            }
            Hurdle::Resource {
                name,
                needs,
                capacity,
                holders,
                ahead,
            } => {
                let mut text = match *capacity {
                    1 => format!("It needs {name}"),
                    _ => format!("It needs {needs} of the {capacity} {name}"),
                };
                let holders: Vec<String> = holders.iter().map(|unit| self.holder(unit)).collect();
                if !holders.is_empty() {
                    text.push_str(&format!(", held by {}", short_list(&holders)));
                }
                if !ahead.is_empty() {
                    text.push_str(&format!("; {} first", subject(ahead, "comes", "come")));
                }
                text.push('.');
                text
            }
        }
    }

    fn holder(&self, unit: &str) -> String {
        let record = self.records.get(unit).cloned().unwrap_or_default();
        let mut text = unit.to_owned();
        if record.granted > 0 {
            text.push_str(&format!(" since {}", since(record.granted)));
        }
        if let Some(usual) = self.history.past(unit).usual_duration {
            text.push_str(&format!(" (usually for {})", duration(usual)));
        }
        text
    }
}

fn subject<T: AsRef<str>>(units: &[T], one: &str, many: &str) -> String {
    let verb = if units.len() == 1 { one } else { many };
    format!("{} {verb}", short_list(units))
}

/// `02:00:12 (3min 4s ago)`
fn since(usec: u64) -> String {
    let ago = clock::realtime().saturating_sub(usec);
    format!("{} ({} ago)", time_of_day(usec), duration(ago))
}
