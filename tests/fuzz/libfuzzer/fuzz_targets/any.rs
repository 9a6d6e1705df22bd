//! The target that `INTERLOCK_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use interlock_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("INTERLOCK_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("INTERLOCK_FUZZ_TARGET must be one of {}", names.join(", "));
        std::process::exit(64)
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
