//! A fake interlockd and a fake PID 1 behind one connection without a bus, for tests.
//!
//! What real ones do is proven on a booted system; here is shown what interlockctl makes of their answers.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use zbus::connection::Builder;
use zbus::object_server::{ObjectServer, SignalEmitter};
use zbus::{Connection, Guid, ObjectPath, OwnedObjectPath, OwnedVariant, fdo, interface};

use super::client::Client;
use super::deploy::fake::{Deployments, Refusal};
use super::deploy::proxy::ListedDeployment;
use super::history::fake::History;
use super::proxy::Row;
use super::proxy::manager::{ListedTask, QueuedTask, SubmittedStart};
use super::queue::fake::{Queue, Submissions};

/// What the fakes answer, and what they were asked.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The tasks: name, unit, state.
    pub tasks: Vec<(&'static str, &'static str, &'static str)>,
    /// Answer of `Reload`.
    pub reload: Option<fdo::Error>,
    /// Error of `StartUnit`.
    pub refuse: Option<fdo::Error>,
    /// Result of the started job; without one it ends silently.
    pub result: Option<&'static str>,
    /// The reason of a skip, told after the job's end.
    pub skip: Option<&'static str>,
    /// Units whose start was asked for.
    pub started: Arc<Mutex<Vec<String>>>,
    /// What it does with deployments.
    pub deployments: Deployments,
    /// What it does with submissions.
    pub submissions: Submissions,
    /// What it was asked about the past.
    pub history: History,
}

struct Manager(Script);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.interlock.Interlock1.Error")]
enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchTask(String),
    NoSuchDeployment(String),
    NoSuchAction(String),
}

fn object(unit: &str) -> OwnedObjectPath {
    let label: String = unit
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                (b as char).into()
            } else {
                format!("_{b:02x}")
            }
        })
        .collect();
    ObjectPath::try_from(format!("/org/interlock/Interlock1/task/{label}"))
        .unwrap()
        .into()
}

impl Manager {
    fn find(&self, name: &str) -> Result<&'static str, Error> {
        let found = self
            .0
            .tasks
            .iter()
            .find(|(task, unit, _)| *task == name || *unit == name);
        found
            .map(|(_, unit, _)| *unit)
            .ok_or_else(|| Error::NoSuchTask(name.to_owned()))
    }
}

#[interface(name = "org.interlock.Interlock1.Manager")]
impl Manager {
    fn list_tasks(&self) -> Vec<ListedTask> {
        let row = |&(name, unit, state): &(&str, &str, &str)| {
            (
                name.to_owned(),
                unit.to_owned(),
                state.to_owned(),
                "detail".to_owned(),
                0,
                object(unit),
            )
        };
        self.0.tasks.iter().map(row).collect()
    }

    fn get_task(&self, task: &str) -> Result<OwnedObjectPath, Error> {
        self.find(task).map(object)
    }

    fn get_queue(&self) -> Vec<QueuedTask> {
        Vec::new()
    }

    fn check_request(&self, _task: &str, _uses: std::collections::HashMap<String, u32>) {}

    fn explain(&self, task: &str) -> Result<String, Error> {
        self.find(task).map(|unit| format!("{unit} is idle."))
    }

    fn reload(&self) -> fdo::Result<(String, Vec<String>)> {
        self.0.reload.clone().map_or_else(
            || {
                Ok((
                    "partial".to_owned(),
                    vec!["10.toml:1:1: error: x".to_owned()],
                ))
            },
            Err,
        )
    }

    async fn begin_deployment(
        &self,
        group: &str,
        reason: &str,
        options: HashMap<String, OwnedVariant>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(OwnedObjectPath, zbus::wire::OwnedFd), Refusal> {
        let deployments = &self.0.deployments;
        deployments.begin(group, reason, options, server).await
    }

    fn submit(&self, tasks: Vec<String>, options: Row) -> fdo::Result<Vec<u64>> {
        self.0.submissions.submit(&tasks, options)
    }

    async fn run_action(
        &self,
        task: &str,
        action: &str,
        reason: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<String, Error> {
        if action != "reset" {
            let message = format!("task import has no action {action:?}; it has reset");
            return Err(Error::NoSuchAction(message));
        }
        let asked = format!("{action} on {task}: {reason}");
        self.0.started.lock().unwrap().push(asked);
        let unit = "interlock-run-reset-1.service";
        let emitter = SignalEmitter::new(emitter.connection(), "/org/freedesktop/systemd1")?;
        // On a busy host many end before this is answered, as when polkit asks somebody.
        for _ in 0..500 {
            let other = OwnedObjectPath::from(ObjectPath::from_static_str_unchecked(JOB));
            Systemd::job_removed(&emitter, 6, other, "other.service", "done").await?;
        }
        if let Some(result) = self.0.result {
            let job = OwnedObjectPath::from(ObjectPath::from_static_str_unchecked(JOB));
            Systemd::job_removed(&emitter, 7, job, unit, result).await?;
        }
        Ok(unit.to_owned())
    }

    fn list_submitted(&self) -> Vec<SubmittedStart> {
        Vec::new()
    }

    fn list_deployments(&self) -> Vec<ListedDeployment> {
        self.0.deployments.list()
    }

    fn get_deployment(&self, id: &str) -> Result<OwnedObjectPath, Error> {
        let found = self.0.deployments.get(id);
        found.ok_or_else(|| Error::NoSuchDeployment(id.to_owned()))
    }

    #[zbus(signal)]
    async fn task_skipped(
        emitter: &SignalEmitter<'_>,
        task: &str,
        unit: &str,
        reason: &str,
    ) -> zbus::Result<()>;

    #[zbus(property)]
    fn version(&self) -> &'static str {
        "0.1.0"
    }

    #[zbus(property)]
    fn policy_state(&self) -> &'static str {
        "good"
    }

    #[zbus(property)]
    fn policy_errors(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn database_trouble(&self) -> &'static str {
        ""
    }
}

struct Task(&'static str, &'static str, &'static str);

#[interface(name = "org.interlock.Interlock1.Task")]
impl Task {
    #[zbus(property)]
    fn name(&self) -> &str {
        self.0
    }

    #[zbus(property)]
    fn unit(&self) -> &str {
        self.1
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        self.2
    }

    #[zbus(property)]
    fn uses(&self) -> std::collections::HashMap<String, u32> {
        [("rpm-db".to_owned(), 1)].into()
    }

    #[zbus(property)]
    fn held_by(&self) -> Vec<String> {
        vec!["upcp.service".to_owned()]
    }
}

struct Systemd(Script);

const JOB: &str = "/org/freedesktop/systemd1/job/7";

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn subscribe(&self) {}

    fn load_unit(&self, _name: &str) -> OwnedObjectPath {
        ObjectPath::from_static_str_unchecked("/org/freedesktop/systemd1/unit/x").into()
    }

    async fn start_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        if let Some(error) = &self.0.refuse {
            return Err(error.clone());
        }
        self.0.started.lock().unwrap().push(name.to_owned());
        let job = OwnedObjectPath::from(ObjectPath::from_static_str_unchecked(JOB));
        // Others' jobs end too; and ours, as a short one may, before its start is answered.
        let other = OwnedObjectPath::from(ObjectPath::from_static_str_unchecked(
            "/org/freedesktop/systemd1/job/6",
        ));
        emitter
            .job_removed(6, other, "other.service", "failed")
            .await?;
        if let Some(result) = self.0.result {
            emitter.job_removed(7, job.clone(), name, result).await?;
        }
        if let Some(reason) = self.0.skip {
            let emitter = SignalEmitter::new(emitter.connection(), "/org/interlock/Interlock1")?;
            emitter.task_skipped("upcp", name, reason).await?;
        }
        Ok(job)
    }

    #[zbus(property)]
    fn system_state(&self) -> &'static str {
        "running"
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// A client of the fakes. They live as long as the connection that is returned too.
pub async fn client(script: &Script) -> (Client, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut server = Builder::unix_stream(theirs)
        .server(Guid::generate())
        .p2p()
        .serve_at("/org/interlock/Interlock1", Manager(script.clone()))
        .serve_at(
            "/org/interlock/Interlock1",
            Queue(script.submissions.clone()),
        )
        .serve_at("/org/interlock/Interlock1", script.history.clone())
        .serve_at("/org/freedesktop/systemd1", Systemd(script.clone()));
    for (name, unit, state) in &script.tasks {
        server = server.serve_at(object(unit), Task(name, unit, state));
    }
    let client = Builder::unix_stream(ours).p2p();
    let (server, client) = tokio::join!(server.build(), client.build());
    let server = server.unwrap();
    let deployments = &script.deployments;
    deployments.serve_others(server.object_server()).await;
    (Client::over(client.unwrap()).await.unwrap(), server)
}
