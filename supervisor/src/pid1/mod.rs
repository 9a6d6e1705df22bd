//! PID 1 as interlockd needs it: few calls, typed answers, and never an error taken for a state.

mod outcome;
mod refusal;
pub mod signals;
mod transient;

use std::collections::BTreeMap;
use std::time::Duration;

use interlock_core::arbiter::Standing;
use interlock_core::unit::{Doing, Job as JobKind, Service};
use interlock_generator::names;
use zbus::Connection;
use zbus::OwnedVariant;
use zbus_systemd::systemd1::ManagerProxy;

pub use outcome::{RunOutcome, Unmet};
pub use refusal::is_refusal;
pub use transient::Transient;

/// Bus name of PID 1.
pub const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Longest time for one call. A daemon-reload with a thousand waiting tasks takes PID 1 some seconds.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection to PID 1, over the system bus.
#[derive(Debug, Clone)]
pub struct Pid1 {
    manager: ManagerProxy<'static>,
}

/// A unit as PID 1 lists it (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`, …
    pub active: String,
    /// The type's own state, such as `exited` or `auto-restart`.
    pub sub: String,
    /// Its job, if any: id and type.
    pub job: Option<(u32, String)>,
}

impl UnitState {
    /// What it does.
    pub fn doing(&self) -> Doing {
        Doing::of(&self.active, &self.sub)
    }

    /// What it does, and its job.
    pub fn service(&self) -> Service {
        let job = self.job.as_ref().map(|(_, kind)| JobKind::of(kind));
        Service {
            doing: self.doing(),
            job: job.unwrap_or_default(),
        }
    }

    /// Neither running nor on its way: positively at rest.
    pub fn is_down(&self) -> bool {
        self.doing().is_down()
    }

    /// Whether it uses what it needs while it is so.
    pub fn is_working(&self) -> bool {
        self.doing().is_working()
    }

    /// Whether its processes run now.
    pub fn is_running(&self) -> bool {
        self.doing().is_running()
    }

    /// `active (exited)`: done, though active (`RemainAfterExit=` of systemd.service(5)).
    pub fn has_exited(&self) -> bool {
        self.doing().has_exited()
    }
}

/// See [`Pid1::details`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Below the hierarchy's root; empty if it has none.
    pub control_group: String,
    /// `WatchdogSec=` is set.
    pub has_watchdog: bool,
    /// `Type=oneshot`.
    pub is_oneshot: bool,
    /// Invocation id, in hexadecimal digits.
    pub invocation: String,
}

type Job = (
    u32,
    String,
    String,
    String,
    zbus::OwnedObjectPath,
    zbus::OwnedObjectPath,
);

impl Pid1 {
    /// Connects the proxy and subscribes to PID 1's signals.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn new(connection: &Connection) -> zbus::Result<Self> {
        let manager = ManagerProxy::builder(connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        manager.subscribe().await?;
        Ok(Self { manager })
    }

    /// The states of these units, by name; unloaded ones are loaded for it.
    ///
    /// # Errors
    /// The bus's or PID 1's; an error says nothing about any state.
    pub async fn states(&self, units: Vec<String>) -> zbus::Result<BTreeMap<String, UnitState>> {
        Ok(by_name(self.manager.list_units_by_names(units).await?))
    }

    /// The states of all loaded units whose names match one of these patterns (fnmatch(3)).
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn matching(
        &self,
        patterns: Vec<String>,
    ) -> zbus::Result<BTreeMap<String, UnitState>> {
        let units = self.manager.list_units_by_patterns(Vec::new(), patterns);
        Ok(by_name(units.await?))
    }

    /// A unit's state, and what PID 1 would still do before its start, besides opening its gate.
    ///
    /// `hint` is the id of its job as last heard: if it is still right, both questions take the time of one.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn state_and_standing(
        &self,
        unit: &str,
        hint: Option<u32>,
    ) -> zbus::Result<(UnitState, Standing)> {
        let states = self.states(vec![unit.to_owned()]);
        let (states, hinted) = match hint {
            Some(id) => {
                let (states, before) = tokio::join!(states, self.jobs_before(id));
                (states?, before.ok())
            }
            None => (states.await?, None),
        };
        let unknown = || zbus::Error::Failure(format!("systemd doesn't know {unit}"));
        let state = states.into_values().next().ok_or_else(unknown)?;
        let standing = match (&state.job, hinted) {
            (None, _) => Standing::Jobless,
            // It is being stopped: nothing to open the gate for, and its gate will be stopped as well.
            (Some((_, kind)), _) if kind == "stop" => Standing::Jobless,
            (Some((id, _)), Some(before)) if hint == Some(*id) => standing(&state.name, before),
            (Some((id, _)), _) => standing(&state.name, self.jobs_before(*id).await?),
        };
        Ok((state, standing))
    }

    /// All units whose jobs come before the waiting start of `unit`, directly or through others; `None` if it has no
    /// start that waits.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn all_behind(&self, unit: &str) -> zbus::Result<Option<Vec<String>>> {
        /// Far more than any real chain of jobs; bounds the work if PID 1's queue is huge.
        const LIMIT: usize = 256;
        let states = self.states(vec![unit.to_owned()]).await?;
        // The job of a oneshot that runs is there until it ends, and may have others listed before it.
        let waiting = states.into_values().find(|state| !state.is_running());
        let Some((id, _)) = waiting.and_then(|state| state.job) else {
            return Ok(None);
        };
        let mut todo = vec![id];
        let mut seen = BTreeMap::from([(id, unit.to_owned())]);
        while let Some(id) = todo.pop() {
            // A job that is gone meanwhile stands before nobody.
            let Ok(before) = self.manager.get_job_before(id).await else {
                continue;
            };
            for (id, name, ..) in before {
                if seen.len() < LIMIT && seen.insert(id, name).is_none() {
                    todo.push(id);
                }
            }
        }
        let gate = names::gate_of(unit);
        let behind = seen.into_values();
        let behind = behind.filter(|name| name != unit && *name != gate);
        Ok(Some(behind.collect()))
    }

    /// The id of the unit's job, if it has one.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn job_of(&self, unit: &str) -> zbus::Result<Option<u32>> {
        let states = self.states(vec![unit.to_owned()]).await?;
        Ok(states.into_values().next().and_then(|u| u.job).map(|j| j.0))
    }

    async fn jobs_before(&self, id: u32) -> zbus::Result<Vec<String>> {
        let jobs: Vec<Job> = self.manager.get_job_before(id).await?;
        Ok(jobs.into_iter().map(|job| job.1).collect())
    }

    /// `CancelJob`: the unit stays as it is, nothing fails.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn cancel_job(&self, id: u32) -> zbus::Result<()> {
        self.manager.cancel_job(id).await
    }

    /// `ResetFailedUnit`.
    ///
    /// # Errors
    /// The bus's or PID 1's; also if the unit isn't loaded any more.
    pub async fn reset_failed(&self, unit: &str) -> zbus::Result<()> {
        self.manager.reset_failed_unit(unit.to_owned()).await
    }

    /// `StartUnit`.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn start(&self, unit: &str, mode: &str) -> zbus::Result<()> {
        let job = self.manager.start_unit(unit.to_owned(), mode.to_owned());
        job.await.map(drop)
    }

    /// `StopUnit`.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn stop(&self, unit: &str, mode: &str) -> zbus::Result<()> {
        let job = self.manager.stop_unit(unit.to_owned(), mode.to_owned());
        job.await.map(drop)
    }

    /// `StopUnit`, with the id of its job.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn stop_job(&self, unit: &str) -> zbus::Result<Option<u32>> {
        let mode = "replace".to_owned();
        let job = self.manager.stop_unit(unit.to_owned(), mode).await?;
        let id = job.as_str().rsplit('/').next();
        Ok(id.and_then(|id| id.parse().ok()))
    }

    /// `KillUnit` of the unit's main process alone: a signal that asks for a checkpoint would end its children.
    ///
    /// # Errors
    /// The bus's or PID 1's; also if there is no main process.
    pub async fn signal(&self, unit: &str, signal: i32) -> zbus::Result<()> {
        let (unit, whom) = (unit.to_owned(), "main".to_owned());
        self.manager.kill_unit(unit, whom, signal).await
    }

    /// What deployments need to know of a unit that runs.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn details(&self, unit: &str) -> zbus::Result<Details> {
        const SERVICE: &str = "org.freedesktop.systemd1.Service";
        const UNIT: &str = "org.freedesktop.systemd1.Unit";
        let (group, watchdog, kind, invocation) = tokio::join!(
            self.property(unit, SERVICE, "ControlGroup"),
            self.property(unit, SERVICE, "WatchdogUSec"),
            self.property(unit, SERVICE, "Type"),
            self.property(unit, UNIT, "InvocationID"),
        );
        let invocation = Vec::<u8>::try_from(invocation?)?;
        Ok(Details {
            control_group: String::try_from(group?)?,
            // Infinity means none, too (systemd.service(5)).
            has_watchdog: !matches!(u64::try_from(watchdog?)?, 0 | u64::MAX),
            is_oneshot: String::try_from(kind?)? == "oneshot",
            invocation: invocation.iter().map(|b| format!("{b:02x}")).collect(),
        })
    }

    /// Whether the host is shutting down: PID 1 starts nothing any more.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn is_stopping(&self) -> zbus::Result<bool> {
        Ok(self.manager.system_state().await? == "stopping")
    }

    /// The connection, for other services on the bus.
    pub fn connection(&self) -> &Connection {
        self.manager.inner().connection()
    }

    /// `RestartUnit`.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn restart(&self, unit: &str, mode: &str) -> zbus::Result<()> {
        let job = self.manager.restart_unit(unit.to_owned(), mode.to_owned());
        job.await.map(drop)
    }

    /// `Reload`: a daemon-reload.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn reload(&self) -> zbus::Result<()> {
        self.manager.reload().await
    }

    /// The unit's cgroup below the hierarchy's root, while it has one. `None`: it has none.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn control_group(&self, unit: &str) -> zbus::Result<Option<String>> {
        let value = self.property(unit, "org.freedesktop.systemd1.Service", "ControlGroup");
        let path = String::try_from(value.await?)?;
        Ok(Some(path).filter(|path| !path.is_empty()))
    }

    /// The unit's `Environment=`, one assignment each.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn environment(&self, unit: &str) -> zbus::Result<Vec<String>> {
        let value = self.property(unit, "org.freedesktop.systemd1.Service", "Environment");
        Vec::try_from(value.await?)
    }

    /// When the unit last left `inactive`, microseconds of `CLOCK_MONOTONIC`.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn left_inactive_at(&self, unit: &str) -> zbus::Result<u64> {
        let name = "InactiveExitTimestampMonotonic";
        let value = self
            .property(unit, "org.freedesktop.systemd1.Unit", name)
            .await?;
        u64::try_from(value)
    }

    /// The units that start this one when they elapse or are triggered.
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn triggered_by(&self, unit: &str) -> zbus::Result<Vec<String>> {
        let value = self.property(unit, "org.freedesktop.systemd1.Unit", "TriggeredBy");
        Vec::try_from(value.await?)
    }

    /// Whether the unit's file is enabled (`systemctl is-enabled`).
    ///
    /// # Errors
    /// The bus's or PID 1's.
    pub async fn is_enabled(&self, unit: &str) -> zbus::Result<bool> {
        let state = self.manager.get_unit_file_state(unit.to_owned()).await?;
        Ok(state.starts_with("enabled"))
    }

    async fn property(
        &self,
        unit: &str,
        interface: &str,
        name: &str,
    ) -> zbus::Result<OwnedVariant> {
        let reply = self
            .manager
            .inner()
            .connection()
            .call_method(
                Some(SYSTEMD),
                unit_path(unit),
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(interface, name),
            )
            .await?;
        reply.body().deserialize()
    }
}

fn standing(unit: &str, before: Vec<String>) -> Standing {
    let gate = names::gate_of(unit);
    let mut others: Vec<String> = before.into_iter().filter(|name| *name != gate).collect();
    others.sort();
    match others.is_empty() {
        true => Standing::Clear,
        false => Standing::Behind(others),
    }
}

/// The object path of a unit (bus label escaping of sd_bus_path_encode(3)).
pub fn unit_path(unit: &str) -> String {
    format!("/org/freedesktop/systemd1/unit/{}", bus_label(unit))
}

/// Escapes text to one element of an object path, as sd_bus_path_encode(3) does.
pub fn bus_label(text: &str) -> String {
    use std::fmt::Write;
    if text.is_empty() {
        return "_".to_owned();
    }
    let mut label = String::with_capacity(text.len() + 8);
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(label, "_{byte:02x}");
        }
    }
    label
}

#[allow(clippy::type_complexity)]
fn by_name(
    units: Vec<(
        String,
        String,
        String,
        String,
        String,
        String,
        zbus::OwnedObjectPath,
        u32,
        String,
        zbus::OwnedObjectPath,
    )>,
) -> BTreeMap<String, UnitState> {
    units
        .into_iter()
        .map(|(name, _, load, active, sub, _, _, job, kind, _)| {
            let job = (job != 0).then_some((job, kind));
            let state = UnitState {
                name: name.clone(),
                load,
                active,
                sub,
                job,
            };
            (name, state)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_as_systemd_does() {
        assert_eq!(bus_label("dbus.service"), "dbus_2eservice");
        assert_eq!(bus_label("7a@b\\x2d.x"), "_37a_40b_5cx2d_2ex");
    }
}
