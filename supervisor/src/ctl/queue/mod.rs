//! `interlockctl queue`, `submit` and `capacity`: starts that wait, at gates and before them.

pub mod batches;
pub mod capacity;
pub mod change;
pub mod cli;
pub mod list;
pub mod manual;
pub mod submit;
pub mod waiters;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use super::client::Client;
use super::error::{CtlError, Outcome};
use cli::{QueueArgs, QueueCommand};

/// Does what was asked for.
pub async fn run(client: &Client, args: &QueueArgs) -> Result<Outcome, CtlError> {
    match &args.command {
        None => waiters::run(client, &args.form).await,
        Some(QueueCommand::List(args)) => list::run(client, args).await,
        Some(QueueCommand::Batches(args)) => batches::run(client, args).await,
        Some(QueueCommand::Cancel(args)) => change::cancel(client, args).await,
        Some(QueueCommand::Move(args)) => change::order(client, args).await,
        Some(QueueCommand::Pause(args)) => change::pause(client, args).await,
        Some(QueueCommand::Resume(args)) => change::resume(client, args).await,
    }
}
