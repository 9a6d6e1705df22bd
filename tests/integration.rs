//! Cases on real systemd, each on every version: `252::NAME` and `257::NAME`.
//!
//! The cases of one version share a machine, one after another; the versions run side by side.

#![allow(missing_docs)]

mod cases;
mod runner;

use libtest_mimic::{Arguments, Trial};

use interlock_tests::root::Version;

fn main() {
    let mut args = Arguments::from_args();
    let mut cases = cases::all();
    // For a handful of cases; libtest takes one filter only.
    if let Ok(only) = std::env::var("INTERLOCK_TEST_ONLY") {
        cases.retain(|(name, _)| only.split_whitespace().any(|part| name.contains(part)));
    }
    let trials: Vec<Trial> = cases
        .iter()
        .flat_map(|case| Version::ALL.map(|version| runner::trial(version, *case)))
        .collect();
    // Each waits for its turn on its version's machine, so all of them may wait at once; with as
    // few threads as there are cores, one machine would idle while the other one is busy.
    args.test_threads = args.test_threads.or(Some(trials.len().max(1)));
    let conclusion = libtest_mimic::run(&args, trials);
    runner::shut_down();
    conclusion.exit();
}
