//! Signals that end a deployment or are passed on to the command that it was begun for.

use std::fs::File;

use nix::sys::signal::Signal;
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::ctl::error::CtlError;

/// SIGINT, SIGTERM and SIGHUP, from now on.
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// From now on they end nothing by themselves.
    pub fn catch() -> Result<Self, CtlError> {
        let (to, from) = mpsc::unbounded_channel();
        for (kind, signal_) in [
            (SignalKind::interrupt(), Signal::SIGINT),
            (SignalKind::terminate(), Signal::SIGTERM),
            (SignalKind::hangup(), Signal::SIGHUP),
        ] {
            let mut stream = signal(kind).map_err(|source| CtlError::Io {
                what: format!("can't catch {signal_}"),
                source,
            })?;
            let to = to.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && to.send(signal_).is_ok() {}
            });
        }
        Ok(Self(from))
    }

    /// Those of a test.
    #[cfg(test)]
    pub fn scripted() -> (mpsc::UnboundedSender<Signal>, Self) {
        let (to, from) = mpsc::unbounded_channel();
        (to, Self(from))
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// The exit status of who was interrupted by it, as a shell has it.
pub fn status(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)
}

/// Whether the terminal has sent it to the command as well: to all that is in the foreground, as it does for Ctrl-C
/// and when it is closed. Passed on once more it would come twice, and many tools take a second Ctrl-C for more
/// urgent than the first.
pub fn came_to_the_command_too(signal: Signal) -> bool {
    if signal == Signal::SIGTERM {
        return false;
    }
    let terminal = File::open("/dev/tty").ok();
    let foreground = terminal.and_then(|terminal| tcgetpgrp(terminal).ok());
    foreground == Some(getpgrp())
}
