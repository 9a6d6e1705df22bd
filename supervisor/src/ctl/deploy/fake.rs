//! Deployments of the fake interlockd of [`crate::ctl::fake`].

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use zbus::object_server::{InterfaceRef, ObjectServer};
use zbus::{Connection, ObjectPath, OwnedObjectPath, OwnedVariant, fdo, interface};

use super::proxy::{ListedDeployment, ListedMember};

/// The only deployment that can be begun.
pub const ID: &str = "mediawiki-3";

/// What the fake does with a deployment, and what it was asked.
#[derive(Debug, Clone, Default)]
pub struct Deployments {
    /// Error of `BeginDeployment`.
    pub refuse: Option<Refusal>,
    /// The state that follows settling, with its detail; none: it settles for ever.
    pub settles: Option<(&'static str, &'static str)>,
    /// The state at its end, with its detail.
    pub ends: (&'static str, &'static str),
    /// Deployments that are there already: id, group, state.
    pub others: Vec<(&'static str, &'static str, &'static str)>,
    /// How often `End` isn't answered, as by a daemon that is being restarted.
    pub silent: Arc<Mutex<u32>>,
    /// How often `End` is forgotten, as by a daemon that is killed before it has written it down.
    pub forgets: Arc<Mutex<u32>>,
    /// Whether the one that was begun is listed.
    pub known: Arc<Mutex<bool>>,
    /// How often they were listed.
    pub lists: Arc<Mutex<u32>>,
    /// All that it was asked to do.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// The states that were seen by those who read its properties.
    pub seen: Arc<Mutex<Vec<&'static str>>>,
    /// The other end of the holder.
    pub holder: Arc<Mutex<Option<OwnedFd>>>,
}

impl Deployments {
    /// Comes back when nobody holds the deployment any more.
    pub async fn is_let_go(&self) {
        let holder = self.holder.lock().unwrap().take();
        let holder = holder.expect("a deployment was begun");
        let let_go = tokio::task::spawn_blocking(move || {
            let mut fds = [PollFd::new(holder.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap() == 1
        });
        assert!(let_go.await.unwrap(), "somebody still holds it");
    }

    /// Comes back when its properties have been read more often than that.
    pub async fn is_looked_at(&self, before: usize) {
        while self.looks() <= before {
            tokio::task::yield_now().await;
        }
    }

    /// Comes back when somebody has seen it in this state.
    pub async fn is_seen(&self, state: &str) {
        while !self.seen.lock().unwrap().contains(&state) {
            tokio::task::yield_now().await;
        }
    }

    /// Comes back when somebody has asked for the deployments that there are.
    pub async fn is_listed(&self) {
        while *self.lists.lock().unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// How often its properties were read so far.
    pub fn looks(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What it was asked to do so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    /// `BeginDeployment`.
    pub async fn begin(
        &self,
        group: &str,
        reason: &str,
        options: HashMap<String, OwnedVariant>,
        server: &ObjectServer,
    ) -> Result<(OwnedObjectPath, zbus::wire::OwnedFd), Refusal> {
        if group != "mediawiki" {
            let message =
                format!("there is no group {group:?}; the policy has import and mediawiki");
            return Err(Refusal::NoSuchGroup(message));
        }
        if let Some(refusal) = &self.refuse {
            return Err(refusal.clone());
        }
        let mut spans: Vec<String> = options
            .into_iter()
            .map(|(name, span)| format!(" {name}={}", String::try_from(span).unwrap()))
            .collect();
        spans.sort();
        self.ask(format!("begin {group} {reason:?}{}", spans.concat()));
        let (read, write) = pipe2(OFlag::empty()).unwrap();
        *self.holder.lock().unwrap() = Some(read);
        let deployment = Deployment {
            script: self.clone(),
            state: "settling",
            detail: "",
            owner: "root (uid 0), interlockctl (pid 1)",
        };
        server.at(path(ID), deployment).await?;
        *self.known.lock().unwrap() = true;
        if let Some((state, detail)) = self.settles {
            let object = server.interface::<_, Deployment>(path(ID)).await?;
            tokio::spawn(async move { become_(&object, state, detail).await });
        }
        Ok((path(ID), write.into()))
    }

    /// `ListDeployments`.
    pub fn list(&self) -> Vec<ListedDeployment> {
        let row = |&(id, group, state): &(&str, &str, &str)| {
            let owner = "alice (uid 1000)".to_owned();
            (
                id.to_owned(),
                group.to_owned(),
                state.to_owned(),
                String::new(),
                owner,
                1,
                0,
                path(id),
            )
        };
        *self.lists.lock().unwrap() += 1;
        let begun = *self.known.lock().unwrap();
        let begun = begun.then_some((ID, "mediawiki", "ready"));
        self.others.iter().chain(&begun).map(row).collect()
    }

    /// `GetDeployment`.
    pub fn get(&self, id: &str) -> Option<OwnedObjectPath> {
        let known = id == ID || self.others.iter().any(|(other, ..)| *other == id);
        known.then(|| path(id))
    }

    /// Objects of those that are there already.
    pub async fn serve_others(&self, server: &ObjectServer) {
        for (id, _, state) in &self.others {
            let deployment = Deployment {
                script: self.clone(),
                state,
                detail: "",
                owner: "alice (uid 1000)",
            };
            server.at(path(id), deployment).await.unwrap();
        }
    }
}

fn path(id: &str) -> OwnedObjectPath {
    let label = id.replace('-', "_2d");
    ObjectPath::try_from(format!("/org/interlock/Interlock1/deployment/{label}"))
        .unwrap()
        .into()
}

async fn become_(object: &InterfaceRef<Deployment>, state: &'static str, detail: &'static str) {
    let mut deployment = object.get_mut().await;
    deployment.state = state;
    deployment.detail = detail;
    let emitter = object.signal_emitter();
    deployment.state_changed(emitter).await.unwrap();
}

/// Somebody else does something to the deployment.
pub async fn meanwhile(server: &Connection, what: &str) {
    let object = server.object_server().interface::<_, Deployment>(path(ID));
    let object = object.await.unwrap();
    match what {
        "takes it over" => {
            let mut deployment = object.get_mut().await;
            deployment.owner = "bob (uid 1001)";
            deployment
                .owner_changed(object.signal_emitter())
                .await
                .unwrap();
        }
        state => {
            become_(
                &object,
                ["ended", "failed"][usize::from(state == "failed")],
                "by bob",
            )
            .await;
        }
    }
}

/// Its object is gone, as when interlockd is restarted.
pub async fn hide(server: &Connection) {
    let server = server.object_server();
    server.remove::<Deployment, _>(path(ID)).await.unwrap();
}

/// It has its object again.
pub async fn show(server: &Connection, deployments: &Deployments) {
    let deployment = Deployment {
        script: deployments.clone(),
        state: "ready",
        detail: "",
        owner: "root (uid 0), interlockctl (pid 1)",
    };
    let server = server.object_server();
    server.at(path(ID), deployment).await.unwrap();
}

/// One deployment.
pub struct Deployment {
    script: Deployments,
    state: &'static str,
    detail: &'static str,
    owner: &'static str,
}

#[interface(name = "org.interlock.Interlock1.Deployment")]
impl Deployment {
    async fn end(
        &self,
        reason: &str,
        #[zbus(connection)] connection: &Connection,
    ) -> fdo::Result<()> {
        {
            let mut silent = self.script.silent.lock().unwrap();
            if *silent > 0 {
                *silent -= 1;
                return Err(fdo::Error::NoReply("gone".to_owned()));
            }
        }
        self.script.ask(format!("end {reason:?}"));
        let server = connection.object_server().to_owned();
        let (mut state, mut detail) = self.script.ends;
        let forgets = {
            let mut left = self.script.forgets.lock().unwrap();
            let forgets = *left > 0;
            *left = left.saturating_sub(1);
            forgets
        };
        if forgets {
            (state, detail) = (self.state, self.detail);
        }
        // Not here, where the object is in use.
        tokio::spawn(async move {
            let object = server.interface::<_, Deployment>(path(ID)).await.unwrap();
            become_(&object, "ending", "").await;
            become_(&object, state, detail).await;
        });
        Ok(())
    }

    fn extend(&self, span: zbus::wire::Variant<'_>) -> Result<(), HasHolder> {
        let span = String::try_from(span).unwrap();
        self.script.ask(format!("extend {span}"));
        Err(HasHolder::HasHolder("it has a holder".to_owned()))
    }

    fn take_over(
        &self,
        reason: &str,
        options: HashMap<String, OwnedVariant>,
    ) -> fdo::Result<zbus::wire::OwnedFd> {
        let names: Vec<&String> = options.keys().collect();
        self.script.ask(format!("take over {reason:?} {names:?}"));
        Err(fdo::Error::AccessDenied("not yours".to_owned()))
    }

    #[zbus(property)]
    fn id(&self) -> &str {
        ID
    }

    #[zbus(property)]
    fn group(&self) -> &'static str {
        "mediawiki"
    }

    #[zbus(property)]
    fn state(&self) -> &str {
        self.state
    }

    #[zbus(property)]
    fn detail(&self) -> &str {
        self.detail
    }

    #[zbus(property)]
    fn owner(&self) -> &str {
        self.owner
    }

    #[zbus(property)]
    fn tasks(&self) -> Vec<ListedMember> {
        self.script.seen.lock().unwrap().push(self.state);
        let words = ["upcp", "upcp.service", "wait", "waiting", "then stop"];
        let [task, unit, action, state, detail] = words.map(str::to_owned);
        vec![(task, unit, action, state, detail, 1, 2)]
    }
}

/// Errors of `BeginDeployment`.
#[derive(Debug, Clone, zbus::DBusError)]
#[zbus(prefix = "org")]
pub enum Refusal {
    /// The bus's.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// The policy has no such group.
    #[zbus(name = "interlock.Interlock1.Error.NoSuchGroup")]
    NoSuchGroup(String),
    /// The caller is a process of the group.
    #[zbus(name = "interlock.Interlock1.Error.WouldDeadlock")]
    WouldDeadlock(String),
    /// polkit said no.
    #[zbus(name = "freedesktop.DBus.Error.AccessDenied")]
    AccessDenied(String),
    /// An option makes no sense.
    #[zbus(name = "freedesktop.DBus.Error.InvalidArgs")]
    InvalidArgs(String),
}

/// An error of interlockd's own.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.interlock.Interlock1.Error")]
pub enum HasHolder {
    /// The bus's.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// Of `Extend`.
    HasHolder(String),
}
