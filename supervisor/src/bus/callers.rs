//! Who calls: asked of the bus once for each connection, over a connection of its own, so that the answer doesn't wait
//! behind whatever callers send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use zbus::message::Header;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::{Connection, fdo};

use super::turns::Turns;

/// Connections that are known. A bus gives no name twice, so nobody else can take one's place.
const KNOWN: usize = 1024;

/// All who have called on one connection to the bus.
#[derive(Debug, Clone)]
pub struct Callers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bus: fdo::DBusProxy<'static>,
    known: Mutex<HashMap<OwnedUniqueName, Arc<OnceCell<Credentials>>>>,
    turns: Turns,
}

/// Whose connection it is, since it was made.
#[derive(Debug, Clone, Copy)]
pub struct Credentials {
    /// Its user.
    pub uid: u32,
    /// Its process; 0 if not known.
    pub pid: u32,
}

impl Callers {
    /// Nobody is known. `bus` is for questions alone: nothing is served on it.
    ///
    /// # Errors
    /// zbus's.
    pub async fn new(bus: &Connection) -> zbus::Result<Self> {
        Ok(Self(Arc::new(Shared {
            bus: fdo::DBusProxy::new(bus).await?,
            known: Mutex::default(),
            turns: Turns::default(),
        })))
    }

    /// For questions to others that a call needs an answer to.
    pub fn bus(&self) -> &Connection {
        self.0.bus.inner().connection()
    }

    /// Whose turn it is.
    pub fn turns(&self) -> &Turns {
        &self.0.turns
    }

    /// Who has sent this.
    ///
    /// # Errors
    /// If the bus doesn't know: it has gone already.
    pub async fn sender_of(&self, header: &Header<'_>) -> fdo::Result<Credentials> {
        let unknown = || fdo::Error::AccessDenied("the caller is unknown".to_owned());
        let sender = header.sender().ok_or_else(unknown)?;
        let cell = self.cell(sender);
        let found = cell.get_or_try_init(|| self.ask(sender)).await;
        if found.is_err() {
            self.known().remove(sender.as_str());
        }
        found.copied()
    }

    async fn ask(&self, sender: &UniqueName<'_>) -> fdo::Result<Credentials> {
        let sender = sender.to_owned().into();
        let told = self.0.bus.get_connection_credentials(sender).await?;
        let uid = told.unix_user_id().ok_or_else(|| {
            fdo::Error::AccessDenied("the bus doesn't know the caller's user".to_owned())
        })?;
        let pid = told.process_id().unwrap_or(0);
        Ok(Credentials { uid, pid })
    }

    fn cell(&self, sender: &UniqueName<'_>) -> Arc<OnceCell<Credentials>> {
        let mut known = self.known();
        if let Some(cell) = known.get(sender.as_str()) {
            return Arc::clone(cell);
        }
        if known.len() >= KNOWN {
            known.clear();
        }
        let sender = OwnedUniqueName::from(sender.to_owned());
        Arc::clone(known.entry(sender).or_default())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<OwnedUniqueName, Arc<OnceCell<Credentials>>>> {
        // Entries are whole even if somebody panicked.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
