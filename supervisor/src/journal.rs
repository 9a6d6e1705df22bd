//! Where interlockd's log goes, and the message ids by which it is found again (systemd.journal-fields(7)).

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// `MESSAGE_ID=` values. Messages about a unit carry `OBJECT_SYSTEMD_UNIT=` too, so that `journalctl -u` of that
/// unit shows them. They never change their meaning. `journalctl MESSAGE_ID=…` finds all of one kind.
pub mod message {
    /// A gate was opened. Fields: TASK, UNIT, RESOURCE, WAITED_USEC.
    pub const GRANTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a01";
    /// A start was given up (when-busy, max-wait, window over). Fields: TASK, UNIT.
    pub const REFUSED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a02";
    /// A lease was taken back before its task started. Fields: TASK, UNIT.
    pub const REVOKED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a03";
    /// A task was found running that isn't behind its gate yet. Fields: TASK, UNIT.
    pub const ADOPTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a04";
    /// A start was queued again whose gate was lost. Fields: TASK, UNIT.
    pub const RESCUED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a05";
    /// The policy has errors. One message per error.
    pub const POLICY_ERROR: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a06";
    /// The policy was read.
    pub const POLICY_READ: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a07";
    /// A task was stopped because one that preempts it waits. Fields: TASK, UNIT.
    pub const PREEMPTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a09";
    /// A deployment's state has changed. Fields: DEPLOYMENT, GROUP, STATE.
    pub const DEPLOYMENT: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0a";
    /// A deployment has come a step further with a task. Fields: DEPLOYMENT, TASK, UNIT, STATE.
    pub const STEP: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0b";
    /// A task goes on with code from before a deployment. Fields: DEPLOYMENT, UNIT.
    pub const STALE: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0c";
    /// A task is protected from deployments for a while. Fields: DEPLOYMENT, TASK, UNIT.
    pub const PROTECTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0d";
    /// A task was frozen that no deployment wanted so. Fields: UNIT.
    pub const THAWED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0e";
    /// A start was queued for later, or is started. Fields: TASK, UNIT.
    pub const SUBMITTED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a11";
    /// Processes wait for one another for ever. Fields: TASK, UNIT, RESOURCE, KIND.
    pub const DEADLOCK: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0f";
    /// A process was ended that could never have gone on, so that others can. Fields: TASK, UNIT, RESOURCE.
    pub const DEADLOCK_BROKEN: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a10";
    /// A repair was asked for. Fields: TASK, UNIT, ACTION.
    pub const ACTION: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a12";
    /// Operators were told of something by notify-command, or could not be. Fields: UNIT.
    pub const NOTIFIED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a13";
    /// A run has failed, and isn't tried again. Fields: TASK, UNIT, RESULT, SIGNATURE, ATTEMPT.
    pub const FAILED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a14";
    /// A run has failed, and is tried again. Fields: TASK, UNIT, RESULT, SIGNATURE, ATTEMPT.
    pub const RETRIED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a15";
    /// A resource's capacity was changed by an operator. Fields: RESOURCE.
    pub const CAPACITY: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a16";
    /// An operator holds starts of a task, or wants some skipped. Fields: TASK, UNIT.
    pub const HELD: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a17";
    /// That is over. Fields: TASK, UNIT.
    pub const RELEASED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a18";
    /// More is held of a resource than there is. Fields: RESOURCE.
    pub const OVER_CAPACITY: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a08";
}

/// Logs to the journal, or to standard error where there is none. `INTERLOCK_LOG` filters (default `info`).
pub fn init() {
    let filter = || {
        EnvFilter::try_from_env("INTERLOCK_LOG")
            .unwrap_or_else(|_| EnvFilter::new("info,zbus=error"))
    };
    let registry = tracing_subscriber::registry();
    // Set by PID 1 only for services whose output goes to the journal (systemd.exec(5)).
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => {
            // Without a prefix the fields are TASK=, UNIT=, MESSAGE_ID=, as others expect them.
            let journal = journal.with_field_prefix(None);
            let _ = registry.with(journal.with_filter(filter())).try_init();
        }
        None => {
            let stderr = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false);
            let _ = registry.with(stderr.with_filter(filter())).try_init();
        }
    }
}
