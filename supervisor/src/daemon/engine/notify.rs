//! Operators are told: by a signal on D-Bus, and by the policy's `notify-command`.
//!
//! Each command runs as a transient unit of its own, so that it neither holds up the engine nor dies with it. At most
//! a few run at a time; what comes while they do waits in memory only: a notification isn't worth a promise.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Notice, words};
use super::Engine;
use crate::clock;
use crate::journal::message;
use crate::pid1::Transient;
use interlock_generator::names;

/// How many commands run at a time.
const AT_ONCE: usize = 16;
/// How many notifications wait for that; of what comes then only the number is told.
const WAITING: usize = 1000;
/// How long a command may run.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// After this a command's end is taken to have gone unheard.
const FORGOTTEN: Duration = Duration::from_secs(5 * 60 + 120);
/// Longest value of a variable in bytes: a signature's text is a few lines.
const VALUE: usize = 4096;

/// Something that an operator may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorEvent {
    /// A run has failed.
    Failed {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// systemd's `Result=`.
        result: String,
        /// Of its main process, if that exited.
        exit_status: Option<i32>,
        /// That ended its main process.
        signal: Option<i32>,
        /// The signature's key.
        signature: String,
        /// The signature, for people.
        signature_text: String,
        /// The how manieth run in a streak, from 1.
        attempt: u32,
        /// It isn't tried again.
        hard: bool,
        /// How often this signature was seen, this time included.
        count: u64,
        /// What comes next, one line: `tried again in 2min`, `permanent: …`.
        verdict: String,
    },
    /// A run has succeeded after one that failed.
    Recovered {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// That wasn't to be tried again.
        hard: bool,
    },
    /// Processes wait for one another for ever.
    Deadlock {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// The chain, a link a line.
        text: String,
    },
    /// A start was given up.
    Skipped {
        /// Task name.
        task: String,
        /// Its unit.
        unit: String,
        /// One line.
        reason: String,
        /// How many in a row, this one included.
        in_a_row: u64,
    },
}

/// A command that is to be run.
#[derive(Debug)]
struct Telling {
    unit: String,
    command: Vec<String>,
    environment: Vec<(String, String)>,
    text: String,
}

/// What is being told, and what waits for that.
#[derive(Debug)]
pub struct Notifier {
    waiting: VecDeque<Telling>,
    /// Their units, with when they are given up on.
    running: BTreeMap<String, Instant>,
    next: u64,
    dropped: u64,
    /// Units of whose lasting failure was told, with its signature.
    told: BTreeMap<String, String>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            // Those of an interlockd that was here before may still run.
            next: clock::realtime(),
            dropped: 0,
            told: BTreeMap::new(),
        }
    }
}

impl Notifier {
    /// When to look again even if nothing is heard.
    pub(super) fn due(&self) -> Option<Instant> {
        let full = self.running.len() >= AT_ONCE;
        match self.waiting.is_empty() {
            true => None,
            false if full => self.running.values().min().copied(),
            false => Some(Instant::now()),
        }
    }

    /// Whether its lasting failure hasn't been told yet.
    fn is_news(&mut self, event: &OperatorEvent) -> bool {
        match event {
            OperatorEvent::Failed { hard: false, .. } => false,
            OperatorEvent::Failed {
                unit, signature, ..
            } => self.told.insert(unit.clone(), signature.clone()).as_ref() != Some(signature),
            OperatorEvent::Recovered { unit, hard, .. } => {
                self.told.remove(unit).is_some() || *hard
            }
            OperatorEvent::Deadlock { .. } | OperatorEvent::Skipped { .. } => true,
        }
    }

    /// Queues it, unless too many wait.
    fn add(&mut self, task: &str, unit: &str, command: Vec<String>, event: &OperatorEvent) {
        if self.waiting.len() >= WAITING {
            if self.dropped == 0 {
                tracing::error!(
                    message_id = message::NOTIFIED,
                    task,
                    unit,
                    object_systemd_unit = unit,
                    "more than {WAITING} notifications wait for notify-command: further ones are dropped until it has caught up"
                );
            }
            self.dropped += 1;
            return;
        }
        self.next += 1;
        self.waiting.push_back(Telling {
            unit: format!("interlock-notify-{}.service", self.next),
            command,
            environment: event.environment(),
            text: event.text(),
        });
    }
}

impl Engine {
    /// Tells everybody who wants to hear it, on D-Bus at once, and by `notify-command` as soon as may be.
    pub(super) fn tell_operators(&mut self, event: &OperatorEvent) {
        self.notify_bus(event);
        let (task, unit) = event.about();
        // Whoever runs a command of their own, or an action, sees what becomes of it.
        if names::is_run(unit) || !self.notifier.is_news(event) {
            return;
        }
        let settings = self.policy.settings();
        let known = self.policy.task_of(unit);
        if let OperatorEvent::Skipped { in_a_row, .. } = event {
            let every = known.map_or(0, |task| u64::from(task.notify_skips));
            if every == 0 || !in_a_row.is_multiple_of(every) {
                return;
            }
        }
        let own = known.and_then(|task| task.notify_command.as_deref());
        let command = own.unwrap_or(settings.notify_command()).to_vec();
        if !command.is_empty() {
            self.notifier.add(task, unit, command, event);
        }
    }

    fn notify_bus(&self, event: &OperatorEvent) {
        match event {
            OperatorEvent::Failed {
                task,
                unit,
                signature,
                hard,
                ..
            } => self.notify(Notice::Failed {
                task: task.clone(),
                unit: unit.clone(),
                signature: signature.clone(),
                hard: *hard,
                text: event.text(),
            }),
            OperatorEvent::Recovered { task, unit, .. } => self.notify(Notice::Recovered {
                task: task.clone(),
                unit: unit.clone(),
            }),
            // These have signals of their own.
            OperatorEvent::Deadlock { .. } | OperatorEvent::Skipped { .. } => {}
        }
    }

    /// Starts commands that wait, as many as may run.
    pub(super) async fn run_notify_commands(&mut self) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        let now = Instant::now();
        self.notifier.running.retain(|_, until| *until > now);
        while self.notifier.running.len() < AT_ONCE {
            let Some(next) = self.notifier.waiting.pop_front() else {
                break;
            };
            self.pulse.beat();
            let transient = Transient {
                name: next.unit.clone(),
                description: format!("notify-command: {}", next.text),
                command: next.command,
                environment: next.environment,
                timeout: LIMIT,
                ..Transient::default()
            };
            match pid1.run(&transient).await {
                Ok(()) => {
                    tracing::info!(
                        message_id = message::NOTIFIED,
                        unit = next.unit,
                        "notify-command is run as {}: {}",
                        next.unit,
                        next.text
                    );
                    self.notifier.running.insert(next.unit, now + FORGOTTEN);
                }
                Err(error) => tracing::error!(
                    message_id = message::NOTIFIED,
                    %error,
                    "cannot run notify-command; nobody was told: {}",
                    next.text
                ),
            }
        }
        if self.notifier.waiting.is_empty() && self.notifier.dropped > 0 {
            let dropped = std::mem::take(&mut self.notifier.dropped);
            tracing::error!(
                message_id = message::NOTIFIED,
                "notify-command has caught up; it was not run for {dropped} events: see \"interlockctl failures\""
            );
        }
    }

    /// A job has ended: that of a oneshot ends with it.
    pub(super) fn notify_command_ended(&mut self, unit: &str, result: &str) {
        if self.notifier.running.remove(unit).is_some() && result != "done" {
            tracing::warn!(
                message_id = message::NOTIFIED,
                unit,
                "notify-command failed ({result}): see \"journalctl -u {unit}\""
            );
        }
    }
}

impl OperatorEvent {
    fn about(&self) -> (&str, &str) {
        match self {
            Self::Failed { task, unit, .. }
            | Self::Recovered { task, unit, .. }
            | Self::Deadlock { task, unit, .. }
            | Self::Skipped { task, unit, .. } => (task, unit),
        }
    }

    /// What happened, in one line.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Failed {
                unit,
                signature_text,
                verdict,
                ..
            } => {
                let mut text = format!("{unit} failed");
                if !signature_text.is_empty() {
                    text.push_str(&format!(": {signature_text}"));
                }
                if !verdict.is_empty() {
                    text.push_str(&format!(" ({verdict})"));
                }
                text
            }
            Self::Recovered { unit, .. } => format!("{unit} succeeded again"),
            Self::Deadlock { unit, text, .. } => format!("{unit} is deadlocked: {text}"),
            Self::Skipped {
                unit,
                reason,
                in_a_row,
                ..
            } => {
                let times = words::times(usize::try_from(*in_a_row).unwrap_or(usize::MAX));
                format!("{unit} was skipped {times} in a row, the last time because {reason}")
            }
        };
        clean(&text.replace('\n', "; "))
    }

    fn environment(&self) -> Vec<(String, String)> {
        let (task, unit) = self.about();
        let mut all = vec![
            ("EVENT", self.name().to_owned()),
            ("TASK", task.to_owned()),
            ("UNIT", unit.to_owned()),
            ("TEXT", self.text()),
        ];
        let number = |number: &Option<i32>| number.map_or(String::new(), |it| it.to_string());
        let rest = match self {
            Self::Failed {
                result,
                exit_status,
                signal,
                signature,
                signature_text,
                attempt,
                hard,
                count,
                ..
            } => [
                result.clone(),
                number(exit_status),
                number(signal),
                signature.clone(),
                signature_text.clone(),
                attempt.to_string(),
                u8::from(*hard).to_string(),
                count.to_string(),
            ],
            Self::Skipped { in_a_row, .. } => {
                let mut rest: [String; 8] = Default::default();
                rest[7] = in_a_row.to_string();
                rest
            }
            Self::Recovered { .. } | Self::Deadlock { .. } => Default::default(),
        };
        let keys = [
            "RESULT",
            "EXIT_STATUS",
            "SIGNAL",
            "SIGNATURE",
            "SIGNATURE_TEXT",
            "ATTEMPT",
            "HARD",
            "COUNT",
        ];
        all.extend(keys.into_iter().zip(rest));
        let variable = |(key, value): (&str, String)| (format!("INTERLOCK_{key}"), clean(&value));
        all.into_iter().map(variable).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Recovered { .. } => "recovered",
            Self::Deadlock { .. } => "deadlock",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// As PID 1 takes values of variables (no control characters), and not longer than anybody reads.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(VALUE));
    for letter in text.chars() {
        if out.len() + letter.len_utf8() > VALUE {
            break;
        }
        out.push(if letter.is_control() { ' ' } else { letter });
    }
    out
}

#[cfg(test)]
mod tests;
