//! Takes the steps that a deployment has decided on, each after it was written down.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use interlock_core::deploy::{Answer, Deployment, Hook, State, Step, Todo, in_order};
use interlock_generator::names;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::super::super::{Notice, words};
use super::super::Engine;
use super::{Live, Settled, hook_unit};
use crate::failpoint::pass;
use crate::journal::message;
use crate::pid1::{Pid1, Transient, is_refusal};
use crate::{clock, freezer};

/// How long a checkpoint's command may run.
const COMMAND_TIME: Duration = Duration::from_secs(300);

impl Engine {
    /// Takes all of them; says whether there was anything to do.
    pub(super) async fn take_steps(&mut self, steps: &[(String, Vec<Step>)]) -> bool {
        let Some(pid1) = self.pid1.clone() else {
            return false;
        };
        self.deployments.unanswered = false;
        for todo in in_order(steps) {
            match todo {
                Todo::Thaw(unit) => freezer::thaw(&unit),
                Todo::Take(id, step) => self.take_step(&pid1, &id, step).await,
                Todo::Stop(id, units) => {
                    pass("before stop");
                    self.stop_all(&pid1, &id, units).await;
                    pass("after stop");
                }
            }
        }
        // What is repeated until it is seen isn't news, and what PID 1 doesn't answer is asked again a moment later.
        let mut all = steps.iter().flat_map(|(_, steps)| steps);
        all.any(|step| !matches!(step, Step::Freeze(_))) && !self.deployments.unanswered
    }

    async fn take_step(&mut self, pid1: &Pid1, id: &str, step: Step) {
        self.pulse.beat();
        match step {
            // Together with others, or done by writing it down.
            Step::Thaw(_)
            | Step::Stop(_)
            | Step::HandOver(..)
            | Step::Interrupted(_)
            | Step::Stale(_) => {}
            Step::Hook(hook) => self.run_hook(pid1, id, hook).await,
            Step::EndHook(hook) => {
                let unit = hook_unit(id, hook);
                let _ = pid1.stop(&unit, "replace").await;
                let _ = pid1.reset_failed(&unit).await;
            }
            Step::Freeze(unit) => self.freeze(&unit),
            Step::Signal(unit, signal) => {
                pass("before signal");
                // The policy names only signals that exist.
                let number = Signal::from_str(&signal).map_or(0, |signal| signal as i32);
                let sent = pid1.signal(&unit, number).await;
                pass("after signal");
                self.answered(id, &unit, sent);
            }
            Step::Command(unit, command) => {
                pass("before command");
                let transient = self.checkpoint_command(id, &unit, command);
                let started = pid1.run(&transient).await;
                pass("after command");
                self.answered(id, &unit, started);
            }
            Step::Start(unit, resumes) => self.start_again(pid1, id, &unit, resumes).await,
            Step::Reset(unit) => {
                if let Err(error) = pid1.reset_failed(&unit).await {
                    tracing::debug!(unit, %error, "cannot reset");
                }
            }
        }
    }

    fn freeze(&mut self, unit: &str) {
        let group = self.deployments.details.get(unit);
        let Some(group) = group.map(|details| details.control_group.clone()) else {
            return;
        };
        pass("before freeze");
        match freezer::freeze(unit, &group) {
            Ok(()) => {
                self.deployments.unfreezable.remove(unit);
            }
            // Gone meanwhile: what is seen next says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(unit, %error, "cannot freeze");
                self.deployments
                    .unfreezable
                    .insert(unit.to_owned(), error.to_string());
            }
        }
        pass("after freeze");
    }

    async fn run_hook(&mut self, pid1: &Pid1, id: &str, hook: Hook) {
        let Some(live) = self.deployments.all.get(id) else {
            return;
        };
        let it = &live.deployment;
        let mut environment = environment(it);
        let command = match hook {
            Hook::BeforeSettle => it.before_settle.clone(),
            Hook::AfterResume => {
                let result = it.failure.as_ref().map_or("ended", |_| "failed");
                environment.push(("INTERLOCK_RESULT".to_owned(), result.to_owned()));
                it.after_resume.clone()
            }
        };
        let transient = Transient {
            name: hook_unit(id, hook),
            description: format!("{} of deployment {id}", hook.name()),
            command,
            environment,
            timeout: Duration::from_micros(it.hook_timeout),
            stays: true,
            ..Transient::default()
        };
        pass("before hook");
        let started = pid1.run(&transient).await;
        pass("after hook");
        match answer(started) {
            Answer::Taken => {}
            // Whether it runs is seen next.
            Answer::Unknown => self.deployments.unanswered = true,
            Answer::Refused(why) => {
                if let Some(live) = self.deployments.all.get_mut(id) {
                    live.hook_error = Some((hook, why));
                }
            }
        }
    }

    fn checkpoint_command(&self, id: &str, unit: &str, command: Vec<String>) -> Transient {
        let live = self.deployments.all.get(id);
        let mut environment = live.map(|live| environment(&live.deployment));
        let of_task = [
            ("INTERLOCK_TASK", self.policy.task_name(unit)),
            ("INTERLOCK_UNIT", unit),
        ];
        environment
            .get_or_insert_default()
            .extend(of_task.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Transient {
            name: format!("interlock-checkpoint-{id}-{unit}"),
            description: format!("Checkpoint of {unit} for deployment {id}"),
            command,
            environment: environment.unwrap_or_default(),
            timeout: COMMAND_TIME,
            ..Transient::default()
        }
    }

    /// Starts go to the gate; admission is still closed, so that each start that was queued is still seen there.
    async fn start_again(&mut self, pid1: &Pid1, id: &str, unit: &str, resumes: bool) {
        if resumes && let Err(error) = write_environment(unit, id) {
            tracing::warn!(unit, %error, "cannot tell its next run that it resumes");
        }
        pass("before start");
        let started = pid1.start(unit, "replace").await;
        pass("after start");
        self.answered(id, unit, started);
    }

    /// Remembers that the step was taken, or why it couldn't be.
    fn answered(&mut self, id: &str, unit: &str, result: zbus::Result<()>) {
        if let Err(error) = &result {
            tracing::warn!(unit, deployment = id, %error, "a step of a deployment failed");
        }
        let answer = answer(result);
        self.deployments.unanswered |= answer == Answer::Unknown;
        if let Some(live) = self.deployments.all.get_mut(id) {
            let it = &mut live.deployment;
            it.answered(unit, answer, clock::realtime());
        }
    }

    /// All stops at once. As one transaction if those are exactly what runs of the group's stopped tasks: then
    /// systemd keeps their order; a start that waits at its gate would be cancelled by it.
    async fn stop_all(&mut self, pid1: &Pid1, id: &str, units: Vec<String>) {
        let Some(live) = self.deployments.all.get(id) else {
            return;
        };
        let group = live.deployment.group.clone();
        let together = self.stopped_as_group(&live.deployment);
        let given: BTreeSet<String> = units.iter().cloned().collect();
        if !together.is_empty() && together.len() > 1 && together.is_subset(&given) {
            match pid1.start(&names::stop_group(&group), "replace").await {
                Ok(()) => {
                    self.deployments.expect_stops(together.clone());
                    let rest = units.into_iter().filter(|unit| !together.contains(unit));
                    return self.stop_each(pid1, rest.collect()).await;
                }
                Err(error) => {
                    tracing::warn!(group, %error, "cannot stop the group's tasks in one transaction");
                }
            }
        }
        self.stop_each(pid1, units).await;
    }

    async fn stop_each(&mut self, pid1: &Pid1, units: Vec<String>) {
        let jobs = units
            .iter()
            .map(|unit| async move { (unit, pid1.stop_job(unit).await) });
        for (unit, job) in join_all(jobs).await {
            match job {
                Ok(Some(id)) => {
                    self.deployments.own_stops.insert(id);
                }
                Ok(None) => {
                    self.deployments.expect_stops([unit.clone()]);
                }
                Err(error) => tracing::warn!(unit, %error, "cannot stop it"),
            }
        }
    }

    /// Runs without a gate have read theirs by now; others' goes with their lease.
    fn forget_environment(&mut self, id: &str) {
        let Some(live) = self.deployments.all.get(id) else {
            return;
        };
        for unit in live.deployment.members.keys() {
            if !self.policy.is_gated(unit) {
                let _ = fs::remove_file(names::environment_file(unit));
            }
        }
    }

    /// Tells the journal, the bus and who waits what has changed since it was last told.
    pub(super) fn tell_deployments(&mut self) {
        let mut notices = Vec::new();
        let mut over = Vec::new();
        for (id, live) in &mut self.deployments.all {
            let Live {
                deployment, saved, ..
            } = live;
            if deployment == saved {
                continue;
            }
            if deployment.state() != saved.state() {
                let state = deployment.state();
                let why = match (&deployment.failure, &deployment.ended_by) {
                    (Some(why), _) => format!(": {why}"),
                    (None, Some(by)) => format!(": ended by {by}"),
                    (None, None) => String::new(),
                };
                let text = format!("deployment {id} is {}{why}", state.name());
                tracing::info!(
                    message_id = message::DEPLOYMENT,
                    deployment = id,
                    group = deployment.group,
                    state = state.name(),
                    "{text}"
                );
                if state != State::Settling {
                    for to in live.waiting.drain(..) {
                        let _ = to.send(Settled::of(deployment));
                    }
                }
                if !deployment.holds()
                    && let Some(holder) = live.holder.take()
                {
                    holder.abort();
                    super::holder::remove(id);
                }
            }
            if !deployment.is_live() && saved.is_live() {
                over.push(id.clone());
                live.over = Some(Instant::now());
            }
            for (unit, member) in &deployment.members {
                let before = saved.members.get(unit);
                let is_news =
                    before.is_none_or(|b| b.phase != member.phase || b.detail != member.detail);
                if !is_news {
                    continue;
                }
                let is_protected = member.detail.starts_with("protected since");
                tracing::info!(
                    message_id = match is_protected {
                        true => message::PROTECTED,
                        false => message::STEP,
                    },
                    deployment = id,
                    task = member.task,
                    unit,
                    object_systemd_unit = unit,
                    state = member.phase.name(),
                    "{unit} is {} for deployment {id}{}",
                    member.phase.name(),
                    match member.detail.as_str() {
                        "" => String::new(),
                        detail => format!(": {detail}"),
                    }
                );
                notices.push(Notice::Step {
                    id: id.clone(),
                    unit: unit.clone(),
                    task: member.task.clone(),
                    state: member.phase.name().to_owned(),
                    detail: member.detail.clone(),
                });
                notices.push(Notice::Changed(unit.clone()));
            }
            saved.clone_from(deployment);
            notices.push(Notice::Deployment(id.clone()));
        }
        for notice in notices {
            self.notify(notice);
        }
        for id in over {
            self.forget_environment(&id);
            self.deployments.hooks_ended = false;
            self.deployments.wake();
        }
        self.forget_old_deployments();
    }

    fn forget_old_deployments(&mut self) {
        let all = self.deployments.all.values();
        let over = all.filter(|live| !live.deployment.is_live());
        let mut over: Vec<_> = over
            .map(|live| (live.over, live.deployment.ended, live.deployment.id.clone()))
            .collect();
        over.sort();
        let surplus = over.len().saturating_sub(super::REMEMBERED);
        for (.., id) in over.into_iter().take(surplus) {
            self.deployments.all.remove(&id);
            self.notify(Notice::DeploymentGone(id));
        }
    }
}

fn answer(result: zbus::Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Taken,
        Err(error) if is_refusal(&error) => Answer::Refused(error.to_string()),
        Err(_) => Answer::Unknown,
    }
}

/// What hooks and commands are told of the deployment.
fn environment(it: &Deployment) -> Vec<(String, String)> {
    let pairs = [
        ("INTERLOCK_DEPLOYMENT", &it.id),
        ("INTERLOCK_GROUP", &it.group),
        ("INTERLOCK_REASON", &it.reason),
        ("INTERLOCK_OWNER", &it.owner.name),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.clone()));
    pairs.to_vec()
}

fn write_environment(unit: &str, id: &str) -> io::Result<()> {
    fs::create_dir_all(names::ENVIRONMENT_DIR)?;
    let text = format!("INTERLOCK_RESUME=1\nINTERLOCK_DEPLOYMENT={id}\n");
    fs::write(names::environment_file(unit), text)
}

/// A run that began then, in microseconds of `CLOCK_REALTIME`, is over: its environment goes, a later run's stays.
pub(in super::super) fn forget_environment_of_run(unit: &str, began: u64) {
    let file = names::environment_file(unit);
    let written = fs::metadata(&file).and_then(|it| it.modified());
    let written = written.map(|at| at.duration_since(SystemTime::UNIX_EPOCH));
    if let Ok(Ok(written)) = written
        && words::usec(written) <= began
    {
        let _ = fs::remove_file(file);
    }
}
