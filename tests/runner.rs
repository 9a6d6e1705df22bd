//! Runs a case on its version's machine, and looks after what it leaves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow};
use interlock_tests::case::{self, Case};
use interlock_tests::install;
use interlock_tests::machine::Machine;
use interlock_tests::root::Version;
use libtest_mimic::{Failed, Trial};

/// A case's name and what it does.
pub type Entry = (&'static str, fn(&Case<'_>) -> Result<()>);

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Ready(Machine),
    /// Trying again for each case would only cost time.
    Broken(String),
}

/// The machines of a version: most cases share the first one. The second one is for cases that take long and
/// mostly wait, which cost nothing beside the others.
const LANES: usize = 2;

static SLOTS: [Mutex<Slot>; Version::ALL.len() * LANES] =
    [const { Mutex::new(Slot::Empty) }; Version::ALL.len() * LANES];

fn slot(version: Version, lane: usize) -> MutexGuard<'static, Slot> {
    let index = Version::ALL
        .iter()
        .position(|each| *each == version)
        .unwrap_or(0);
    SLOTS[index * LANES + lane]
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// A case as libtest knows it.
pub fn trial(version: Version, (name, body): Entry) -> Trial {
    let lane = usize::from(crate::cases::is_aside(name));
    Trial::test(format!("{version}::{name}"), move || {
        run(version, lane, name, body)
    })
}

/// Ends the machines.
pub fn shut_down() {
    for slot in &SLOTS {
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Slot::Empty;
    }
}

fn machine(version: Version) -> Result<Machine> {
    let machine = Machine::boot(version)?;
    install::install(&machine)?;
    // To see that a case can fail: for instance a sed that takes a line out of the gate's unit.
    if let Ok(sabotage) = std::env::var("INTERLOCK_TEST_SABOTAGE") {
        machine.sh(&format!("{sabotage}\nsystemctl daemon-reload"))?;
    }
    case::prepare(&machine)?;
    Ok(machine)
}

fn run(
    version: Version,
    lane: usize,
    name: &str,
    body: fn(&Case<'_>) -> Result<()>,
) -> Result<(), Failed> {
    let mut slot = slot(version, lane);
    if let Slot::Empty = *slot {
        *slot = match machine(version) {
            Ok(machine) => Slot::Ready(machine),
            Err(error) => Slot::Broken(format!("{error:#}")),
        };
    }
    let machine = match &*slot {
        Slot::Ready(machine) => machine,
        Slot::Broken(reason) => return Err(reason.into()),
        Slot::Empty => return Err("no machine".into()),
    };
    let began = Instant::now();
    let case = Case::begin(machine, name)?;
    let result = catch_unwind(AssertUnwindSafe(|| body(&case)))
        .unwrap_or_else(|panic| Err(anyhow!("{}", message(&*panic))))
        .and_then(|()| case.leaves_nothing())
        .map_err(|error| format!("{error:#}\n{}", case.report()));
    if std::env::var_os("INTERLOCK_TEST_TIMES").is_some() {
        eprintln!(
            "{version}::{name} took {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
    if let Err(error) = case.clear() {
        // The next case gets a machine of its own rather than this one's troubles.
        *slot = Slot::Empty;
        if result.is_ok() {
            return Err(format!("can't clear up after the case: {error:#}").into());
        }
    }
    Ok(result?)
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the case panicked".to_owned())
}
