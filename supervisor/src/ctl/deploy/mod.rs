//! `interlockctl deploy`: a period in which the tasks of a group are at rest.
//!
//! A deployment is followed by its properties alone ([`watch`]), so that a daemon that is restarted in the middle is
//! only somebody who answers later. What is shown of it is made by functions that know no bus ([`progress`],
//! [`show`]).

pub mod begin;
pub mod calls;
pub mod cli;
pub mod end;
pub mod hold;
pub mod manual;
pub mod model;
pub mod progress;
pub mod proxy;
pub mod run;
pub mod screen;
pub mod session;
pub mod show;
pub mod signals;
pub mod watch;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod run_tests;

use super::client::Client;
use super::error::{CtlError, Outcome};
use cli::DeployCommand;

/// Does what the command says.
pub async fn run(client: &Client, command: &DeployCommand) -> Result<Outcome, CtlError> {
    match command {
        DeployCommand::Run(args) => run::run(client, args).await,
        DeployCommand::Begin(args) => begin::run(client, args).await,
        DeployCommand::End(args) => end::end(client, args).await,
        DeployCommand::Extend(args) => end::extend(client, args).await,
        DeployCommand::TakeOver(args) => end::take_over(client, args).await,
        DeployCommand::List(args) => show::list(client, args).await,
        DeployCommand::Show(args) => show::show(client, args).await,
        DeployCommand::Hold(args) => hold::run(client, args).await,
    }
}
