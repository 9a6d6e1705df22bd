//! The command line of `interlockctl deploy`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::manual;

/// What to do with deployments.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// Run a command while the group is at rest
    #[command(long_about = manual::RUN)]
    Run(RunArgs),
    /// Begin a deployment that ends at its expiry or by deploy end
    #[command(long_about = manual::BEGIN)]
    Begin(BeginArgs),
    /// End a deployment, and wait until all goes again
    #[command(long_about = manual::END)]
    End(EndArgs),
    /// Let a deployment expire later
    #[command(long_about = manual::EXTEND)]
    Extend(ExtendArgs),
    /// Make somebody else's deployment one's own
    #[command(long_about = manual::TAKE_OVER)]
    TakeOver(TakeOverArgs),
    /// List deployments
    #[command(long_about = manual::LIST, after_long_help = crate::ctl::manual::fields(manual::LIST_FIELDS))]
    List(ListArgs),
    /// Show a deployment and what became of each task
    #[command(long_about = manual::SHOW, after_long_help = crate::ctl::manual::fields(manual::SHOW_FIELDS))]
    Show(ShowArgs),
    /// What interlock-deploy@.service runs
    #[command(hide = true)]
    Hold(HoldArgs),
}

/// Of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The group of the policy
    #[arg(short, long)]
    pub group: String,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// How long settling may take, as 5min, instead of the group's max-wait
    #[arg(long, value_name = "SPAN")]
    pub max_wait: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, num_args = 1..)]
    pub command: Vec<OsString>,
}

/// Of `begin`.
#[derive(Debug, Args)]
pub struct BeginArgs {
    /// The group of the policy
    #[arg(short, long)]
    pub group: String,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// How long settling may take, as 5min, instead of the group's max-wait
    #[arg(long, value_name = "SPAN")]
    pub max_wait: Option<String>,
    /// When it ends by itself, as 30min from now
    #[arg(long, value_name = "SPAN")]
    pub expires: String,
}

/// Of `end`.
#[derive(Debug, Args)]
pub struct EndArgs {
    /// The deployment, if there are several
    pub id: Option<String>,
    /// Only one of this group
    #[arg(short, long)]
    pub group: Option<String>,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// Of `extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The deployment
    pub id: String,
    /// Its new expiry, as 30min from now
    pub span: String,
}

/// Of `take-over`.
#[derive(Debug, Args)]
pub struct TakeOverArgs {
    /// The deployment
    pub id: String,
    /// When it ends by itself, as 30min from now
    #[arg(long, value_name = "SPAN")]
    pub expires: String,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// Of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those that have ended too
    #[arg(short, long)]
    pub all: bool,
    /// How it is printed
    #[command(flatten)]
    pub form: crate::ctl::cli::Form,
}

/// Of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The deployment, if there are several
    pub id: Option<String>,
    /// How it is printed
    #[command(flatten)]
    pub form: crate::ctl::cli::Form,
}

/// Of `hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The group of the policy
    pub group: String,
}
