//! Locks that somebody outside the policy holds: gates wait for them, and for nothing that only looks like one.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::command::Running;
use interlock_tests::service::{LOCK_PROGRAM, Service, TASK_PROGRAM};
use interlock_tests::transaction::{self, INSTALL, RPM_DB};
use interlock_tests::wait::SOON;

cases![
    package_transaction_in_a_shell_is_waited_for,
    task_that_skips_what_is_busy_is_refused_with_the_locks_holder,
    every_kind_of_lock_blocks_and_frees,
    lock_that_is_given_back_by_a_process_that_lives_on_frees,
    what_only_looks_like_a_lock_is_not_waited_for,
    lock_of_a_task_is_no_lock_from_outside,
    rival_that_never_waits_is_never_refused_because_of_a_look,
];

/// What may pass between the end of a process that held a lock and the start of who waited for it.
const AFTERWARDS: f64 = 1.5;

/// The kinds of locks with real holders.
const KINDS: [&str; 4] = ["posix", "ofd", "flock", "pidfile"];

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// `interlockctl why`, without its line breaks.
fn why(case: &Case<'_>, task: &str) -> Result<String> {
    let text = case.sh(&format!("interlockctl why {task}"))?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// When a task's last run began.
fn began(case: &Case<'_>, name: &str) -> Result<f64> {
    let runs = case.log()?.runs();
    let run = runs.into_iter().rfind(|run| run.name == name);
    Ok(run.with_context(|| format!("{name} never ran"))?.begin)
}

fn ended(case: &Case<'_>, name: &str) -> Result<f64> {
    let runs = case.log()?.runs();
    let end = runs
        .into_iter()
        .rfind(|run| run.name == name)
        .and_then(|run| run.end);
    end.with_context(|| format!("{name} never ended"))
}

/// A program outside the policy that holds the lock `/run/NAME.lock`.
fn holding(case: &Case<'_>, kind: &str, name: &str) -> Result<Running> {
    let holder = case.spawn(&format!(
        "exec {LOCK_PROGRAM} {kind} /run/testbed-{name}.lock {name}"
    ))?;
    case.begun(name)?;
    Ok(holder)
}

/// A resource of this name whose lock file is `/run/NAME.lock`.
fn resource(kind: &str, name: &str) -> String {
    let comm = match kind {
        "pidfile" => format!(", comm = \"{name}\""),
        _ => String::new(),
    };
    format!(
        "[resources.{name}]\nlock-files = [{{ path = \"/run/testbed-{name}.lock\", kind = \"{kind}\"{comm} }}]\n"
    )
}

/// The process inside that writes itself down as `name`.
fn pid_of(case: &Case<'_>, name: &str) -> Result<String> {
    case.sh(&format!("pgrep -f '^[^ ]*python3 .*{name}$'"))
}

fn package_transaction_in_a_shell_is_waited_for(case: &Case<'_>) -> Result<()> {
    transaction::provide(case, &format!("{TASK_PROGRAM} transaction hold"))?;
    case.services(&[Service::oneshot("t").runs(0.05)])?;
    case.policy(&format!(
        "{RPM_DB}{}",
        task_policy("t", "t", "uses = [\"rpm-db\"]")
    ))?;
    let shell = case.spawn(INSTALL)?;
    case.begun("transaction")?;
    case.start(&["t.service"])?;
    case.queued(&["t.service"])?;
    let pid = case.sh("pgrep -x dnf")?;
    ensure!(case.why("t")?["state"] == "waiting");
    let text = why(case, "t")?;
    ensure!(
        text.contains(&format!("dnf (pid {pid}, root")) && text.contains("rpm-db"),
        "{text}"
    );
    let locks = case.sh("interlockctl locks --full")?;
    ensure!(
        locks.contains(&format!("dnf (pid {pid})")) && locks.contains(".rpm.lock (posix)"),
        "{locks}"
    );
    case.release("transaction")?;
    let output = shell.wait(SOON)?;
    ensure!(output.success(), "{}", output.text());
    case.ran("t.service", 1)?;
    case.no_overlap(&["transaction", "t.service"])?;
    let late = began(case, "t.service")? - ended(case, "dnf")?;
    ensure!(late < AFTERWARDS, "t began {late:.1} s after dnf's end");
    transaction::withdraw(case)
}

fn task_that_skips_what_is_busy_is_refused_with_the_locks_holder(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("t").runs(0.05)])?;
    case.policy(&format!(
        "{}{}",
        resource("posix", "k"),
        task_policy("t", "t", "uses = [\"k\"]\nwhen-busy = \"skip\"")
    ))?;
    let holder = holding(case, "posix", "k")?;
    let pid = pid_of(case, "k")?;
    case.try_start("t.service")?;
    let reason = case.why("t")?["last_skip_reason"].to_string();
    ensure!(
        reason.contains(&format!("pid {pid}")) && reason.contains("when-busy"),
        "{reason}"
    );
    ensure!(case.log()?.count("t.service") == 0);
    drop(holder);
    case.start(&["t.service"])?;
    case.ran("t.service", 1)
}

fn every_kind_of_lock_blocks_and_frees(case: &Case<'_>) -> Result<()> {
    let mut policy = String::new();
    let mut holders = Vec::new();
    for kind in KINDS {
        let name = format!("k-{kind}");
        case.services(&[Service::oneshot(&format!("t-{kind}")).runs(0.05)])?;
        policy += &resource(kind, &name);
        policy += &task_policy(
            &format!("t-{kind}"),
            &format!("t-{kind}"),
            &format!("uses = [\"{name}\"]"),
        );
        holders.push(holding(case, kind, &name)?);
    }
    case.policy(&policy)?;
    let units: Vec<String> = KINDS
        .iter()
        .map(|kind| format!("t-{kind}.service"))
        .collect();
    let mut waiting: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &waiting {
        case.start(&[unit])?;
    }
    case.queued(&waiting)?;
    for (kind, holder) in KINDS.iter().zip(holders) {
        let pid = pid_of(case, &format!("k-{kind}"))?;
        let text = why(case, &format!("t-{kind}"))?;
        ensure!(text.contains(&format!("(pid {pid}, root")), "{text}");
        let unit = waiting.remove(0);
        let freed = now()?;
        drop(holder);
        case.ran(unit, 1)?;
        let late = began(case, unit)? - freed;
        ensure!(
            late > 0.0 && late < AFTERWARDS,
            "{unit} began {late:.1} s after the lock was free"
        );
        case.queued(&waiting)?;
    }
    Ok(())
}

fn lock_that_is_given_back_by_a_process_that_lives_on_frees(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("t").runs(0.05)])?;
    case.policy(&format!(
        "{}{}",
        resource("posix", "k"),
        task_policy("t", "t", "uses = [\"k\"]")
    ))?;
    let mut holder = holding(case, "posix", "k")?;
    case.start(&["t.service"])?;
    case.queued(&["t.service"])?;
    case.sh(&format!("kill -USR1 {}", pid_of(case, "k")?))?;
    case.ran("t.service", 1)?;
    let late = began(case, "t.service")? - ended(case, "k")?;
    ensure!(
        late > 0.0 && late < AFTERWARDS,
        "t began {late:.1} s after the lock was given back"
    );
    ensure!(holder.is_running()?);
    Ok(())
}

fn what_only_looks_like_a_lock_is_not_waited_for(case: &Case<'_>) -> Result<()> {
    // A pid that is gone, one that was used again by something else, none, and a lock for reading.
    case.sh("sh -c 'echo $$' >/run/testbed-stale.lock; : >/run/testbed-empty.lock")?;
    let other = holding(case, "flock", "another")?;
    case.sh(&format!(
        "echo {} >/run/testbed-wrong.lock",
        pid_of(case, "another")?
    ))?;
    let reader = holding(case, "read", "read")?;
    let names = ["stale", "empty", "wrong", "read", "missing"];
    let mut policy = String::new();
    for name in names {
        let kind = if name == "read" { "posix" } else { "pidfile" };
        policy += &resource(kind, name).replace("comm = \"stale\"", "comm = \"python3\"");
    }
    case.services(&[Service::oneshot("t").runs(0.05)])?;
    policy += &task_policy("t", "t", &format!("uses = {names:?}"));
    case.policy(&policy)?;
    case.start(&["t.service"])?;
    case.ran("t.service", 1)?;
    let locks = case.sh("interlockctl locks --json")?;
    let locks: serde_json::Value = serde_json::from_str(&locks)?;
    ensure!(
        locks["locks"].as_array().is_some_and(Vec::is_empty),
        "{locks}"
    );
    for (name, reason) in [
        ("stale", "no process"),
        ("empty", "is empty"),
        ("wrong", "not wrong"),
        ("read", "only a read lock"),
    ] {
        let remarks = locks["remarks"].as_array().context("no remarks")?;
        let said = remarks.iter().any(|remark| {
            remark["resource"] == name && remark["text"].as_str().unwrap_or("").contains(reason)
        });
        ensure!(said, "{name}: {locks}");
    }
    drop((other, reader));
    Ok(())
}

fn lock_of_a_task_is_no_lock_from_outside(case: &Case<'_>) -> Result<()> {
    // Both fit, so b need not wait for a; a's child holds the lock that goes with the resource.
    case.unit(
        "a.service",
        &Service::oneshot("a")
            .command(&format!(
                "/bin/sh -c '{LOCK_PROGRAM} posix /run/testbed-k.lock k & exec {TASK_PROGRAM} a.service hold'"
            ))
            .text(),
    )?;
    case.services(&[Service::oneshot("b").runs(0.05)])?;
    case.policy(&format!(
        "{}{}{}",
        resource("posix", "k").replace("[resources.k]", "[resources.k]\ncapacity = 2"),
        task_policy("a", "a", "uses = [\"k\"]"),
        task_policy("b", "b", "uses = [\"k\"]")
    ))?;
    case.start(&["a.service"])?;
    case.begun("k")?;
    let locks = case.sh("interlockctl locks --json")?;
    ensure!(locks.contains("a.service"), "{locks}");
    case.start(&["b.service"])?;
    case.ran("b.service", 1)?;
    ensure!(case.log()?.is_running("a.service"));
    case.release("a.service")?;
    case.becomes("a.service", "inactive")
}

fn rival_that_never_waits_is_never_refused_because_of_a_look(case: &Case<'_>) -> Result<()> {
    // The first lock makes the task wait, so that the others are looked at each time, too.
    let mut files = String::from("{ path = \"/run/testbed-k.lock\", kind = \"posix\" }");
    // Not of an open file description: its owner shows only at descriptors, and a look at those can keep a lock
    // for a moment (see supervisor/src/locks).
    let rivals = ["posix", "flock"];
    for kind in rivals {
        files += &format!(", {{ path = \"/run/testbed-{kind}.lock\", kind = \"{kind}\" }}");
    }
    case.services(&[Service::oneshot("t").runs(0.05)])?;
    case.policy(&format!(
        "[resources.k]\nlock-files = [{files}]\n{}",
        task_policy("t", "t", "uses = [\"k\"]")
    ))?;
    let holder = holding(case, "posix", "k")?;
    let rivals: Vec<(&str, Running)> = rivals
        .iter()
        .map(|kind| Ok((*kind, holding(case, &format!("rival-{kind}"), kind)?)))
        .collect::<Result<_>>()?;
    case.start(&["t.service"])?;
    case.queued(&["t.service"])?;
    for _ in 0..5 {
        case.sh("interlockctl locks")?;
        why(case, "t")?;
    }
    for (kind, rival) in rivals {
        case.sh(&format!("kill -TERM {}", pid_of(case, kind)?))?;
        let output = rival.wait(SOON)?;
        ensure!(output.success(), "{kind}: {}", output.text());
        let times: u32 = output.stdout.trim().parse()?;
        ensure!(times > 2000, "{kind}: {times} times only");
    }
    drop(holder);
    case.ran("t.service", 1)
}
