//! Who is at the gates' socket: so many connections of one gate, and so many complaints about others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections of one gate. It has one; its earlier one may not be gone yet.
const OF_ONE_GATE: u32 = 4;

/// Complaints that are told within [`WHILE`], so that nobody fills the journal: it would drop what matters.
const TOLD: u32 = 10;
const WHILE: Duration = Duration::from_secs(10);

/// Shared by all connections.
#[derive(Debug, Clone, Default)]
pub struct Desk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    connections: HashMap<String, u32>,
    /// When the first complaint came that counts, and how many did since.
    complaints: Option<(Instant, u32)>,
}

/// A connection of a unit's gate, as long as it lasts.
#[derive(Debug)]
pub struct Seat {
    /// The task's unit.
    pub unit: String,
    desk: Desk,
}

impl Desk {
    /// One more connection of this unit's gate.
    ///
    /// # Errors
    /// If it has too many.
    pub fn seat(&self, unit: String) -> Result<Seat, String> {
        let mut state = self.state();
        let count = state.connections.entry(unit.clone()).or_default();
        if *count >= OF_ONE_GATE {
            return Err(format!(
                "the gate of {unit} has {count} connections already"
            ));
        }
        *count += 1;
        Ok(Seat {
            unit,
            desk: self.clone(),
        })
    }

    /// Says why somebody was refused.
    pub fn complain(&self, reason: &str) {
        match self.counted(Instant::now()) {
            (number, 0) if number <= TOLD => {
                tracing::warn!("refused a peer that isn't the gate of a task: {reason}");
            }
            (_, before) if before > 0 => {
                tracing::warn!(
                    "refused a peer that isn't the gate of a task: {reason}; and {before} others before"
                );
            }
            _ => {}
        }
    }

    /// The number of this complaint, and how many before it weren't told.
    fn counted(&self, now: Instant) -> (u32, u32) {
        let mut state = self.state();
        let (since, number) = state.complaints.unwrap_or((now, 0));
        if now.duration_since(since) >= WHILE {
            state.complaints = Some((now, 1));
            return (1, number.saturating_sub(TOLD));
        }
        let number = number.saturating_add(1);
        state.complaints = Some((since, number));
        (number, 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are whole even if somebody panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        if let Some(count) = state.connections.get_mut(&self.unit) {
            *count -= 1;
            if *count == 0 {
                state.connections.remove(&self.unit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_has_few_connections_and_others_have_theirs() {
        let desk = Desk::default();
        let seat = |unit: &str| desk.seat(unit.to_owned());
        let seats: Vec<_> = (0..OF_ONE_GATE)
            .map(|_| seat("a.service").unwrap())
            .collect();
        assert!(seat("a.service").is_err());
        assert!(seat("b.service").is_ok());
        drop(seats);
        assert!(seat("a.service").is_ok());
        assert!(desk.state().connections.is_empty());
    }

    #[test]
    fn complaints_are_told_a_few_at_a_time_and_all_counted() {
        let desk = Desk::default();
        let now = Instant::now();
        for number in 1..=1000 {
            assert_eq!(desk.counted(now), (number, 0));
        }
        assert_eq!(desk.counted(now + WHILE), (1, 1000 - TOLD));
        assert_eq!(desk.counted(now + WHILE), (2, 0));
    }
}
