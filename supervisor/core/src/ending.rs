//! How a run ended, and which ends are failures.

/// The task of all commands that are run behind a gate of their own.
pub const COMMANDS: &str = "interlock-run";

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// When its first process was started; 0 if none ever was.
    pub started: u64,
    /// When.
    pub ended: u64,
    /// systemd's `Result=` (systemd.exec(5), `$SERVICE_RESULT`), or `stopped`, `interrupted`, `not-started`,
    /// `unknown`.
    pub result: String,
    /// Of its main process, if that exited.
    pub exit_status: Option<i32>,
    /// That ended its main process.
    pub signal: Option<i32>,
    /// Its invocation id, in hex.
    pub invocation: String,
}

impl End {
    /// Whether it counts as a failure: of what nobody ended on purpose, and is known to have gone wrong.
    pub fn is_failure(&self) -> bool {
        is_failure(&self.result)
    }
}

/// Whether a run with this result has failed.
pub fn is_failure(result: &str) -> bool {
    let good = [
        "success",
        "stopped",
        "interrupted",
        "not-started",
        "exec-condition",
        "unknown",
        "",
    ];
    !good.contains(&result)
}
