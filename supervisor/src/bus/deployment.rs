//! `org.interlock.Interlock1.Deployment`; its reference is packaging/dbus/org.interlock.Interlock1.Deployment.xml.

use std::collections::HashMap;

use interlock_core::deploy::State;
use tokio::sync::mpsc::UnboundedSender;
use zbus::message::Header;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedFd, OwnedVariant, Variant, fdo, interface};

use super::authority;
use super::caller::{self, Options};
use super::callers::Callers;
use super::error::Error;
use super::manager::ask;
use crate::daemon::engine::{DeploymentView, DeskError, MemberView};
use crate::daemon::{Input, Query};

/// A deployment, as long as it is remembered.
pub struct Deployment {
    id: String,
    inputs: UnboundedSender<Input>,
    callers: Callers,
}

/// task, unit, action, state, detail, since, usual
type Row = (String, String, String, String, String, u64, u64);

impl Deployment {
    /// Answers come from the engine.
    pub fn new(id: String, inputs: UnboundedSender<Input>, callers: &Callers) -> Self {
        Self {
            id,
            inputs,
            callers: callers.clone(),
        }
    }

    async fn view(&self) -> fdo::Result<DeploymentView> {
        let view = ask(&self.inputs, |to| Query::Deployment(self.id.clone(), to)).await;
        let view = view.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        let id = &self.id;
        view.ok_or_else(|| fdo::Error::UnknownObject(format!("deployment {id} is forgotten")))
    }

    /// Its owner may with `.deploy`, anybody else with `.manage`. Says who it is if it isn't the owner.
    async fn authorise(&self, header: &Header<'_>) -> Result<Option<String>, Error> {
        let caller = caller::of(&self.callers, header).await?;
        let view = self.view().await?;
        let is_owner = caller.owner.uid == view.owner_uid;
        let action = match is_owner {
            true => authority::DEPLOY,
            false => authority::MANAGE,
        };
        authority::check(&self.callers, header, action).await?;
        Ok((!is_owner).then_some(caller.owner.name))
    }

    /// Tells clients of the bus all that may have changed, in one signal.
    pub async fn emit_changed(&self, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let Ok(view) = self.view().await else {
            return Ok(());
        };
        let rows: Vec<Row> = view.members.into_iter().map(row).collect();
        let changed = HashMap::from([
            ("State", Variant::from(view.state)),
            ("Detail", Variant::from(view.detail)),
            ("Reason", Variant::from(view.reason)),
            ("Owner", Variant::from(view.owner)),
            ("OwnerUid", Variant::from(view.owner_uid)),
            ("ReadySince", Variant::from(view.ready_since)),
            ("Ended", Variant::from(view.ended)),
            ("Expires", Variant::from(view.expires)),
            ("Deadline", Variant::from(view.deadline)),
            ("Tasks", Variant::from(rows)),
        ]);
        let interface = InterfaceName::try_from("org.interlock.Interlock1.Deployment")?;
        fdo::Properties::properties_changed(emitter, interface, changed, [].as_slice().into()).await
    }
}

fn row(it: MemberView) -> Row {
    (
        it.task, it.unit, it.action, it.state, it.detail, it.since, it.usual,
    )
}

fn desk_error(error: DeskError) -> Error {
    match error {
        DeskError::NoSuchDeployment(_) => Error::NoSuchDeployment(error.to_string()),
        DeskError::HasHolder(_) => Error::HasHolder(error.to_string()),
        DeskError::Over(..) | DeskError::Failed(_) => Error::Failed(error.to_string()),
    }
}

#[interface(name = "org.interlock.Interlock1.Deployment")]
impl Deployment {
    async fn end(&self, reason: String, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let other = self.authorise(&header).await?;
        let by = match (other, reason.as_str()) {
            (None, "") => None,
            (None, reason) => Some(format!("its owner: {reason}")),
            (Some(other), "") => Some(other),
            (Some(other), reason) => Some(format!("{other}: {reason}")),
        };
        let id = self.id.clone();
        let ended = ask(&self.inputs, |to| Query::EndDeployment(id, by, to)).await?;
        ended.map_err(desk_error)
    }

    async fn extend(
        &self,
        span: OwnedVariant,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.authorise(&header).await?;
        let by = caller::span("span", &span)?;
        let id = self.id.clone();
        let extended = ask(&self.inputs, |to| Query::ExtendDeployment(id, by, to)).await?;
        extended.map_err(desk_error)
    }

    #[zbus(out_args("holder"))]
    async fn take_over(
        &self,
        reason: String,
        options: HashMap<String, OwnedVariant>,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedFd, Error> {
        authority::check(&self.callers, &header, authority::MANAGE).await?;
        let caller = caller::of(&self.callers, &header).await?;
        let mut options = Options::new(options, &["expires"])?;
        let expires = options.span("expires")?;
        let id = self.id.clone();
        let taken = ask(&self.inputs, |to| {
            Query::TakeOverDeployment(id, caller.owner, reason, expires, to)
        });
        taken.await?.map(OwnedFd::from).map_err(desk_error)
    }

    #[zbus(out_args("state"))]
    async fn wait_ready(&self) -> Result<String, Error> {
        let id = self.id.clone();
        let settled = ask(&self.inputs, |to| Query::WaitForDeployment(id, to)).await?;
        match settled.state {
            State::Ready => Ok(settled.state.name().to_owned()),
            _ if settled.refused => Err(Error::Busy(settled.why)),
            state => Err(Error::NotReady(match settled.why.as_str() {
                "" => format!("it is {}", state.name()),
                why => why.to_owned(),
            })),
        }
    }

    #[zbus(signal)]
    async fn step(
        emitter: &SignalEmitter<'_>,
        unit: &str,
        task: &str,
        state: &str,
        detail: &str,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    async fn id(&self) -> String {
        self.id.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn group(&self) -> fdo::Result<String> {
        Ok(self.view().await?.group)
    }

    #[zbus(property)]
    async fn state(&self) -> fdo::Result<String> {
        Ok(self.view().await?.state)
    }

    #[zbus(property)]
    async fn detail(&self) -> fdo::Result<String> {
        Ok(self.view().await?.detail)
    }

    #[zbus(property)]
    async fn reason(&self) -> fdo::Result<String> {
        Ok(self.view().await?.reason)
    }

    #[zbus(property)]
    async fn owner(&self) -> fdo::Result<String> {
        Ok(self.view().await?.owner)
    }

    #[zbus(property)]
    async fn owner_uid(&self) -> fdo::Result<u32> {
        Ok(self.view().await?.owner_uid)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn since(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.since)
    }

    #[zbus(property)]
    async fn ready_since(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.ready_since)
    }

    #[zbus(property)]
    async fn ended(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.ended)
    }

    #[zbus(property)]
    async fn expires(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.expires)
    }

    #[zbus(property)]
    async fn deadline(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.deadline)
    }

    #[zbus(property)]
    async fn tasks(&self) -> fdo::Result<Vec<Row>> {
        Ok(self.view().await?.members.into_iter().map(row).collect())
    }
}
