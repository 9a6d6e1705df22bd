//! Deadlocks with real dnf and rpm: found in time, told with all that belongs to it, and broken if the policy says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::nested;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};
use serde_json::Value;

use super::support::{kill_daemon, main_pid};

cases![
    nested_dnf_is_reported_in_time_and_ended_when_the_policy_says_so,
    nested_dnf_below_a_spinning_parent_is_ended_and_the_next_task_runs,
    what_a_broken_deadlock_made_fail_succeeds_at_its_retry,
    a_hundred_ordinary_transactions_are_no_deadlock,
    blocking_start_of_what_waits_for_the_same_task_is_found,
    blocking_start_through_another_unit_is_found_and_ended,
    a_client_that_waits_for_somebody_else_is_no_deadlock,
    a_client_that_inherits_its_parents_lock_is_no_deadlock,
    two_tasks_that_wait_for_each_others_locks_are_found,
];

/// What has waited for so long may be deadlocked, in seconds.
const GRACE: f64 = 5.0;
/// How soon after that it must be told, in seconds.
const REPORT: f64 = 2.0;
const FOUND: &str = "MESSAGE_ID=5b1f3f0c4e6b4d0fa2c1c0a8de1f7a0f";
const BROKEN: &str = "MESSAGE_ID=5b1f3f0c4e6b4d0fa2c1c0a8de1f7a10";

/// A policy in which these tasks use dnf's database.
fn rpm_policy(grace: f64, on_deadlock: &str, tasks: &[&str]) -> String {
    let mut policy = format!(
        "[resources.rpm-db]
         lock-files = [
             {{ path = '/var/lib/rpm/.rpm.lock', kind = 'posix' }},
             {{ path = '/var/lib/dnf/rpmdb_lock.pid', kind = 'pidfile' }},
         ]
         clients = ['dnf', 'dnf5', 'yum', 'rpm']
         nested-grace = '{grace}s'
         on-deadlock = '{on_deadlock}'\n"
    );
    for task in tasks {
        policy += &task_policy(task, task, "uses = ['rpm-db']");
    }
    policy
}

fn shell(name: &str, script: &str) -> Service {
    Service::oneshot(name).command(&format!("/bin/sh -c '{script}'"))
}

/// All deadlocks that were told in this machine, also by earlier cases.
fn deadlocks(case: &Case<'_>) -> Result<Vec<Value>> {
    let json: Value = serde_json::from_str(&case.sh("interlockctl deadlocks --json")?)?;
    let all = json["deadlocks"].as_array();
    all.cloned().context("no deadlocks in the answer")
}

/// The number of the last one.
fn last(case: &Case<'_>) -> Result<u64> {
    let all = deadlocks(case)?;
    Ok(all
        .iter()
        .filter_map(|it| it["id"].as_u64())
        .max()
        .unwrap_or(0))
}

/// Waits for the first one after `before` to be in this state.
fn comes(case: &Case<'_>, before: u64, state: &str) -> Result<Value> {
    let mut seen = Vec::new();
    wait_for(&format!("a deadlock that is {state}"), SOON, || {
        seen = deadlocks(case)?;
        seen.retain(|it| it["id"].as_u64() > Some(before));
        ensure!(seen.len() < 2, "two deadlocks: {seen:?}");
        let found = seen.first().filter(|it| it["state"] == state);
        Ok(found.cloned())
    })
    .with_context(|| format!("{seen:?}"))
}

/// The journal's messages with these fields. (Not with a cursor: up to 252 journalctl then leaves out the first.)
fn messages(case: &Case<'_>, fields: &str) -> Result<String> {
    case.sh(&format!(
        "journalctl --sync; journalctl --quiet --no-pager -o cat {fields}"
    ))
}

fn chain(deadlock: &Value) -> String {
    let links = deadlock["chain"].as_array().into_iter().flatten();
    let links: Vec<&str> = links.filter_map(Value::as_str).collect();
    links.join("\n")
}

/// Asserts that it was told when its waiter had waited for its grace, and not much later. Returns by how many seconds.
fn in_time(case: &Case<'_>, deadlock: &Value, grace: f64) -> Result<f64> {
    let chain = chain(deadlock);
    let line = chain.lines().last().context("no chain")?;
    let pid = line.split("(pid ").nth(1).context("no pid")?;
    let pid: u32 = pid.split([',', ')']).next().unwrap_or_default().parse()?;
    let started = case.sh(&format!(
        "python3 -c 'import os, time
ticks = int(open(\"/proc/{pid}/stat\").read().rsplit(\")\", 1)[1].split()[19])
age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf(\"SC_CLK_TCK\")
print(time.time() - age)'"
    ))?;
    let found = deadlock["found_usec"].as_f64().context("no time")? / 1e6;
    let late = found - started.parse::<f64>()? - grace;
    ensure!(
        (-0.05..=REPORT).contains(&late),
        "reported {late:.2} s after the end of the grace: {chain}"
    );
    println!("deadlock reported {late:.2} s after the end of its grace");
    Ok(late)
}

fn nested_dnf_is_reported_in_time_and_ended_when_the_policy_says_so(case: &Case<'_>) -> Result<()> {
    nested::provide(case)?;
    let before = last(case)?;
    case.services(&[shell("upcp", "dnf -y install outer")])?;
    case.policy(&rpm_policy(GRACE, "report", &["upcp"]))?;
    let mut monitor = case.spawn(
        "exec timeout 120 stdbuf -oL dbus-monitor --system \
             \"type='signal',interface='org.interlock.Interlock1.Manager'\" >/run/deadlock-signals",
    )?;
    case.start(&["upcp.service"])?;
    let found = comes(case, before, "stuck")?;
    in_time(case, &found, GRACE)?;
    ensure!(
        found["kind"] == "nested-client" && found["unit"] == "upcp.service",
        "{found}"
    );
    ensure!(found["resource"] == "rpm-db", "{found}");
    let chain = chain(&found);
    let links: Vec<&str> = chain.lines().collect();
    ensure!(links.len() == 3, "{chain}");
    ensure!(
        links[0].contains("install outer") && links[0].contains("holds rpm-db"),
        "{chain}"
    );
    ensure!(
        links[2].contains("install inner") && links[2].contains("waits for rpm-db"),
        "{chain}"
    );
    let why = case.sh("interlockctl why upcp")?;
    ensure!(
        why.contains("deadlocked") && why.contains("install inner"),
        "{why}"
    );
    // It stays, is told once, and a new daemon knows it.
    kill_daemon(case)?;
    let pid = main_pid(case, "interlockd.service")?;
    wait_for("looks of the new daemon", SOON, || {
        let age: f64 = case
            .sh(&format!("ps -o etimes= -p {pid}"))?
            .trim()
            .parse()?;
        Ok((age >= 6.0).then_some(()))
    })?;
    ensure!(comes(case, before, "stuck")?["id"] == found["id"]);
    let told = messages(
        case,
        &format!("{FOUND} TASK=upcp UNIT=upcp.service RESOURCE=rpm-db"),
    )?;
    ensure!(told.matches(links[2]).count() == 1, "{told}");
    case.policy(&rpm_policy(GRACE, "kill-nested", &["upcp"]))?;
    comes(case, before, "ended")?;
    case.becomes("upcp.service", "inactive")?;
    let installed = case.sh("rpm -q outer inner | cat")?;
    ensure!(
        installed.contains("outer-1-1") && installed.contains("inner is not installed"),
        "{installed}"
    );
    let told = messages(case, BROKEN)?;
    ensure!(
        told.contains(links[2]) && told.contains("was sent SIGTERM"),
        "{told}"
    );
    wait_for("both signals", SOON, || {
        let signals = case.read("/run/deadlock-signals")?;
        let all = ["DeadlockFound", "DeadlockResolved"];
        Ok(all.iter().all(|it| signals.contains(it)).then_some(()))
    })?;
    monitor.kill();
    case.sh("rm /run/deadlock-signals")?;
    nested::withdraw(case)
}

fn nested_dnf_below_a_spinning_parent_is_ended_and_the_next_task_runs(
    case: &Case<'_>,
) -> Result<()> {
    nested::provide(case)?;
    let before = last(case)?;
    case.services(&[
        shell("upcp", "dnf -y install spinning"),
        shell("next", "dnf -y install inner"),
    ])?;
    case.policy(&rpm_policy(2.0, "kill-nested", &["upcp", "next"]))?;
    case.start(&["upcp.service"])?;
    case.becomes("upcp.service", "activating")?;
    case.start(&["next.service"])?;
    let ended = comes(case, before, "ended")?;
    ensure!(chain(&ended).contains("python3"), "{ended}");
    wait_for("both packages", SOON, || {
        let installed = case.try_sh("rpm -q spinning inner")?;
        Ok(installed.success().then_some(()))
    })?;
    case.becomes("next.service", "inactive")?;
    // The scriptlet's own dnf goes on, too: its transaction went through.
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    nested::withdraw(case)
}

fn what_a_broken_deadlock_made_fail_succeeds_at_its_retry(case: &Case<'_>) -> Result<()> {
    nested::provide(case)?;
    let before = last(case)?;
    // As a migration goes on where it stood: what is there already isn't done again.
    let migration =
        "if rpm -q outer; then dnf -y install inner; else dnf -y install outer; fi; rpm -q inner";
    case.services(&[shell("upcp", migration)])?;
    let mut policy = rpm_policy(1.0, "kill-nested", &["upcp"]);
    policy += "\nretry = { attempts = 3, delay = '1s' }\n";
    case.policy(&policy)?;
    case.start(&["upcp.service"])?;
    comes(case, before, "ended")?;
    let results = || -> Result<Vec<String>> {
        let history = case.sh("interlockctl history upcp --limit 2 --json")?;
        let history: Value = serde_json::from_str(&history)?;
        let runs = history["runs"].as_array().context("no runs")?.iter();
        let result = |run: &Value| run["result"].as_str().unwrap_or_default().to_owned();
        Ok(runs.map(result).collect())
    };
    wait_for("the retry's success", SOON, || {
        Ok((results()?.first().is_some_and(|it| it == "success")).then_some(()))
    })?;
    ensure!(results()? == ["success", "exit-code"], "{:?}", results()?);
    case.sh("rpm -q outer inner")?;
    nested::withdraw(case)
}

fn a_hundred_ordinary_transactions_are_no_deadlock(case: &Case<'_>) -> Result<()> {
    const ROUNDS: u32 = 46;
    nested::provide(case)?;
    let before = last(case)?;
    case.write(
        "/usr/local/bin/ordinary",
        &format!(
            "#!/bin/bash -e
             dnf -y install asking
             dnf -y erase asking
             dnf -y install 'many*'
             dnf -y erase 'many*'
             dnf -y install asking tiny
             dnf -y reinstall tiny
             dnf -y erase asking tiny
             dnf -y install inner
             for ((round = 0; round < {ROUNDS}; round++)); do
                 rpm -i /srv/nested/tiny-1.rpm
                 rpm -e tiny
             done
             echo all >/run/ordinary\n"
        ),
    )?;
    case.sh("chmod 755 /usr/local/bin/ordinary; rm -f /run/ordinary")?;
    case.services(&[Service::oneshot("upcp").command("/usr/local/bin/ordinary")])?;
    // Far less patience than anybody would have.
    case.policy(&rpm_policy(1.0, "kill-nested", &["upcp"]))?;
    case.start(&["upcp.service"])?;
    case.becomes("upcp.service", "activating")?;
    wait_for("all transactions", Duration::from_secs(180), || {
        Ok((case.property("upcp.service", "ActiveState")? != "activating").then_some(()))
    })?;
    ensure!(
        case.read("/run/ordinary").is_ok(),
        "{}",
        case.journal("-u upcp -n 30")?
    );
    let after = deadlocks(case)?;
    ensure!(last(case)? == before, "{after:?}");
    nested::withdraw(case)
}

fn blocking_start_of_what_waits_for_the_same_task_is_found(case: &Case<'_>) -> Result<()> {
    let before = last(case)?;
    case.services(&[
        shell("upcp", "systemctl start other"),
        Service::oneshot("other").runs(0.0),
    ])?;
    case.policy(&rpm_policy(2.0, "report", &["upcp", "other"]))?;
    case.start(&["upcp.service"])?;
    let found = comes(case, before, "stuck")?;
    in_time(case, &found, 2.0)?;
    ensure!(
        found["kind"] == "blocking-start" && found["unit"] == "upcp.service",
        "{found}"
    );
    let chain = chain(&found);
    ensure!(
        chain.contains("systemctl start other")
            && chain.contains("other.service waits at its gate"),
        "{chain}"
    );
    // Somebody gives the other one up.
    case.stop(&["other.service"])?;
    comes(case, before, "gone")?;
    case.failed("upcp.service")
}

fn blocking_start_through_another_unit_is_found_and_ended(case: &Case<'_>) -> Result<()> {
    let before = last(case)?;
    case.services(&[
        shell("upcp", "systemctl restart front; true"),
        Service::oneshot("front")
            .runs(0.0)
            .unit("Requires=other.service")
            .unit("After=other.service"),
        Service::oneshot("other").runs(0.0),
    ])?;
    case.policy(&rpm_policy(1.0, "kill-nested", &["upcp", "other"]))?;
    case.start(&["upcp.service"])?;
    let ended = comes(case, before, "ended")?;
    ensure!(chain(&ended).contains("front.service"), "{ended}");
    // What was started isn't lost.
    case.ran("other.service", 1)?;
    case.ran("front.service", 1)
}

fn a_client_that_waits_for_somebody_else_is_no_deadlock(case: &Case<'_>) -> Result<()> {
    nested::provide(case)?;
    let before = last(case)?;
    case.services(&[shell(
        "upcp",
        "/usr/local/libexec/testbed/task upcp hold; dnf -y install inner",
    )])?;
    case.policy(&rpm_policy(1.0, "kill-nested", &["upcp"]))?;
    case.start(&["upcp.service"])?;
    case.begun("upcp")?;
    // An administrator's, after the task has begun.
    let holder = case.spawn("echo $$ >/var/lib/dnf/rpmdb_lock.pid; exec sleep 8")?;
    case.release("upcp")?;
    holder.wait(SOON)?;
    wait_for("the package", SOON, || {
        Ok(case.try_sh("rpm -q inner")?.success().then_some(()))
    })?;
    case.becomes("upcp.service", "inactive")?;
    let waited = case.journal("-u upcp")?;
    ensure!(waited.contains("Waiting for process"), "{waited}");
    ensure!(last(case)? == before, "{:?}", deadlocks(case)?);
    nested::withdraw(case)
}

fn a_client_that_inherits_its_parents_lock_is_no_deadlock(case: &Case<'_>) -> Result<()> {
    let before = last(case)?;
    case.sh("cp /bin/sleep /usr/local/bin/napper")?;
    case.services(&[shell(
        "upcp",
        "flock /run/napper.lock /usr/local/bin/napper 5",
    )])?;
    case.policy(&format!(
        "[resources.nap]
         lock-files = [{{ path = '/run/napper.lock', kind = 'flock' }}]
         clients = ['napper']
         nested-grace = '1s'
         on-deadlock = 'kill-nested'\n{}",
        task_policy("upcp", "upcp", "uses = ['nap']")
    ))?;
    case.start(&["upcp.service"])?;
    case.becomes("upcp.service", "activating")?;
    case.becomes("upcp.service", "inactive")?;
    ensure!(last(case)? == before, "{:?}", deadlocks(case)?);
    case.sh("rm /usr/local/bin/napper").map(drop)
}

fn two_tasks_that_wait_for_each_others_locks_are_found(case: &Case<'_>) -> Result<()> {
    let before = last(case)?;
    let crossed = |name: &str, first: &str, second: &str| {
        let script = format!(
            "/usr/local/libexec/testbed/task {name} hold; flock -o /run/{second}.lock true"
        );
        Service::oneshot(name).command(&format!(
            "/usr/bin/flock -o /run/{first}.lock /bin/sh -c '{script}'"
        ))
    };
    case.services(&[crossed("one", "a", "b"), crossed("two", "b", "a")])?;
    let mut policy = String::new();
    for name in ["a", "b"] {
        policy += &format!(
            "[resources.{name}]
             lock-files = [{{ path = '/run/{name}.lock', kind = 'flock' }}]
             nested-grace = '1s'\n"
        );
    }
    policy += &task_policy("one", "one", "");
    policy += &task_policy("two", "two", "");
    case.policy(&policy)?;
    case.start(&["one.service", "two.service"])?;
    // Each with its first lock.
    case.begun("one")?;
    case.begun("two")?;
    case.release("one")?;
    case.release("two")?;
    let found = comes(case, before, "stuck")?;
    ensure!(found["kind"] == "between-tasks", "{found}");
    let chain = chain(&found);
    ensure!(
        chain.contains("one.service") && chain.contains("two.service"),
        "{chain}"
    );
    case.sh("systemctl kill --signal=TERM one.service")?;
    comes(case, before, "gone")?;
    case.failed("one.service")?;
    case.becomes("two.service", "inactive")
}
