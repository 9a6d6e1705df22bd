//! Chaos on real systemd: a driver that does what its seed says, and a checker that knows nothing of interlock.
//!
//! What a step does depends on the seed and its number alone, so a run with the same seed asks for the same things in
//! the same order; when each of them happens is up to the machine.

mod acts;
mod attacks;
pub mod checker;
mod deployments;
mod dice;
mod driver;
mod faults;
mod ledger;
mod line;
mod quiet;
mod rules;
mod setup;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::root::Version;
use checker::{Figures, Finding, Journal, Log};
use driver::{Choice, Driver};
use faults::POINTS;
use ledger::Ledger;
use setup::Bus;
use world::World;

/// How long the journal may take to be read.
const JOURNAL: Duration = Duration::from_secs(120);

/// A run that is over.
#[derive(Debug)]
pub struct Outcome {
    /// systemd's version.
    pub version: Version,
    /// What it can be replayed with.
    pub seed: u64,
    /// How long it was driven.
    pub duration: Duration,
    /// How often each act was done.
    pub counts: BTreeMap<&'static str, u64>,
    /// How many of them were faults and attacks.
    pub faults: u64,
    /// At which steps interlockd died, how often.
    pub steps: BTreeMap<String, u64>,
    /// What was looked at.
    pub figures: Figures,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// Where the evidence is, if there is a finding.
    pub evidence: Option<PathBuf>,
}

impl Outcome {
    /// The command that does it again.
    #[must_use]
    pub fn replay(&self) -> String {
        format!(
            "make soak VERSION={} SEED={} DURATION={}s",
            self.version,
            self.seed,
            self.duration.as_secs()
        )
    }
}

fn choices() -> Vec<Choice> {
    [
        &acts::ACTS[..],
        &deployments::DEPLOYMENTS,
        &faults::FAULTS,
        &faults::DROPS,
        &attacks::ATTACKS,
        &line::LINE,
    ]
    .concat()
}

fn is_fault(name: &str) -> bool {
    let harm = [
        &faults::FAULTS[..],
        &faults::DROPS,
        &attacks::ATTACKS,
        &line::LINE,
    ];
    harm.iter()
        .flat_map(|choices| choices.iter())
        .any(|(each, ..)| *each == name)
}

/// Boots a machine and lets chaos reign in it for this long.
///
/// # Errors
///
/// If the testbed fails; what interlock does wrong is in the outcome.
pub fn run(version: Version, seed: u64, duration: Duration, keep: &Path) -> Result<Outcome> {
    let world = World::of(seed);
    // The shorter runs see one bus on each version, the longer ones both.
    let broker = seed.is_multiple_of(2) == (version == Version::V257);
    let bus = if broker { Bus::Broker } else { Bus::Daemon };
    let machine = setup::machine(version, &world, bus)?;
    let cursor = machine.sh("journalctl --quiet -n0 --show-cursor | sed -n 's/^-- cursor: //p'")?;
    let mut driver = Driver::new(&machine, &world, Ledger::begin(&machine)?);
    driver.drive(seed, duration, &choices())?;
    let mut findings = quiet::calm(&mut driver)?;
    findings.extend(quiet::all_runs(&mut driver)?);
    let text = driver.ledger.text()?;
    let journal = read_journal(&machine, &cursor)?;
    let (judged, figures) = checker::judge(
        &rules::of(&world),
        &Log::parse(&text),
        &Journal::parse(&journal),
    );
    findings.extend(judged);
    let steps = steps(&machine)?;
    let evidence = if findings.is_empty() {
        None
    } else {
        Some(keep_evidence(
            &machine, keep, version, seed, &text, &journal,
        )?)
    };
    let faults = driver
        .counts
        .iter()
        .filter(|(name, _)| is_fault(name))
        .map(|(_, count)| count)
        .sum();
    Ok(Outcome {
        version,
        seed,
        duration,
        counts: driver.counts.clone(),
        faults,
        steps,
        figures,
        findings,
        evidence,
    })
}

/// What the interlockd that dies at steps has written down.
fn steps(machine: &Machine) -> Result<BTreeMap<String, u64>> {
    let mut steps = BTreeMap::new();
    for line in machine.sh(&format!("cat {POINTS} || true"))?.lines() {
        let name = line.split_once(' ').map_or(line, |(_, name)| name);
        *steps.entry(name.to_owned()).or_default() += 1;
    }
    Ok(steps)
}

/// Judges kept evidence again, of a run with this seed.
///
/// # Errors
///
/// If it isn't there.
pub fn judge_again(dir: &Path, seed: u64) -> Result<Vec<Finding>> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))
    };
    let log = Log::parse(&read("log")?);
    let journal = Journal::parse(&read("pid1.json")?);
    Ok(checker::judge(&rules::of(&World::of(seed)), &log, &journal).0)
}

fn read_journal(machine: &Machine, cursor: &str) -> Result<String> {
    let output = machine
        .spawn(&format!(
            "journalctl --sync; journalctl --quiet --no-pager --after-cursor='{cursor}' -o json _PID=1"
        ))?
        .wait(JOURNAL)?;
    Ok(output.stdout)
}

fn keep_evidence(
    machine: &Machine,
    keep: &Path,
    version: Version,
    seed: u64,
    log: &str,
    journal: &str,
) -> Result<PathBuf> {
    let dir = keep.join(format!("{version}-{seed}"));
    std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
    std::fs::write(dir.join("log"), log)?;
    std::fs::write(dir.join("pid1.json"), journal)?;
    let all = machine
        .spawn("journalctl --quiet --no-pager -b -o short-precise")?
        .wait(JOURNAL)?;
    std::fs::write(dir.join("journal"), all.stdout)?;
    let policy =
        machine.sh("cat /etc/interlock/policy.d/*.toml; cat /usr/local/lib/systemd/system/*")?;
    std::fs::write(dir.join("policy"), policy)?;
    Ok(dir)
}

fn list<T: std::fmt::Display>(counts: &BTreeMap<T, u64>) -> String {
    let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

/// What a run was and what it found, for people.
#[must_use]
pub fn report(outcome: &Outcome) -> String {
    use std::fmt::Write as _;
    let figures = &outcome.figures;
    let mut text = format!(
        "systemd {}, seed {}, {} s: {} acts, {} of them faults and attacks; {} runs of tasks, {} starts and {} \
         submissions asked for, {} times a group at rest, {} jobs of PID 1 looked at: {} findings\n",
        outcome.version,
        outcome.seed,
        outcome.duration.as_secs(),
        outcome.counts.values().sum::<u64>(),
        outcome.faults,
        figures.runs,
        figures.asked,
        figures.submitted,
        figures.rests,
        figures.jobs,
        outcome.findings.len()
    );
    let _ = writeln!(text, "  {}", list(&outcome.counts));
    if !outcome.steps.is_empty() {
        let _ = writeln!(text, "  interlockd died at: {}", list(&outcome.steps));
    }
    for finding in &outcome.findings {
        let _ = writeln!(text, "  {}: {}", finding.kind, finding.text);
    }
    if let Some(evidence) = &outcome.evidence {
        let _ = writeln!(
            text,
            "  evidence: {}\n  again: {}",
            evidence.display(),
            outcome.replay()
        );
    }
    text
}
