//! What `run`, `begin` and `hold` have in common: a deployment that this process has begun, until it is at rest.

use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use tokio::time::{MissedTickBehavior, interval, timeout};
use zbus::wire::OwnedFd;

use super::calls::{self, Wish};
use super::model::Deployment;
use super::screen::Progress;
use super::signals::Signals;
use super::watch::{HURRY, Watch};
use crate::ctl::client::Client;
use crate::ctl::error::CtlError;

/// Between two pictures on a terminal, since they show times.
const REDRAW: Duration = Duration::from_secs(1);

/// A deployment, how it is shown, and what may interrupt it.
pub struct Session {
    /// The deployment.
    pub watch: Watch,
    /// Where its progress goes.
    pub progress: Progress,
    /// Signals to this process.
    pub signals: Signals,
    /// The deployment lives as long as this is open, if it has no expiry.
    _holder: Option<OwnedFd>,
}

/// How settling went.
#[derive(Debug)]
pub enum Settled {
    /// All are at rest.
    Ready(Box<Deployment>),
    /// It is over, and all that was done has been undone.
    Refused(Box<Deployment>),
    /// By a signal; it is over, as far as somebody waited for that.
    Interrupted(Signal),
}

/// How the end went.
#[derive(Debug)]
pub enum Ended {
    /// It is over.
    Over(Box<Deployment>),
    /// The host is being shut down; it will be over after the next boot.
    Postponed,
    /// Nobody waits any more; it ends by itself.
    Interrupted(Signal),
}

/// What waiting came to.
#[derive(Debug)]
pub enum Waited {
    /// What was waited for.
    Reached(Box<Deployment>),
    /// By a signal.
    Interrupted(Signal),
}

impl Session {
    /// Begins a deployment; `None` if a signal came before it was begun.
    pub async fn begin(
        client: &Client,
        wish: &Wish,
        progress: Progress,
        mut signals: Signals,
    ) -> Result<Result<Self, Signal>, CtlError> {
        let begun = async {
            let mut beginning = pin!(calls::begin(client, wish));
            let signal = tokio::select! {
                begun = &mut beginning => return begun.map(Ok),
                signal = signals.next() => signal,
            };
            // With a holder, the reply finds nobody, and the deployment ends as it began. One with an expiry would
            // be left behind.
            if wish.expires.is_some() {
                tokio::select! {
                    begun = &mut beginning => {
                        let mut watch = Watch::new(client, begun?.0);
                        watch.end(&format!("interrupted by {signal}")).await?;
                    }
                    _ = signals.next() => {}
                }
            }
            Ok(Err(signal))
        };
        let (object, holder) = match begun.await? {
            Ok(begun) => begun,
            Err(signal) => return Ok(Err(signal)),
        };
        close_on_exec(&holder)?;
        Ok(Ok(Self {
            watch: Watch::new(client, object),
            progress,
            signals,
            _holder: wish.expires.is_none().then_some(holder),
        }))
    }

    /// One that is there already.
    pub fn of(watch: Watch, progress: Progress, signals: Signals) -> Self {
        Self {
            watch,
            progress,
            signals,
            _holder: None,
        }
    }

    /// Waits until all are at rest. A signal ends the deployment.
    pub async fn settle(&mut self) -> Result<Settled, CtlError> {
        let over_or_ready = |now: &Deployment| now.state == "ready" || now.is_over();
        match self.until(over_or_ready).await? {
            Waited::Reached(now) if now.is_over() => Ok(Settled::Refused(now)),
            Waited::Reached(now) => Ok(Settled::Ready(now)),
            Waited::Interrupted(signal) => {
                self.watch.hurry();
                // A second signal ends the waiting, and nothing else.
                self.end(&format!("interrupted by {signal}")).await?;
                Ok(Settled::Interrupted(signal))
            }
        }
    }

    /// Ends it, and waits until it is over.
    pub async fn end(&mut self, reason: &str) -> Result<Ended, CtlError> {
        self.ask_to_end(reason).await?;
        self.see_it_end(reason).await
    }

    /// A signal, that of a shutdown for one, leaves little time to find a daemon that may be gone for good. It comes
    /// here if the command that was run was quicker to end by it than this process to hear of it.
    async fn ask_to_end(&mut self, reason: &str) -> Result<(), CtlError> {
        let mut asking = pin!(self.watch.end(reason));
        tokio::select! {
            asked = &mut asking => return asked,
            _ = self.signals.next() => {}
        }
        timeout(HURRY, asking).await.unwrap_or_else(|_| {
            Err(CtlError::Unreachable {
                reason: "it ends the deployment, as failed, when it is back".to_owned(),
            })
        })
    }

    /// Waits until one that was ended is over.
    pub async fn see_it_end(&mut self, reason: &str) -> Result<Ended, CtlError> {
        loop {
            if self.watch.is_postponed().await {
                return Ok(Ended::Postponed);
            }
            // At rest again: the daemon was killed before it had written down that it ends.
            let over_or_not = |now: &Deployment| now.state != "ending";
            match self.until(over_or_not).await? {
                Waited::Reached(now) if now.is_over() => return Ok(Ended::Over(now)),
                Waited::Reached(_) => self.watch.end(reason).await?,
                Waited::Interrupted(signal) => return Ok(Ended::Interrupted(signal)),
            }
        }
    }

    /// Waits for a state, and shows how it comes along.
    pub async fn until(
        &mut self,
        wanted: impl Fn(&Deployment) -> bool,
    ) -> Result<Waited, CtlError> {
        let mut pictures = interval(REDRAW);
        pictures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let waited = loop {
            tokio::select! {
                now = self.watch.next() => {
                    let now = now?;
                    self.progress.show(&now);
                    if wanted(&now) {
                        break Waited::Reached(Box::new(now));
                    }
                }
                signal = self.signals.next() => break Waited::Interrupted(signal),
                _ = pictures.tick(), if self.progress.is_drawn() => self.progress.draw(),
            }
        };
        self.progress.clear();
        Ok(waited)
    }
}

/// A command that is run must not inherit the holder: a process that it leaves behind would keep the deployment alive.
fn close_on_exec(holder: &OwnedFd) -> Result<(), CtlError> {
    let set = fcntl(holder.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    set.map(drop).map_err(|errno| CtlError::Io {
        what: "can't keep the deployment's holder to this process".to_owned(),
        source: errno.into(),
    })
}
