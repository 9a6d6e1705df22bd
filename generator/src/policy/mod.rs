//! The policy language: fragments, then merged inputs, then validated [`settings`].
//!
//! [`load`] is the way in. It never fails: it gives the settings that are to take effect, and tells what is
//! wrong with the policy as it is written.

mod deploy_rules;
mod diagnostic;
mod duration;
mod files;
mod fragment;
mod gate_rules;
mod inputs;
mod order;
mod reader;
pub mod settings;
mod signal;
mod source;
mod suggest;
mod syntax;
mod task_fragment;
mod unit_name;
mod validate;
mod validate_task;

use std::fmt;
use std::path::Path;

use crate::host::{DiskHost, Host, UnknownHost};
use diagnostic::Problems;
pub use diagnostic::{Diagnostic, Severity};
pub use fragment::{GROUP_KEYS, LOCK_FILE_KEYS, RESOURCE_KEYS, TOP_KEYS, WINDOW_KEYS};
use settings::Settings;
pub use source::Source;
pub use task_fragment::{ACTION_KEYS, COMMAND_KEYS, ON_DEPLOY_KEYS, RETRY_KEYS, TASK_KEYS};

/// What took effect of a policy, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings that are to take effect.
    pub settings: Settings,
    /// What is wrong with the policy as it is written now, in the order of fragments and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// How much of the policy took effect.
    pub state: PolicyState,
    /// What [`crate::names::LAST_GOOD`] must contain from now on, if that isn't what it contains.
    pub last_good: Option<String>,
}

impl Loaded {
    /// Whether the policy has errors (not only warnings).
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// How much of the policy took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyState {
    /// All of it.
    Good,
    /// Fragments with errors were replaced by what they last said without.
    LastGood,
    /// Some tasks are blocked or left out, since their fragments have errors and were never seen without.
    Partial,
}

impl fmt::Display for PolicyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::LastGood => "last-good",
            Self::Partial => "partial",
        })
    }
}

/// The policy below `root`, `/` on a running system.
pub fn load(root: &Path) -> Loaded {
    loaded(files::scan(root), &DiskHost::new(root))
}

/// The fragments of one directory alone, for the host below `root`; nothing replaces those with errors.
pub fn check(dir: &Path, root: &Path) -> Loaded {
    loaded(files::scan_one(dir), &DiskHost::new(root))
}

/// A policy of one text, on a host of which nothing is known.
///
/// # Errors
///
/// What is wrong with it, warnings too, if it has errors.
pub fn from_text(text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let sources = [Source::new("policy.toml", text)];
    let mut problems = Problems::default();
    let settings = compile(&sources, &UnknownHost, &mut problems);
    if problems.errors().next().is_none() {
        return Ok(settings);
    }
    Err(problems.into_diagnostics(&sources))
}

fn loaded(files: Vec<files::File>, host: &dyn Host) -> Loaded {
    let mut problems = Problems::default();
    let sources = files::sources(files, &mut problems);
    let settings = compile(&sources, host, &mut problems);
    let state = match problems.errors().next() {
        None => PolicyState::Good,
        Some(_) => PolicyState::Partial,
    };
    Loaded {
        settings,
        diagnostics: problems.into_diagnostics(&sources),
        state,
        last_good: None,
    }
}

fn compile(sources: &[Source], host: &dyn Host, problems: &mut Problems) -> Settings {
    let fragments = sources
        .iter()
        .enumerate()
        .map(|(index, source)| (fragment::parse(index, source, problems), false))
        .collect();
    let inputs = inputs::merge(fragments, problems);
    let context = validate::Context {
        inputs: &inputs,
        sources,
        host,
        problems,
    };
    validate::validate(context).settings
}
