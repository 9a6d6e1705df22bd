//! Who may change things: polkit(8) says. Without polkit only root may.

use std::collections::HashMap;

use zbus::message::{Flags, Header};
use zbus::{Connection, fdo};
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use super::callers::Callers;

/// Deployments: begin one, end one's own.
pub const DEPLOY: &str = "org.interlock.Interlock1.deploy";

/// Queue work for later.
pub const SUBMIT: &str = "org.interlock.Interlock1.submit";

/// Changes to what interlock does: reload, end others' deployments.
pub const MANAGE: &str = "org.interlock.Interlock1.manage";

/// Whether the caller may do `action`.
///
/// # Errors
/// `AccessDenied`, with the action's name.
pub async fn check(callers: &Callers, header: &Header<'_>, action: &str) -> fdo::Result<()> {
    let denied = |why: &str| fdo::Error::AccessDenied(format!("{why} (polkit action {action})"));
    // As polkit does it; and so that root isn't locked out when polkit isn't there.
    if callers.sender_of(header).await?.uid == 0 {
        return Ok(());
    }
    match ask_polkit(callers.bus(), header, action).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(denied("you are not authorised")),
        Err(error) => {
            tracing::warn!(%error, action, "polkit can't be asked");
            Err(denied("polkit can't be asked"))
        }
    }
}

async fn ask_polkit(
    connection: &Connection,
    header: &Header<'_>,
    action: &str,
) -> anyhow::Result<bool> {
    let authority = AuthorityProxy::new(connection).await?;
    let subject = Subject::new_for_message_header(header)?;
    let details = HashMap::new();
    let may_ask = header
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let flags = match may_ask {
        true => CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
        false => CheckAuthorizationFlags::empty(),
    };
    let answer = authority
        .check_authorization(&subject, action, &details, flags, "")
        .await?;
    Ok(answer.is_authorized)
}
