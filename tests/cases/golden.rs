//! What the generator's golden tests expect, judged by systemd itself.

use std::path::Path;

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::install::source_dir;
use interlock_tests::machine::Machine;

cases![expected_trees_of_the_generator_pass_systemds_verification];

fn copy(machine: &Machine, from: &Path, to: &str) -> Result<()> {
    // Links as links: masks are links to /dev/null.
    let target = machine.path(to)?;
    let mut cp = std::process::Command::new("cp");
    cp.arg("-a").arg(from).arg(target);
    interlock_tests::command::host(cp, interlock_tests::wait::SOON).map(drop)
}

fn expected_trees_of_the_generator_pass_systemds_verification(case: &Case<'_>) -> Result<()> {
    copy(
        case,
        &source_dir().join("generator/tests/golden"),
        "/tmp/golden",
    )?;
    copy(case, &source_dir().join("units"), "/tmp/units")?;
    let output = case.try_sh("sh /tmp/golden/verify.sh /tmp/golden /tmp/units");
    case.sh("rm -r /tmp/golden /tmp/units")?;
    let output = output?;
    ensure!(
        output.success() && output.text().is_empty(),
        "{}",
        output.text()
    );
    Ok(())
}
