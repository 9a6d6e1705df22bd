//! `make soak`: chaos for as long as one likes, with a report.
//!
//! usage: chaos DURATION [VERSION|all] [SEED]
//!        chaos judge DIR SEED     (evidence of a run again, by the checker as it is)
//! Rounds of ten minutes at most, each on a fresh machine and with the next seed; a seed that is given is the only one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use interlock_tests::chaos::{self, Outcome};
use interlock_tests::install;
use interlock_tests::root::Version;

/// How long a machine is used, unless a seed says that it is to be as long as it was.
const ROUND: Duration = Duration::from_secs(600);

fn span(text: &str) -> Result<Duration> {
    let (number, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => anyhow::bail!("not a duration: {text} (as 90s, 10min, 2h)"),
    };
    let number: u64 = number
        .parse()
        .with_context(|| format!("not a duration: {text}"))?;
    Ok(Duration::from_secs(number * seconds))
}

fn judge(dir: &Path, seed: u64) -> Result<ExitCode> {
    let findings = chaos::judge_again(dir, seed)?;
    for finding in &findings {
        println!("{}: {}", finding.kind, finding.text);
    }
    println!("{} findings", findings.len());
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn main() -> Result<ExitCode> {
    const USAGE: &str = "usage: chaos DURATION [VERSION|all] [SEED], chaos judge DIR SEED";
    let mut args = std::env::args().skip(1);
    let first = args.next().context(USAGE)?;
    if first == "judge" {
        let (dir, seed) = (args.next().context(USAGE)?, args.next().context(USAGE)?);
        return judge(Path::new(&dir), seed.parse().context("SEED is a number")?);
    }
    let duration = span(&first)?;
    let versions = match args.next().as_deref() {
        None | Some("all" | "") => Version::ALL.to_vec(),
        Some(version) => vec![version.parse()?],
    };
    let given: Option<u64> = match args.next().as_deref() {
        None | Some("") => None,
        Some(seed) => Some(seed.parse().context("SEED is a number")?),
    };
    let dir =
        std::env::var_os("CHAOS_DIR").map_or_else(|| PathBuf::from("target/chaos"), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    install::rpm()?;
    let began = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut seed = given.unwrap_or(now % 1_000_000);
    let mut report = String::new();
    let mut bad = 0;
    while began.elapsed() < duration {
        let left = duration.saturating_sub(began.elapsed());
        let round = if given.is_some() {
            duration
        } else {
            left.min(ROUND)
        };
        let outcomes: Vec<Result<Outcome>> = std::thread::scope(|scope| {
            let at_work: Vec<_> = versions
                .iter()
                .map(|version| scope.spawn(|| chaos::run(*version, seed, round, &dir)))
                .collect();
            at_work
                .into_iter()
                .map(|each| {
                    each.join()
                        .unwrap_or_else(|_| anyhow::bail!("the driver panicked"))
                })
                .collect()
        });
        for outcome in outcomes {
            let text = match outcome {
                Ok(outcome) => {
                    bad += usize::from(!outcome.findings.is_empty());
                    chaos::report(&outcome)
                }
                Err(error) => {
                    bad += 1;
                    format!("the testbed failed with seed {seed}: {error:#}\n")
                }
            };
            print!("{text}");
            let _ = write!(report, "{text}");
            std::fs::write(dir.join("report"), &report)?;
        }
        if given.is_some() {
            break;
        }
        seed += 1;
    }
    println!("report: {}", dir.join("report").display());
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
