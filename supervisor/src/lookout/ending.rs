//! Ends the process of a deadlock without which the others can go on, and nobody else.

use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Terms;
use super::processes::Proc;
use crate::locks;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The signal was sent.
    Signalled,
    /// It is gone already.
    Gone,
    /// It holds the lock of this resource by now, so it isn't touched.
    Holds(String),
    /// It can't be told whether it holds a lock, or it can't be sent a signal: why.
    Failed(String),
}

/// Sends a process SIGTERM, or SIGKILL, if it is still the one that started then and holds no lock of a resource.
///
/// All is looked at once more: since the deadlock was found somebody may have resolved it, and rpm that is killed in
/// its transaction leaves it half done.
pub fn end(pid: i32, start_time: u64, kill: bool, terms: &Terms) -> Ended {
    let failed = |error: io::Error| Ended::Failed(error.to_string());
    // Ours or PID 1, whatever a bug upstream may say.
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    if pid <= 1 || pid == own {
        return Ended::Failed(format!("pid {pid} is never ended"));
    }
    let Some(number) = Pid::from_raw(pid) else {
        return Ended::Gone;
    };
    // From here on the number can't come to mean another process.
    let Ok(descriptor) = pidfd_open(number, PidfdFlags::empty()) else {
        return Ended::Gone;
    };
    let proc = Proc::of_host();
    if !proc.lives(pid, start_time) {
        return Ended::Gone;
    }
    let locks = match locks::Snapshot::take() {
        Ok(locks) => locks,
        Err(error) => return failed(error),
    };
    for (resource, file) in &terms.files {
        let holders = locks.holders(file).holders;
        let holds = holders.iter().any(|holder| holder.pid == pid)
            || !holders.is_empty() && locks.is_shared_by(file, pid);
        if holds {
            return Ended::Holds(resource.clone());
        }
    }
    let signal = if kill { Signal::KILL } else { Signal::TERM };
    match pidfd_send_signal(&descriptor, signal) {
        Ok(()) => Ended::Signalled,
        Err(rustix::io::Errno::SRCH) => Ended::Gone,
        Err(error) => failed(error.into()),
    }
}
