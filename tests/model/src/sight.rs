//! What deployments see of the world, as `supervisor/src/daemon/engine/deploy/observe.rs` gathers it.

use std::collections::BTreeMap;
use std::ops::Deref;

use interlock_core::arbiter::Hurdle;
use interlock_core::deploy::{Activity, Deployment, Rule, Seen, Sight, Stage, held_by_others};

use crate::daemon::daemon_policy;
use crate::deploying::{GRACE, MAX_WAIT, NOW, usec};
use crate::pid1::THIS_RUN;
use crate::setup::{Setup, TASK, TASKS, group, has, unit};
use crate::world::{Run, World};

/// Longer than a service must live to have started well, and than one lingers that heard no call for a checkpoint.
const LONG: u64 = 20_000_000;

impl World {
    fn seen(&self, setup: &Setup, at: usize) -> Seen {
        let it = &self.units[at];
        let policy = daemon_policy(setup, self);
        let daemon = self.daemon.as_ref();
        let wait = daemon.and_then(|it| it.arbiter.view(TASK[at]));
        let service = it.service();
        let gated = policy.is_gated(at);
        let unfreezable = daemon.is_some_and(|it| has(it.unfreezable, at));
        Seen {
            rule: Rule {
                task: TASK[at].to_owned(),
                action: policy.actions[at],
                signal: Some("SIGUSR1".to_owned()),
                fallback: policy.fallback[at],
                gated,
                ..Rule::default()
            },
            activity: Activity::from(service.doing),
            stop_queued: service.is_to_stop(),
            start_queued: service.is_to_start(),
            kept_waiting: wait.is_some_and(|wait| {
                let mut hurdles = wait.hurdles.iter();
                has(self.held, at) || hurdles.any(|hurdle| !matches!(hurdle, Hurdle::Held))
            }),
            is_up: it.run == Run::Running,
            failed: it.failed && it.run == Run::Down,
            occupied: match gated {
                true => self.holds(at),
                false => it.works(),
            },
            frozen: it.frozen,
            busy: it.busy.then(|| "it is in a transaction".to_owned()),
            unfreezable: unfreezable.then(|| "the kernel refuses".to_owned()),
            invocation: THIS_RUN.to_owned(),
        }
    }

    /// What a deployment sees.
    pub fn sight(&self, setup: &Setup, at: usize, it: &Deployment) -> Sight {
        let policy = daemon_policy(setup, self);
        let concerns =
            |task: &usize| has(policy.groups[at], *task) || it.members.contains_key(TASK[*task]);
        let units = (0..TASKS).filter(concerns);
        let units: BTreeMap<String, Seen> = units
            .map(|at| (TASK[at].to_owned(), self.seen(setup, at)))
            .collect();
        let all = self.daemon.iter().flat_map(|it| &it.deployments);
        let all = all.flatten().map(Deref::deref);
        let is_of = |name: &str, task: &str| has(policy.groups[group(name)], unit(task));
        let after = match (it.stage, self.clocks[at]) {
            (Stage::Watch, 1..) | (Stage::Settle, 2) => usec(MAX_WAIT),
            (Stage::Settle, 1) => usec(GRACE),
            (Stage::Settle, 3..) => usec(MAX_WAIT) * 2,
            _ => 0,
        };
        Sight {
            now: NOW + after,
            realtime: if it.stage == Stage::Watch { LONG } else { 1 },
            units,
            held_by_others: held_by_others(it, all, is_of),
            hook: self.hook_sight(at, it),
        }
    }
}
