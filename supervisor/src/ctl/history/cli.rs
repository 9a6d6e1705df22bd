//! The command line of `interlockctl history` and `failures`.

use clap::{Args, Subcommand, ValueEnum};

use crate::ctl::cli::Form;
use crate::ctl::moment;

use super::manual;

/// Of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only of this task, its unit, or this instance of it
    pub task: Option<String>,
    /// Only what has ended since then, as "2 days ago" or 2026-11-01
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = moment::point)]
    pub since: Option<u64>,
    /// Only what has ended before then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = moment::point)]
    pub until: Option<u64>,
    /// Only runs that failed
    #[arg(long)]
    pub failed: bool,
    /// Only runs that took longer, as 5s or 1h
    #[arg(long, value_name = "SPAN", value_parser = moment::span)]
    pub slower_than: Option<u64>,
    /// So many at most; without it 100, and 1000 with --json
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// By task: how many runs took longer than SPAN, and percentiles
    #[arg(long, value_name = "SPAN", value_parser = moment::span,
          conflicts_with_all = ["until", "failed", "slower_than", "limit", "at_risk"])]
    pub exceeding: Option<u64>,
    /// By task: how likely a run isn't met by a deployment
    #[arg(long, conflicts_with_all = ["task", "until", "failed", "slower_than", "limit"])]
    pub at_risk: bool,
    /// How it is printed
    #[command(flatten)]
    pub form: Form,
}

/// Of `failures`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FailuresArgs {
    /// What to do with them; without it they are listed
    #[command(subcommand)]
    pub command: Option<FailuresCommand>,
    /// Only of this task
    pub task: Option<String>,
    /// Only what has been since then, as "2 days ago" or 2026-11-01
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = moment::point)]
    pub since: Option<u64>,
    /// How it is printed
    #[command(flatten)]
    pub form: Form,
}

/// What to do with failures.
#[derive(Debug, Subcommand)]
pub enum FailuresCommand {
    /// Say whether a failure goes away by itself
    #[command(long_about = manual::CLASSIFY)]
    Classify(ClassifyArgs),
}

/// Of `failures classify`.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// Its signature, or as much of its beginning as no other has
    pub signature: String,
    /// What it is; none takes back what was said
    pub class: Class,
    /// Why, for those who read it later
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// What a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Class {
    /// It goes away by itself: worth a retry
    Transient,
    /// It stays until somebody does something: no retry
    Permanent,
    /// Nobody says so
    None,
}

impl Class {
    /// As on D-Bus.
    pub fn word(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Permanent => "permanent",
            Class::None => "",
        }
    }
}
