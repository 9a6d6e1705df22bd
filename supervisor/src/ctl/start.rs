//! `interlockctl start TASK`: starts a task's unit and tells how it went.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use interlock_generator::names;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::cli::StartArgs;
use super::client::Client;
use super::ending::{Ending, Target, tell};
use super::error::{CtlError, Outcome};
use super::jobs::{self, Job, JobResult};
use super::line::Line;
use super::model::{self, QueueEntry, TaskRow};
use super::output;
use super::proxy::manager::TaskSkippedStream;
use super::{clock, text};
use crate::instance;

/// Between two looks at who is waited for, and whether the job is still there.
const LOOK: Duration = Duration::from_secs(1);

/// How long the reason of a skip may come after the end of the job: they come from two processes.
const SKIP_LAG: Duration = Duration::from_secs(1);

/// Starts, waits and tells.
pub async fn run(client: &Client, args: &StartArgs) -> Result<Outcome, CtlError> {
    let target = resolve(client, &args.task).await?;
    if !args.no_block {
        // From inside a task that it would have to wait for.
        client.check_request(&target.unit, &HashMap::new()).await?;
    }
    let skips = client
        .manager()
        .receive_task_skipped()
        .await
        .map_err(|source| CtlError::Bus {
            what: "can't listen to interlockd",
            source,
        })?;
    let (mut job, before) = jobs::start(client.connection(), &target.unit).await?;
    if args.no_block {
        output::print(&format!("Queued the start of {}.\n", target.unit))?;
        return Ok(Outcome::Done);
    }
    let began = Instant::now();
    let mut progress = Line::on_stderr();
    let mut watch = Watch {
        client,
        target: &target,
        skips,
        skipped: None,
    };
    let waited = tokio::select! {
        result = watch.wait(&mut job, &mut progress, began) => Some(result),
        _ = tokio::signal::ctrl_c() => None,
    };
    progress.clear();
    let Some(result) = waited else {
        output::complain(&format!(
            "no longer waiting; the start of {0} goes on. To give it up: systemctl stop {0}",
            target.unit
        ));
        return Ok(Outcome::Interrupted);
    };
    let skipped = watch.reason(&result).await;
    let took = began.elapsed();
    let failed_requirements = match result.as_deref() {
        Some("dependency") => job.failed_requirements().await,
        _ => Vec::new(),
    };
    let ending = Ending {
        result,
        before,
        after: job.facts().await,
        skipped,
        took,
        failed_requirements,
    };
    let (outcome, sentence) = tell(&target, &ending);
    match outcome {
        Outcome::Done => output::print(&format!("{}\n", text::lines(&sentence)))?,
        _ => output::complain(&sentence),
    }
    Ok(outcome)
}

/// Finds the unit that was meant, by the task's name (`import@foo` for an instance) or its unit's.
pub async fn resolve(client: &Client, typed: &str) -> Result<Target, CtlError> {
    let tasks = client.tasks().await?;
    if let Some(target) = listed(&tasks, typed) {
        return target;
    }
    // Aliases of units only the daemon knows.
    let found = client.lookup(typed).await;
    let object = client.with_suggestions(typed, found).await?;
    let by_object = tasks.iter().find(|task| task.object == object);
    by_object
        .map(|task| target(task, task.unit.clone()))
        .ok_or_else(|| CtlError::NoSuchTask {
            name: typed.to_owned(),
            nearest: Vec::new(),
        })
}

fn target(task: &TaskRow, unit: String) -> Target {
    Target {
        label: model::label(&task.name, &unit),
        unit,
        blocked: task.state == "blocked",
    }
}

/// What was meant, as far as the list of tasks tells.
fn listed(tasks: &[TaskRow], typed: &str) -> Option<Result<Target, CtlError>> {
    let with_suffix = format!("{typed}.service");
    let exact =
        |task: &&TaskRow| [typed, &with_suffix].contains(&task.unit.as_str()) || task.name == typed;
    // A template stands before its instances, which have its name.
    if let Some(task) = tasks.iter().find(exact) {
        let (name, unit) = (task.name.clone(), task.unit.clone());
        return Some(match names::is_template(&unit) {
            true => Err(CtlError::NeedsInstance { task: name, unit }),
            false => Ok(target(task, unit)),
        });
    }
    for unit in [typed, &with_suffix] {
        let template = names::template_of(unit);
        let task = template.and_then(|template| tasks.iter().find(|task| task.unit == template));
        if let Some(task) = task {
            return Some(Ok(target(task, unit.to_owned())));
        }
    }
    let (name, inst) = instance::split(typed)?;
    let task = tasks.iter().find(|task| task.name == name)?;
    let (name, unit) = (task.name.clone(), task.unit.clone());
    let meant = instance::of_template(&unit, inst).filter(|_| !inst.is_empty());
    Some(match (names::is_template(&unit), meant) {
        (true, Some(meant)) => Ok(target(task, meant)),
        (true, None) => Err(CtlError::NeedsInstance { task: name, unit }),
        (false, _) => Err(CtlError::NotATemplate {
            task: name,
            unit,
            instance: inst.to_owned(),
        }),
    })
}

/// Listens while a job is queued.
struct Watch<'a> {
    client: &'a Client,
    target: &'a Target,
    skips: TaskSkippedStream,
    skipped: Option<String>,
}

impl Watch<'_> {
    async fn wait(&mut self, job: &mut Job, progress: &mut Line, began: Instant) -> JobResult {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                result = job.removed() => return result,
                reason = next_skip(&mut self.skips, &self.target.unit) => self.skipped = Some(reason),
                _ = looks.tick() => {
                    if job.lost().await {
                        return None;
                    }
                    if progress.shown() {
                        let entry = self.entry().await;
                        progress.show(&waiting(&self.target.label, entry.as_ref(), began.elapsed()));
                    }
                }
            }
        }
    }

    async fn entry(&self) -> Option<QueueEntry> {
        let queue = self.client.queue().await.ok()?;
        queue
            .into_iter()
            .find(|entry| entry.unit == self.target.unit)
    }

    /// Why interlock gave the start up, if it was interlock that ended the job: by cancelling it, or with
    /// `when-busy = "fail"` by the failure of the gate.
    async fn reason(&mut self, result: &JobResult) -> Option<String> {
        let may_be_ours = matches!(result.as_deref(), Some("canceled" | "dependency"));
        if self.skipped.is_none() && may_be_ours {
            let next = next_skip(&mut self.skips, &self.target.unit);
            self.skipped = timeout(SKIP_LAG, next).await.ok();
        }
        self.skipped.take()
    }
}

/// The reason of the next skip of this unit; never comes if the daemon goes away.
async fn next_skip(skips: &mut TaskSkippedStream, unit: &str) -> String {
    while let Some(signal) = skips.next().await {
        if let Ok(args) = signal.args()
            && args.unit == unit
        {
            return args.reason;
        }
    }
    std::future::pending().await
}

fn waiting(label: &str, entry: Option<&QueueEntry>, took: Duration) -> String {
    let took = clock::span(took);
    match entry {
        Some(entry) => format!("{label} ({took}): {}", entry.reason),
        None => format!("{label} is starting or running ({took})"),
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
