//! One round: what is next for each deployment, written down before it is done.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_core::deploy::{PUT_OFF, Phase, Stage, Step};

use super::super::super::Notice;
use super::super::Engine;
use super::{Deployments, FREEZE_POLL, Live, POLL, READY_POLL};
use crate::clock;
use crate::journal::message;
use crate::store::{Change, Stale};

impl Engine {
    pub(super) fn stages(&self) -> Vec<Stage> {
        let all = self.deployments.all.values();
        all.map(|live| live.deployment.stage).collect()
    }

    /// Each deployment's next steps; `None` if PID 1 can't be asked.
    pub(super) async fn decide(&mut self) -> Option<Vec<(String, Vec<Step>)>> {
        let seen = self.observe().await?;
        let ids: Vec<String> = self.deployments.live().map(|d| d.id.clone()).collect();
        let is_ending = self.deployments.live().any(|d| !d.holds());
        let is_stopping = match &self.pid1 {
            // An error is not a state: what is started now would fail if it is.
            Some(pid1) if is_ending => pid1.is_stopping().await.ok()?,
            _ => false,
        };
        let mut all = Vec::new();
        for id in ids {
            let sight = self.sight_of(&id, &seen);
            let realtime = clock::realtime();
            let Some(live) = self.deployments.all.get_mut(&id) else {
                continue;
            };
            let deployment = &mut live.deployment;
            if deployment.expires > 0 && deployment.expires <= realtime {
                deployment.fail("it expired before it was ended");
            }
            let (steps, is_put_off) = deployment.look(&sight, is_stopping);
            if is_put_off && !live.put_off {
                tracing::info!(deployment = id, "{PUT_OFF}");
                let _ = self.notices.send(Notice::Deployment(id.clone()));
            }
            live.put_off = is_put_off;
            for step in &steps {
                if let Step::HandOver(unit, to, member) = step
                    && let Some(other) = self.deployments.all.get_mut(to)
                {
                    other.deployment.take_over(unit, (**member).clone());
                }
            }
            all.push((id, steps));
        }
        Some(all)
    }

    /// What changes is on disk before it takes effect. A deployment of which something can't be written down fails, and
    /// is undone all the same: nothing may stay half done for want of space. The others stay as they are.
    pub(super) fn write_down(&mut self, steps: &mut Vec<(String, Vec<Step>)>) {
        let now = clock::realtime();
        let mut change = Change {
            at: now,
            ..Change::default()
        };
        let Deployments {
            store, all, stale, ..
        } = &mut self.deployments;
        for (id, steps) in steps.iter() {
            for step in steps {
                match step {
                    Step::Interrupted(unit) => {
                        change.interruptions.push((unit.clone(), id.clone()));
                    }
                    Step::Stale(unit) => {
                        let member = all
                            .get(id)
                            .and_then(|live| live.deployment.members.get(unit));
                        let Some(member) = member else {
                            continue;
                        };
                        // The first deployment that it outlived is the one since which its code is old.
                        let known = stale.get(unit).map(|s| &s.invocation);
                        if known == Some(&member.invocation) {
                            continue;
                        }
                        let it = Stale {
                            invocation: member.invocation.clone(),
                            deployment: id.clone(),
                        };
                        change.stale.push((unit.clone(), it));
                    }
                    _ => {}
                }
            }
        }
        let changed = all.values().filter(|live| live.deployment != live.saved);
        change.deployments = changed.map(|live| &live.deployment).collect();
        if change.deployments.is_empty() && change.interruptions.is_empty() {
            return;
        }
        let about = about(&change);
        let saved = store.save(&change);
        let news = std::mem::take(&mut change.stale);
        drop(change);
        for (unit, it) in news {
            tracing::warn!(
                message_id = message::STALE,
                unit,
                object_systemd_unit = unit,
                deployment = it.deployment,
                "{unit} goes on with code from before deployment {}",
                it.deployment
            );
            stale.insert(unit, it);
        }
        if let Err(error) = saved {
            tracing::error!(%error, "cannot write a deployment down; it is undone");
            // What undoes is done; what would go further isn't.
            let undone = |id: &String, live: &Live| about.contains(id) && live.deployment.holds();
            steps.retain(|(id, _)| all.get(id).is_some_and(|live| !undone(id, live)));
            for (_, live) in all.iter_mut().filter(|(id, live)| undone(id, live)) {
                // As if it had never been decided.
                live.deployment.clone_from(&live.saved);
                live.deployment.refuse(error.to_string());
            }
            self.deployments.wake();
        }
    }

    pub(super) fn plan_next_look(&mut self) {
        let now = clock::monotonic();
        let realtime = clock::realtime();
        let mut next: Option<Duration> = None;
        let mut at_least = |after: Duration| next = Some(next.map_or(after, |n| n.min(after)));
        for deployment in self.deployments.live() {
            if let Some(at) = deployment.next_time(now) {
                at_least(Duration::from_micros(at - now));
            }
            if deployment.expires > 0 && deployment.holds() {
                at_least(Duration::from_micros(
                    deployment.expires.saturating_sub(realtime),
                ));
            }
            let freezing = |m: &interlock_core::deploy::Member| m.phase == Phase::Freezing;
            at_least(match deployment.stage {
                Stage::Ready => READY_POLL,
                _ if deployment.members.values().any(freezing) => FREEZE_POLL,
                _ => POLL,
            });
        }
        if let Some(after) = next {
            self.deployments.wake_in(after);
        }
    }

    /// Runs that were stale and are over.
    pub(super) async fn refresh_stale(&mut self) {
        let Some(pid1) = self.pid1.clone() else {
            return;
        };
        for unit in std::mem::take(&mut self.deployments.maybe_fresh) {
            let Ok(details) = pid1.details(&unit).await else {
                continue;
            };
            let is_over = self.deployments.stale.get(&unit).is_some_and(|stale| {
                stale.invocation != details.invocation || details.control_group.is_empty()
            });
            if is_over {
                self.deployments.stale.remove(&unit);
                self.deployments.store.forget_stale(&unit);
                self.notify(Notice::Changed(unit));
            }
        }
    }
}

/// The deployments of which a change says something.
fn about(change: &Change<'_>) -> BTreeSet<String> {
    let changed = change.deployments.iter().map(|it| &it.id);
    let interrupting = change.interruptions.iter().map(|(_, id)| id);
    let outlived = change.stale.iter().map(|(_, stale)| &stale.deployment);
    changed
        .chain(interrupting)
        .chain(outlived)
        .cloned()
        .collect()
}
