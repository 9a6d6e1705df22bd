//! Two minutes of chaos on each version, side by side; see `make soak` for more.

#![allow(missing_docs)]

use std::time::Duration;

use interlock_tests::chaos;
use interlock_tests::install;
use interlock_tests::root::{self, Version};
use libtest_mimic::{Arguments, Failed, Trial};

const DURATION: Duration = Duration::from_secs(110);

/// Whether a change is good is not to depend on the day's luck; `make soak` is for new ones.
const SEED: u64 = 371_270;

fn main() {
    let mut args = Arguments::from_args();
    // One machine each, and each mostly waits for it.
    args.test_threads = args.test_threads.or(Some(Version::ALL.len()));
    let given = std::env::var("INTERLOCK_TEST_SEED").ok();
    let seed: u64 = given.and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let trials = Version::ALL
        .map(|version| Trial::test(format!("{version}::chaos"), move || run(version, seed)))
        .into();
    libtest_mimic::run(&args, trials).exit();
}

fn run(version: Version, seed: u64) -> Result<(), Failed> {
    install::rpm()?;
    let keep = root::cache_dir().join("chaos");
    let outcome = chaos::run(version, seed, DURATION, &keep)?;
    let report = chaos::report(&outcome);
    if outcome.findings.is_empty() {
        print!("{report}");
        Ok(())
    } else {
        Err(report.into())
    }
}
