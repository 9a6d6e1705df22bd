//! What became of a service's last run, and that PID 1 doesn't forget it before it was asked.

use super::Pid1;

/// A run's end as PID 1 knows it (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOutcome {
    /// `Result=`.
    pub result: String,
    /// When its main process was started, microseconds of `CLOCK_MONOTONIC`; 0 if it never was.
    pub started_monotonic: u64,
    /// The same in microseconds of `CLOCK_REALTIME`.
    pub started: u64,
    /// When it ended, microseconds of `CLOCK_REALTIME`.
    pub exited: u64,
    /// Its exit status, if it exited.
    pub exit_status: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Invocation id, in hexadecimal digits; empty if PID 1 doesn't know the unit any more.
    pub invocation: String,
    /// `SubState=`.
    pub sub: String,
    /// `Type=oneshot`.
    pub is_oneshot: bool,
}

impl Pid1 {
    /// Has PID 1 keep the unit loaded after its end, until [`Pid1::unref_unit`] or the end of our connection.
    /// Instances of templates are forgotten at once otherwise, and with them how they ended.
    ///
    /// # Errors
    /// The bus's; PID 1 isn't waited for.
    pub async fn ref_unit(&self, unit: &str) -> zbus::Result<()> {
        self.manager.inner().call_noreply("RefUnit", &(unit,)).await
    }

    /// It may be forgotten.
    ///
    /// # Errors
    /// The bus's; PID 1 isn't waited for.
    pub async fn unref_unit(&self, unit: &str) -> zbus::Result<()> {
        self.manager
            .inner()
            .call_noreply("UnrefUnit", &(unit,))
            .await
    }

    /// How the unit's last run ended.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn outcome(&self, unit: &str) -> zbus::Result<RunOutcome> {
        const SERVICE: &str = "org.freedesktop.systemd1.Service";
        const UNIT: &str = "org.freedesktop.systemd1.Unit";
        let (result, code, status, monotonic, started, exited, kind, invocation, sub) = tokio::join!(
            self.property(unit, SERVICE, "Result"),
            self.property(unit, SERVICE, "ExecMainCode"),
            self.property(unit, SERVICE, "ExecMainStatus"),
            self.property(unit, SERVICE, "ExecMainStartTimestampMonotonic"),
            self.property(unit, SERVICE, "ExecMainStartTimestamp"),
            self.property(unit, SERVICE, "ExecMainExitTimestamp"),
            self.property(unit, SERVICE, "Type"),
            self.property(unit, UNIT, "InvocationID"),
            self.property(unit, UNIT, "SubState"),
        );
        // The code of wait(2)'s siginfo: CLD_EXITED, CLD_KILLED, CLD_DUMPED.
        let (code, status) = (i32::try_from(code?)?, i32::try_from(status?)?);
        let invocation = Vec::<u8>::try_from(invocation?)?;
        Ok(RunOutcome {
            result: String::try_from(result?)?,
            started_monotonic: u64::try_from(monotonic?)?,
            started: u64::try_from(started?)?,
            exited: u64::try_from(exited?)?,
            exit_status: (code == 1).then_some(status),
            signal: matches!(code, 2 | 3).then_some(status),
            invocation: invocation.iter().map(|b| format!("{b:02x}")).collect(),
            sub: String::try_from(sub?)?,
            is_oneshot: String::try_from(kind?)? == "oneshot",
        })
    }
}
