//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::check::CheckArgs;
use super::deploy::cli::DeployCommand;
use super::history::cli::{FailuresArgs, HistoryArgs};
use super::hold::{HoldArgs, ReleaseArgs};
use super::metrics::MetricsArgs;
use super::queue::cli::{CapacityArgs, QueueArgs, SubmitArgs};
use super::{deploy, history, hold, manual, queue};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "interlockctl",
    version,
    about = manual::ABOUT,
    long_about = manual::LONG_ABOUT,
    after_long_help = manual::after_help(),
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every task and what it does just now
    #[command(long_about = manual::STATUS, after_long_help = manual::fields(manual::STATUS_FIELDS))]
    Status(Form),
    /// Say why a task waits, runs or is blocked
    #[command(long_about = manual::WHY, after_long_help = manual::fields(manual::WHY_FIELDS))]
    Why(WhyArgs),
    /// List who waits, in which order, for what
    #[command(long_about = queue::manual::QUEUE, after_long_help = manual::fields(queue::manual::QUEUE_FIELDS))]
    Queue(QueueArgs),
    /// List runs of tasks, and how they ended
    #[command(long_about = history::manual::HISTORY, after_long_help = history::manual::after_help())]
    History(HistoryArgs),
    /// List why tasks fail, each cause once
    #[command(long_about = history::manual::FAILURES, after_long_help = manual::fields(history::manual::FAILURES_FIELDS))]
    Failures(FailuresArgs),
    /// List processes that wait for one another for ever
    #[command(long_about = manual::DEADLOCKS, after_long_help = manual::fields(manual::DEADLOCKS_FIELDS))]
    Deadlocks(Form),
    /// Check the policy and print every mistake
    #[command(long_about = manual::VERIFY, after_long_help = manual::fields(manual::VERIFY_FIELDS))]
    Verify(VerifyArgs),
    /// Start a task and wait for it
    #[command(long_about = manual::START)]
    Start(StartArgs),
    /// Run a command behind a gate of its own
    #[command(long_about = manual::RUN)]
    Run(RunArgs),
    /// Queue starts of tasks, one or thousands
    #[command(long_about = queue::manual::SUBMIT)]
    Submit(SubmitArgs),
    /// Run a repair that the policy names on one unit
    #[command(long_about = manual::ACTION)]
    Action(ActionArgs),
    /// Hold starts of tasks, or skip the next ones
    #[command(long_about = hold::manual::HOLD)]
    Hold(HoldArgs),
    /// Let tasks go that are held
    #[command(long_about = hold::manual::RELEASE)]
    Release(ReleaseArgs),
    /// List which tasks are held, why and until when
    #[command(long_about = hold::manual::HOLDS, after_long_help = manual::fields(hold::manual::HOLDS_FIELDS))]
    Holds(Form),
    /// List or change how much there is of a resource
    #[command(long_about = queue::manual::CAPACITY, after_long_help = manual::fields(queue::manual::CAPACITY_FIELDS))]
    Capacity(CapacityArgs),
    /// Tell whether the caller runs for a task that holds a resource
    #[command(long_about = manual::HOLDING)]
    Holding(HoldingArgs),
    /// List who holds the locks of resources
    #[command(long_about = manual::LOCKS, after_long_help = manual::fields(manual::LOCKS_FIELDS))]
    Locks(Form),
    /// Deploy while the tasks of a group are at rest
    #[command(subcommand, long_about = deploy::manual::DEPLOY, disable_help_subcommand = true)]
    Deploy(DeployCommand),
    /// Tell a monitoring system how all is
    #[command(long_about = manual::CHECK, after_long_help = manual::fields(manual::CHECK_FIELDS))]
    Check(CheckArgs),
    /// Print what Prometheus scrapes
    #[command(long_about = manual::METRICS)]
    Metrics(MetricsArgs),
    /// Make interlockd read the policy again
    #[command(long_about = manual::RELOAD)]
    Reload,
    /// Write man page or completions (for packagers)
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// How a list is printed.
#[derive(Debug, Args)]
pub struct Form {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Cut nothing, however wide the table gets
    #[arg(short = 'l', long, conflicts_with = "json")]
    pub full: bool,
}

/// Of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The task's name, or its unit
    pub task: String,
    /// Print the task's properties as JSON
    #[arg(long)]
    pub json: bool,
}

/// Of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check the fragments (*.toml) in this directory alone
    pub dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The task's name, or its unit; TASK@INSTANCE for a template
    pub task: String,
    /// Don't wait: succeed as soon as the start is queued
    #[arg(long)]
    pub no_block: bool,
}

/// Of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What it uses: RESOURCE or RESOURCE=SHARES; may be repeated
    #[arg(long, value_name = "RESOURCE", required = true)]
    pub uses: Vec<String>,
    /// Run it as this user
    #[arg(long)]
    pub user: Option<String>,
    /// What it is, for those who see it wait
    #[arg(long)]
    pub description: Option<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Of `action`.
#[derive(Debug, Args)]
pub struct ActionArgs {
    /// The task's name, or its unit; TASK@INSTANCE for a template
    pub task: String,
    /// The action's name in the policy
    pub action: String,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Don't wait: succeed as soon as it is queued
    #[arg(long)]
    pub no_block: bool,
}

/// Of `holding`.
#[derive(Debug, Args)]
pub struct HoldingArgs {
    /// The resource
    pub resource: String,
}

/// Of the hidden `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to write
    pub what: Generated,
    /// Where to; it must exist
    pub dir: PathBuf,
}

/// What `generate` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// interlockctl.1
    Man,
    /// For bash, zsh and fish
    Completions,
}
