//! What the engine tells monitoring: everything that is now, in one answer, so that its parts agree.

use std::collections::BTreeMap;

use super::super::words;
use super::{Engine, TaskCounts};
use crate::monitor::{Deployment, Hold, Live, LiveTask, QueueDepth, ResourceUse, Standing, State};

impl Engine {
    pub(super) fn live(&mut self) -> Live {
        let queue = self.queue_depths();
        let settings = self.policy.settings();
        let policy = self.policy.view();
        let deadlocks = self.deadlock_views();
        Live {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            policy: policy.state,
            policy_errors: policy.errors,
            database: self.database_trouble(),
            resources: self.resource_uses(),
            tasks: settings
                .tasks()
                .values()
                .map(|task| {
                    let expect_success = task.expect_success.map(words::usec);
                    (task.name.clone(), LiveTask { expect_success })
                })
                .collect(),
            standings: self.standings(),
            deployments: self.live_deployments(),
            holds: self.live_holds(),
            groups: settings.groups().keys().cloned().collect(),
            deadlocks_found: deadlocks.iter().map(|it| it.id).max().unwrap_or(0),
            deadlocks: deadlocks
                .into_iter()
                .filter(|it| it.state == "stuck")
                .map(|it| it.text.replace('\n', "; "))
                .collect(),
            queue,
        }
    }

    fn resource_uses(&self) -> BTreeMap<String, ResourceUse> {
        let capacities = self.arbiter.capacities().iter();
        let used = |resource: &String| {
            let leases = self.arbiter.leases().values();
            let shares = leases.filter_map(|lease| lease.uses.get(resource));
            shares.map(|shares| u64::from(*shares)).sum()
        };
        capacities
            .map(|(name, capacity)| {
                let resource = ResourceUse {
                    capacity: *capacity,
                    used: used(name),
                };
                (name.clone(), resource)
            })
            .collect()
    }

    /// A template is listed itself only when it is blocked; its instances are what runs and waits.
    fn standings(&self) -> Vec<Standing> {
        let views = self.task_views().into_iter();
        let busy = views.filter_map(|view| {
            Some(Standing {
                state: State::named(&view.state)?,
                task: view.name,
                unit: view.unit,
                since: view.since,
                detail: view.detail,
                is_stale: !view.stale_since.is_empty(),
            })
        });
        busy.collect()
    }

    fn live_holds(&self) -> Vec<Hold> {
        let views = self.hold_views().into_iter().map(|view| view.hold);
        let hold = |it: crate::store::Hold| Hold {
            task: it.task,
            unit: it.unit,
            since: it.since,
            by: it.by,
            reason: it.reason,
        };
        views.map(hold).collect()
    }

    fn live_deployments(&self) -> Vec<Deployment> {
        let views = self.deployment_views().into_iter();
        let live = views.filter(|it| it.ended == 0);
        live.map(|it| Deployment {
            id: it.id,
            group: it.group,
            state: it.state,
            since: it.since,
            owner: it.owner,
        })
        .collect()
    }

    fn queue_depths(&mut self) -> BTreeMap<String, QueueDepth> {
        // Without an answer the database is in trouble, which is told as such.
        let counts = self.queue_counts().unwrap_or_default().into_iter();
        let depth = |it: TaskCounts| QueueDepth {
            queued: it.counts.queued,
            delayed: it.counts.delayed,
            behind: it.counts.behind,
            running: it.counts.running,
            is_paused: it.paused,
        };
        counts.map(|it| (it.task.clone(), depth(it))).collect()
    }

    /// What is wrong with the state database, one line.
    pub(super) fn database_trouble(&self) -> Option<String> {
        let queue = self.trouble_of_queue();
        let queue = queue.map(|why| format!("the queue can't be written down: {why}"));
        let store = self.deployments.store_ref().trouble().map(str::to_owned);
        let all: Vec<String> = self
            .history
            .health()
            .into_iter()
            .chain(store)
            .chain(queue)
            .collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
