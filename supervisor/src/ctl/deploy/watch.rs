//! One deployment, followed from here to its end, also over a restart of interlockd or of the bus.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use zbus::OwnedObjectPath;
use zbus::fdo::PropertiesChangedStream;
use zbus::proxy::OwnerChangedStream;

use super::calls;
use super::model::Deployment;
use crate::ctl::client::{self, Client};
use crate::ctl::error::CtlError;

/// interlockd finds its deployments again when it comes back; a host that is busy with maintenance may take a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same once somebody has told this process to end: at a shutdown interlockd doesn't come back, and all waits.
pub const HURRY: Duration = Duration::from_secs(5);
/// A slow look catches what signals lost.
const SWEEP: Duration = Duration::from_secs(10);
/// Between two attempts to reach it.
const PAUSE: Duration = Duration::from_millis(200);

/// A deployment and what tells of its changes.
pub struct Watch {
    client: Client,
    object: OwnedObjectPath,
    /// Known from the first look on.
    id: Option<String>,
    signals: Option<Signals>,
    /// Whether something has changed since the last look.
    changed: bool,
    /// When the last look was.
    looked: Instant,
    /// How long a daemon is waited for that doesn't answer.
    patience: Duration,
}

/// They only say that it is worth looking again.
struct Signals {
    properties: PropertiesChangedStream,
    /// A daemon that was restarted has signalled nothing meanwhile.
    owner: OwnerChangedStream<'static>,
}

impl Watch {
    /// Follows the deployment with this object.
    pub fn new(client: &Client, object: OwnedObjectPath) -> Self {
        Self {
            client: client.clone(),
            object,
            id: None,
            signals: None,
            changed: true,
            looked: Instant::now(),
            patience: PATIENCE,
        }
    }

    /// From now on a daemon that doesn't answer isn't waited for as long.
    pub fn hurry(&mut self) {
        self.patience = HURRY;
    }

    /// The state when it may have changed; the present one at first. Cancel safe.
    pub async fn next(&mut self) -> Result<Deployment, CtlError> {
        if !self.changed {
            let sweep = self.looked + SWEEP;
            let _ = timeout_at(sweep, self.wait_for_signal()).await;
            self.changed = true;
        }
        let facts = self.look().await?;
        self.changed = false;
        self.looked = Instant::now();
        Ok(facts)
    }

    /// Ends it.
    pub async fn end(&mut self, reason: &str) -> Result<(), CtlError> {
        let since = Instant::now();
        loop {
            match calls::end(&self.client, &self.object, reason).await {
                Err(error) if since.elapsed() < self.patience && self.may_pass(&error).await => {
                    sleep(PAUSE).await;
                    self.find_again().await;
                }
                // It was over before it could be ended, which is as good.
                Err(_) if self.is_over().await => return Ok(()),
                ended => return ended.map_err(|error| self.named(error)),
            }
        }
    }

    /// Whether its end will be finished after the next boot.
    pub async fn is_postponed(&self) -> bool {
        calls::host_is_stopping(&self.client).await
    }

    async fn is_over(&self) -> bool {
        let facts = calls::facts(&self.client, &self.object).await;
        facts.is_ok_and(|facts| facts.is_over())
    }

    async fn wait_for_signal(&mut self) {
        let Some(signals) = &mut self.signals else {
            return;
        };
        let more = tokio::select! {
            signal = signals.properties.next() => signal.is_some(),
            owner = signals.owner.next() => owner.is_some(),
        };
        if !more {
            // The connection is lost.
            self.signals = None;
        }
    }

    /// The present state; waits for a daemon that is being restarted.
    async fn look(&mut self) -> Result<Deployment, CtlError> {
        let since = Instant::now();
        loop {
            match self.try_look().await {
                Err(error) if since.elapsed() < self.patience && self.may_pass(&error).await => {
                    sleep(PAUSE).await;
                    self.find_again().await;
                }
                Ok(facts) => {
                    self.id = Some(facts.id.clone());
                    return Ok(facts);
                }
                Err(error) => return Err(self.named(error)),
            }
        }
    }

    /// Of the object nobody has heard.
    fn named(&self, error: CtlError) -> CtlError {
        match (error, &self.id) {
            (CtlError::NoSuchDeployment { nearest, .. }, Some(id)) => CtlError::NoSuchDeployment {
                id: id.clone(),
                nearest,
            },
            (error, _) => error,
        }
    }

    /// Whether an error may be one of a daemon, or a bus, that is just being restarted.
    async fn may_pass(&self, error: &CtlError) -> bool {
        match error {
            CtlError::Unreachable { .. } => true,
            // One that it knows has its object in a moment; one that it doesn't is gone for good.
            CtlError::NoSuchDeployment { .. } => calls::is_known(&self.client, &self.object)
                .await
                .unwrap_or(true),
            _ => false,
        }
    }

    async fn try_look(&mut self) -> Result<Deployment, CtlError> {
        if self.signals.is_none() {
            // Before the look, so that no change is missed in between.
            let signals = self.subscribe().await;
            let signals =
                signals.map_err(|error| client::failure("can't listen to interlockd", error));
            self.signals = Some(signals?);
        }
        calls::facts(&self.client, &self.object).await
    }

    async fn subscribe(&self) -> zbus::Result<Signals> {
        let properties = calls::properties(&self.client, &self.object).await?;
        Ok(Signals {
            owner: self
                .client
                .manager()
                .inner()
                .receive_owner_changed()
                .await?,
            properties: properties.receive_properties_changed().await?,
        })
    }

    /// Another connection if this one is lost. The deployment has the same object there.
    async fn find_again(&mut self) {
        if let Some(another) = self.client.again_if_lost().await {
            self.client = another;
            self.signals = None;
        }
    }
}
