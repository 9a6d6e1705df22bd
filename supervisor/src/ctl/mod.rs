//! interlockctl: what an operator types.
//!
//! Each command fetches its facts first ([`client`], [`analyze`], systemd), and then renders them with
//! functions that know neither the bus nor the clock, so that every line it can print is tested without either.

pub mod action;
pub mod analyze;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod deadlocks;
pub mod deploy;
pub mod ending;
pub mod error;
pub mod generate;
pub mod history;
pub mod hold;
pub mod holding;
pub mod jobs;
pub mod line;
pub mod locks;
pub mod manual;
pub mod metrics;
pub mod model;
pub mod moment;
pub mod monitor;
pub mod output;
pub mod proxy;
pub mod queue;
pub mod reload;
pub mod run;
pub mod start;
pub mod status;
pub mod table;
pub mod text;
pub mod usage;
pub mod verify;
pub mod why;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fixture;

use clap::Parser as _;

use cli::{Cli, Command};
use client::Client;
use error::{CtlError, Outcome};

/// Parses the command line, does what it says, and returns the exit status (see [`manual::EXIT_STATUS`]).
pub async fn main() -> u8 {
    let (line, is_check) = check::command_line(std::env::args_os());
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) if is_check => return check::wrong_usage(&error),
        Err(error) => return usage::tell(&error),
    };
    match run(cli.command).await {
        Ok(outcome) => outcome.code(),
        Err(error) => {
            output::complain(&error.to_string());
            error.code()
        }
    }
}

async fn run(command: Command) -> Result<Outcome, CtlError> {
    match command {
        Command::Status(args) => status::run(&Client::connect().await?, &args).await,
        Command::Why(args) => why::run(&Client::connect().await?, &args).await,
        Command::Queue(args) => queue::run(&Client::connect().await?, &args).await,
        Command::History(args) => history::run(&Client::connect().await?, &args).await,
        Command::Failures(args) => history::failures::run(&Client::connect().await?, &args).await,
        Command::Deadlocks(args) => deadlocks::run(&Client::connect().await?, &args).await,
        Command::Verify(args) => verify::run(&args),
        Command::Start(args) => start::run(&Client::connect().await?, &args).await,
        Command::Deploy(command) => deploy::run(&Client::connect().await?, &command).await,
        Command::Run(args) => run::run(&Client::connect().await?, &args).await,
        Command::Action(args) => action::run(&Client::connect().await?, &args).await,
        Command::Capacity(args) => queue::capacity::run(&Client::connect().await?, &args).await,
        Command::Submit(args) => queue::submit::run(&Client::connect().await?, &args).await,
        Command::Hold(args) => hold::hold(&Client::connect().await?, &args).await,
        Command::Release(args) => hold::release(&Client::connect().await?, &args).await,
        Command::Holds(form) => hold::list(&Client::connect().await?, &form).await,
        Command::Holding(args) => holding::run(&args).await,
        Command::Locks(args) => locks::run(&Client::connect().await?, &args).await,
        Command::Check(args) => check::run(&args).await,
        Command::Metrics(args) => metrics::run(&args).await,
        Command::Reload => reload::run(&Client::connect().await?).await,
        Command::Generate(args) => generate::run(&args),
    }
}
