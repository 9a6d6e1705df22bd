//! Questions to interlockd, and what its silence and its errors mean.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use zbus::fdo::{self, PropertiesProxy};
use zbus::names::InterfaceName;
use zbus::{Connection, OwnedObjectPath};

use super::error::{self, Answer, CtlError};
use super::locks::{LockRow, Locks, RemarkRow};
use super::model::{QueueEntry, Status, TaskDetails, TaskRow};
use super::proxy::history::HistoryProxy;
use super::proxy::manager::{ManagerProxy, TASK_INTERFACE};
use super::proxy::queue::QueueProxy;
use super::proxy::{ERRORS, Options};
use super::queue::submit::SubmittedRow;
use super::text;

/// A daemon that says nothing for so long is stuck; its start by the bus takes less.
const PATIENCE: Duration = Duration::from_secs(30);

/// The daemon, over a connection to the system bus.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    manager: ManagerProxy<'static>,
    /// Whether the connection was made here, so that another one can be.
    own: bool,
}

impl Client {
    /// Connects to the system bus. The daemon itself is started by the first question, if need be.
    pub async fn connect() -> Result<Self, CtlError> {
        let connection = Connection::system()
            .await
            .map_err(|error| CtlError::Unreachable {
                reason: format!("no system bus ({})", error::message(&error)),
            })?;
        let client = Self::over(connection).await?;
        Ok(Self {
            own: true,
            ..client
        })
    }

    /// Another connection to the system bus, if the bus was restarted and can be reached again.
    pub async fn again_if_lost(&self) -> Option<Self> {
        if !self.own {
            return None;
        }
        let bus = fdo::DBusProxy::new(&self.connection).await;
        let alive = match bus {
            Ok(bus) => bus.get_id().await.is_ok(),
            Err(_) => false,
        };
        match alive {
            true => None,
            false => Self::connect().await.ok(),
        }
    }

    /// Asks over a connection that there is.
    pub async fn over(connection: Connection) -> Result<Self, CtlError> {
        // Nothing is cached: each property is read once.
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(|error| failure("can't use the bus", error))?;
        Ok(Self {
            connection,
            manager,
            own: false,
        })
    }

    /// The connection, for questions to systemd.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The daemon's root object.
    pub fn manager(&self) -> &ManagerProxy<'static> {
        &self.manager
    }

    /// All that `status` shows.
    pub async fn status(&self) -> Result<Status, CtlError> {
        let what = "can't ask for the state of the policy";
        // All at once: where others ask a lot, each answer takes its time.
        let (tasks, version, policy_state, policy_errors, database_trouble) = tokio::try_join!(
            self.tasks(),
            ask(what, self.manager.version()),
            ask(what, self.manager.policy_state()),
            ask(what, self.manager.policy_errors()),
            ask(what, self.manager.database_trouble()),
        )?;
        Ok(Status {
            version,
            policy_state,
            policy_errors,
            database_trouble,
            tasks,
        })
    }

    /// Every task.
    pub async fn tasks(&self) -> Result<Vec<TaskRow>, CtlError> {
        let tasks = ask("can't list the tasks", self.manager.list_tasks()).await?;
        Ok(tasks.into_iter().map(TaskRow::from).collect())
    }

    /// Who waits.
    pub async fn queue(&self) -> Result<Vec<QueueEntry>, CtlError> {
        let queue = ask("can't read the queue", self.manager.get_queue()).await?;
        Ok(queue.into_iter().map(QueueEntry::from).collect())
    }

    /// Why a task is in its state, by its name or its unit.
    pub async fn explain(&self, task: &str) -> Result<String, CtlError> {
        let explained = ask("can't ask about the task", self.manager.explain(task)).await;
        self.with_suggestions(task, explained).await
    }

    /// The object of a task, by its name or its unit.
    pub async fn object(&self, task: &str) -> Result<OwnedObjectPath, CtlError> {
        let found = self.lookup(task).await;
        self.with_suggestions(task, found).await
    }

    /// As [`Client::object`], but without a search for similar names.
    pub async fn lookup(&self, task: &str) -> Result<OwnedObjectPath, CtlError> {
        ask("can't look up the task", self.manager.get_task(task)).await
    }

    /// A task's properties.
    pub async fn details(&self, object: &OwnedObjectPath) -> Result<TaskDetails, CtlError> {
        let what = "can't read the task's properties";
        let read = async {
            PropertiesProxy::builder(&self.connection)
                .destination(self.manager.inner().destination().to_owned())
                .path(object.clone())
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await?
                .get_all(InterfaceName::from_static_str_unchecked(TASK_INTERFACE))
                .await
                .map_err(zbus::Error::from)
        };
        match ask(what, read).await {
            Err(CtlError::Bus {
                source: zbus::Error::FDO(error),
                ..
            }) if matches!(*error, fdo::Error::UnknownObject(_)) => Err(CtlError::NoObject),
            all => Ok(TaskDetails::from_properties(all?)),
        }
    }

    /// The answer to a question, or what it means that there is none.
    pub async fn ask<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, CtlError> {
        ask(what, answer).await
    }

    /// As [`Client::ask`], for as long as polkit asks somebody.
    pub async fn change<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, CtlError> {
        answer.await.map_err(|error| failure(what, error))
    }

    /// What has been.
    pub async fn history(&self) -> Result<HistoryProxy<'static>, CtlError> {
        HistoryProxy::new(&self.connection)
            .await
            .map_err(|error| failure("can't use the bus", error))
    }

    /// What was submitted.
    pub async fn submissions(&self) -> Result<QueueProxy<'static>, CtlError> {
        QueueProxy::new(&self.connection)
            .await
            .map_err(|error| failure("can't use the bus", error))
    }

    /// Whether a start of this task, or a command that uses this, wouldn't wait for the caller's own task.
    pub async fn check_request(
        &self,
        task: &str,
        uses: &HashMap<String, u32>,
    ) -> Result<(), CtlError> {
        let what = "can't queue it";
        ask(what, self.manager.check_request(task, uses)).await
    }

    /// Whether the caller runs for a task that holds this resource.
    pub async fn holding(&self, resource: &str) -> Result<bool, CtlError> {
        ask("can't ask who holds it", self.manager.holding(resource)).await
    }

    /// Who holds locks.
    pub async fn locks(&self) -> Result<Locks, CtlError> {
        let (held, remarks) = ask("can't list the locks", self.manager.list_locks()).await?;
        Ok(Locks {
            locks: held.into_iter().map(LockRow::from).collect(),
            remarks: remarks.into_iter().map(RemarkRow::from).collect(),
        })
    }

    /// Queues starts for later.
    pub async fn submit(
        &self,
        tasks: &[String],
        options: &Options<'_>,
    ) -> Result<Vec<u64>, CtlError> {
        let submitted = self.manager.submit(tasks, options).await;
        let submitted = submitted.map_err(|error| not_submitted("can't submit it", error));
        let unknown = match &submitted {
            Err(CtlError::NoSuchTask { name, .. }) => name.clone(),
            _ => String::new(),
        };
        self.with_suggestions(&unknown, submitted).await
    }

    /// What is queued for later.
    pub async fn submitted(&self) -> Result<Vec<SubmittedRow>, CtlError> {
        let what = "can't list what was submitted";
        let submitted = ask(what, self.manager.list_submitted()).await?;
        Ok(submitted.into_iter().map(SubmittedRow::from).collect())
    }

    /// Reads the policy again. Waits for as long as polkit asks somebody.
    pub async fn reload(&self) -> Result<(String, Vec<String>), CtlError> {
        let what = "can't reload the policy";
        self.manager
            .reload()
            .await
            .map_err(|error| failure(what, error))
    }

    /// The answer; to "no such task" are added the names that may have been meant.
    pub async fn with_suggestions<T>(
        &self,
        typed: &str,
        answer: Result<T, CtlError>,
    ) -> Result<T, CtlError> {
        let Err(CtlError::NoSuchTask { .. }) = answer else {
            return answer;
        };
        let tasks = self.tasks().await?;
        // A unit that is called like its task says nothing new.
        let units = tasks.iter().filter(|task| {
            let stem = task.unit.rsplit_once('.').map_or("", |(stem, _)| stem);
            stem != task.name
        });
        let names = tasks
            .iter()
            .map(|task| task.name.as_str())
            .chain(units.map(|task| task.unit.as_str()));
        Err(CtlError::NoSuchTask {
            name: typed.to_owned(),
            nearest: text::nearest(typed, names),
        })
    }
}

async fn ask<T>(
    what: &'static str,
    answer: impl Future<Output = zbus::Result<T>>,
) -> Result<T, CtlError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| failure(what, error)),
        Err(_) => Err(CtlError::Unreachable {
            reason: format!("no answer within {}", super::clock::span(PATIENCE)),
        }),
    }
}

/// Why nothing was submitted.
pub(super) fn not_submitted(what: &'static str, source: zbus::Error) -> CtlError {
    match failure(what, source) {
        CtlError::AccessDenied { what, .. } => CtlError::AccessDenied {
            what,
            advice: "It needs root, or polkit's word for the action org.interlock.Interlock1.submit; what others have\n\
                     submitted needs it for org.interlock.Interlock1.manage.",
        },
        other => other,
    }
}

/// The name that an error is about, which it begins with in quotes; all of it if it doesn't.
fn quoted(text: &str) -> String {
    let name = text.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    name.map_or(text, |(name, _)| name).to_owned()
}

/// What an error means to the operator.
pub(super) fn failure(what: &'static str, source: zbus::Error) -> CtlError {
    match error::answer(&source) {
        Answer::Nobody => CtlError::Unreachable {
            reason: error::message(&source),
        },
        Answer::Denied => CtlError::AccessDenied {
            what: format!("{what}: {}", error::message(&source)),
            advice: "Changes need root, or polkit's word for the action org.interlock.Interlock1.manage.",
        },
        Answer::Named(name, text) => match name.strip_prefix(ERRORS).unwrap_or_default() {
            "NoSuchTask" => CtlError::NoSuchTask {
                name: quoted(&text),
                nearest: Vec::new(),
            },
            "NoSuchDeployment" => CtlError::NoSuchDeployment {
                id: text,
                nearest: Vec::new(),
            },
            "NoSuchResource" | "NoSuchSignature" | "NoSuchBatch" | "NoSuchAction" | "NotQueued"
            | "NotHeld" => CtlError::NotThere { message: text },
            "WouldDeadlock" => CtlError::WouldDeadlock {
                reason: text,
                advice: "",
            },
            "HasHolder" => CtlError::HasHolder { reason: text },
            _ => CtlError::Bus { what, source },
        },
        Answer::Invalid => CtlError::Usage {
            message: format!("{what}: {}", error::message(&source)),
        },
        Answer::Other => CtlError::Bus { what, source },
    }
}
