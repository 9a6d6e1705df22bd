//! interlockd on the system bus: PID 1's signals in, the D-Bus interface out, and back again after the bus
//! was away.

mod arguments;
mod authority;
pub mod caller;
mod callers;
mod deployment;
mod error;
mod fair;
mod history;
mod holds;
mod manager;
mod monitor;
mod notices;
mod queue;
mod rows;
mod task;
mod turns;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use zbus::connection::Builder;
use zbus::{Connection, MessageStream, Variant};

use crate::daemon::{Input, Notice};
use crate::pid1::signals::{self, Signal};
use crate::pid1::{self, Pid1};
use callers::Callers;
use deployment::Deployment;
use fair::Fair;
use history::History;
use manager::Manager;
use monitor::Monitor;
use queue::Queue;
use task::Task;

/// Bus name.
pub const NAME: &str = "org.interlock.Interlock1";
/// Root object.
pub const ROOT: &str = "/org/interlock/Interlock1";

/// An extensible record: what there is more of one day has a name of its own.
type Row = HashMap<&'static str, Variant<'static>>;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The object of a task's unit.
pub fn task_path(unit: &str) -> String {
    format!("{ROOT}/task/{}", pid1::bus_label(unit))
}

/// The object of a deployment.
pub fn deployment_path(id: &str) -> String {
    format!("{ROOT}/deployment/{}", pid1::bus_label(id))
}

/// Connects to the system bus, serves, and connects again whenever the connection is lost.
pub async fn keep_connected(
    inputs: UnboundedSender<Input>,
    mut notices: UnboundedReceiver<Notice>,
    database: PathBuf,
) {
    let mut pause = FIRST_PAUSE;
    let mut known = Known::default();
    loop {
        match Served::connect(&inputs, &database).await {
            Ok(mut served) => {
                served.offer(&known.units).await;
                for id in &known.deployments {
                    served.offer_deployment(id).await;
                }
                // What the engine has said already is there before anybody can ask for it.
                for _ in 0..notices.len() {
                    if let Ok(notice) = notices.try_recv() {
                        served.tell(notice, &mut known).await;
                    }
                }
                // Last, so that whoever activated us by name finds everything in place.
                match served.connection.request_name(NAME).await {
                    Ok(()) => {
                        pause = FIRST_PAUSE;
                        served.serve(&mut notices, &mut known).await;
                        tracing::warn!("lost the connection to the system bus");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot have its name on the system bus; trying again");
                    }
                }
                let _ = inputs.send(Input::Bus(None));
            }
            Err(error) => tracing::warn!(%error, "cannot connect to the system bus; trying again"),
        }
        if inputs.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What has an object whenever there is a connection.
#[derive(Default)]
struct Known {
    units: BTreeSet<String>,
    deployments: BTreeSet<String>,
}

/// One connection, as long as it lasts.
struct Served {
    connection: Connection,
    callers: Callers,
    inputs: UnboundedSender<Input>,
    offered: BTreeSet<String>,
    /// The tasks that hand on signals; one of them ends when a connection is lost.
    readers: JoinSet<()>,
}

impl Served {
    async fn connect(inputs: &UnboundedSender<Input>, database: &Path) -> zbus::Result<Self> {
        let own = || Builder::system().method_timeout(pid1::CALL_TIMEOUT).build();
        let callers = Callers::new(&own().await?).await?;
        let connection = Builder::system()
            .method_timeout(pid1::CALL_TIMEOUT)
            .serve_at(
                ROOT,
                Fair::new(Manager::new(inputs.clone(), &callers), &callers),
            )
            .serve_at(
                ROOT,
                Fair::new(Queue::new(inputs.clone(), &callers), &callers),
            )
            .serve_at(
                ROOT,
                Fair::new(
                    History::new(inputs.clone(), &callers, database.to_owned()),
                    &callers,
                ),
            )
            .serve_at(
                ROOT,
                Fair::new(Monitor::new(inputs.clone(), database.to_owned()), &callers),
            )
            .serve_at(ROOT, Fair::one_by_one(zbus::fdo::ObjectManager, &callers))
            .build()
            .await?;
        // PID 1 has a connection of its own: whatever callers send, its signals and answers don't wait behind it.
        let own = own().await?;
        let mut readers = JoinSet::new();
        for stream in signals::subscribe(&own).await? {
            let inputs = inputs.clone();
            readers.spawn(signals::forward(stream, move |signal: Signal| {
                inputs.send(Input::Signal(signal)).is_ok()
            }));
        }
        let mut messages = MessageStream::from(&connection);
        readers.spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
        let pid1 = Pid1::new(&own).await?;
        let _ = inputs.send(Input::Bus(Some(pid1)));
        Ok(Self {
            connection,
            callers,
            inputs: inputs.clone(),
            offered: BTreeSet::new(),
            readers,
        })
    }

    async fn offer_deployment(&self, id: &str) {
        let server = self.connection.object_server();
        let path = deployment_path(id);
        let there = server.interface::<_, Fair<Deployment>>(path.as_str());
        if there.await.is_ok() {
            return;
        }
        let object = Deployment::new(id.to_owned(), self.inputs.clone(), &self.callers);
        let object = Fair::new(object, &self.callers);
        if let Err(error) = server.at(path, object).await {
            tracing::warn!(deployment = id, %error, "cannot offer a deployment on the bus");
        }
    }

    /// Objects for exactly these units.
    async fn offer(&mut self, units: &BTreeSet<String>) {
        let server = self.connection.object_server();
        for unit in self.offered.difference(units) {
            let _ = server.remove::<Fair<Task>, _>(task_path(unit)).await;
        }
        for unit in units.difference(&self.offered) {
            let task = self.task(unit);
            if let Err(error) = server.at(task_path(unit), task).await {
                tracing::warn!(unit, %error, "cannot offer a task on the bus");
            }
        }
        self.offered.clone_from(units);
    }

    fn task(&self, unit: &str) -> Fair<Task> {
        Fair::new(
            Task::new(unit.to_owned(), self.inputs.clone()),
            &self.callers,
        )
    }

    /// An instance of a template has an object from its first sign of life on.
    async fn changed(&mut self, unit: &str) {
        let server = self.connection.object_server();
        let path = task_path(unit);
        self.offered.insert(unit.to_owned());
        let mut there = server.interface::<_, Fair<Task>>(path.as_str()).await;
        // Only if it must be: whoever adds an object waits for all who walk through them, and all others behind him. One
        // that somebody had asked for may have been removed for others meanwhile.
        if there.is_err() {
            let _ = server.at(path.as_str(), self.task(unit)).await;
            there = server.interface(path.as_str()).await;
        }
        if let Ok(task) = there {
            let _ = task.get().await.emit_changed(task.signal_emitter()).await;
        }
    }
}
