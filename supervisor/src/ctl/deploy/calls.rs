//! What is asked of interlockd about deployments, and what its errors mean.

use zbus::fdo::PropertiesProxy;
use zbus::proxy::CacheProperties;
use zbus::wire::{OwnedFd, Variant};
use zbus::{OwnedObjectPath, fdo};

use super::model::{Deployment, DeploymentRow, is_over};
use super::proxy::{DeploymentProxy, HostProxy, INTERFACE, PresentManagerProxy, PresentProxy};
use crate::ctl::client::{self, Client};
use crate::ctl::error::{self, Answer, CtlError};
use crate::ctl::proxy::Options;
use crate::ctl::text;

const DEPLOY: &str = "A deployment needs root, or polkit's word for the action org.interlock.Interlock1.deploy.\n\
     /usr/share/doc/interlock/50-interlock.rules shows how to give it to a group of users.";
const MANAGE: &str = "Somebody else's deployment needs root, or polkit's word for the action \
     org.interlock.Interlock1.manage;\none's own needs it for org.interlock.Interlock1.deploy.";

const DEADLOCK: &str = "\nThe deployment would wait for the task, and the task for the deployment. Begin it from \
     outside, as with: systemd-run interlockctl deploy run …";

/// What to begin.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The group of the policy.
    pub group: String,
    /// Why.
    pub reason: String,
    /// A time span.
    pub max_wait: Option<String>,
    /// A time span from now.
    pub expires: Option<String>,
}

/// Begins a deployment; replies with its object and its holder.
pub async fn begin(client: &Client, wish: &Wish) -> Result<(OwnedObjectPath, OwnedFd), CtlError> {
    let spans = [("max-wait", &wish.max_wait), ("expires", &wish.expires)];
    let given = spans.iter().filter_map(|(name, span)| {
        let span = span.as_deref()?;
        Some((*name, Variant::from(span)))
    });
    let options: Options<'_> = given.collect();
    // No limit of time: polkit may ask somebody for a password.
    let begun = client
        .manager()
        .begin_deployment(&wish.group, &wish.reason, &options)
        .await;
    begun.map_err(|source| match error::answer(&source) {
        Answer::Named(name, text) if name == "org.interlock.Interlock1.Error.NoSuchGroup" => {
            no_such_group(&wish.group, &text)
        }
        Answer::Named(name, reason) if name == "org.interlock.Interlock1.Error.WouldDeadlock" => {
            CtlError::WouldDeadlock {
                reason,
                advice: DEADLOCK,
            }
        }
        _ => failure("can't begin the deployment", DEPLOY, source),
    })
}

/// The daemon's message lists the groups; one of them may have been meant.
fn no_such_group(typed: &str, message: &str) -> CtlError {
    let list = message.rsplit_once([':', ';']).map_or("", |(_, list)| list);
    let names = list
        .split([',', ' ', '"'])
        .filter(|name| !name.is_empty() && *name != typed);
    CtlError::NoSuchGroup {
        message: message.to_owned(),
        nearest: text::nearest(typed, names),
    }
}

/// Those that live and the last ones that have ended.
pub async fn list(client: &Client) -> Result<Vec<DeploymentRow>, CtlError> {
    let rows = client
        .ask(
            "can't list the deployments",
            client.manager().list_deployments(),
        )
        .await?;
    Ok(rows.into_iter().map(DeploymentRow::from).collect())
}

/// The object of a deployment.
pub async fn lookup(client: &Client, id: &str) -> Result<OwnedObjectPath, CtlError> {
    let what = "can't look up the deployment";
    client.ask(what, client.manager().get_deployment(id)).await
}

/// As [`lookup`]; an unknown id is told with those that may have been meant.
pub async fn find(client: &Client, id: &str) -> Result<OwnedObjectPath, CtlError> {
    match lookup(client, id).await {
        Err(CtlError::NoSuchDeployment { .. }) => {
            let known = list(client).await?;
            Err(CtlError::NoSuchDeployment {
                id: id.to_owned(),
                nearest: text::nearest(id, known.iter().map(|row| row.id.as_str())),
            })
        }
        found => found,
    }
}

/// The one that is meant: by its id, or as the only one that lives (of that group).
pub async fn meant(
    client: &Client,
    id: Option<&str>,
    group: Option<&str>,
) -> Result<OwnedObjectPath, CtlError> {
    if let Some(id) = id {
        return find(client, id).await;
    }
    let mut live = list(client).await?;
    live.retain(|row| !is_over(&row.state) && group.is_none_or(|group| row.group == group));
    match live.as_slice() {
        [] => Err(CtlError::NoDeployment {
            group: group.map(str::to_owned),
        }),
        [one] => Ok(one.object.clone()),
        several => Err(CtlError::SeveralDeployments {
            rows: several
                .iter()
                .map(|row| format!("{} ({}, by {})", row.id, row.group, row.owner))
                .collect(),
        }),
    }
}

/// Whether interlockd knows the deployment with this object; it answers as soon as it has found all of them again.
/// Doesn't start a daemon that isn't there.
pub async fn is_known(client: &Client, object: &OwnedObjectPath) -> Result<bool, CtlError> {
    let asked = async {
        PresentManagerProxy::new(client.connection())
            .await?
            .list_deployments()
            .await
    };
    let rows = client.ask("can't list the deployments", asked).await?;
    let mut objects = rows.into_iter().map(|row| DeploymentRow::from(row).object);
    Ok(objects.any(|known| known == *object))
}

/// A deployment's properties. Doesn't start a daemon that isn't there: who follows a deployment would undo its stop.
pub async fn facts(client: &Client, object: &OwnedObjectPath) -> Result<Deployment, CtlError> {
    let read = async {
        PresentProxy::builder(client.connection())
            .path(object.clone())
            .cache_properties(CacheProperties::No)
            .build()
            .await?
            .get_all(INTERFACE)
            .await
    };
    let what = "can't read the deployment's properties";
    let all = client.ask(what, read).await;
    all.map(Deployment::from_properties)
        .map_err(|error| gone(object, error))
}

/// An object that isn't there any more is a deployment that is forgotten.
fn gone(object: &OwnedObjectPath, error: CtlError) -> CtlError {
    let unknown = match &error {
        CtlError::Bus { source, .. } => match source {
            zbus::Error::FDO(error) => matches!(**error, fdo::Error::UnknownObject(_)),
            zbus::Error::MethodError(name, ..) => {
                name.as_str() == "org.freedesktop.DBus.Error.UnknownObject"
            }
            _ => false,
        },
        _ => false,
    };
    match unknown {
        true => CtlError::NoSuchDeployment {
            id: object.to_string(),
            nearest: Vec::new(),
        },
        false => error,
    }
}

/// The properties' interface of its object.
pub async fn properties(
    client: &Client,
    object: &OwnedObjectPath,
) -> zbus::Result<PropertiesProxy<'static>> {
    PropertiesProxy::builder(client.connection())
        .destination(client.manager().inner().destination().to_owned())
        .path(object.clone())
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn proxy(
    client: &Client,
    object: &OwnedObjectPath,
) -> zbus::Result<DeploymentProxy<'static>> {
    DeploymentProxy::builder(client.connection())
        .path(object.clone())
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// Ends it; what follows is told by its state.
pub async fn end(client: &Client, object: &OwnedObjectPath, reason: &str) -> Result<(), CtlError> {
    let ended = async { proxy(client, object).await?.end(reason).await };
    ended
        .await
        .map_err(|source| gone(object, failure("can't end the deployment", MANAGE, source)))
}

/// Lets it expire later.
pub async fn extend(client: &Client, object: &OwnedObjectPath, span: &str) -> Result<(), CtlError> {
    let extended = async {
        proxy(client, object)
            .await?
            .extend(&Variant::from(span))
            .await
    };
    extended
        .await
        .map_err(|source| failure("can't extend the deployment", MANAGE, source))
}

/// Makes the caller its owner, until it expires.
pub async fn take_over(
    client: &Client,
    object: &OwnedObjectPath,
    reason: &str,
    expires: &str,
) -> Result<(), CtlError> {
    let options = Options::from([("expires", Variant::from(expires))]);
    let taken = async {
        proxy(client, object)
            .await?
            .take_over(reason, &options)
            .await
    };
    taken
        .await
        .map(drop)
        .map_err(|source| failure("can't take the deployment over", MANAGE, source))
}

/// Whether the host is being shut down: nothing is started any more, so that no end is worth waiting for.
pub async fn host_is_stopping(client: &Client) -> bool {
    let asked = async {
        HostProxy::new(client.connection())
            .await?
            .system_state()
            .await
    };
    let state = client.ask("can't ask systemd", asked).await;
    state.is_ok_and(|state| state == "stopping")
}

fn failure(what: &'static str, advice: &'static str, source: zbus::Error) -> CtlError {
    match client::failure(what, source) {
        CtlError::AccessDenied { what, .. } => CtlError::AccessDenied { what, advice },
        error => error,
    }
}
