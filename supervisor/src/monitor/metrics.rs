//! Which metrics there are. By task and never by instance; what is of no task of the policy (any more) is
//! summed up under one name, so that the number of series is bounded by the policy.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Format, Kind, seconds};
use super::facts::{BUCKETS, Facts, Live, Past, PastTask, State};
use super::measure::is_overdue;

/// The label of what belongs to no task of the policy. No task can be called so.
const OTHER: &str = "(other)";

/// What a textfile says while interlockd doesn't answer.
pub fn down(format: Format) -> String {
    let mut text = Exposition::new(format);
    up(&mut text, 0);
    text.finish()
}

/// All of them.
pub fn metrics(facts: &Facts, format: Format) -> String {
    let mut text = Exposition::new(format);
    up(&mut text, 1);
    daemon(&mut text, &facts.live);
    resources(&mut text, &facts.live);
    tasks(&mut text, facts);
    deployments(&mut text, facts);
    queue(&mut text, &facts.live);
    if let Ok(past) = &facts.past {
        history(&mut text, facts, past);
    }
    text.finish()
}

fn up(text: &mut Exposition, is_up: u8) {
    let help = "Whether interlockd answers.";
    text.family("interlock_up", Kind::Gauge, "", help)
        .sample(&[], is_up);
}

fn daemon(text: &mut Exposition, live: &Live) {
    let help = "Version of interlockd.";
    text.family("interlock_build", Kind::Info, "", help)
        .sample(&[("version", &live.version)], 1);
    let help = "When interlockd started.";
    text.family("interlock_start_time_seconds", Kind::Gauge, "seconds", help)
        .sample(&[], seconds(live.started));
    let help =
        "Whether the policy has no errors; with errors the last good one, or a part, is in effect.";
    text.family("interlock_policy_good", Kind::Gauge, "", help)
        .sample(&[], u8::from(live.policy == "good"));
    let help = "Whether the history can be read and written.";
    text.family("interlock_database_good", Kind::Gauge, "", help)
        .sample(&[], u8::from(live.database.is_none()));
    let help = "Processes that wait for one another for ever, now.";
    text.family("interlock_deadlocks", Kind::Gauge, "", help)
        .sample(&[], live.deadlocks.len());
    let help = "Deadlocks found.";
    text.family("interlock_deadlocks_found", Kind::Counter, "", help)
        .sample(&[], live.deadlocks_found);
}

fn resources(text: &mut Exposition, live: &Live) {
    let help = "Shares that a resource has.";
    let mut family = text.family("interlock_resource_capacity", Kind::Gauge, "", help);
    for (name, resource) in &live.resources {
        family.sample(&[("resource", name)], resource.capacity);
    }
    let help = "Shares of a resource that leases hold.";
    let mut family = text.family("interlock_resource_used", Kind::Gauge, "", help);
    for (name, resource) in &live.resources {
        family.sample(&[("resource", name)], resource.used);
    }
}

/// What the tasks do now.
#[derive(Debug, Clone, Default)]
struct Now {
    units: BTreeMap<State, u64>,
    longest: BTreeMap<State, u64>,
    stale: u64,
}

fn tasks(text: &mut Exposition, facts: &Facts) {
    let live = &facts.live;
    let names = live.tasks.keys().cloned();
    let mut tasks: BTreeMap<String, Now> = names.map(|name| (name, Now::default())).collect();
    for standing in &live.standings {
        let task = tasks.entry(label(live, &standing.task)).or_default();
        *task.units.entry(standing.state).or_default() += 1;
        let longest = task.longest.entry(standing.state).or_default();
        *longest = (*longest).max(age(facts.now, standing.since));
        task.stale += u64::from(standing.is_stale);
    }
    let of = |map: &BTreeMap<State, u64>, state| map.get(&state).copied().unwrap_or(0);

    let help = "Units of a task by what they do: running, waiting (for resources), held (by a deployment, \
                an operator or other jobs), frozen (by a deployment), blocked (by errors in the policy).";
    let mut family = text.family("interlock_task_units", Kind::Gauge, "", help);
    for (name, now) in &tasks {
        for state in State::ALL {
            let labels = [("task", name.as_str()), ("state", state.name())];
            family.sample(&labels, of(&now.units, state));
        }
    }
    let help = "For how long the unit has been in that state that has been longest.";
    let mut family = text.family(
        "interlock_task_longest_seconds",
        Kind::Gauge,
        "seconds",
        help,
    );
    for (name, now) in &tasks {
        for state in [State::Running, State::Waiting, State::Held, State::Frozen] {
            let labels = [("task", name.as_str()), ("state", state.name())];
            family.sample(&labels, seconds(of(&now.longest, state)));
        }
    }
    let help = "Units of a task that run code from before a deployment.";
    let mut family = text.family("interlock_task_stale_units", Kind::Gauge, "", help);
    for (name, now) in &tasks {
        family.sample(&[("task", name)], now.stale);
    }
    let mut holds: BTreeMap<String, (u64, u64)> =
        tasks.keys().map(|name| (name.clone(), (0, 0))).collect();
    for hold in &live.holds {
        let (count, longest) = holds.entry(label(live, &hold.task)).or_default();
        *count += 1;
        *longest = (*longest).max(age(facts.now, hold.since));
    }
    let help = "Holds and skips of a task, or of instances of it, by operators.";
    let mut family = text.family("interlock_task_holds", Kind::Gauge, "", help);
    for (name, (count, _)) in &holds {
        family.sample(&[("task", name)], *count);
    }
    let help = "For how long the oldest of them has stood.";
    let mut family = text.family(
        "interlock_task_hold_longest_seconds",
        Kind::Gauge,
        "seconds",
        help,
    );
    for (name, (_, longest)) in &holds {
        family.sample(&[("task", name)], seconds(*longest));
    }
    let help = "A task is to succeed at least so often (expect-success).";
    let mut family = text.family(
        "interlock_task_expect_success_seconds",
        Kind::Gauge,
        "seconds",
        help,
    );
    for (name, task) in &live.tasks {
        if let Some(period) = task.expect_success {
            family.sample(&[("task", name)], seconds(period));
        }
    }
}

fn deployments(text: &mut Exposition, facts: &Facts) {
    let groups = facts.live.groups.iter().cloned();
    let mut all: BTreeMap<String, (u64, u64)> = groups.map(|group| (group, (0, 0))).collect();
    for deployment in &facts.live.deployments {
        let (count, longest) = all.entry(deployment.group.clone()).or_default();
        *count += 1;
        *longest = (*longest).max(age(facts.now, deployment.since));
    }
    let help = "Deployments of a group that are alive.";
    let mut family = text.family("interlock_deployments", Kind::Gauge, "", help);
    for (group, (count, _)) in &all {
        family.sample(&[("group", group)], *count);
    }
    let help = "For how long the oldest deployment of a group has been alive.";
    let mut family = text.family(
        "interlock_deployment_longest_seconds",
        Kind::Gauge,
        "seconds",
        help,
    );
    for (group, (_, longest)) in &all {
        family.sample(&[("group", group)], seconds(*longest));
    }
}

fn queue(text: &mut Exposition, live: &Live) {
    let help = "Starts in the queue: queued (ready), delayed (retries to come), behind (the task that asked for \
                them), running (started by it).";
    let mut family = text.family("interlock_queue_entries", Kind::Gauge, "", help);
    for name in live.tasks.keys() {
        let depth = live.queue.get(name).copied().unwrap_or_default();
        for (state, n) in [
            ("queued", depth.queued),
            ("delayed", depth.delayed),
            ("behind", depth.behind),
            ("running", depth.running),
        ] {
            family.sample(&[("task", name), ("state", state)], n);
        }
    }
    let help = "Whether the queue starts nothing of a task until it is resumed.";
    let mut family = text.family("interlock_queue_paused", Kind::Gauge, "", help);
    for name in live.tasks.keys() {
        let depth = live.queue.get(name).copied().unwrap_or_default();
        family.sample(&[("task", name)], u8::from(depth.is_paused));
    }
}

fn history(text: &mut Exposition, facts: &Facts, past: &Past) {
    let names = facts.live.tasks.keys().cloned();
    let mut tasks: BTreeMap<String, PastTask> =
        names.map(|name| (name, PastTask::default())).collect();
    for (name, task) in &past.tasks {
        tasks.entry(label(&facts.live, name)).or_default().add(task);
    }
    let help = "Units of a task whose last run failed for good: there is no retry left.";
    let mut family = text.family("interlock_task_failed_units", Kind::Gauge, "", help);
    for (name, task) in &tasks {
        family.sample(&[("task", name)], task.failed);
    }
    if let Ok(usual) = past.baseline(None, facts.now) {
        let help = "Units that have usually failed for good on this host: the mean of seven days without the last hour.";
        text.family("interlock_failed_units_baseline", Kind::Gauge, "", help)
            .sample(&[], format!("{usual:.3}"));
    }
    let help = "Runs of a task, by systemd's result or interlock's own.";
    let mut family = text.family("interlock_runs", Kind::Counter, "", help);
    for (name, task) in &tasks {
        for (result, n) in &task.runs {
            family.sample(&[("task", name), ("result", result)], n);
        }
    }
    let help = "Starts of a task that were given up, by reason.";
    let mut family = text.family("interlock_skips", Kind::Counter, "", help);
    for (name, task) in &tasks {
        for (reason, n) in &task.skips {
            family.sample(&[("task", name), ("reason", reason)], n);
        }
    }
    let help = "Starts of a task that were given up one after the other, up to now.";
    let mut family = text.family("interlock_task_skips_in_a_row", Kind::Gauge, "", help);
    for (name, task) in &tasks {
        family.sample(&[("task", name)], task.skips_in_a_row);
    }
    let help = "How long runs waited at their gates.";
    let mut family = text.family(
        "interlock_gate_wait_seconds",
        Kind::Histogram,
        "seconds",
        help,
    );
    for (name, task) in &tasks {
        let labels = [("task", name.as_str())];
        family.histogram(&labels, &BUCKETS, &task.waits, seconds(task.waited));
    }
    let help = "How long runs took, all together.";
    let mut family = text.family("interlock_run_seconds", Kind::Counter, "seconds", help);
    for (name, task) in &tasks {
        family.sample(&[("task", name)], seconds(task.ran));
    }
    let help = "Whether a task has not succeeded within its expect-success.";
    let mut family = text.family("interlock_task_success_overdue", Kind::Gauge, "", help);
    for (name, task) in &facts.live.tasks {
        if task.expect_success.is_some() {
            family.sample(&[("task", name)], u8::from(is_overdue(facts, past, name)));
        }
    }
    let help = "When a run of a task last succeeded.";
    let name = "interlock_task_last_success_timestamp_seconds";
    let mut family = text.family(name, Kind::Gauge, "seconds", help);
    for (name, task) in tasks.iter().filter(|(_, task)| task.last_success > 0) {
        family.sample(&[("task", name)], seconds(task.last_success));
    }
    let help = "When a run of a task last ended.";
    let name = "interlock_task_last_end_timestamp_seconds";
    let mut family = text.family(name, Kind::Gauge, "seconds", help);
    for (name, task) in tasks.iter().filter(|(_, task)| task.last_end > 0) {
        family.sample(&[("task", name)], seconds(task.last_end));
    }
}

fn label(live: &Live, task: &str) -> String {
    match live.tasks.contains_key(task) {
        true => task.to_owned(),
        false => OTHER.to_owned(),
    }
}

/// 0 if it isn't known since when.
pub(super) fn age(now: u64, since: u64) -> u64 {
    match since {
        0 => 0,
        since => now.saturating_sub(since),
    }
}
