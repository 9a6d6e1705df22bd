//! A start that PID 1 has queued, and how it ends.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::error::{self, Answer, CtlError};
use super::proxy::fields::Fields;
use super::proxy::systemd::{SystemdProxy, UnitProxy};

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// How a job ended: its result as PID 1 names it, or `None` if nobody saw it end.
pub type JobResult = Option<String>;

/// A queued start.
pub struct Job {
    connection: Connection,
    systemd: SystemdProxy<'static>,
    unit: OwnedObjectPath,
    object: OwnedObjectPath,
    removed: Removed,
    /// Whether the last look found the job gone.
    missed: bool,
}

/// Jobs that end, from now on.
///
/// They are taken in at once, whatever else is done meanwhile: a stream that nobody reads stops the whole connection
/// when some dozens of signals have come, also the answer that is just being waited for.
pub struct Removed(mpsc::UnboundedReceiver<EndedJob>);

/// A job that has ended.
pub struct EndedJob {
    job: OwnedObjectPath,
    unit: String,
    result: String,
}

impl Removed {
    /// Begins to listen.
    pub async fn listen(systemd: &SystemdProxy<'static>) -> zbus::Result<Self> {
        let mut signals = systemd.receive_job_removed().await?;
        systemd.subscribe().await?;
        let (to, from) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(signal) = signals.next().await {
                let Ok(args) = signal.args() else { continue };
                let ended = EndedJob {
                    job: args.job,
                    unit: args.unit,
                    result: args.result,
                };
                if to.send(ended).is_err() {
                    return;
                }
            }
        });
        Ok(Self(from))
    }

    /// The result of the next one that is meant; `None` if the connection is lost. Cancel safe.
    async fn next(&mut self, is_meant: impl Fn(&EndedJob) -> bool) -> JobResult {
        while let Some(ended) = self.0.recv().await {
            if is_meant(&ended) {
                return Some(ended.result);
            }
        }
        None
    }

    /// The result of the next job of this unit.
    pub async fn next_of(&mut self, unit: &str) -> JobResult {
        self.next(|ended| ended.unit == unit).await
    }
}

/// What a unit tells about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// `ActiveState=`.
    pub active: String,
    /// Whether the `Condition…=` of its last start were met; `None` if PID 1 has forgotten that start.
    pub condition: Option<bool>,
    /// A service's `Result=`: `success`, `exit-code`, `signal`, `timeout` …
    pub result: String,
    /// A service's exit status or signal, 0 if none.
    pub status: i32,
}

/// Queues the start of a unit. Also tells what state the unit was in before.
///
/// Listens for the job's end before the job is made, so that even the shortest isn't missed.
pub async fn start(connection: &Connection, unit: &str) -> Result<(Job, UnitFacts), CtlError> {
    let systemd = SystemdProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .map_err(|error| failure(unit, error))?;
    let removed = Removed::listen(&systemd).await;
    let removed = removed.map_err(|error| failure(unit, error))?;
    let unit_object = systemd
        .load_unit(unit)
        .await
        .map_err(|error| failure(unit, error))?;
    // A oneshot that has ended is forgotten at once, and then looks as if all had gone well, even if a condition
    // kept it from running. Who may not pin it learns less.
    let _ = pin(connection, &unit_object).await;
    let before = facts(connection, &unit_object).await;
    let object = systemd
        .start_unit(unit, "replace")
        .await
        .map_err(|error| failure(unit, error))?;
    let job = Job {
        connection: connection.clone(),
        systemd,
        unit: unit_object,
        object,
        removed,
        missed: false,
    };
    Ok((job, before))
}

impl Job {
    /// Waits for PID 1 to say that the job has ended. Cancel safe.
    pub async fn removed(&mut self) -> JobResult {
        let object = &self.object;
        self.removed.next(|ended| ended.job == *object).await
    }

    /// Whether the job is gone though nobody said so: a re-executed PID 1 loses signals.
    ///
    /// Only two looks in a row tell, since the signal may be on its way.
    pub async fn lost(&mut self) -> bool {
        let gone = matches!(
            get_all(
                &self.connection,
                &self.object,
                "org.freedesktop.systemd1.Job"
            )
            .await,
            Err(zbus::fdo::Error::UnknownObject(_) | zbus::fdo::Error::UnknownMethod(_))
        );
        std::mem::replace(&mut self.missed, gone) && gone
    }

    /// Which of the units that its unit requires have failed.
    pub async fn failed_requirements(&self) -> Vec<String> {
        let mut failed = Vec::new();
        let unit = get_all(
            &self.connection,
            &self.unit,
            "org.freedesktop.systemd1.Unit",
        )
        .await;
        let mut unit = Fields::from(unit.unwrap_or_default());
        let names = ["Requires", "Requisite", "BindsTo"].map(|name| unit.get::<Vec<String>>(name));
        for name in names.concat() {
            if let Ok(object) = self.systemd.load_unit(&name).await
                && facts(&self.connection, &object).await.active == "failed"
            {
                failed.push(name);
            }
        }
        failed
    }

    /// What its unit tells now.
    pub async fn facts(&self) -> UnitFacts {
        facts(&self.connection, &self.unit).await
    }
}

async fn pin(connection: &Connection, unit: &OwnedObjectPath) -> zbus::Result<()> {
    let unit = UnitProxy::builder(connection)
        .path(unit.clone())
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    unit.pin().await
}

/// What can't be read is left empty: it only makes the sentence shorter.
async fn facts(connection: &Connection, unit: &OwnedObjectPath) -> UnitFacts {
    let mut all = get_all(connection, unit, "org.freedesktop.systemd1.Unit")
        .await
        .unwrap_or_default();
    let service = get_all(connection, unit, "org.freedesktop.systemd1.Service").await;
    all.extend(service.unwrap_or_default());
    let mut all = Fields::from(all);
    let checked: u64 = all.get("ConditionTimestamp");
    let met: bool = all.get("ConditionResult");
    UnitFacts {
        active: all.get("ActiveState"),
        condition: (checked > 0).then_some(met),
        result: all.get("Result"),
        status: all.get("ExecMainStatus"),
    }
}

async fn get_all(
    connection: &Connection,
    object: &OwnedObjectPath,
    interface: &'static str,
) -> zbus::fdo::Result<HashMap<String, OwnedVariant>> {
    PropertiesProxy::builder(connection)
        .destination(SYSTEMD)
        .path(object.clone())
        .cache_properties(CacheProperties::No)
        .build()
        .await?
        .get_all(InterfaceName::from_static_str_unchecked(interface))
        .await
}

/// What an error of PID 1 means.
pub(super) fn failure(unit: &str, source: zbus::Error) -> CtlError {
    let reason = error::message(&source);
    match error::answer(&source) {
        Answer::Nobody => CtlError::SystemdUnreachable { reason },
        Answer::Denied => CtlError::AccessDenied {
            what: format!("can't start {unit}: {reason}"),
            advice: "Starting a unit needs root, or polkit's word for the action \
                     org.freedesktop.systemd1.manage-units.",
        },
        Answer::Named(..) | Answer::Invalid | Answer::Other => CtlError::StartRefused {
            unit: unit.to_owned(),
            reason,
        },
    }
}
