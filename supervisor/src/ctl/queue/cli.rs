//! The command line of `interlockctl queue`, `submit` and `capacity`.

use clap::{ArgGroup, Args, Subcommand};

use crate::ctl::cli::Form;

use super::manual;
use crate::ctl::manual::fields;

/// Of `queue`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct QueueArgs {
    /// What to do with it; without it those are listed who wait at their gates
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
    /// How it is printed
    #[command(flatten)]
    pub form: Form,
}

/// What to do with what was submitted.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List what was submitted, and retries that are due later
    #[command(long_about = manual::LIST, after_long_help = fields(manual::LIST_FIELDS))]
    List(ListArgs),
    /// List batches, with how far they are
    #[command(long_about = manual::BATCHES, after_long_help = fields(manual::BATCHES_FIELDS))]
    Batches(BatchesArgs),
    /// Take out what waits
    #[command(long_about = manual::CANCEL)]
    Cancel(CancelArgs),
    /// Change the order
    #[command(long_about = manual::MOVE)]
    Move(MoveArgs),
    /// Start nothing more of it until queue resume
    #[command(long_about = manual::PAUSE)]
    Pause(PauseArgs),
    /// Start it again
    #[command(long_about = manual::RESUME)]
    Resume(ResumeArgs),
}

/// Of `queue list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this task
    #[arg(long)]
    pub task: Option<String>,
    /// Only of this batch
    #[arg(long)]
    pub batch: Option<String>,
    /// So many at most; without it 100, and 1000 with --json
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// How it is printed
    #[command(flatten)]
    pub form: Form,
}

/// Of `queue batches`.
#[derive(Debug, Args)]
pub struct BatchesArgs {
    /// How it is printed
    #[command(flatten)]
    pub form: Form,
}

/// Of `queue cancel`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["entries", "batch", "task", "all"]).required(true))]
pub struct CancelArgs {
    /// Units, TASK@INSTANCE, or numbers of queue list
    #[arg(value_name = "ENTRY")]
    pub entries: Vec<String>,
    /// All of this batch
    #[arg(long)]
    pub batch: Option<String>,
    /// All of this task
    #[arg(long)]
    pub task: Option<String>,
    /// All there are
    #[arg(long)]
    pub all: bool,
}

/// Of `queue move`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").args(["first", "last", "priority"]).required(true))]
pub struct MoveArgs {
    /// Units, TASK@INSTANCE, or numbers of queue list
    #[arg(value_name = "ENTRY", required = true)]
    pub entries: Vec<String>,
    /// Before all others of their priority
    #[arg(long)]
    pub first: bool,
    /// Behind all others of their priority
    #[arg(long)]
    pub last: bool,
    /// Give them this priority; higher is started first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
}

/// Of `queue pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Only this task; without it all of them
    pub task: Option<String>,
    /// Wait until nothing runs any more that the queue has started
    #[arg(long)]
    pub drain: bool,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// Of `queue resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Only this task; without it all of them
    pub task: Option<String>,
}

/// Of `submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// After the package transaction as well, in whose scriptlet this is
    #[arg(long, conflicts_with = "wait")]
    pub after_transaction: bool,
    /// Higher is started first; without it the tasks' own
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Name of the batch, for those who read it later
    #[arg(long, value_name = "NAME")]
    pub batch: Option<String>,
    /// Wait until all of them are done, or failed for good
    #[arg(long)]
    pub wait: bool,
    /// Names or units, TASK@INSTANCE for a template; - for standard input
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
}

/// Of `capacity`.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// The resource to change; without it all are listed
    #[arg(requires = "shares")]
    pub resource: Option<String>,
    /// How many shares there are from now on; policy for as many as it says
    #[arg(value_name = "SHARES")]
    pub shares: Option<String>,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// How the list is printed
    #[command(flatten)]
    pub form: Form,
}
