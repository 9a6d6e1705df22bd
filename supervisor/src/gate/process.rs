//! The process of a gate: asks interlockd for its unit's lease, and becomes ready only when it is granted.
//!
//! It has no async runtime and no D-Bus, since one is started before every task. Nothing but a grant ever
//! makes it ready: any error ends it with a status that leaves the task unstarted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libsystemd::daemon::{NotifyState, notify};

use super::protocol::{LINE_MAX, Verdict, hello};

/// Exit status when the start was given up (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_REFUSED: u8 = 75;
/// Exit status when interlockd could not be reached (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit status for errors of the operating system (`EX_OSERR`).
pub const EXIT_OS_ERROR: u8 = 71;

/// A restart of the daemon takes a fraction of a second, a watchdog's time-out 20 s: who hasn't answered
/// for so long is broken, and the task fails visibly rather than waiting for ever.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a gate stays closed.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The start was given up.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers.
    #[error(
        "interlockd has not answered on {socket} for {}s, so the task is not started: see \"systemctl status interlockd\" (last error: {last})",
        PATIENCE.as_secs()
    )]
    Unavailable {
        /// The socket.
        socket: PathBuf,
        /// What went wrong last.
        last: io::Error,
    },
    /// The lease file couldn't be made or removed.
    #[error("cannot {what} the lease file {path}: {error}")]
    LeaseFile {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// PID 1 couldn't be told.
    #[error("cannot notify the service manager: {0}")]
    Notify(String),
}

impl Closed {
    /// The exit status that goes with it.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Refused(_) => EXIT_REFUSED,
            Self::Unavailable { .. } => EXIT_UNAVAILABLE,
            Self::LeaseFile { .. } | Self::Notify(_) => EXIT_OS_ERROR,
        }
    }
}

/// Waits at the gate of `unit` until its lease is granted.
///
/// # Errors
/// [`Closed`]; then the task must not start, and isn't started, since PID 1 never saw `READY=1`.
pub fn pass(unit: &str, socket: &Path, lease: &Path) -> Result<(), Closed> {
    let lease_error = |what| {
        let path = lease.to_owned();
        move |error| Closed::LeaseFile { what, path, error }
    };
    match std::fs::remove_file(lease) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(lease_error("remove")(error));
        }
        _ => {}
    }
    wait_for_grant(unit, socket)?;
    std::fs::File::create(lease).map_err(lease_error("create"))?;
    let ready = [
        NotifyState::Status("Lease granted".to_owned()),
        NotifyState::Ready,
    ];
    match notify(false, &ready) {
        Ok(_) => Ok(()),
        Err(error) => Err(Closed::Notify(error.to_string())),
    }
}

fn wait_for_grant(unit: &str, socket: &Path) -> Result<(), Closed> {
    let mut silent_since = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let remaining = PATIENCE.saturating_sub(silent_since.elapsed());
        let last = match converse(unit, socket, remaining) {
            Ok(Ending::Granted) => return Ok(()),
            Ok(Ending::Refused(why)) => return Err(Closed::Refused(why)),
            Ok(Ending::Lost) => {
                // It had answered, so it is going away or starting anew: ask again soon.
                silent_since = Instant::now();
                pause = FIRST_PAUSE;
                io::ErrorKind::ConnectionReset.into()
            }
            Err(error) => error,
        };
        if silent_since.elapsed() >= PATIENCE {
            return Err(Closed::Unavailable {
                socket: socket.to_owned(),
                last,
            });
        }
        status(&format!("Waiting for interlockd to answer ({last})"));
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Ending {
    Granted,
    Refused(String),
    /// The connection ended after interlockd had answered.
    Lost,
}

/// One connection, until it ends one way or the other. An error: ended before any answer.
fn converse(unit: &str, socket: &Path, patience: Duration) -> io::Result<Ending> {
    let stream = UnixStream::connect(socket)?;
    (&stream).write_all(hello(unit).as_bytes())?;
    // Zero would mean no limit.
    stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
    let mut lines = BufReader::new(&stream);
    let mut answered = false;
    loop {
        let mut line = String::new();
        let got = (&mut lines).take(LINE_MAX as u64).read_line(&mut line);
        match (got, answered) {
            (Ok(n), _) if n > 0 => {}
            (Ok(_) | Err(_), true) => return Ok(Ending::Lost),
            (Ok(_), false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Err(error), false) => return Err(error),
        }
        match Verdict::parse(&line) {
            Some(Verdict::Go) => return Ok(Ending::Granted),
            Some(Verdict::Refuse(why)) => return Ok(Ending::Refused(why)),
            Some(Verdict::Status(text)) => status(&text),
            Some(Verdict::Queued) => {}
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
        if !answered {
            answered = true;
            // From here on the wait may take days.
            stream.set_read_timeout(None)?;
        }
    }
}

/// Only for show: its failure changes nothing.
fn status(text: &str) {
    let _ = notify(false, &[NotifyState::Status(text.to_owned())]);
}
