//! What users do: starts of all kinds, stops, restarts, cancels, submissions, capacities, pauses.

use anyhow::Result;

use super::dice::Dice;
use super::driver::{Choice, Driver};
use super::world::{ELASTIC, ELASTICITY, REPAIR, REPAIRED, Role};

/// What may be started by hand.
const STARTED: [Role; 4] = [
    Role::Any,
    Role::Late,
    Role::Refusable,
    Role::Uninterruptible,
];

/// What may be stopped by hand.
const STOPPED: [Role; 3] = [Role::Any, Role::Late, Role::Refusable];

/// With their weights.
pub const ACTS: [Choice; 21] = [
    ("start", 300, start),
    ("start of several", 80, start_several),
    ("start of an ordered chain", 30, start_chain),
    ("interlockctl start", 30, start_and_wait),
    ("start of an instance", 100, start_instance),
    ("stop", 60, stop),
    ("restart", 50, restart),
    ("restart of what runs", 15, try_restart),
    ("reload of a service", 15, reload_service),
    ("cancel of a job", 40, cancel),
    ("submission", 60, submit),
    ("cancel of submissions", 12, cancel_submissions),
    ("repair", 15, repair),
    ("interlockctl run", 30, run),
    ("capacity", 20, capacity),
    ("pause of the queue", 10, pause),
    ("hold", 12, hold),
    ("skip of the next run", 8, skip),
    ("a lock from outside", 15, lock),
    ("kill of a task", 15, kill_task),
    ("kill of a client", 10, kill_client),
];

impl Driver<'_> {
    /// Asks systemd for starts, in one call each, and notes which of them it took.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn ask(&mut self, verb: &str, units: &[String]) -> Result<()> {
        for unit in units {
            for undone in undone_by_start(unit) {
                self.ledger.note(&format!("undo {undone}"))?;
            }
            self.ledger.note(&format!("ask {unit}"))?;
        }
        let output = self.sh(&format!(
            "systemctl {verb} --no-block --show-transaction -- {}",
            units.join(" ")
        ))?;
        for unit in units {
            let text = output.text();
            // "Enqueued anchor job 1234 oneshot0.service/start."
            let job = text.lines().find_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let at = words
                    .iter()
                    .position(|word| word.starts_with(unit.as_str()))?;
                let job: u64 = words.get(at.checked_sub(1)?)?.parse().ok()?;
                line.contains("anchor").then_some(job)
            });
            match job {
                Some(job) => self.ledger.note(&format!("ack {unit} {job}"))?,
                None => self.ledger.note(&format!("nak {unit}"))?,
            }
        }
        Ok(())
    }

    /// Notes that what was asked of a unit before may be undone by what comes now, with all that needs it.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn undo(&mut self, unit: &str) -> Result<()> {
        self.ledger.note(&format!("undo {unit}"))?;
        if unit == "oneshot0.service" {
            self.ledger.note("undo requires.service")?;
        }
        Ok(())
    }
}

/// Whose start or run a start of this unit ends.
fn undone_by_start(unit: &str) -> &'static [&'static str] {
    match unit {
        "conflicts.service" => &["conflicted.service"],
        "conflicted.service" => &["conflicts.service"],
        _ => &[],
    }
}

fn start(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STARTED);
    driver.ask("start", &[unit])
}

fn start_several(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let mut units = Vec::new();
    for _ in 0..2 + dice.below(6) {
        let unit = driver.task_of(dice, &STARTED);
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    driver.ask("start", &units)
}

fn start_chain(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    let units = ["third", "second", "first"].map(|name| format!("{name}.service"));
    driver.ask("start", &units)
}

fn start_and_wait(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STARTED);
    driver.ledger.note(&format!("maybe {unit}"))?;
    driver.aside(&format!("interlockctl start '{unit}'"))
}

fn start_instance(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    let number = driver.number();
    driver.ask("start", &[format!("once@{number}.service")])
}

fn stop(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STOPPED);
    driver.undo(&unit)?;
    driver
        .sh(&format!("systemctl stop --no-block '{unit}'"))
        .map(drop)
}

fn restart(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STOPPED);
    driver.undo(&unit)?;
    driver.ask("restart", &[unit])
}

/// A restart that is none if the unit is down, so that nobody has asked for a run.
fn try_restart(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STOPPED);
    let verb = *dice.one(&["try-restart", "try-reload-or-restart"]);
    driver.undo(&unit)?;
    for undone in undone_by_start(&unit) {
        driver.undo(undone)?;
    }
    driver.ledger.note(&format!("maybe {unit}"))?;
    driver
        .sh(&format!("systemctl {verb} --no-block '{unit}'"))
        .map(drop)
}

/// It may end by that, if the signal comes before it listens.
fn reload_service(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = *dice.one(&["reloads0.service", "reloads1.service"]);
    driver.undo(unit)?;
    let verb = *dice.one(&["reload", "reload", "reload-or-restart"]);
    if verb == "reload-or-restart" {
        driver.ledger.note(&format!("maybe {unit}"))?;
    }
    driver
        .sh(&format!("systemctl {verb} --no-block {unit}"))
        .map(drop)
}

fn cancel(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let units: Vec<String> = driver
        .world
        .tasks
        .iter()
        .filter(|task| STOPPED.contains(&task.role))
        .map(super::world::Task::unit)
        .collect();
    let pick = dice.below(1000);
    let jobs = driver.sh("systemctl list-jobs --no-legend --full --plain")?;
    // A job that runs is left: without it nothing would be ordered after the task any more, which is PID 1's rule.
    let waiting: Vec<(String, String)> = jobs
        .stdout
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [job, unit, "start", "waiting"] = words[..] else {
                return None;
            };
            units
                .contains(&unit.to_owned())
                .then(|| (job.to_owned(), unit.to_owned()))
        })
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let (job, unit) = &waiting[pick % waiting.len()];
    driver.undo(unit)?;
    driver.sh(&format!("systemctl cancel {job}")).map(drop)
}

fn submit(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let mut units = Vec::new();
    for _ in 0..=dice.below(5) {
        let number = driver.number();
        // So many of its runs fail.
        let fails = *dice.one(&[0, 0, 0, 1, 2]);
        units.push(format!("import@{number}-{fails}.service"));
    }
    for unit in &units {
        driver.ledger.note(&format!("submit {unit}"))?;
    }
    let output = driver.sh(&format!("interlockctl submit {}", units.join(" ")))?;
    if output.success() {
        for unit in &units {
            driver.ledger.note(&format!("submitted {unit}"))?;
        }
    }
    driver.submitted = units;
    Ok(())
}

/// Of the last that were submitted, those that still wait.
fn cancel_submissions(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    let units = driver.submitted.clone();
    if units.is_empty() {
        return Ok(());
    }
    for unit in &units {
        driver.ledger.note(&format!("undo {unit}"))?;
    }
    driver
        .sh(&format!("interlockctl queue cancel {}", units.join(" ")))
        .map(drop)
}

fn repair(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note(&format!("maybe {REPAIR}"))?;
    driver.aside(&format!(
        "interlockctl action {REPAIRED} repair --reason chaos"
    ))
}

fn run(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let number = driver.number();
    let resource = *dice.one(&["one", "lone", "locked", "pair"]);
    let name = format!("run-{number}");
    driver.ledger.note(&format!("uses {name} {resource} 1"))?;
    driver.aside(&format!(
        "interlockctl run --uses {resource} -- {} {name} run 0.2 0",
        super::world::PROGRAM
    ))
}

fn capacity(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let (word, capacity) = *dice.one(&[
        ("1", 1),
        ("2", 2),
        ("4", 4),
        ("8", 8),
        ("policy", ELASTICITY),
    ]);
    // Until it is known whether it came through, either may count.
    driver.elastic = capacity.max(driver.elastic);
    let either = format!("capacity {ELASTIC} {}", driver.elastic);
    driver.ledger.note(&either)?;
    let done = driver.sh(&format!("interlockctl capacity {ELASTIC} {word}"))?;
    if done.success() {
        driver.elastic = capacity;
        driver
            .ledger
            .note(&format!("capacity {ELASTIC} {capacity}"))?;
    }
    Ok(())
}

fn pause(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    if driver.broken("paused", 5 + dice.below(30), resume) {
        driver.sh("interlockctl queue pause --reason chaos")?;
    }
    Ok(())
}

fn resume(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver
        .sh(&persistently("interlockctl queue resume"))
        .map(drop)
}

/// interlockd may just be dead, and must be told all the same.
fn persistently(command: &str) -> String {
    format!("for _ in 1 2 3 4 5 6 7 8 9 10; do {command} && break; sleep 0.5; done")
}

fn hold(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &[Role::Any]);
    if driver.broken("held", 5 + dice.below(30), release) {
        let task = unit.trim_end_matches(".service");
        // Longer than the clock jumps.
        let done = driver.sh(&format!("interlockctl hold {task} --reason chaos --for 3d"))?;
        if done.success() {
            driver.ledger.note(&format!("held {unit}"))?;
        }
        driver.held = unit;
    }
    Ok(())
}

fn release(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    let unit = driver.held.clone();
    driver.ledger.note(&format!("released {unit}"))?;
    let task = unit.trim_end_matches(".service");
    let script = persistently(&format!("interlockctl release {task}"));
    driver.sh(&script).map(drop)
}

fn skip(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &[Role::Refusable]);
    let task = unit.trim_end_matches(".service");
    driver
        .sh(&format!(
            "interlockctl hold {task} --skip-next --reason chaos --for 3d"
        ))
        .map(drop)
}

fn lock(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.aside("flock /run/testbed/locked sleep 0.7")
}

fn kill_task(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let unit = driver.task_of(dice, &STOPPED);
    let signal = *dice.one(&["TERM", "KILL", "INT"]);
    driver.undo(&unit)?;
    driver.ledger.note(&format!("kill {unit} {signal}"))?;
    driver
        .sh(&format!("systemctl kill --signal={signal} '{unit}'"))
        .map(drop)
}

fn kill_client(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    // Whatever deployment it may be the owner of isn't one any more.
    driver.ledger.note("over *")?;
    driver.kill_one(dice);
    Ok(())
}
