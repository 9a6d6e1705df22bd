//! Deployments of every kind, with owners that live and owners that die.

use anyhow::Result;

use super::dice::Dice;
use super::driver::{Choice, Driver};
use super::ledger;
use super::world::PROGRAM;

/// With their weights.
pub const DEPLOYMENTS: [Choice; 4] = [
    ("deployment around a command", 30, run),
    ("deployment in two steps", 12, steps),
    ("deployment as a unit", 12, unit),
    ("deployment whose owner is killed", 12, killed),
];

/// More at a time would only wait for one another.
const MOST: usize = 6;

fn group(driver: &Driver<'_>, dice: &mut Dice) -> String {
    let names: Vec<&String> = driver.world.groups.keys().collect();
    (*dice.one(&names)).clone()
}

fn run(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let group = group(driver, dice);
    let span = *dice.one(&["0", "0.3", "1"]);
    if driver.aside_left()? > MOST {
        return Ok(());
    }
    driver.aside(&format!(
        "interlockctl deploy run --group {group} --reason chaos -- {PROGRAM} {group} deploy {span}"
    ))
}

/// A script that says itself between which moments the group is at rest.
fn script(group: &str, name: &str, begin: &str, end: &str) -> String {
    let log = ledger::PATH;
    format!(
        "{begin} || exit
         echo \"$EPOCHREALTIME ready {group} {name}\" >>{log}; sleep 0.5
         echo \"$EPOCHREALTIME over {group} {name}\" >>{log}
         for _ in 1 2 3 4 5; do {end} && break; sleep 0.5; done"
    )
}

fn steps(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let group = group(driver, dice);
    if driver.aside_left()? > MOST {
        return Ok(());
    }
    let name = format!("steps-{}", driver.number());
    // Its expiry is farther away than the clock jumps, or it would end in the middle, as it should.
    driver.aside(&script(
        &group,
        &name,
        &format!("id=$(interlockctl deploy begin --group {group} --expires 3d)"),
        "interlockctl deploy end \"$id\"",
    ))
}

fn unit(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let group = group(driver, dice);
    if driver.aside_left()? > MOST {
        return Ok(());
    }
    let name = format!("unit-{}", driver.number());
    driver.aside(&script(
        &group,
        &name,
        &format!("systemctl start interlock-deploy@{group}.service"),
        &format!("systemctl stop interlock-deploy@{group}.service"),
    ))
}

fn killed(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    run(driver, dice)?;
    // Sooner or later: while it settles, while it is ready, while it ends.
    driver.broken("owner", 1 + dice.below(30), kill_owners);
    Ok(())
}

fn kill_owners(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("over *")?;
    // Together with the command, which would otherwise take its group to be at rest.
    driver.kill_all("interlockctl deploy run");
    Ok(())
}
