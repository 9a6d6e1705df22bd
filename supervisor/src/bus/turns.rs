//! Whose turn it is. A connection may have only so many calls that wait for their answers, and of one user's calls, from
//! however many connections, only so many are worked on at a time: the others are in a line of his own. Root isn't in
//! any: it could as well end interlockd.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zbus::fdo;
use zbus::names::{OwnedUniqueName, UniqueName};

/// Calls of one connection that may wait for their answers. A client that asks, and waits, has one; dbus-daemon(1)
/// allows a user 256 connections.
const OF_ONE_CONNECTION: u32 = 16;

/// Calls of one user that are worked on at a time. Each may take some milliseconds, in which others' wait.
const AT_WORK: usize = 8;

/// Properties that one user reads at a time. zbus keeps its tree of objects to itself meanwhile, so that nobody can
/// wait there for his turn.
const READS: usize = 64;

/// Users are forgotten of whom nothing waits when there are so many.
const REMEMBERED: usize = 64;

/// All who wait.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many calls of each connection wait for their answers.
    waiting: HashMap<OwnedUniqueName, u32>,
    users: HashMap<u32, User>,
}

#[derive(Debug, Clone)]
struct User {
    calls: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

/// A call's place among those of its connection, as long as it waits for its answer.
#[derive(Debug)]
pub struct Seat {
    turns: Turns,
    sender: OwnedUniqueName,
}

/// A call's turn among those of its user, as long as it is worked on; none if it needs none.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// A place for one more call of a connection.
    ///
    /// # Errors
    /// `LimitsExceeded` if it has too many.
    pub fn seat(&self, sender: &UniqueName<'_>) -> fdo::Result<Seat> {
        let sender = OwnedUniqueName::from(sender.to_owned());
        let mut state = self.state();
        let count = state.waiting.entry(sender.clone()).or_default();
        if *count >= OF_ONE_CONNECTION {
            return Err(fdo::Error::LimitsExceeded(format!(
                "{OF_ONE_CONNECTION} calls of yours wait for their answers already: wait for one of them"
            )));
        }
        *count += 1;
        Ok(Seat {
            turns: self.clone(),
            sender,
        })
    }

    /// Waits until it is the turn of a call of this user.
    pub async fn turn(&self, uid: u32) -> Turn {
        let permit = match uid {
            0 => None,
            // They are never closed.
            uid => self.user(uid).calls.acquire_owned().await.ok(),
        };
        Turn { _permit: permit }
    }

    /// The turn of this user to read a property.
    ///
    /// # Errors
    /// `LimitsExceeded` if he reads too many already.
    pub fn read(&self, uid: u32) -> fdo::Result<Turn> {
        if uid == 0 {
            return Ok(Turn { _permit: None });
        }
        match self.user(uid).reads.try_acquire_owned() {
            Ok(permit) => Ok(Turn {
                _permit: Some(permit),
            }),
            Err(_) => Err(fdo::Error::LimitsExceeded(format!(
                "your processes read {READS} properties already: wait for one of them"
            ))),
        }
    }

    fn user(&self, uid: u32) -> User {
        let mut state = self.state();
        if state.users.len() >= REMEMBERED {
            state.users.retain(|_, user| user.is_busy());
        }
        let user = state.users.entry(uid).or_insert_with(|| User {
            calls: Arc::new(Semaphore::new(AT_WORK)),
            reads: Arc::new(Semaphore::new(READS)),
        });
        user.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are whole even if somebody panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    /// Whoever waits, or is worked on, has a share of one of them.
    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.calls) > 1 || Arc::strong_count(&self.reads) > 1
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        if let Some(count) = state.waiting.get_mut(&self.sender) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(&self.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn name(name: &'static str) -> UniqueName<'static> {
        UniqueName::from_static_str(name).unwrap()
    }

    #[test]
    fn a_connection_with_too_many_calls_is_told_and_others_are_not() {
        let turns = Turns::default();
        let (mine, others) = (name(":1.4001"), name(":1.4002"));
        let seats: Vec<Seat> = (0..OF_ONE_CONNECTION)
            .map(|_| turns.seat(&mine).unwrap())
            .collect();
        let refused = turns.seat(&mine);
        assert!(matches!(refused, Err(fdo::Error::LimitsExceeded(_))));
        assert!(turns.seat(&others).is_ok());
        drop(seats);
        assert!(turns.seat(&mine).is_ok());
        assert!(turns.state().waiting.is_empty());
    }

    #[test]
    fn a_user_waits_behind_himself_alone_and_root_behind_nobody() {
        let turns = Turns::default();
        let turn = |uid: u32| turns.turn(uid).now_or_never();
        let mut mine: Vec<Turn> = (0..AT_WORK).map(|_| turn(1000).unwrap()).collect();
        let mut next = Box::pin(turns.turn(1000));
        let mut last = Box::pin(turns.turn(1000));
        assert!(next.as_mut().now_or_never().is_none());
        assert!(last.as_mut().now_or_never().is_none());
        assert!(turn(1001).is_some());
        let root: Vec<_> = (0..10 * AT_WORK).map(|_| turn(0)).collect();
        assert!(root.iter().all(Option::is_some));
        mine.pop();
        assert!(last.as_mut().now_or_never().is_none(), "it came first");
        assert!(next.as_mut().now_or_never().is_some());
    }

    #[test]
    fn reads_are_refused_and_do_not_wait() {
        let turns = Turns::default();
        let reads: Vec<Turn> = (0..READS).map(|_| turns.read(1000).unwrap()).collect();
        let refused = turns.read(1000);
        assert!(matches!(refused, Err(fdo::Error::LimitsExceeded(_))));
        assert!(turns.read(1001).is_ok() && turns.read(0).is_ok());
        assert!(turns.turn(1000).now_or_never().is_some());
        drop(reads);
        assert!(turns.read(1000).is_ok());
    }

    #[test]
    fn users_are_forgotten_of_whom_nothing_waits() {
        let turns = Turns::default();
        let busy: Vec<_> = (0..AT_WORK)
            .map(|_| turns.turn(1).now_or_never().unwrap())
            .collect();
        for uid in 2..1000 {
            drop(turns.turn(uid).now_or_never().unwrap());
        }
        assert!(turns.state().users.len() <= REMEMBERED);
        assert!(turns.turn(1).now_or_never().is_none());
        drop(busy);
    }
}
