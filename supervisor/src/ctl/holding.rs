//! `interlockctl holding RESOURCE`: whether the caller runs for a task that holds it.

use super::cli::HoldingArgs;
use super::client::Client;
use super::error::{CtlError, Outcome};

/// Asks; the exit status is the answer.
pub async fn run(args: &HoldingArgs) -> Result<Outcome, CtlError> {
    let asked = async { Client::connect().await?.holding(&args.resource).await };
    let holding = match asked.await {
        // Without the daemon, what the task was told at its start still holds.
        Err(CtlError::Unreachable { .. }) if is_told(&args.resource) => true,
        answer => answer?,
    };
    Ok(match holding {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

fn is_told(resource: &str) -> bool {
    let held = std::env::var("INTERLOCK_HOLDS").unwrap_or_default();
    held.split(' ').any(|held| held == resource)
}
