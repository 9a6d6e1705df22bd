//! One step after another, each chosen by the dice of its number: what users do, and what goes wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::dice::Dice;
use super::ledger::Ledger;
use super::world::{ELASTICITY, Role, World};
use crate::command::{Output, Running};
use crate::machine::Machine;

/// What can be done. Weights are how often, by their sum.
pub type Act = fn(&mut Driver<'_>, &mut Dice) -> Result<()>;

/// An act with its name in the report and its weight.
pub type Choice = (&'static str, u32, Act);

/// What has to be mended, and at which step.
type Mend = (u64, &'static str, Act);

/// A chaos run at work.
pub struct Driver<'m> {
    /// Where it is done.
    pub machine: &'m Machine,
    /// With what.
    pub world: &'m World,
    /// What it says it did.
    pub ledger: Ledger,
    /// How often each act was done.
    pub counts: BTreeMap<&'static str, u64>,
    /// Numbers for what needs a name of its own.
    pub serial: u64,
    pub(super) step: u64,
    pub(super) mends: Vec<Mend>,
    running: Vec<Running>,
    /// How much there may be of the resource whose capacity is changed.
    pub(super) elastic: u32,
    /// Whether interlockd is the one of the package.
    pub(super) is_shipped: bool,
    /// The unit that is held, or was last.
    pub(super) held: String,
    /// What was submitted last.
    pub(super) submitted: Vec<String>,
    /// Commands that didn't return.
    pub hung: Vec<String>,
}

impl<'m> Driver<'m> {
    /// Ready for the first step.
    #[must_use]
    pub fn new(machine: &'m Machine, world: &'m World, ledger: Ledger) -> Self {
        Self {
            machine,
            world,
            ledger,
            counts: BTreeMap::new(),
            serial: 0,
            step: 0,
            mends: Vec::new(),
            running: Vec::new(),
            elastic: ELASTICITY,
            is_shipped: false,
            held: String::new(),
            submitted: Vec::new(),
            hung: Vec::new(),
        }
    }

    /// Does what the seed says for this long.
    ///
    /// # Errors
    ///
    /// If the machine is gone; what fails otherwise is for the checker to judge.
    pub fn drive(&mut self, seed: u64, duration: Duration, choices: &[Choice]) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < duration {
            self.step += 1;
            self.mend(false)?;
            let mut dice = Dice::of(seed, self.step);
            let numbered: Vec<(usize, u32)> = choices
                .iter()
                .enumerate()
                .map(|(number, choice)| (number, choice.1))
                .collect();
            let (name, _, act) = choices[dice.weighted(&numbered)];
            *self.counts.entry(name).or_default() += 1;
            act(self, &mut dice)?;
            self.reap()?;
            std::thread::sleep(Duration::from_millis(dice.below(50) as u64));
        }
        Ok(())
    }

    /// Mends what is due, or everything.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn mend(&mut self, all: bool) -> Result<()> {
        let step = self.step;
        let (due, later) = std::mem::take(&mut self.mends)
            .into_iter()
            .partition(|(at, ..)| all || *at <= step);
        self.mends = later;
        for (_, _, mend) in due {
            mend(self, &mut Dice::of(step, step))?;
        }
        Ok(())
    }

    /// Something that is mended some steps later; `false` if it is broken already.
    pub fn broken(&mut self, name: &'static str, steps: usize, mend: Act) -> bool {
        if self.mends.iter().any(|(_, each, _)| *each == name) {
            return false;
        }
        self.mends.push((self.step + steps as u64, name, mend));
        true
    }

    /// Whether this is broken now.
    #[must_use]
    pub fn is_broken(&self, name: &str) -> bool {
        self.mends.iter().any(|(_, each, _)| *each == name)
    }

    /// Runs a script inside; how it ends is its own business, but end it must.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn sh(&mut self, script: &str) -> Result<Output> {
        match self.machine.try_sh(script) {
            Ok(output) => Ok(output),
            Err(error) => {
                // A machine that is gone fails here, too.
                self.machine.sh("true")?;
                self.hung.push(format!("step {}: {error:#}", self.step));
                Ok(Output {
                    status: None,
                    stdout: String::new(),
                    stderr: String::new(),
                })
            }
        }
    }

    /// Starts a script inside, and goes on.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn aside(&mut self, script: &str) -> Result<()> {
        let running = self.machine.spawn(script)?;
        self.running.push(running);
        Ok(())
    }

    /// Forgets what has ended.
    fn reap(&mut self) -> Result<()> {
        let mut still = Vec::new();
        for mut running in std::mem::take(&mut self.running) {
            if running.is_running()? {
                still.push(running);
            }
        }
        self.running = still;
        Ok(())
    }

    /// Kills one of what was started aside and still runs.
    pub fn kill_one(&mut self, dice: &mut Dice) {
        if !self.running.is_empty() {
            let which = dice.below(self.running.len());
            self.running.remove(which).kill();
        }
    }

    /// Kills all that was started aside by a script like this.
    pub fn kill_all(&mut self, script: &str) {
        for running in &mut self.running {
            if running.what().contains(script) {
                running.kill();
            }
        }
    }

    /// How many of what was started aside still run.
    ///
    /// # Errors
    ///
    /// If the kernel can't tell.
    pub fn aside_left(&mut self) -> Result<usize> {
        self.reap()?;
        Ok(self.running.len())
    }

    /// A number that nothing else has.
    pub fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A task of one of these roles.
    pub fn task_of(&self, dice: &mut Dice, roles: &[Role]) -> String {
        let units: Vec<String> = self
            .world
            .tasks
            .iter()
            .filter(|task| roles.contains(&task.role))
            .map(super::world::Task::unit)
            .collect();
        dice.one(&units).clone()
    }
}
