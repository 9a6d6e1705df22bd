//! `interlockctl deploy end`, `extend` and `take-over`: what an operator does with a deployment that is there.

use super::cli::{EndArgs, ExtendArgs, TakeOverArgs};
use super::model::Deployment;
use super::run::POSTPONED;
use super::screen::Progress;
use super::session::{Ended, Session};
use super::signals::{self, Signals};
use super::watch::Watch;
use super::{calls, progress};
use crate::ctl::client::Client;
use crate::ctl::clock::Clock;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::{output, text};

/// Ends one and waits until it is over.
pub async fn end(client: &Client, args: &EndArgs) -> Result<Outcome, CtlError> {
    let signals = Signals::catch()?;
    end_with(client, args, Progress::on_stderr(), signals).await
}

pub(super) async fn end_with(
    client: &Client,
    args: &EndArgs,
    progress: Progress,
    signals: Signals,
) -> Result<Outcome, CtlError> {
    let object = calls::meant(client, args.id.as_deref(), args.group.as_deref()).await?;
    let mut session = Session::of(Watch::new(client, object), progress, signals);
    let now = session.watch.next().await?;
    if now.is_over() {
        let when = match now.ended_usec {
            Some(ended) => format!(" at {}", Clock::of_host().time(ended)),
            None => String::new(),
        };
        let sentence = format!(
            "deployment {} was over already: {}{when}",
            now.id, now.state
        );
        return tell(&now, sentence);
    }
    session.progress.knows(&now);
    tokio::select! {
        asked = session.watch.end(&args.reason) => asked?,
        signal = session.signals.next() => return Ok(Outcome::Status(signals::status(signal))),
    }
    match session.see_it_end(&args.reason).await? {
        Ended::Over(now) => {
            let sentence = progress::ending(&now);
            tell(&now, sentence)
        }
        Ended::Postponed => {
            output::print(&format!("{POSTPONED}\n"))?;
            Ok(Outcome::Done)
        }
        Ended::Interrupted(signal) => {
            output::complain("no longer waiting; the end of the deployment goes on");
            Ok(Outcome::Status(signals::status(signal)))
        }
    }
}

fn tell(now: &Deployment, sentence: String) -> Result<Outcome, CtlError> {
    if now.state == "ended" {
        output::print(&format!("{}\n", text::lines(&sentence)))?;
        Ok(Outcome::Done)
    } else {
        output::complain(&sentence);
        Ok(Outcome::Failed)
    }
}

/// A later expiry.
pub async fn extend(client: &Client, args: &ExtendArgs) -> Result<Outcome, CtlError> {
    let object = calls::find(client, &args.id).await?;
    calls::extend(client, &object, &args.span).await?;
    expiry(&calls::facts(client, &object).await?)
}

/// Another owner: the caller.
pub async fn take_over(client: &Client, args: &TakeOverArgs) -> Result<Outcome, CtlError> {
    let object = calls::find(client, &args.id).await?;
    calls::take_over(client, &object, &args.reason, &args.expires).await?;
    expiry(&calls::facts(client, &object).await?)
}

fn expiry(now: &Deployment) -> Result<Outcome, CtlError> {
    let until = Clock::of_host().time(now.expires_usec.unwrap_or(0));
    let line = format!(
        "deployment {} expires {until}; to end it: interlockctl deploy end {0}",
        now.id
    );
    output::print(&format!("{}\n", text::one_line(&line)))?;
    Ok(Outcome::Done)
}
