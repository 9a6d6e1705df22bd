//! `org.interlock.Interlock1.History`; its reference is packaging/dbus/org.interlock.Interlock1.History.xml.
//!
//! The state database is asked directly, on a thread of its own: no gate waits for a question.

use std::collections::HashMap;
use std::path::PathBuf;

use interlock_core::signature::Class;
use tokio::sync::mpsc::UnboundedSender;
use zbus::message::Header;
use zbus::{OwnedVariant, Variant, interface};

use super::caller::{self, Options};
use super::callers::Callers;
use super::error::Error;
use super::{Row, authority, manager};
use crate::clock;
use crate::daemon::{Input, Query};
use crate::history::causes::{self, Cause, ClassifyError};
use crate::history::lengths::Lengths;
use crate::history::reader::{self, ReadError, Reader};
use crate::history::risk::Risk;
use crate::history::runs::{RunFilter, RunRow};

/// As many runs are told if nobody says otherwise.
const LIMIT: u32 = 1000;

/// The history, of the root object.
pub struct History {
    inputs: UnboundedSender<Input>,
    callers: Callers,
    database: PathBuf,
}

impl History {
    /// Reads this file; only what the policy says comes from the engine.
    pub fn new(inputs: UnboundedSender<Input>, callers: &Callers, database: PathBuf) -> Self {
        Self {
            inputs,
            database,
            callers: callers.clone(),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Error> {
        let asked = reader::ask(self.database.clone(), question).await;
        asked.map_err(|error| Error::Failed(error.to_string()))
    }
}

#[interface(name = "org.interlock.Interlock1.History")]
impl History {
    #[zbus(out_args("runs"))]
    async fn list_runs(&self, filter: HashMap<String, OwnedVariant>) -> Result<Vec<Row>, Error> {
        let known = ["task", "since", "until", "failed", "slower-than", "limit"];
        let mut filter = Options::new(filter, &known)?;
        let filter = RunFilter {
            task: filter.text("task")?,
            since: filter.microseconds("since")?,
            until: filter.microseconds("until")?,
            failed: filter.flag("failed")?,
            slower_than: filter.microseconds("slower-than")?,
            limit: filter.number("limit")?.unwrap_or(LIMIT),
        };
        let runs = self.ask(move |reader| reader.runs(&filter)).await?;
        Ok(runs.into_iter().map(run).collect())
    }

    #[zbus(out_args("tasks"))]
    async fn exceeding(
        &self,
        limit: u64,
        filter: HashMap<String, OwnedVariant>,
    ) -> Result<Vec<Row>, Error> {
        let mut filter = Options::new(filter, &["task", "since"])?;
        let (task, since) = (filter.text("task")?, filter.microseconds("since")?);
        let tasks = self
            .ask(move |reader| reader.exceeding(limit, task.as_deref(), since))
            .await?;
        Ok(tasks.into_iter().map(lengths).collect())
    }

    #[zbus(out_args("tasks"))]
    async fn at_risk(&self, filter: HashMap<String, OwnedVariant>) -> Result<Vec<Row>, Error> {
        let since = Options::new(filter, &["since"])?.microseconds("since")?;
        let exposed = manager::ask(&self.inputs, Query::Exposed).await?;
        let risks = self
            .ask(move |reader| reader.at_risk(&exposed, since))
            .await?;
        Ok(risks.into_iter().map(risk).collect())
    }

    #[zbus(out_args("failures"))]
    async fn list_failures(
        &self,
        filter: HashMap<String, OwnedVariant>,
    ) -> Result<Vec<Row>, Error> {
        let mut filter = Options::new(filter, &["task", "since"])?;
        let (task, since) = (filter.text("task")?, filter.microseconds("since")?);
        let failures = self
            .ask(move |reader| reader.failures(task.as_deref(), since))
            .await?;
        Ok(failures.into_iter().map(cause).collect())
    }

    async fn classify_failure(
        &self,
        signature: String,
        class: String,
        reason: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let class: Option<Class> = match class.as_str() {
            "" => None,
            class => Some(class.parse().map_err(
                |error: interlock_core::signature::UnknownClass| {
                    Error::InvalidArgs(error.to_string())
                },
            )?),
        };
        let owner = caller::of(&self.callers, &header).await?.owner;
        // Who it was; by which process says nothing a month later.
        let by = owner.name.split(", ").next().unwrap_or_default().to_owned();
        let path = self.database.clone();
        let said = by.clone();
        let done = tokio::task::spawn_blocking(move || {
            causes::classify(&path, &signature, class, &by, &reason, clock::realtime())
        });
        let key = done
            .await
            .map_err(|_| Error::Stopping("interlockd is stopping".to_owned()))?
            .map_err(|error| match error {
                ClassifyError::NoSuchSignature(_) => Error::NoSuchSignature(error.to_string()),
                ClassifyError::Ambiguous(..) => Error::InvalidArgs(error.to_string()),
                ClassifyError::Sqlite(_) => Error::Failed(error.to_string()),
            })?;
        let class = class.map_or("neither transient nor permanent".to_owned(), |it| {
            it.to_string()
        });
        tracing::info!(
            signature = key,
            "failures {key} are {class} from now on, says {said}"
        );
        Ok(())
    }
}

fn run(it: RunRow) -> Row {
    let mut row = Row::from([
        ("id", Variant::from(it.id)),
        ("task", Variant::from(it.task)),
        ("unit", Variant::from(it.unit)),
        ("asked", Variant::from(it.asked)),
        ("granted", Variant::from(it.granted)),
        ("started", Variant::from(it.started)),
        ("ended", Variant::from(it.ended)),
        ("result", Variant::from(it.result)),
        ("invocation", Variant::from(it.invocation)),
        ("waited-for", Variant::from(it.waited_for)),
        ("interruptions", Variant::from(it.interruptions)),
        ("attempt", Variant::from(it.attempt)),
        ("cause", Variant::from(it.cause)),
        ("signature", Variant::from(it.signature)),
        ("verdict", Variant::from(it.verdict)),
        ("reason", Variant::from(it.reason)),
    ]);
    if let Some(status) = it.exit_status {
        row.insert("exit-status", Variant::from(status));
    }
    if let Some(signal) = it.signal {
        row.insert("signal", Variant::from(signal));
    }
    row
}

fn lengths((task, it): (String, Lengths)) -> Row {
    Row::from([
        ("task", Variant::from(task)),
        ("runs", Variant::from(it.runs)),
        ("exceeding", Variant::from(it.exceeding)),
        ("p50", Variant::from(it.p50)),
        ("p95", Variant::from(it.p95)),
        ("p99", Variant::from(it.p99)),
        ("longest", Variant::from(it.longest)),
    ])
}

fn risk(it: Risk) -> Row {
    Row::from([
        ("task", Variant::from(it.task)),
        ("action", Variant::from(it.action)),
        ("usual", Variant::from(it.usual)),
        ("p95", Variant::from(it.p95)),
        ("deployments", Variant::from(it.deployments)),
        ("every", Variant::from(it.every)),
        ("chance", Variant::from(it.chance)),
        ("text", Variant::from(it.text)),
    ])
}

fn cause(it: Cause) -> Row {
    let class = it.class.map_or(String::new(), |class| class.to_string());
    Row::from([
        ("signature", Variant::from(it.signature)),
        ("task", Variant::from(it.task)),
        ("text", Variant::from(it.text)),
        ("count", Variant::from(it.count)),
        ("units", Variant::from(it.units)),
        ("first", Variant::from(it.first)),
        ("last", Variant::from(it.last)),
        ("class", Variant::from(class)),
        ("class-by", Variant::from(it.class_by)),
        ("class-reason", Variant::from(it.class_reason)),
        ("recovered", Variant::from(it.recovered)),
        ("hard", Variant::from(it.hard)),
        ("example", Variant::from(it.example)),
    ])
}
