//! `interlockctl deploy run`: a command while a group is at rest.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::calls::Wish;
use super::cli::RunArgs;
use super::model::Deployment;
use super::progress;
use super::screen::{self, Progress};
use super::session::{Ended, Session, Settled};
use super::signals::{self, Signals};
use crate::ctl::client::Client;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output;

/// Told instead of how a deployment ended.
pub(super) const POSTPONED: &str =
    "the host is being shut down: what is to be started again is started after the next boot";

/// Begins, runs, ends.
pub async fn run(client: &Client, args: &RunArgs) -> Result<Outcome, CtlError> {
    let signals = Signals::catch()?;
    run_with(client, args, Progress::on_stderr(), signals).await
}

pub(super) async fn run_with(
    client: &Client,
    args: &RunArgs,
    progress: Progress,
    signals: Signals,
) -> Result<Outcome, CtlError> {
    let wish = Wish {
        group: args.group.clone(),
        reason: args.reason.clone(),
        max_wait: args.max_wait.clone(),
        expires: None,
    };
    let mut session = match Session::begin(client, &wish, progress, signals).await? {
        Ok(session) => session,
        Err(signal) => return Ok(Outcome::Status(signals::status(signal))),
    };
    let deployment = match session.settle().await? {
        Settled::Ready(deployment) => deployment,
        Settled::Refused(deployment) => {
            output::complain(&refusal(&deployment));
            return Ok(Outcome::Busy);
        }
        Settled::Interrupted(signal) => {
            output::complain(&format!("{signal}: the command was not run"));
            return Ok(Outcome::Status(signals::status(signal)));
        }
    };
    screen::tell(&format!(
        "{} is at rest (deployment {}); running {}",
        deployment.group,
        deployment.id,
        args.command[0].display()
    ));
    let (status, reason, watched) = match spawn(&args.command, &deployment) {
        Ok(child) => {
            let (ended, watched) = attend(child, &mut session, &deployment).await;
            let status = ended.map_err(|source| CtlError::Io {
                what: "can't wait for the command".to_owned(),
                source,
            })?;
            (exit_status(status), how(status), watched)
        }
        Err(error) => {
            let told = format!("can't run {}: {error}", args.command[0].display());
            output::complain(&told);
            // As env(1) and the shells have it.
            let status = match error.kind() {
                io::ErrorKind::NotFound => 127,
                _ => 126,
            };
            (status, told, Watched::Ours)
        }
    };
    let ended = match watched {
        Watched::TakenOver => return Ok(Outcome::Status(status)),
        Watched::Over(state) => state == "ended",
        Watched::Ours => end(&mut session, &reason).await,
    };
    // What the command says of itself goes first.
    Ok(match (status, ended) {
        (0, false) => Outcome::Failed,
        (status, _) => Outcome::Status(status),
    })
}

fn spawn(command: &[OsString], deployment: &Deployment) -> io::Result<Child> {
    Command::new(&command[0])
        .args(&command[1..])
        .env("INTERLOCK_DEPLOYMENT", &deployment.id)
        .env("INTERLOCK_GROUP", &deployment.group)
        .spawn()
}

/// What became of the deployment while the command ran.
#[derive(Debug, PartialEq, Eq)]
enum Watched {
    /// It is still the caller's.
    Ours,
    /// Somebody else decides when it ends.
    TakenOver,
    /// It is over, in this state.
    Over(String),
}

/// Waits for the command, passes signals on to it, and has an eye on the deployment.
async fn attend(
    mut child: Child,
    session: &mut Session,
    began: &Deployment,
) -> (io::Result<ExitStatus>, Watched) {
    let mut watched = Watched::Ours;
    let mut watching = true;
    loop {
        tokio::select! {
            status = child.wait() => return (status, watched),
            signal = session.signals.next() => {
                session.watch.hurry();
                pass_on(signal, &child);
            }
            now = session.watch.next(), if watching => match now {
                Ok(now) => {
                    if let Some(change) = change(&now, began) {
                        output::complain(&change.1);
                        watched = change.0;
                        watching = false;
                    }
                }
                Err(error) => {
                    output::complain(&format!("{error}\nThe command goes on."));
                    watching = false;
                }
            },
        }
    }
}

/// Whether the deployment isn't any more what the command was run for.
fn change(now: &Deployment, began: &Deployment) -> Option<(Watched, String)> {
    if now.is_over() {
        let detail = match now.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        let told = format!(
            "deployment {} {} while the command runs{detail}\nTasks of {} may run again. The command goes on.",
            now.id,
            if now.state == "failed" {
                "failed"
            } else {
                "was ended"
            },
            now.group,
        );
        return Some((Watched::Over(now.state.clone()), told));
    }
    (now.owner != began.owner).then(|| {
        let told = format!(
            "deployment {} was taken over by {}: it doesn't end with the command any more",
            now.id, now.owner
        );
        (Watched::TakenOver, told)
    })
}

fn pass_on(signal: Signal, child: &Child) {
    if signals::came_to_the_command_too(signal) {
        return;
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // One that has just ended can't be signalled, and needn't be.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Ends the deployment; whether that went well.
async fn end(session: &mut Session, reason: &str) -> bool {
    match session.end(reason).await {
        Ok(Ended::Over(now)) if now.state == "ended" => {
            screen::tell(&progress::ending(&now));
            true
        }
        Ok(Ended::Over(now)) => {
            output::complain(&progress::ending(&now));
            false
        }
        Ok(Ended::Postponed) => {
            screen::tell(POSTPONED);
            true
        }
        Ok(Ended::Interrupted(_)) => {
            output::complain("no longer waiting; the end of the deployment goes on by itself");
            false
        }
        Err(error) => {
            output::complain(&error.to_string());
            false
        }
    }
}

/// Why a group could not be brought to rest.
pub(super) fn refusal(deployment: &Deployment) -> String {
    let reason = match deployment.detail.as_str() {
        "" => "see: journalctl -b -u interlockd",
        detail => detail,
    };
    format!(
        "{} could not be brought to rest: {reason}\n\
         Nothing was left at rest. What became of each task: interlockctl deploy show {}",
        deployment.group, deployment.id
    )
}

fn exit_status(status: ExitStatus) -> u8 {
    let status = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    status
        .and_then(|status| u8::try_from(status).ok())
        .unwrap_or(1)
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "the command has ended".to_owned(),
        (Some(code), _) => format!("the command failed with exit status {code}"),
        (None, signal) => format!("the command was killed by signal {}", signal.unwrap_or(0)),
    }
}
