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
    /// What kept PID 1 from running it at all, and when that was, microseconds of `CLOCK_MONOTONIC`.
    pub unmet: Option<(Unmet, u64)>,
}

/// What of `[Unit]` a start did not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// A `Condition...=`: the unit is left out, which is no failure.
    Condition,
    /// An `Assert...=`: the start fails.
    Assertion,
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
        let unmet = self.unmet(unit).await?;
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
            unmet,
        })
    }

    /// Conditions are looked at first; assertions only if they are met.
    async fn unmet(&self, unit: &str) -> zbus::Result<Option<(Unmet, u64)>> {
        const UNIT: &str = "org.freedesktop.systemd1.Unit";
        let (condition, condition_at, assertion, assertion_at) = tokio::join!(
            self.property(unit, UNIT, "ConditionResult"),
            self.property(unit, UNIT, "ConditionTimestampMonotonic"),
            self.property(unit, UNIT, "AssertResult"),
            self.property(unit, UNIT, "AssertTimestampMonotonic"),
        );
        let (condition, assertion) = (bool::try_from(condition?)?, bool::try_from(assertion?)?);
        let condition_at = u64::try_from(condition_at?)?;
        let assertion_at = u64::try_from(assertion_at?)?;
        // Without a time it was never looked at.
        let condition =
            (!condition && condition_at > 0).then_some((Unmet::Condition, condition_at));
        let assertion =
            (!assertion && assertion_at > 0).then_some((Unmet::Assertion, assertion_at));
        Ok(condition.or(assertion))
    }

    /// Whether of the unit's assertions another one isn't met than that a file exists at `path`.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn fails_other_assertion(&self, unit: &str, path: &str) -> zbus::Result<bool> {
        /// Type, whether one of several is enough, whether it is negated, parameter, and 1 (met), -1 (not) or 0
        /// (not looked at, since one before it wasn't met or the unit was forgotten meanwhile).
        type Assertion = (String, bool, bool, String, i32);
        let all = self
            .property(unit, "org.freedesktop.systemd1.Unit", "Asserts")
            .await?;
        let all = Vec::<Assertion>::try_from(all)?;
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.3 == path);
        Ok(match own.iter().map(|it| it.4).min() {
            Some(-1) => false,
            Some(1) => true,
            _ => !others.is_empty(),
        })
    }
}
