//! A shell inside a booted container with interlock: `shell [252|257] [COMMAND...]`.

use std::process::ExitCode;

use anyhow::Result;
use interlock_tests::machine::Machine;
use interlock_tests::root::Version;
use interlock_tests::{case, install};

fn main() -> Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let version: Version = args.next().as_deref().unwrap_or("257").parse()?;
    install::rpm()?;
    let machine = Machine::boot(version)?;
    install::install(&machine)?;
    // /usr/local/libexec/testbed/task, which test services run.
    case::prepare(&machine)?;
    let mut shell = machine.enter()?;
    let words: Vec<String> = args.collect();
    if words.is_empty() {
        eprintln!(
            "systemd {version} is up, with interlock; all of it is gone when you leave this shell"
        );
        shell.args(["bash", "-l"]);
    } else {
        shell.args(words);
    }
    let status = shell.status()?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}
