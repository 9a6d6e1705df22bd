//! Deployments' hooks: units of their own that end well, fail or take too long.

use interlock_core::deploy::{Deployment, Hook, HookSight, Phase};

use crate::setup::{GROUP, GROUPS, Set, Setup, has};
use crate::world::{Event, HookUnit, Hooks, Miss, World};

/// A deployment's hook, as one of a set.
pub fn bit(group: usize, hook: Hook) -> Set {
    match hook {
        Hook::BeforeSettle => 1 << group,
        Hook::AfterResume => 1 << (GROUPS + group),
    }
}

impl Hooks {
    fn unit(&mut self, hook: Hook) -> &mut HookUnit {
        match hook {
            Hook::BeforeSettle => &mut self.before,
            Hook::AfterResume => &mut self.after,
        }
    }

    fn running(self) -> Option<Hook> {
        match (self.before, self.after) {
            (HookUnit::Running, _) => Some(Hook::BeforeSettle),
            (_, HookUnit::Running) => Some(Hook::AfterResume),
            _ => None,
        }
    }
}

impl World {
    /// What can happen to them.
    pub fn hook_events(&self, out: &mut Vec<Event>) {
        for (at, hooks) in (0_u8..).zip(&self.hooks) {
            if hooks.running().is_some() {
                out.push(Event::HookEnds(at));
                if self.budget.hook_fails > 0 {
                    out.push(Event::HookFails(at));
                }
            }
        }
    }

    /// A hook is over.
    pub fn hook_is_over(&mut self, group: usize, how: HookUnit) {
        let hooks = &mut self.hooks[group];
        if let Some(hook) = hooks.running() {
            *hooks.unit(hook) = how;
        }
    }

    /// What the daemon sees of the hook that a deployment is about: `hook_sight` of the engine.
    pub fn hook_sight(&self, group: usize, it: &Deployment) -> Option<(Hook, HookSight)> {
        let hook = it.hook()?;
        let refused = self.daemon.as_ref().map_or(0, |it| it.hooks_refused);
        if refused & bit(group, hook) != 0 {
            return Some((hook, HookSight::Failed("it is refused".to_owned())));
        }
        let mut hooks = self.hooks[group];
        let is_blocked = hook == Hook::AfterResume && hooks.before == HookUnit::Running;
        let sight = match *hooks.unit(hook) {
            HookUnit::Absent if is_blocked => HookSight::Blocked,
            HookUnit::Absent => HookSight::Absent,
            HookUnit::Running => HookSight::Running,
            HookUnit::Succeeded => HookSight::Succeeded,
            HookUnit::Failed => HookSight::Failed("it failed".to_owned()),
        };
        Some((hook, sight))
    }

    /// The step that runs one. Nothing runs a unit that is there already.
    pub fn run_hook(&mut self, setup: &Setup, group: usize, hook: Hook, miss: Option<Miss>) {
        if miss == Some(Miss::Refused) {
            if let Some(daemon) = &mut self.daemon {
                daemon.hooks_refused |= bit(group, hook);
            }
            return;
        }
        let hooks = &mut self.hooks[group];
        if miss == Some(Miss::Lost) || *hooks.unit(hook) != HookUnit::Absent {
            return;
        }
        *hooks.unit(hook) = HookUnit::Running;
        let is_first = hook == Hook::BeforeSettle;
        hooks.is_out |= is_first;
        hooks.was_put_back |= !is_first;
        let before = hooks.before;
        if let Some(fault) = self.hook_fault(setup, group, is_first, before) {
            self.fault.get_or_insert(fault.into());
        }
    }

    fn hook_fault(
        &self,
        setup: &Setup,
        group: usize,
        is_first: bool,
        before: HookUnit,
    ) -> Option<String> {
        let name = GROUP[group];
        let it = self.stored[group].as_ref()?;
        if is_first {
            return None;
        }
        if before == HookUnit::Running {
            return Some(format!("{name} is put back while it is being taken out"));
        }
        let is_broken = it.members.values().any(|it| it.phase == Phase::Failed);
        if is_broken {
            return Some(format!("{name} is put back though a task didn't start"));
        }
        let has_hooks = setup.policies.iter().any(|it| has(it.hooks, group));
        (!has_hooks).then(|| format!("{name} has no hooks"))
    }

    /// The step that stops and forgets one.
    pub fn end_hook(&mut self, group: usize, hook: Hook) {
        *self.hooks[group].unit(hook) = HookUnit::Absent;
    }

    /// A deployment is over: what was taken out has been put back, unless it is broken.
    pub fn check_hooks(&mut self, group: usize, it: &Deployment) {
        let refused = self.daemon.as_ref().map_or(0, |it| it.hooks_refused);
        let hooks = self.hooks[group];
        let is_broken = it.members.values().any(|it| it.phase == Phase::Failed);
        let was_refused = refused & bit(group, Hook::AfterResume) != 0;
        if hooks.is_out && !(hooks.was_put_back || is_broken || was_refused) {
            let fault = format!("{} is over, and isn't put back", GROUP[group]);
            self.fault.get_or_insert(fault.into());
        }
        self.hooks[group] = Hooks::default();
        if let Some(daemon) = &mut self.daemon {
            let both = bit(group, Hook::BeforeSettle) | bit(group, Hook::AfterResume);
            daemon.hooks_refused &= !both;
        }
    }
}
