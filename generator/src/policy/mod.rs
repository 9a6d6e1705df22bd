//! The policy language: fragments, then merged inputs, then validated [`settings`].
//!
//! [`load`] is the way in. It never fails: it gives the settings that are to take effect, and tells what is
//! wrong with the policy as it is written.

mod actions;
mod blocked;
mod diagnostic;
mod duration;
mod failures;
mod fallback;
mod files;
mod fragment;
mod gate_rules;
mod inputs;
mod last_good;
mod lock_files;
mod on_deploy;
mod order;
mod reader;
mod reader_programs;
mod reader_spans;
mod records;
pub mod settings;
mod signal;
mod source;
mod suggest;
mod syntax;
mod task_fragment;
mod unit_name;
mod units;
mod validate;
mod validate_task;

use std::collections::BTreeSet;
use std::path::Path;
use std::{fmt, fs};

use crate::host::{DiskHost, Host, UnknownHost};
use crate::names;
pub use actions::ACTION_KEYS;
use diagnostic::Problems;
pub use diagnostic::{Diagnostic, Severity};
pub use failures::FAILURE_KEYS;
pub use fragment::{GROUP_KEYS, RESOURCE_KEYS, TOP_KEYS, WINDOW_KEYS};
pub use lock_files::LOCK_FILE_KEYS;
pub use on_deploy::ON_DEPLOY_KEYS;
pub use records::HISTORY_KEYS;
use settings::Settings;
pub use source::Source;
pub use task_fragment::{COMMAND_KEYS, RETRY_KEYS, TASK_KEYS};

/// Whether a unit of this name can be a task's: a service, of the letters of systemd.unit(5), with room for its gate's.
pub fn is_unit_name(name: &str) -> bool {
    unit_name::check_unit(name).is_ok()
}

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
    /// What was done about the errors, one sentence each.
    pub consequences: Vec<String>,
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
    let kept = fs::read_to_string(root.join(names::LAST_GOOD.trim_start_matches('/')));
    let mut loaded = loaded(
        files::scan(root),
        &DiskHost::new(root),
        kept.as_deref().unwrap_or_default(),
    );
    loaded.last_good = loaded
        .last_good
        .filter(|text| kept.ok().as_ref() != Some(text));
    loaded
}

/// The fragments of one directory alone, for the host below `root`; nothing replaces those with errors.
pub fn check(dir: &Path, root: &Path) -> Loaded {
    let loaded = loaded(files::scan_one(dir), &DiskHost::new(root), "");
    Loaded {
        last_good: None,
        ..loaded
    }
}

/// A policy of one text, on a host of which nothing is known.
///
/// # Errors
///
/// What is wrong with it, warnings too, if it has errors.
pub fn from_text(text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let loaded = from_sources(vec![Source::new("policy.toml", text)], &UnknownHost, "");
    match loaded.has_errors() {
        false => Ok(loaded.settings),
        true => Err(loaded.diagnostics),
    }
}

/// A policy of these fragments, in the order in which they count; `kept` is a last good policy.
pub fn from_sources(sources: Vec<Source>, host: &dyn Host, kept: &str) -> Loaded {
    finish(sources, Problems::default(), host, kept)
}

fn loaded(files: Vec<files::File>, host: &dyn Host, kept: &str) -> Loaded {
    let mut problems = Problems::default();
    let sources = files::sources(files, &mut problems);
    finish(sources, problems, host, kept)
}

fn finish(sources: Vec<Source>, mut problems: Problems, host: &dyn Host, kept: &str) -> Loaded {
    let compiled = compile(&sources, &vec![false; sources.len()], host, &mut problems);
    if problems.errors().next().is_none() {
        return Loaded {
            settings: compiled.settings,
            last_good: Some(last_good::write(&sources)),
            diagnostics: problems.into_diagnostics(&sources),
            state: PolicyState::Good,
            consequences: Vec::new(),
        };
    }
    let settled = fallback::settle(&sources, &problems.bad_sources(|_| true), kept, host);
    Loaded {
        settings: settled.compiled.settings,
        diagnostics: problems.into_diagnostics(&sources),
        state: match settled.partial {
            true => PolicyState::Partial,
            false => PolicyState::LastGood,
        },
        last_good: None,
        consequences: settled.consequences,
    }
}

/// What comes of fragments.
struct Compiled {
    settings: Settings,
    /// Units of tasks that are left out, and that run without a gate.
    refused: BTreeSet<String>,
}

/// Compiles fragments; of those that are `blocked`, the tasks' units are blocked.
fn compile(
    sources: &[Source],
    blocked: &[bool],
    host: &dyn Host,
    problems: &mut Problems,
) -> Compiled {
    let fragments = sources
        .iter()
        .zip(blocked)
        .enumerate()
        .map(|(index, (source, blocked))| (fragment::parse(index, source, problems), *blocked))
        .collect();
    let inputs = inputs::merge(fragments, problems);
    validate::validate(validate::Context {
        inputs: &inputs,
        sources,
        host,
        problems,
    })
}
