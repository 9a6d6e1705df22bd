//! Against the gates themselves, as an operator might by mistake.

use anyhow::Result;

use super::dice::Dice;
use super::driver::{Choice, Driver};
use super::world::{Role, UNIT_DIR};

const ATTACKED: [Role; 2] = [Role::Any, Role::Refusable];

/// With their weights.
pub const ATTACKS: [Choice; 9] = [
    ("gate signalled", 12, signal),
    ("gate's process killed", 12, kill),
    ("gate stopped", 8, stop),
    ("gate restarted", 6, restart),
    ("gate started by hand", 6, start),
    ("start that ignores dependencies", 12, ignore),
    ("waiting task masked", 6, mask),
    ("isolate", 2, isolate),
    ("forty quick starts", 2, forty),
];

fn attack(driver: &mut Driver<'_>, dice: &mut Dice, command: &str) -> Result<()> {
    let unit = driver.task_of(dice, &ATTACKED);
    driver.undo(&unit)?;
    // A task that runs is restarted with its gate.
    driver.ledger.note(&format!("maybe {unit}"))?;
    driver
        .sh(&format!("{command} 'interlock-gate@{unit}.service'"))
        .map(drop)
}

fn signal(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let signal = *dice.one(&["TERM", "INT", "HUP", "USR1", "CONT", "PIPE"]);
    attack(driver, dice, &format!("systemctl kill --signal={signal}"))
}

fn kill(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    attack(driver, dice, "systemctl kill --signal=KILL")
}

fn stop(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    attack(driver, dice, "systemctl stop --no-block")
}

fn restart(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    attack(driver, dice, "systemctl restart --no-block")
}

fn start(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &ATTACKED);
    driver
        .sh(&format!(
            "systemctl start --no-block 'interlock-gate@{unit}.service'"
        ))
        .map(drop)
}

fn ignore(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &ATTACKED);
    let mode = *dice.one(&["ignore-dependencies", "ignore-requirements"]);
    driver.undo(&unit)?;
    // It runs if its gate is open already, and then it may.
    driver.ledger.note(&format!("maybe {unit}"))?;
    driver
        .sh(&format!(
            "systemctl start --no-block --job-mode={mode} '{unit}'"
        ))
        .map(drop)
}

fn mask(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    if driver.broken("masked", 2 + dice.below(10), unmask) {
        let unit = driver.task_of(dice, &[Role::Any]);
        driver.undo(&unit)?;
        driver.ledger.note(&format!("masked {unit}"))?;
        driver.sh(&format!("systemctl mask '{unit}'"))?;
    }
    Ok(())
}

fn unmask(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("unmasked")?;
    driver
        .sh(&format!(
            "cd {UNIT_DIR}; for unit in *.service; do
                 [ \"$(readlink /etc/systemd/system/$unit)\" = /dev/null ] && systemctl unmask $unit; done"
        ))
        .map(drop)
}

fn isolate(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("undo *")?;
    driver.ledger.note("over *")?;
    driver
        .sh("systemctl isolate --no-block multi-user.target")
        .map(drop)
}

fn forty(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &[Role::Any]);
    for _ in 0..40 {
        driver.ledger.note(&format!("maybe {unit}"))?;
    }
    driver.aside(&format!(
        "for _ in $(seq 40); do timeout 5 systemctl start '{unit}'; done"
    ))
}
