//! The corpus, what once crashed, and new inputs: for so many seconds a target, all from one seed.
//!
//! `INTERLOCK_FUZZ_SECONDS` says how many, `INTERLOCK_FUZZ_SEED` which seed. An input that panics is written to
//! `tests/fuzz/crashes/TARGET/`, and is a test of its own from then on; give its file a name that says what is wrong.

#![allow(missing_docs)]

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use interlock_fuzz::{TARGETS, Target, mutate};
use libtest_mimic::{Arguments, Failed, Trial};

/// Seconds for new inputs, each target.
const SECONDS: f64 = 3.0;

/// Nothing may take longer for one input: boot waits for the generator, the gates for interlockd.
const SLOW: Duration = Duration::from_secs(5);

fn main() {
    let args = Arguments::from_args();
    // A panic is told by the trial that has met it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut trials = Vec::new();
    for target in TARGETS {
        let name = target.name;
        trials.push(Trial::test(format!("{name}::corpus"), || corpus(target)));
        for path in files("crashes", target) {
            let what = path.file_stem().unwrap_or_default().to_string_lossy();
            let trial = format!("{name}::{what}");
            trials.push(Trial::test(trial, move || file(target, &path)));
        }
        trials.push(Trial::test(format!("{name}::generated"), || {
            generated(target)
        }));
    }
    libtest_mimic::run(&args, trials).exit();
}

fn files(kind: &str, target: &Target) -> Vec<PathBuf> {
    let directory = directory(kind, target);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn directory(kind: &str, target: &Target) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join(kind).join(target.name)
}

fn file(target: &Target, path: &Path) -> Result<(), Failed> {
    let input = fs::read(path)?;
    feed(target, &input).map_err(|why| format!("{}: {why}", path.display()).into())
}

fn corpus(target: &Target) -> Result<(), Failed> {
    let files = files("corpus", target);
    for path in &files {
        file(target, path)?;
    }
    match files.len() {
        0 => Err("it has no corpus".into()),
        _ => Ok(()),
    }
}

fn generated(target: &'static Target) -> Result<(), Failed> {
    let seconds = variable("INTERLOCK_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = variable("INTERLOCK_FUZZ_SEED").unwrap_or_else(|| fastrand::u32(..));
    let corpus = files("corpus", target).into_iter().map(fs::read);
    let corpus = corpus.collect::<Result<Vec<_>, _>>()?;
    let mut rng = Rng::with_seed(seed.into());
    let (began, mut executions) = (Instant::now(), 0_u64);
    while began.elapsed().as_secs_f64() < seconds {
        let input = mutate::input(&mut rng, &corpus, target.words);
        executions += 1;
        if let Err(why) = feed(target, &input) {
            let directory = directory("crashes", target);
            fs::create_dir_all(&directory)?;
            let path = directory.join(format!("seed-{seed}-{executions}"));
            fs::write(&path, &input)?;
            let again = format!(
                "INTERLOCK_FUZZ_SEED={seed} cargo test -p interlock-fuzz {}",
                target.name
            );
            return Err(format!(
                "{why}\nthe input is in {}; again by {again}",
                path.display()
            )
            .into());
        }
    }
    eprintln!(
        "{}: {executions} inputs in {seconds} s, seed {seed}",
        target.name
    );
    Ok(())
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn feed(target: &Target, input: &[u8]) -> Result<(), String> {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| message(&*panic))?;
    match began.elapsed() {
        took if took > SLOW => Err(format!("it took {} s", took.as_secs())),
        _ => Ok(()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}
