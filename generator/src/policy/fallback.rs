//! What takes effect of a policy that has errors.
//!
//! A fragment with errors is replaced by what it last said without; if it never did, its tasks are blocked.
//! Fragments without errors take effect as they are. No task is left unguarded because of a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use super::diagnostic::Problems;
use super::source::Source;
use super::{Compiled, compile, last_good};
use crate::host::Host;

/// What becomes of one fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It takes effect as it is.
    Current,
    /// What it last said without errors takes effect.
    LastGood,
    /// It takes no effect, and its tasks can't start.
    Blocked,
}

#[derive(Debug, Clone)]
struct Slot<'a> {
    /// What it says; nothing, if it was removed.
    current: Option<&'a Source>,
    /// What it last said without errors.
    spare: Option<&'a Source>,
    role: Role,
}

/// What takes effect.
pub(super) struct Settled {
    pub(super) compiled: Compiled,
    /// Whether any fragment or task takes no effect at all.
    pub(super) partial: bool,
    /// What was done, for people.
    pub(super) consequences: Vec<String>,
}

/// Finds what is to take effect in place of a policy in which the fragments `bad` have errors. `kept` is the
/// last good policy, if there is one.
pub(super) fn settle(
    sources: &[Source],
    bad: &BTreeSet<usize>,
    kept: &str,
    host: &dyn Host,
) -> Settled {
    let kept = last_good::read(kept);
    let mut slots = slots(sources, &kept);
    for index in bad {
        slots[*index].step_back();
    }
    add_lost(sources, bad, &kept, &mut slots);
    let mixed = converge(slots.clone(), host);
    if mixed.all_spares_took {
        return mixed.settled;
    }
    // What one fragment last said doesn't go with what another says now: then the whole policy as it was, with
    // the fragments that are new.
    for slot in slots.iter_mut().filter(|slot| slot.spare.is_some()) {
        slot.role = Role::LastGood;
    }
    add_removed(sources, &kept, &mut slots);
    let whole = converge(slots, host);
    match whole.all_spares_took {
        true => whole.settled,
        false => mixed.settled,
    }
}

fn slots<'a>(sources: &'a [Source], kept: &'a BTreeMap<String, Source>) -> Vec<Slot<'a>> {
    let slot = |source: &'a Source| Slot {
        current: Some(source),
        spare: file_name(source).and_then(|name| kept.get(name)),
        role: Role::Current,
    };
    sources.iter().map(slot).collect()
}

/// Adds the fragments of directories that can't be read now: nobody removed them.
fn add_lost<'a>(
    sources: &[Source],
    bad: &BTreeSet<usize>,
    kept: &'a BTreeMap<String, Source>,
    slots: &mut Vec<Slot<'a>>,
) {
    let present: BTreeSet<_> = sources.iter().filter_map(file_name).collect();
    let is_bad = |path| bad.iter().any(|index| Some(sources[*index].path()) == path);
    for (name, spare) in kept {
        if !present.contains(name.as_str()) && is_bad(spare.path().parent()) {
            slots.push(Slot::removed(spare));
        }
    }
}

/// Adds the fragments that were removed since.
fn add_removed<'a>(
    sources: &[Source],
    kept: &'a BTreeMap<String, Source>,
    slots: &mut Vec<Slot<'a>>,
) {
    let present: BTreeSet<_> = sources.iter().filter_map(file_name).collect();
    let already: Vec<_> = slots
        .iter()
        .filter_map(|slot| slot.spare.map(Source::path))
        .collect();
    let removed: Vec<_> = kept
        .iter()
        .filter(|(name, spare)| {
            !present.contains(name.as_str()) && !already.contains(&spare.path())
        })
        .map(|(_, spare)| Slot::removed(spare))
        .collect();
    slots.extend(removed);
}

fn file_name(source: &Source) -> Option<&str> {
    source.path().file_name().and_then(OsStr::to_str)
}

impl<'a> Slot<'a> {
    fn removed(spare: &'a Source) -> Self {
        Self {
            current: None,
            spare: Some(spare),
            role: Role::LastGood,
        }
    }

    fn step_back(&mut self) {
        let other = self
            .spare
            .filter(|spare| self.current.is_none_or(|now| now.text() != spare.text()));
        self.role = match self.role {
            Role::Current if other.is_some() => Role::LastGood,
            _ => Role::Blocked,
        };
    }

    /// What of it is compiled, and whether as blocked. Of a fragment that is replaced, what it says now is
    /// blocked: a task that is new in it must not run unguarded.
    fn parts(&self) -> impl Iterator<Item = (&'a Source, bool)> {
        let (current, spare) = (
            self.current.map(|it| (it, true)),
            self.spare.map(|it| (it, true)),
        );
        let parts = match self.role {
            Role::Current => [self.current.map(|it| (it, false)), None],
            Role::LastGood => [self.spare.map(|it| (it, false)), current],
            Role::Blocked => [current, spare],
        };
        parts.into_iter().flatten()
    }
}

struct Converged {
    settled: Settled,
    /// Whether every fragment that was replaced took effect as it was.
    all_spares_took: bool,
}

/// Takes back fragments until those that are left have no errors. Each round takes back at least one.
fn converge(mut slots: Vec<Slot<'_>>, host: &dyn Host) -> Converged {
    let mut all_spares_took = true;
    loop {
        let mut sources = Vec::new();
        let mut blocked = Vec::new();
        let mut owner = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            for (source, is_blocked) in slot.parts() {
                sources.push(source.clone());
                blocked.push(is_blocked);
                owner.push(index);
            }
        }
        let mut problems = Problems::default();
        let compiled = compile(&sources, &blocked, host, &mut problems);
        let bad = problems.bad_sources(|source| !blocked[source]);
        let bad: BTreeSet<usize> = bad.into_iter().map(|source| owner[source]).collect();
        if bad.is_empty() {
            let settled = settled(&slots, compiled);
            return Converged {
                settled,
                all_spares_took,
            };
        }
        for index in bad {
            all_spares_took &= slots[index].role != Role::LastGood;
            slots[index].step_back();
        }
    }
}

fn settled(slots: &[Slot<'_>], compiled: Compiled) -> Settled {
    let mut consequences = Vec::new();
    for slot in slots {
        let Some(path) = slot
            .current
            .or(slot.spare)
            .map(|source| source.path().display())
        else {
            continue;
        };
        match (slot.role, slot.current) {
            (Role::Current, _) => {}
            (Role::LastGood, Some(_)) => {
                consequences.push(format!(
                    "{path}: what it last said without errors stays in effect"
                ));
            }
            (Role::LastGood, None) => {
                consequences.push(format!("{path}: stays in effect until the errors are gone"));
            }
            (Role::Blocked, Some(source)) if source.text().is_empty() => {
                consequences.push(format!("{path}: takes no effect"));
            }
            (Role::Blocked, _) => {
                consequences.push(format!(
                    "{path}: takes no effect, and its tasks can't start"
                ));
            }
        }
    }
    for (unit, origin) in &compiled.settings.blocked {
        let place = format!("{}:{}", origin.path.display(), origin.line);
        consequences.push(format!(
            "{place}: {unit} can't start until the errors are gone"
        ));
    }
    for unit in &compiled.refused {
        consequences.push(format!("{unit}: is not guarded"));
    }
    Settled {
        partial: !slots.iter().any(|slot| slot.role == Role::LastGood)
            || slots.iter().any(|slot| slot.role == Role::Blocked)
            || !compiled.settings.blocked.is_empty()
            || !compiled.refused.is_empty(),
        compiled,
        consequences,
    }
}
