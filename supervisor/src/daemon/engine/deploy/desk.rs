//! What callers ask for: begin, end, extend, take over.

use std::os::fd::OwnedFd;
use std::time::Duration;

use interlock_core::deploy::{Begin, Deployment, Owner, State};
use interlock_generator::policy::settings::DeployAction;
use tokio::sync::oneshot;

use super::super::super::{Notice, words};
use super::super::Engine;
use super::{Live, Settled, holder};
use crate::failpoint::pass;
use crate::journal::message;
use crate::store::Change;
use crate::{cgroup, clock};

/// So long what follows a reply waits for it.
const REPLY_FIRST: Duration = Duration::from_millis(1);

/// A caller's `BeginDeployment`.
#[derive(Debug)]
pub struct BeginRequest {
    /// The group.
    pub group: String,
    /// For people.
    pub reason: String,
    /// Who asks.
    pub owner: Owner,
    /// The caller's process.
    pub pid: u32,
    /// How long settling may take.
    pub max_wait: Option<Duration>,
    /// When it ends without a holder, from now.
    pub expires: Option<Duration>,
}

/// Why a deployment couldn't begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The policy has no such group.
    #[error("there is no group {group:?}; {known}")]
    NoSuchGroup {
        /// As asked for.
        group: String,
        /// Those that there are.
        known: String,
    },
    /// The caller is a process of a task that would have to come to rest.
    #[error("the caller is a process of {0}, which would have to come to rest first")]
    WouldDeadlock(String),
    /// It can't be written down, or has no holder.
    #[error("{0}")]
    Failed(String),
}

/// Why something couldn't be done to a deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is none of that name.
    #[error("there is no deployment {0:?}; see \"interlockctl deploy list --all\"")]
    NoSuchDeployment(String),
    /// It is over, or about to be.
    #[error("deployment {0} is {1} already")]
    Over(String, &'static str),
    /// It lives as long as its holder.
    #[error("deployment {0} has no expiry: it lives as long as its caller holds it")]
    HasHolder(String),
    /// It can't be written down, or has no holder.
    #[error("{0}")]
    Failed(String),
}

impl Engine {
    /// Admission is closed when this returns; the rest follows.
    pub(in super::super) fn begin_deployment(
        &mut self,
        request: BeginRequest,
    ) -> Result<(String, OwnedFd), BeginError> {
        let groups = self.policy.settings().groups();
        let Some(group) = groups.get(&request.group).cloned() else {
            let names: Vec<&String> = groups.keys().collect();
            return Err(BeginError::NoSuchGroup {
                group: request.group,
                known: match names.is_empty() {
                    true => "the policy has none".to_owned(),
                    false => format!("the policy has {}", words::list(&names)),
                },
            });
        };
        self.refuse_nested(&group.tasks, request.pid)?;
        let failed = |error: &dyn std::fmt::Display| BeginError::Failed(error.to_string());
        let id = self.deployments.store.next_id(&request.group);
        let id = id.map_err(|error| failed(&error))?;
        let realtime = clock::realtime();
        let begin = Begin {
            group: request.group,
            reason: request.reason,
            owner: request.owner,
            grace: group.grace,
            max_wait: request.max_wait.or(group.max_wait),
            expires: request
                .expires
                .map(|after| realtime.saturating_add(words::usec(after))),
            before_settle: group.before_settle,
            after_resume: group.after_resume,
            hook_timeout: group.hook_timeout,
        };
        let deployment =
            Deployment::begin(id.clone(), &self.deployments.boot.clone(), begin, realtime);
        // The holder first: one that is written down without would end at once after a crash.
        let (watch, descriptor) = match deployment.expires {
            0 => holder::open(&id, 0, &self.deployments.inputs)
                .map(|(watch, descriptor)| (Some(watch), descriptor)),
            _ => holder::nothing().map(|descriptor| (None, descriptor)),
        }
        .map_err(|error| failed(&error))?;
        pass("before begin");
        let change = Change {
            deployments: vec![&deployment],
            at: realtime,
            ..Change::default()
        };
        if let Err(error) = self.deployments.store.save(&change) {
            holder::remove(&id);
            return Err(failed(&error));
        }
        pass("after begin");
        tracing::info!(
            message_id = message::DEPLOYMENT,
            deployment = id,
            group = deployment.group,
            state = deployment.state().name(),
            "{} begins for {}",
            super::views::named(&deployment),
            deployment.owner.name
        );
        let live = Live {
            saved: deployment.clone(),
            deployment,
            holder: watch,
            generation: 0,
            waiting: Vec::new(),
            hook_error: None,
            put_off: false,
            over: None,
        };
        self.deployments.all.insert(id.clone(), live);
        self.close_admission();
        self.notify(Notice::Deployment(id.clone()));
        // The caller hears of it first: one that doesn't get its holder has no deployment.
        self.deployments.wake_in(REPLY_FIRST);
        Ok((id, descriptor))
    }

    /// From inside a task that has to come to rest, a deployment would wait for its own caller.
    fn refuse_nested(&self, tasks: &[String], pid: u32) -> Result<(), BeginError> {
        let pid = i32::try_from(pid).unwrap_or(0);
        let Some(group) = cgroup::of_process(pid).ok().flatten() else {
            return Ok(());
        };
        let own = group.split('/').find(|unit| {
            let task = self.policy.task_of(unit);
            let must_rest = task.is_some_and(|task| {
                tasks.contains(&task.name) && task.on_deploy.action != DeployAction::Ignore
            });
            let action = self.policy.action(unit);
            must_rest || action.is_some_and(|action| tasks.contains(&action.task))
        });
        match own {
            Some(unit) => Err(BeginError::WouldDeadlock(unit.to_owned())),
            None => Ok(()),
        }
    }

    /// `by`: who and why, if it isn't the owner. One that ends already does so.
    pub(in super::super) fn end_deployment(
        &mut self,
        id: &str,
        by: Option<String>,
    ) -> Result<(), DeskError> {
        let live = self.deployments.all.get_mut(id);
        let live = live.ok_or_else(|| DeskError::NoSuchDeployment(id.to_owned()))?;
        live.deployment.end(by);
        self.keep(id);
        self.deployments.wake_in(REPLY_FIRST);
        Ok(())
    }

    /// Its expiry is so long from now.
    pub(in super::super) fn extend_deployment(
        &mut self,
        id: &str,
        by: Duration,
    ) -> Result<(), DeskError> {
        let live = self.live_deployment(id)?;
        if live.deployment.expires == 0 {
            return Err(DeskError::HasHolder(id.to_owned()));
        }
        live.deployment.expires = clock::realtime().saturating_add(words::usec(by));
        self.keep(id);
        self.deployments.wake();
        Ok(())
    }

    /// Another owner, and another holder or expiry.
    pub(in super::super) fn take_over_deployment(
        &mut self,
        id: &str,
        owner: Owner,
        reason: String,
        expires: Option<Duration>,
    ) -> Result<OwnedFd, DeskError> {
        let inputs = self.deployments.inputs.clone();
        let live = self.live_deployment(id)?;
        live.generation += 1;
        let opened = match expires {
            Some(_) => holder::nothing().map(|descriptor| (None, descriptor)),
            None => holder::open(id, live.generation, &inputs)
                .map(|(watch, descriptor)| (Some(watch), descriptor)),
        };
        let (watch, descriptor) = opened.map_err(|error| DeskError::Failed(error.to_string()))?;
        if let Some(former) = std::mem::replace(&mut live.holder, watch) {
            former.abort();
        }
        tracing::warn!(
            message_id = message::DEPLOYMENT,
            deployment = id,
            group = live.deployment.group,
            state = live.deployment.state().name(),
            "{} takes deployment {id} over from {}: {reason}",
            owner.name,
            live.deployment.owner.name
        );
        live.deployment.owner = owner;
        if !reason.is_empty() {
            live.deployment.reason = reason;
        }
        live.deployment.expires = expires.map_or(0, |after| {
            clock::realtime().saturating_add(words::usec(after))
        });
        self.deployments.wake();
        Ok(descriptor)
    }

    /// Writes down what a caller is about to be told. If that can't be, it is done all the same: it only ends or
    /// prolongs what there is.
    fn keep(&mut self, id: &str) {
        let deployments = &mut self.deployments;
        let Some(live) = deployments.all.get(id) else {
            return;
        };
        pass("before keep");
        let change = Change {
            deployments: vec![&live.deployment],
            at: clock::realtime(),
            ..Change::default()
        };
        if let Err(error) = deployments.store.save(&change) {
            tracing::error!(deployment = id, %error, "cannot write a deployment down");
        }
        pass("after keep");
    }

    /// Answers when it no longer settles.
    pub(in super::super) fn wait_for_deployment(&mut self, id: &str, to: oneshot::Sender<Settled>) {
        // Dropped without an answer, the caller is told that there is none.
        if let Some(live) = self.deployments.all.get_mut(id) {
            match live.deployment.state() {
                State::Settling => live.waiting.push(to),
                _ => {
                    let _ = to.send(Settled::of(&live.deployment));
                }
            }
        }
    }

    /// The last that held the FIFO open is gone.
    pub(in super::super) fn holder_gone(&mut self, id: &str, generation: u64) {
        if let Some(live) = self.deployments.all.get_mut(id)
            && live.generation == generation
            && live.deployment.expires == 0
        {
            live.deployment
                .fail("its caller went away before it ended it");
            self.deployments.wake();
        }
    }

    fn live_deployment(&mut self, id: &str) -> Result<&mut Live, DeskError> {
        let live = self.deployments.all.get_mut(id);
        let live = live.ok_or_else(|| DeskError::NoSuchDeployment(id.to_owned()))?;
        match live.deployment.holds() {
            true => Ok(live),
            false => Err(DeskError::Over(
                id.to_owned(),
                live.deployment.state().name(),
            )),
        }
    }
}
