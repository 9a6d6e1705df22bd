//! Ten that wait in a known order while interlockd crashes.

use std::fmt::Write as _;

use anyhow::Result;

use super::dice::Dice;
use super::driver::{Choice, Driver};

/// With its weight.
pub const LINE: [Choice; 1] = [("ten waiters over a crash", 3, line_up)];

const WAITERS: usize = 10;

fn line_up(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    // Only one line at a time, or the order among them would be anybody's guess.
    let holds = driver.sh(
        "[ $(systemctl list-jobs --no-legend | grep -c ' line') = 0 ] && systemctl start --no-block line-holder.service &&
         for _ in $(seq 300); do
             [ $(systemctl show --value -p SubState line-holder.service) = start ] && exit 0; sleep 0.05
         done; systemctl stop line-holder.service; exit 1",
    )?;
    if !holds.success() {
        return Ok(());
    }
    let mut units = Vec::new();
    for _ in 0..WAITERS {
        let unit = format!("line@{}.service", driver.number());
        driver.ask("start", std::slice::from_ref(&unit))?;
        // Each at its gate before the next one comes.
        driver.sh(&format!(
            "for _ in $(seq 200); do
                 [ $(systemctl show --value -p SubState 'interlock-gate@{unit}.service') = start ] && break; sleep 0.02
             done"
        ))?;
        units.push(unit);
    }
    let mut line = String::from("lined-up");
    for unit in &units {
        let _ = write!(line, " {unit}");
    }
    driver.ledger.note("kill-daemon")?;
    let also = *dice.one(&["", "; systemctl daemon-reload", "; systemctl daemon-reexec"]);
    driver.sh(&format!(
        "systemctl kill --signal=KILL interlockd.service{also}"
    ))?;
    driver.ledger.note(&line)?;
    driver
        .sh("timeout 20 sh -c 'echo go >/run/testbed/line.fifo' || systemctl stop line-holder.service")
        .map(drop)
}
