//! `interlockctl deploy hold`, which interlock-deploy@.service runs: a deployment as long as the unit is active.

use libsystemd::daemon::NotifyState;

use super::calls::Wish;
use super::cli::HoldArgs;
use super::model::Deployment;
use super::progress;
use super::run::{POSTPONED, refusal};
use super::screen::{self, Progress};
use super::session::{Session, Settled, Waited};
use super::signals::Signals;
use crate::ctl::client::Client;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output;

/// Begins, tells systemd when all is at rest, and ends when it is told to.
pub async fn run(client: &Client, args: &HoldArgs) -> Result<Outcome, CtlError> {
    hold_with(client, &args.group, Signals::catch()?).await
}

pub(super) async fn hold_with(
    client: &Client,
    group: &str,
    signals: Signals,
) -> Result<Outcome, CtlError> {
    let wish = Wish {
        group: group.to_owned(),
        reason: format!("interlock-deploy@{group}.service"),
        ..Wish::default()
    };
    let mut session = match Session::begin(client, &wish, Progress::of_unit(), signals).await? {
        Ok(session) => session,
        Err(_) => return Ok(Outcome::Done),
    };
    let deployment = match session.settle().await? {
        Settled::Ready(deployment) => deployment,
        Settled::Refused(deployment) => {
            let refusal = refusal(&deployment);
            let first = refusal.lines().next().unwrap_or_default();
            screen::notify(&[NotifyState::Status(first.to_owned())]);
            output::complain(&refusal);
            return Ok(Outcome::Busy);
        }
        // The unit was stopped while it was starting.
        Settled::Interrupted(_) => return Ok(Outcome::Done),
    };
    let status = format!("{group} is at rest: deployment {}", deployment.id);
    screen::tell(&status);
    screen::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    let over = loop {
        match session.until(Deployment::is_over).await? {
            Waited::Reached(over) => break over,
            Waited::Interrupted(_) => {
                session.watch.hurry();
                session.watch.end("stopped").await?;
                if session.watch.is_postponed().await {
                    screen::tell(POSTPONED);
                    return Ok(Outcome::Done);
                }
            }
        }
    };
    let sentence = progress::ending(&over);
    if over.state == "ended" || over.is_put_off() {
        screen::tell(&sentence);
        Ok(Outcome::Done)
    } else {
        output::complain(&sentence);
        Ok(Outcome::Failed)
    }
}
