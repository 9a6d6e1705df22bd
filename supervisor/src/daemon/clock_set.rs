//! Hears when the clock is set, or the host wakes up: whoever waits for a time of the clock reckons anew then, and needs
//! no look at the clock in between.

use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedSender;

use super::Input;

/// A time that never comes, seconds of `CLOCK_REALTIME`.
const NEVER: i64 = i64::MAX;

/// Tells the engine each time.
pub async fn watch(inputs: UnboundedSender<Input>) {
    let told = async {
        let mut alarm = Alarm::new()?;
        loop {
            alarm.rings_at(NEVER).await?;
            if inputs.send(Input::ClockSet).is_err() {
                return Ok::<_, io::Error>(());
            }
        }
    };
    if let Err(error) = told.await {
        tracing::warn!(%error, "cannot hear of it when the clock is set: what waits for a time may be late then");
    }
}

/// A timer of timerfd_create(2).
struct Alarm {
    timer: TimerFd,
    /// The same; any descriptor that can be polled does.
    ringing: pipe::Receiver,
}

impl Alarm {
    fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, flags)?;
        let same = timer.as_fd().try_clone_to_owned()?;
        Ok(Self {
            timer,
            ringing: pipe::Receiver::from_owned_fd_unchecked(same)?,
        })
    }

    /// Comes back at this time (seconds of `CLOCK_REALTIME`), and before if the clock is set.
    async fn rings_at(&mut self, time: i64) -> io::Result<()> {
        self.timer.set(
            Expiration::OneShot(TimeSpec::new(time, 0)),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
        )?;
        loop {
            self.ringing.readable().await?;
            match self.ringing.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                // The clock was set.
                Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn rings_when_it_is_time_and_not_before() {
        let mut alarm = Alarm::new().unwrap();
        let now = || i64::try_from(clock::realtime() / 1_000_000).unwrap();
        let then = now() + 1;
        alarm.rings_at(then).await.unwrap();
        assert!(now() >= then);
        let never =
            tokio::time::timeout(std::time::Duration::from_millis(50), alarm.rings_at(NEVER));
        assert!(never.await.is_err());
    }
}
