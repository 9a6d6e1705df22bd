//! A small world for tests of deployments: units that start, stop, freeze and hear signals in ticks.

use std::collections::BTreeMap;

use interlock_generator::policy::settings::DeployAction;

use super::*;

pub const SECOND: Usec = 1_000_000;

/// A unit of the world.
#[derive(Debug, Clone)]
pub struct Unit {
    pub rule: Rule,
    pub activity: Activity,
    pub frozen: bool,
    pub stop_queued: bool,
    pub start_queued: bool,
    pub failed: bool,
    /// It holds a lock for so many ticks.
    pub busy: u32,
    /// It ends by itself after so many ticks of running.
    pub ends_in: u32,
    /// A stop takes so many ticks.
    pub stop_takes: u32,
    /// It ends so many ticks after it was told to, or never.
    pub checkpoint_takes: Option<u32>,
    pub leaving: u32,
    pub told: bool,
    pub starts: u32,
    pub run: u32,
}

impl Unit {
    pub fn new(task: &str, action: DeployAction) -> Self {
        Self {
            rule: Rule {
                task: task.to_owned(),
                action,
                signal: Some("SIGUSR1".to_owned()),
                gated: true,
                ..Rule::default()
            },
            activity: Activity::Running,
            frozen: false,
            stop_queued: false,
            start_queued: false,
            failed: false,
            busy: 0,
            ends_in: 1000,
            stop_takes: 1,
            checkpoint_takes: Some(2),
            leaving: 0,
            told: false,
            starts: 0,
            run: 1,
        }
    }

    pub fn rest(&mut self, failed: bool) {
        self.activity = Activity::Down;
        self.stop_queued = false;
        self.frozen = false;
        self.failed = failed;
        self.told = false;
    }

    pub fn tick(&mut self, admission: bool) {
        self.busy = self.busy.saturating_sub(1);
        match self.activity {
            Activity::Running if self.frozen => {}
            Activity::Running if self.told && self.checkpoint_takes.is_some() => {
                self.leaving += 1;
                if Some(self.leaving) >= self.checkpoint_takes {
                    self.rest(false);
                }
            }
            Activity::Running => {
                self.ends_in = self.ends_in.saturating_sub(1);
                if self.ends_in == 0 {
                    self.rest(false);
                }
            }
            Activity::Leaving => {
                self.leaving += 1;
                if self.leaving >= self.stop_takes {
                    self.rest(true);
                }
            }
            Activity::Down if self.start_queued && (admission || !self.rule.gated) => {
                self.start_queued = false;
                self.activity = Activity::Running;
                self.failed = false;
                self.leaving = 0;
                self.starts += 1;
                self.run += 1;
                self.ends_in = 1000;
            }
            _ => {}
        }
    }

    pub fn seen(&self) -> Seen {
        Seen {
            rule: self.rule.clone(),
            activity: self.activity,
            stop_queued: self.stop_queued,
            start_queued: self.start_queued,
            kept_waiting: false,
            is_up: self.activity == Activity::Running,
            failed: self.failed,
            occupied: false,
            frozen: self.frozen,
            busy: (self.busy > 0).then(|| "dnf holds the lock".to_owned()),
            unfreezable: None,
            invocation: format!("run{}", self.run),
        }
    }
}

#[derive(Debug, Clone)]
pub struct World {
    pub units: BTreeMap<String, Unit>,
    pub now: Usec,
    pub hooks: BTreeMap<&'static str, u32>,
    pub hook_fails: bool,
}

impl World {
    pub fn new(units: Vec<Unit>) -> Self {
        let units = units.into_iter().enumerate();
        Self {
            units: units.map(|(n, u)| (format!("u{n}.service"), u)).collect(),
            now: 1000 * SECOND,
            hooks: BTreeMap::new(),
            hook_fails: false,
        }
    }

    pub fn sight(&self, deployment: &Deployment) -> Sight {
        let units = self.units.iter();
        Sight {
            now: self.now,
            realtime: self.now,
            units: units.map(|(n, u)| (n.clone(), u.seen())).collect(),
            held_by_others: BTreeMap::new(),
            hook: deployment.hook().map(|hook| {
                let sight = match (self.hooks.get(hook.name()), hook) {
                    (Some(_), Hook::BeforeSettle) if self.hook_fails => {
                        HookSight::Failed("exit status 1".to_owned())
                    }
                    (Some(_), _) => HookSight::Succeeded,
                    (None, _) => HookSight::Absent,
                };
                (hook, sight)
            }),
        }
    }

    pub fn tick(&mut self, admission: bool) {
        self.now += SECOND;
        for unit in self.units.values_mut() {
            unit.tick(admission);
        }
    }

    /// Takes a step, and complains about those that may never be taken.
    pub fn at(&mut self, name: &str) -> &mut Unit {
        self.units.get_mut(name).unwrap()
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Hook(hook) => *self.hooks.entry(hook.name()).or_default() += 1,
            Step::Freeze(name) => {
                let unit = self.at(name);
                assert_ne!(unit.rule.action, DeployAction::Ignore);
                if unit.activity == Activity::Running {
                    unit.frozen = true;
                }
            }
            Step::Thaw(name) => self.at(name).frozen = false,
            Step::Stop(name) => {
                let unit = self.at(name);
                assert_eq!(unit.busy, 0, "{name} holds a lock and is stopped");
                assert!(!unit.frozen, "{name} is stopped while it is frozen");
                if unit.activity == Activity::Running {
                    unit.activity = Activity::Leaving;
                    unit.leaving = 0;
                    unit.stop_queued = true;
                }
            }
            Step::Signal(name, _) => {
                let unit = self.at(name);
                assert_eq!(unit.busy, 0, "{name} holds a lock and is signalled");
                if unit.activity == Activity::Running {
                    unit.told = true;
                }
            }
            Step::Start(name, _) => {
                let unit = self.at(name);
                if unit.activity != Activity::Running {
                    unit.start_queued = true;
                }
            }
            Step::Reset(name) => self.at(name).failed = false,
            _ => {}
        }
    }
}
