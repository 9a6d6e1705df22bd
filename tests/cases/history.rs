//! What is remembered: complete over a kill of the daemon, and never in the way of the gates, whatever becomes of its
//! file.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::{Service, TASK_PROGRAM};
use interlock_tests::wait::{SOON, wait_for};

use super::support::{
    fill, gate, kill_daemon, line_up, make_room, release_in_turn, with_small_disk, without_daemon,
};

cases![
    run_that_ends_while_the_daemon_is_dead_is_remembered_with_its_end,
    every_result_is_remembered_as_it_was,
    waits_skips_and_interruptions_are_told_with_the_run,
    slow_tasks_are_found_by_how_long_they_ran,
    full_disk_is_told_loudly_and_holds_up_no_gate,
    damaged_database_is_put_aside_and_holds_up_no_gate,
    database_of_the_former_version_is_taken_over,
    state_directory_can_be_moved,
];

const DATABASE: &str = "/var/lib/interlock/state.db";

fn run_that_ends_while_the_daemon_is_dead_is_remembered_with_its_end(
    case: &Case<'_>,
) -> Result<()> {
    let fails = Service::oneshot("dead-fails").exits(7);
    case.services(&[fails, Service::oneshot("dead-well")])?;
    case.policy(&format!(
        "[resources.r]\ncapacity = 2\n{}{}",
        task_policy("dead-fails", "dead-fails", "uses = [\"r\"]"),
        task_policy("dead-well", "dead-well", "uses = [\"r\"]")
    ))?;
    case.start(&["dead-fails.service", "dead-well.service"])?;
    case.begun("dead-fails.service")?;
    case.begun("dead-well.service")?;
    without_daemon(case, || {
        for name in ["dead-fails", "dead-well"] {
            case.release(&format!("{name}.service"))?;
            case.becomes(&gate(name), "inactive")?;
        }
        Ok(())
    })?;
    let log = case.log()?.runs();
    for (task, result, status) in [("dead-fails", "exit-code", 7), ("dead-well", "success", 0)] {
        let past = case.past_runs(task, 1)?;
        ensure!(past.len() == 1, "{past:#?}");
        let run = &past[0];
        ensure!(
            run.text("result") == result && run.signed("exit-status") == Some(status),
            "{run:#?}"
        );
        ensure!(run.text("invocation").len() == 32, "{run:#?}");
        // As it was, not when the daemon came back.
        let own = log
            .iter()
            .find(|own| own.name == format!("{task}.service"))
            .and_then(|own| own.end)
            .context("no end")?;
        let ended = run.number("ended") as f64 / 1e6;
        ensure!(
            (own..own + 1.0).contains(&ended),
            "ended at {own}, remembered as {ended}"
        );
        ensure!(
            run.number("granted") <= run.number("started")
                && run.number("started") < run.number("ended"),
            "{run:#?}"
        );
    }
    case.failed("dead-fails.service")
}

fn every_result_is_remembered_as_it_was(case: &Case<'_>) -> Result<()> {
    let plain = |name: &str, command: &str| Service::oneshot(name).command(command);
    case.services(&[
        plain("res-well", "/bin/true"),
        plain("res-status", "/bin/sh -c 'exit 42'"),
        plain("res-killed", "/bin/sh -c 'kill -9 $$$$'"),
        plain("res-slow", "/bin/sleep 100").service("TimeoutStartSec=200ms"),
        plain("res-absent", "/nonexistent/program"),
        plain("res-unmet", "/bin/true").service("ExecCondition=/bin/false"),
        Service::exec("res-stopped"),
    ])?;
    let expected = [
        ("res-well", "success", Some(0)),
        ("res-status", "exit-code", Some(42)),
        ("res-killed", "signal", None),
        ("res-slow", "timeout", None),
        ("res-absent", "exit-code", Some(203)),
        ("res-unmet", "exec-condition", None),
        ("res-stopped", "stopped", None),
    ];
    let mut policy = "[resources.r]\ncapacity = 10\n".to_owned();
    for (name, _, _) in expected {
        policy += &task_policy(name, name, "uses = [\"r\"]");
    }
    case.policy(&policy)?;
    for (name, result, status) in expected {
        let unit = format!("{name}.service");
        case.try_start(&unit)?;
        if result == "stopped" {
            case.begun(&unit)?;
            case.stop(&[&unit])?;
        }
        let past = case.past_runs(name, 1)?;
        let run = &past[0];
        ensure!(run.text("result") == result, "{name}: {run:#?}");
        if status.is_some() {
            ensure!(run.signed("exit-status") == status, "{name}: {run:#?}");
        }
        if result == "signal" {
            ensure!(run.number("signal") == 9, "{name}: {run:#?}");
        }
    }
    case.sh("systemctl reset-failed").map(drop)
}

fn waits_skips_and_interruptions_are_told_with_the_run(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("tell-first"),
        Service::oneshot("tell-second"),
        Service::oneshot("tell-skips").runs(0.0),
        Service::exec("tell-restarts"),
    ])?;
    case.policy(&format!(
        "[resources.r]\n{}{}{}{}[groups.g]\ntasks = [\"tell-restarts\"]\n",
        task_policy("tell-first", "tell-first", "uses = [\"r\"]"),
        task_policy("tell-second", "tell-second", "uses = [\"r\"]"),
        task_policy(
            "tell-skips",
            "tell-skips",
            "uses = [\"r\"]\nwhen-busy = \"skip\""
        ),
        task_policy(
            "tell-restarts",
            "tell-restarts",
            "on-deploy = { action = \"restart\" }"
        )
    ))?;
    case.start(&["tell-first.service"])?;
    case.begun("tell-first.service")?;
    case.start(&["tell-second.service"])?;
    case.queued(&["tell-second.service"])?;
    case.try_start("tell-skips.service")?;
    case.release("tell-first.service")?;
    case.release("tell-second.service")?;
    let past = case.past_runs("tell-second", 1)?;
    let waited = past[0].list("waited-for").join(" ");
    ensure!(waited.contains("tell-first"), "{past:#?}");
    ensure!(
        past[0].number("granted") > past[0].number("asked"),
        "{past:#?}"
    );
    let past = case.past_runs("tell-skips", 1)?;
    ensure!(
        past[0].text("result") == "skipped" && !past[0].text("reason").is_empty(),
        "{past:#?}"
    );
    case.start(&["tell-restarts.service"])?;
    case.begun("tell-restarts.service")?;
    let id = case.deploy("g")?;
    case.end_deployment(&id)?;
    case.begun("tell-restarts.service")?;
    let past = case.past_runs("tell-restarts", 1)?;
    ensure!(
        past[0].text("result") == "interrupted"
            && past[0].list("interruptions").join(" ").contains(&id),
        "{past:#?}"
    );
    case.stop(&["tell-restarts.service"])
}

fn slow_tasks_are_found_by_how_long_they_ran(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("pace-slow").runs(0.6),
        Service::oneshot("pace-quick").runs(0.0),
    ])?;
    case.policy(&format!(
        "[resources.r]\ncapacity = 2\n{}{}",
        task_policy("pace-slow", "pace-slow", "uses = [\"r\"]"),
        task_policy("pace-quick", "pace-quick", "uses = [\"r\"]")
    ))?;
    for name in ["pace-slow", "pace-quick"] {
        case.try_start(&format!("{name}.service"))?;
        case.past_runs(name, 1)?;
    }
    let told = case.sh("interlockctl history --exceeding 500ms --since '1 hour ago'")?;
    ensure!(
        told.contains("pace-slow") && !told.contains("pace-quick"),
        "{told}"
    );
    let told = case.sh("interlockctl history --slower-than 500ms --json")?;
    ensure!(
        told.contains("pace-slow") && !told.contains("pace-quick"),
        "{told}"
    );
    let output = case.as_alice("interlockctl history pace-slow --since today --json")?;
    ensure!(
        output.success() && output.stdout.contains("pace-slow"),
        "{output:?}"
    );
    Ok(())
}

/// a and b exclude each other and run, one after the other: gates go on.
fn gates_go_on(case: &Case<'_>) -> Result<()> {
    case.sh(": >/var/lib/testbed/log")?;
    super::support::start_in_turn(case, &["a", "b"])?;
    release_in_turn(case, &["a", "b"])
}

/// Monitoring is told that the database is in trouble, also as an ordinary user; status and the journal say so.
fn trouble_is_told(case: &Case<'_>) -> Result<()> {
    let mut said = None;
    wait_for("trouble with the database to be told", SOON, || {
        let output = case.as_alice("interlockctl check")?;
        let told = output.status == Some(1) && output.stdout.contains("history is degraded");
        said = Some(output);
        Ok(told.then_some(()))
    })
    .with_context(|| format!("check says {said:?}"))?;
    let (status, journal) = (case.sh("interlockctl status")?, case.journal("")?);
    ensure!(status.contains("database: "), "not a word of it: {status}");
    ensure!(journal.contains("state.db"), "not a word of it: {journal}");
    Ok(())
}

fn full_disk_is_told_loudly_and_holds_up_no_gate(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.release("a.service")?;
    case.release("b.service")?;
    with_small_disk(case, "4m", || {
        fill(case)?;
        gates_go_on(case)?;
        trouble_is_told(case)?;
        // Promises that can't be kept aren't given.
        let output = case.try_sh("interlockctl submit a.service")?;
        ensure!(!output.success(), "{output:?}");
        kill_daemon(case)?;
        gates_go_on(case)?;
        // With room again it goes on by itself.
        make_room(case)?;
        wait_for("the history to go on", SOON, || {
            gates_go_on(case)?;
            Ok((!case.past("b.service")?.is_empty()).then_some(()))
        })?;
        case.sh(&integrity()).map(drop)
    })
}

/// A script that fails unless the database is whole.
fn integrity() -> String {
    format!(
        "python3 -c \"import sqlite3; r = sqlite3.connect('{DATABASE}').execute('PRAGMA integrity_check').fetchall(); \
         assert r == [('ok',)], r\""
    )
}

fn damaged_database_is_put_aside_and_holds_up_no_gate(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b"].map(Service::oneshot))?;
    case.exclusive(&["a", "b"])?;
    gates_go_on(case)?;
    case.sh(&format!(
        "set -e; systemctl stop interlockd.service; cp -a /var/lib/interlock /var/lib/interlock.kept
         rm -f {DATABASE}-wal {DATABASE}-shm
         head -c 40000 /dev/urandom | dd of={DATABASE} bs=1 seek=100 conv=notrunc status=none
         systemctl start interlockd.service interlock.socket; interlockctl status >/dev/null"
    ))?;
    let result = gates_go_on(case)
        .and_then(|()| trouble_is_told(case))
        .and_then(|()| {
            let files = case.sh("ls /var/lib/interlock")?;
            ensure!(
                files
                    .lines()
                    .any(|name| name.starts_with("state.db") && name.len() > "state.db-wal".len()),
                "the damaged file isn't kept: {files}"
            );
            let past = case.past_runs("b.service", 1)?;
            ensure!(past.len() == 1, "{past:#?}");
            // A deployment's promises can be written down again.
            case.sh(&integrity()).map(drop)
        });
    case.sh(
        "systemctl stop interlockd.service; rm -rf /var/lib/interlock; mv /var/lib/interlock.kept /var/lib/interlock
         systemctl start interlockd.service interlock.socket",
    )?;
    result
}

/// Replaces the state directory while this goes on.
fn with_state(case: &Case<'_>, prepare: &str, then: impl FnOnce() -> Result<()>) -> Result<()> {
    case.sh(&format!(
        "set -e; systemctl stop interlockd.service interlock.socket; mv /var/lib/interlock /var/lib/interlock.kept
         mkdir -m700 /var/lib/interlock; {prepare}
         systemctl start interlock.socket interlockd.service"
    ))?;
    let result = then();
    case.sh(
        "systemctl stop interlockd.service; rm -rf /var/lib/interlock; mv /var/lib/interlock.kept /var/lib/interlock
         systemctl start interlockd.service interlock.socket",
    )?;
    result
}

fn database_of_the_former_version_is_taken_over(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a"),
        Service::oneshot("b"),
        Service::oneshot("work").runs(0.0),
    ])?;
    case.policy(&format!(
        "{}{}[groups.g]\ntasks = [\"t0-a\"]\n",
        exclusive_policy(&["a", "b"]),
        task_policy("work", "work", "uses = [\"r\"]")
    ))?;
    case.write(
        "/run/testbed/state.sql",
        include_str!("../data/state-1.sql"),
    )?;
    let load = format!(
        "python3 -c \"import sqlite3; d = sqlite3.connect('{DATABASE}'); \
         d.executescript(open('/run/testbed/state.sql').read()); d.execute('PRAGMA journal_mode=WAL'); d.commit()\""
    );
    with_state(case, &load, || {
        // What had been submitted before.
        case.ran("work.service", 1)?;
        let past = case.past("a.service")?;
        ensure!(past.len() == 2, "{past:#?}");
        ensure!(
            past[0].number("ended") > past[0].number("granted"),
            "{past:#?}"
        );
        let skips = case.past("b.service")?;
        ensure!(
            skips.iter().any(|row| row.text("result") == "skipped"),
            "{skips:#?}"
        );
        ensure!(
            case.deployments()?.iter().any(|(id, _)| id == "g-1"),
            "{:?}",
            case.deployments()?
        );
        let id = case.deploy("g")?;
        ensure!(id == "g-2", "{id}");
        case.end_deployment(&id)?;
        gates_go_on(case)?;
        ensure!(case.past_runs("a.service", 3)?.len() == 3);
        case.sh(&integrity()).map(drop)
    })
}

fn state_directory_can_be_moved(case: &Case<'_>) -> Result<()> {
    let held = Service::oneshot("moved").command(&format!("{TASK_PROGRAM} moved.service 0"));
    case.services(&[held])?;
    case.exclusive(&["moved"])?;
    let before = case.past("t0-moved")?.len();
    case.try_start("moved.service")?;
    let past = case.past_runs("t0-moved", before + 1)?;
    case.sh("interlockctl queue pause --reason moving")?;
    case.sh("interlockctl submit --batch moved moved.service")?;
    with_state(
        case,
        "cp -a /var/lib/interlock.kept/. /var/lib/interlock/",
        || {
            ensure!(case.past("t0-moved")? == past);
            ensure!(case.entries("t0-moved")?.len() == 1);
            case.sh("interlockctl queue resume")?;
            case.batch_ends("moved")?;
            case.ran("moved.service", 2)
        },
    )?;
    // It isn't taken twice: here it is still as it was.
    case.sh("interlockctl queue cancel --all; interlockctl queue resume")
        .map(drop)
}
