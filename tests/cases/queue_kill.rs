//! Six hundred instances, eight at a time: interlockd killed ten times, the slots lowered to four and back, and the
//! power cut twice, each time at random.
//!
//! A power cut is a copy of /var/lib/interlock, as it is at a random instant, in a fresh root that goes on with it.
//! interlockd stands still (SIGSTOP) while its files are copied, wherever it happened to be: a copy of files that are
//! written meanwhile would be a state that no disk ever had. What had been written and not yet synced is in the copy,
//! too; that SQLite's commits reach the disk before it says so is left to SQLite (`synchronous`).
//!
//! Judged by what the instances themselves wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{self, Case, task_policy};
use interlock_tests::install;
use interlock_tests::log;
use interlock_tests::machine::Machine;
use interlock_tests::service::Service;
use interlock_tests::wait::wait_for;

use super::queue::instances;

cases![six_hundred_instances_outlive_ten_kills_and_two_power_cuts];

const INSTANCES: usize = 600;
const SLOTS: usize = 8;
const LOWERED: usize = 4;
const STATE: &str = "/var/lib/interlock";
const BATCH: &str = "night";

/// All of it may take so long, on a slow and busy machine.
const LONG: Duration = Duration::from_secs(300);

/// What is done meanwhile, each when a random number of instances has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Lower,
    Raise,
    PowerCut,
}

/// Numbers from a seed, the same on each machine (splitmix64).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("INTERLOCK_TEST_SEED");
        let seed = seed.ok().and_then(|seed| seed.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(seed.unwrap_or_else(|| now.map_or(1, |now| now.subsec_nanos().into())))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What comes when: a blow every so many ends, the cuts a third and two thirds through. Each takes effect on
/// whichever machine runs then.
fn plan(dice: &mut Dice) -> Vec<(usize, Blow)> {
    use Blow::{Kill, Lower, PowerCut, Raise};
    let blows = [
        Kill, Kill, Lower, Kill, Kill, Raise, PowerCut, Kill, Kill, Kill, PowerCut, Kill, Kill,
        Kill,
    ];
    let step = (INSTANCES - 60) / blows.len();
    blows
        .into_iter()
        .enumerate()
        .map(|(number, blow)| {
            let random = usize::try_from(dice.below(step as u64)).unwrap_or(0);
            (10 + number * step + random, blow)
        })
        .collect()
}

/// What one machine's log says, of the instances.
#[derive(Debug, Default)]
struct Life {
    begun: BTreeMap<String, usize>,
    /// In the order of their ends.
    ended: Vec<String>,
}

impl Life {
    fn read(machine: &Machine) -> Result<Self> {
        let text = machine.read(log::PATH)?;
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let mut life = Self::default();
        for line in complete.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [_, "begin", name] => *life.begun.entry(name.to_owned()).or_default() += 1,
                [_, "end", name] => life.ended.push(name.to_owned()),
                _ => {}
            }
        }
        Ok(life)
    }

    /// Nothing but kills of interlockd happens in one life of a machine: what ran there ran once.
    fn each_at_most_once(&self) -> Result<()> {
        let twice: Vec<_> = self.begun.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "run twice on one machine: {twice:?}");
        Ok(())
    }
}

/// What every root has: the template and the policy.
fn provide(machine: &Machine) -> Result<()> {
    let service = Service::template("imp")
        .runs(0.05)
        .unit("StartLimitIntervalSec=0");
    machine.write("/etc/systemd/system/imp@.service", &service.text())?;
    machine.write(
        "/etc/interlock/policy.d/10-case.toml",
        &format!(
            "[resources.slots]\ncapacity = {SLOTS}\n{}",
            task_policy("imp", "imp@", "uses = [\"slots\"]")
        ),
    )
}

fn kill(machine: &Machine, signal: &str) -> Result<()> {
    machine
        .sh(&format!(
            "pid=$(systemctl show --value -p MainPID interlockd.service); [ $pid = 0 ] || kill -{signal} $pid"
        ))
        .map(drop)
}

/// The power goes: what had ended by then, and the state directory as it was.
fn cut(machine: &Machine) -> Result<(Life, tempfile::TempDir)> {
    // In the middle of whatever it does.
    kill(machine, "STOP")?;
    let life = Life::read(machine)?;
    let copy = tempfile::tempdir()?;
    for entry in fs::read_dir(machine.path(STATE)?)? {
        let entry = entry?;
        fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    Ok((life, copy))
}

/// A fresh root with what the disk held, whose interlockd starts by itself.
fn go_on(former: &Machine, copy: &tempfile::TempDir) -> Result<Machine> {
    let machine = Machine::boot(former.version())?;
    case::prepare(&machine)?;
    provide(&machine)?;
    for entry in fs::read_dir(copy.path())? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        machine.copy_in(&entry.path(), &format!("{STATE}/{name}"))?;
    }
    machine.sh(&format!("chmod 700 {STATE}"))?;
    install::install(&machine)?;
    Ok(machine)
}

/// Those whose end the copy couldn't know: the last ones, at most as many as can run at once.
fn repeated(before: &Life, after: &Life, slots: usize) -> Result<usize> {
    let known: BTreeSet<&String> = before.ended.iter().collect();
    let again: Vec<&String> = after
        .begun
        .keys()
        .filter(|name| known.contains(name))
        .collect();
    let last: Vec<&String> = before.ended.iter().rev().take(slots).collect();
    ensure!(
        again.iter().all(|name| last.contains(name)),
        "had ended before the power went, and was run again: {again:?}; the last to end were {last:?}"
    );
    Ok(again.len())
}

/// How many run at once, at most, from one moment on.
fn most_at_once(machine: &Machine, from: f64) -> Result<usize> {
    let (mut now, mut most) = (0_usize, 0);
    for line in machine.read(log::PATH)?.lines() {
        let mut words = line.split(' ');
        let at: f64 = words.next().and_then(|at| at.parse().ok()).unwrap_or(0.0);
        match words.next() {
            Some("begin") => now += 1,
            Some("end") => now = now.saturating_sub(1),
            _ => {}
        }
        if at >= from {
            most = most.max(now);
        }
    }
    Ok(most)
}

fn six_hundred_instances_outlive_ten_kills_and_two_power_cuts(case: &Case<'_>) -> Result<()> {
    let mut dice = Dice::new();
    let seed = dice.0;
    run(case, &mut dice).with_context(|| format!("INTERLOCK_TEST_SEED={seed}"))
}

fn run(shared: &Case<'_>, dice: &mut Dice) -> Result<()> {
    let seed = dice.0;
    let plan = plan(dice);
    provide(shared)?;
    shared.reload()?;
    let all = instances("imp", 1..=INSTANCES);
    shared.submit(&format!("--batch {BATCH}"), &all)?;
    kill(shared, "KILL")?;
    let mut kills = 1;
    let mut fresh: Option<Machine> = None;
    let mut lives: Vec<Life> = Vec::new();
    let mut again = Vec::new();
    let mut lowered = None;
    for (at, blow) in plan {
        let machine = fresh.as_ref().unwrap_or(shared);
        let before: BTreeSet<String> = lives.iter().flat_map(|life| life.ended.clone()).collect();
        wait_for(&format!("{at} ends"), LONG, || {
            let life = Life::read(machine)?;
            let new = life.ended.iter().filter(|name| !before.contains(*name));
            Ok((before.len() + new.count() >= at).then_some(()))
        })?;
        // Not always right after an end.
        let until = Instant::now() + Duration::from_millis(dice.below(60));
        while Instant::now() < until {
            std::thread::yield_now();
        }
        match blow {
            Blow::Kill => {
                kill(machine, "KILL")?;
                kills += 1;
            }
            Blow::Lower => {
                machine.sh(&format!("interlockctl capacity slots {LOWERED}"))?;
                // Those that ran end by themselves; the next ones find less room.
                let ended = Life::read(machine)?.ended.len();
                wait_for("those that ran to have ended", LONG, || {
                    Ok((Life::read(machine)?.ended.len() >= ended + SLOTS).then_some(()))
                })?;
                lowered = Some(now(machine)?);
            }
            Blow::Raise => {
                let since = lowered.take().context("not lowered")?;
                let most = most_at_once(machine, since)?;
                ensure!(most <= LOWERED, "{most} ran at once with {LOWERED} slots");
                machine.sh("interlockctl capacity slots policy")?;
            }
            Blow::PowerCut => {
                let (life, copy) = cut(machine)?;
                life.each_at_most_once()?;
                ensure!(most_at_once(machine, 0.0)? <= SLOTS, "too many at once");
                if fresh.is_none() {
                    give_up(shared)?;
                }
                if let Some(before) = lives.last() {
                    again.push(repeated(before, &life, SLOTS)?);
                }
                lives.push(life);
                // Gone before the next one is there.
                drop(fresh.take());
                fresh = Some(go_on(shared, &copy)?);
            }
        }
    }
    let last = fresh.context("no power cut")?;
    let case = Case::begin_again(&last)?;
    let batch = case.batch_ends(BATCH)?;
    let life = Life::read(&last)?;
    life.each_at_most_once()?;
    ensure!(most_at_once(&last, 0.0)? <= SLOTS, "too many at once");
    again.push(repeated(lives.last().context("no life")?, &life, SLOTS)?);
    // The first life's ends, which the second one's copy knew, are known to the third, too.
    repeated(&lives[0], &life, SLOTS)?;
    lives.push(life);
    let ended: BTreeSet<&String> = lives.iter().flat_map(|life| &life.ended).collect();
    let lost: Vec<&String> = all.iter().filter(|unit| !ended.contains(unit)).collect();
    ensure!(lost.is_empty(), "lost: {lost:?}");
    ensure!(
        batch.number("total") == INSTANCES as u64
            && batch.number("done") == INSTANCES as u64
            && batch.number("failed") == 0,
        "{batch:#?}"
    );
    ensure!(kills >= 10, "{kills} kills only");
    println!(
        "systemd {}: {INSTANCES} instances, {kills} kills of interlockd, two power cuts after {} and {} ends; \
         {again:?} ran again whose end was not on disk yet (seed {seed})",
        last.version(),
        lives[0].ended.len(),
        lives[1].ended.len(),
    );
    case.leaves_nothing()
}

fn now(machine: &Machine) -> Result<f64> {
    Ok(machine.sh("echo $EPOCHREALTIME")?.parse()?)
}

/// The shared machine is as good as dead; what is left there is cancelled, for the next case.
fn give_up(shared: &Case<'_>) -> Result<()> {
    kill(shared, "CONT")?;
    wait_for("the queue to be empty", LONG, || {
        let output = shared.try_sh("interlockctl queue cancel --all")?;
        Ok(output.success().then_some(()))
    })?;
    shared
        .entries_become("imp", <[interlock_tests::case::Row]>::is_empty)
        .map(drop)
}
