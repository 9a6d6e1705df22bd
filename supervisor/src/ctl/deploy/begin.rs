//! `interlockctl deploy begin`: a deployment that outlives this process, until its expiry.

use super::calls::Wish;
use super::cli::BeginArgs;
use super::run::refusal;
use super::screen::Progress;
use super::session::{Session, Settled};
use super::signals::{self, Signals};
use crate::ctl::client::Client;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output;

/// Begins, waits until all is at rest, and prints the id.
pub async fn run(client: &Client, args: &BeginArgs) -> Result<Outcome, CtlError> {
    let signals = Signals::catch()?;
    let wish = Wish {
        group: args.group.clone(),
        reason: args.reason.clone(),
        max_wait: args.max_wait.clone(),
        expires: Some(args.expires.clone()),
    };
    begin_with(client, &wish, Progress::on_stderr(), signals).await
}

pub(super) async fn begin_with(
    client: &Client,
    wish: &Wish,
    progress: Progress,
    signals: Signals,
) -> Result<Outcome, CtlError> {
    let mut session = match Session::begin(client, wish, progress, signals).await? {
        Ok(session) => session,
        Err(signal) => return Ok(Outcome::Status(signals::status(signal))),
    };
    match session.settle().await? {
        Settled::Ready(deployment) => {
            output::print(&format!("{}\n", deployment.id))?;
            Ok(Outcome::Done)
        }
        Settled::Refused(deployment) => {
            output::complain(&refusal(&deployment));
            Ok(Outcome::Busy)
        }
        Settled::Interrupted(signal) => {
            output::complain(&format!("{signal}: the deployment was ended"));
            Ok(Outcome::Status(signals::status(signal)))
        }
    }
}
