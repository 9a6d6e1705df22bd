//! `interlockctl deploy hold`, which interlock-deploy@.service runs: a deployment as long as the unit is active.

use libsystemd::daemon::NotifyState;

use super::calls::Wish;
use super::cli::HoldArgs;
use super::model::Deployment;
use super::progress;
use super::run::{POSTPONED, refusal};
use super::screen::{self, Progress};
use super::session::{Ended, Session, Settled, Waited};
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
    let Ok(mut session) = Session::begin(client, &wish, Progress::of_unit(), signals).await? else {
        return Ok(Outcome::Done);
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
    let over = match session.until(Deployment::is_over).await? {
        Waited::Reached(over) => over,
        Waited::Interrupted(_) => match stop(&mut session).await? {
            Some(over) => over,
            None => return Ok(Outcome::Done),
        },
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

/// Ends it; how it ended, unless that is only known later.
async fn stop(session: &mut Session) -> Result<Option<Box<Deployment>>, CtlError> {
    session.watch.hurry();
    let mut ended = session.end("stopped").await?;
    // Whoever stops the unit waits for it, also if he says so once more.
    while let Ended::Interrupted(_) = ended {
        ended = session.see_it_end("stopped").await?;
    }
    match ended {
        Ended::Over(over) => Ok(Some(over)),
        _ => {
            screen::tell(POSTPONED);
            Ok(None)
        }
    }
}
