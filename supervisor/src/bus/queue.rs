//! `org.interlock.Interlock1.Queue`; its reference is packaging/dbus/org.interlock.Interlock1.Queue.xml.

use std::collections::HashMap;

use tokio::sync::mpsc::UnboundedSender;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedVariant, Variant, fdo, interface};

use super::caller::{self, Options};
use super::callers::Callers;
use super::error::Error;
use super::manager::ask;
use super::{Row, authority};
use crate::daemon::engine::{
    BatchView, CapacityView, QueueError, QueuedView, Selection, TaskCounts,
};
use crate::daemon::{Answer, Input, Query, QueueQuery};
use crate::store::{Kind, Next, Paused, State};

/// How many entries are told unless asked for more.
const LIMIT: u32 = 1000;

/// Of the root object.
pub struct Queue {
    inputs: UnboundedSender<Input>,
    callers: Callers,
}

/// task, reason, by, since
type PausedRow = (String, String, String, u64);
/// resource, capacity, the policy's, used, by, reason, since
type CapacityRow = (String, u32, u32, u32, String, String, u64);

impl Queue {
    /// Answers come from the engine.
    pub fn new(inputs: UnboundedSender<Input>, callers: &Callers) -> Self {
        Self {
            inputs,
            callers: callers.clone(),
        }
    }

    async fn ask<T>(&self, query: impl FnOnce(Answer<T>) -> QueueQuery) -> Result<T, Asked> {
        let answer = ask(&self.inputs, |to| Query::AboutQueue(query(to))).await;
        answer.map_err(Asked::Error)?.map_err(Asked::Refused)
    }
}

/// Why there is no answer.
enum Asked {
    Error(Error),
    Refused(QueueError),
}

impl From<Asked> for Error {
    fn from(asked: Asked) -> Self {
        let refused = match asked {
            Asked::Error(error) => return error,
            Asked::Refused(refused) => refused,
        };
        match refused {
            QueueError::Request(error) => error.into(),
            QueueError::Submit(error) => error.into(),
            QueueError::Foreign { .. } => Self::AccessDenied(refused.to_string()),
            QueueError::NotQueued(_) => Self::NotQueued(refused.to_string()),
            QueueError::NotPaused(_) => Self::InvalidArgs(refused.to_string()),
            QueueError::Store(_) => Self::Failed(refused.to_string()),
        }
    }
}

#[interface(name = "org.interlock.Interlock1.Queue")]
impl Queue {
    #[zbus(out_args("id"))]
    async fn new_batch(
        &self,
        name: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        authority::check(&self.callers, &header, authority::SUBMIT).await?;
        let by = caller::of(&self.callers, &header).await?.owner.name;
        let id = self.ask(|to| QueueQuery::NewBatch(name, by, to)).await?;
        Ok(id.to_string())
    }

    #[zbus(out_args("total", "entries"))]
    async fn list_queued(
        &self,
        filter: HashMap<String, OwnedVariant>,
    ) -> Result<(u64, Vec<Row>), Error> {
        let mut filter = Options::new(filter, &["task", "batch", "state", "limit"])?;
        let (task, batch) = (filter.text("task")?, filter.text("batch")?);
        let state = filter.text("state")?.map(|name| state_by_name(&name));
        let state = state.transpose()?;
        let limit = filter.number("limit")?.unwrap_or(LIMIT);
        let list = self.ask(|to| QueueQuery::List(task, batch, state, limit, to));
        let (total, entries) = list.await?;
        Ok((total, entries.into_iter().map(entry_row).collect()))
    }

    #[zbus(out_args("tasks"))]
    async fn count_queued(&self) -> Result<Vec<Row>, Error> {
        let counts = self.ask(QueueQuery::Counts).await?;
        Ok(counts.into_iter().map(counts_row).collect())
    }

    #[zbus(out_args("batches"))]
    async fn list_batches(&self) -> Result<Vec<Row>, Error> {
        let batches = self.ask(QueueQuery::Batches).await?;
        Ok(batches.into_iter().map(batch_row).collect())
    }

    #[zbus(out_args("cancelled"))]
    async fn cancel(
        &self,
        entries: Vec<String>,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, Error> {
        authority::check(&self.callers, &header, authority::SUBMIT).await?;
        let mut options = Options::new(options, &["batch", "task", "all"])?;
        let user = caller::of(&self.callers, &header).await?.user;
        let mut which = Selection {
            names: entries,
            task: options.text("task")?,
            batch: options.text("batch")?,
            all: options.flag("all")?,
            only_by: Some(user),
        };
        match self.ask(|to| QueueQuery::Cancel(which.clone(), to)).await {
            Err(Asked::Refused(QueueError::Foreign { .. })) => {
                authority::check(&self.callers, &header, authority::MANAGE).await?;
                which.only_by = None;
                Ok(self.ask(|to| QueueQuery::Cancel(which, to)).await?)
            }
            answer => Ok(answer?),
        }
    }

    #[zbus(name = "Move")]
    async fn move_to(
        &self,
        entries: Vec<String>,
        place: String,
        priority: i32,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let place = match place.as_str() {
            "first" => Next::First,
            "last" => Next::Last,
            "priority" => Next::Priority(priority),
            other => {
                return Err(Error::InvalidArgs(format!(
                    "unknown place {other:?}; known are: first, last, priority"
                )));
            }
        };
        self.ask(|to| QueueQuery::Move(entries, place, to)).await?;
        Ok(())
    }

    async fn pause(
        &self,
        task: String,
        reason: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let by = caller::of(&self.callers, &header).await?.owner.name;
        Ok(self
            .ask(|to| QueueQuery::Pause(task, reason, by, to))
            .await?)
    }

    async fn resume(&self, task: String, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let by = caller::of(&self.callers, &header).await?.owner.name;
        Ok(self.ask(|to| QueueQuery::Resume(task, by, to)).await?)
    }

    #[zbus(out_args("paused"))]
    async fn list_paused(&self) -> Result<Vec<PausedRow>, Error> {
        let paused = self.ask(QueueQuery::Pauses).await?.into_iter();
        let row = |it: Paused| (it.task, it.reason, it.by, it.since);
        Ok(paused.map(row).collect())
    }

    async fn set_capacity(
        &self,
        resource: String,
        capacity: u32,
        reason: String,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let by = caller::of(&self.callers, &header).await?.owner.name;
        let set = self.ask(|to| QueueQuery::SetCapacity(resource, capacity, reason, by, to));
        Ok(set.await?)
    }

    #[zbus(out_args("capacities"))]
    async fn list_capacities(&self) -> Result<Vec<CapacityRow>, Error> {
        let capacities = self.ask(QueueQuery::Capacities).await?.into_iter();
        let row = |it: CapacityView| {
            let (by, reason, since) = match it.changed {
                Some(it) => (it.by, it.reason, it.since),
                None => (String::new(), String::new(), 0),
            };
            (
                it.resource,
                it.capacity,
                it.policy,
                it.used,
                by,
                reason,
                since,
            )
        };
        Ok(capacities.map(row).collect())
    }

    #[zbus(signal)]
    async fn batch_ended(
        emitter: &SignalEmitter<'_>,
        id: &str,
        done: u64,
        failed: u64,
    ) -> zbus::Result<()>;
}

fn state_by_name(name: &str) -> fdo::Result<State> {
    State::by_name(name).ok_or_else(|| {
        fdo::Error::InvalidArgs(format!(
            "unknown state {name:?}; known are: queued, delayed, behind, running"
        ))
    })
}

fn batch_id(batch: Option<u64>) -> String {
    batch.map_or_else(String::new, |id| id.to_string())
}

fn entry_row(it: QueuedView) -> Row {
    let entry = it.entry;
    let kind = match entry.kind {
        Kind::Submitted => "submitted",
        Kind::Retry => "retry",
    };
    Row::from([
        ("id", Variant::from(entry.id)),
        ("unit", Variant::from(entry.unit)),
        ("task", Variant::from(entry.task)),
        ("state", Variant::from(entry.state.name())),
        ("detail", Variant::from(it.detail)),
        ("priority", Variant::from(entry.priority)),
        ("position", Variant::from(it.position)),
        ("batch", Variant::from(batch_id(entry.batch))),
        ("by", Variant::from(entry.by)),
        ("at", Variant::from(entry.at)),
        ("not-before", Variant::from(entry.not_before)),
        ("attempt", Variant::from(entry.attempt)),
        ("kind", Variant::from(kind)),
    ])
}

fn counts_row(it: TaskCounts) -> Row {
    Row::from([
        ("task", Variant::from(it.task)),
        ("queued", Variant::from(it.counts.queued)),
        ("delayed", Variant::from(it.counts.delayed)),
        ("behind", Variant::from(it.counts.behind)),
        ("running", Variant::from(it.counts.running)),
        ("paused", Variant::from(it.paused)),
    ])
}

fn batch_row(it: BatchView) -> Row {
    let batch = it.batch;
    Row::from([
        ("waiting", Variant::from(batch.waiting())),
        ("id", Variant::from(batch.id.to_string())),
        ("name", Variant::from(batch.name)),
        ("by", Variant::from(batch.by)),
        ("at", Variant::from(batch.at)),
        ("total", Variant::from(batch.total)),
        ("done", Variant::from(batch.done)),
        ("failed", Variant::from(batch.failed)),
        ("cancelled", Variant::from(batch.cancelled)),
        ("running", Variant::from(batch.running)),
        ("ended", Variant::from(batch.ended)),
        ("finish", Variant::from(it.finish)),
    ])
}
