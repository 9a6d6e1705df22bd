//! Requests from inside a task: refused if they would wait for it, queued for afterwards, or told what it holds; and
//! commands behind a gate of their own.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::{LOCK_PROGRAM, Service, TASK_PROGRAM};
use interlock_tests::transaction::{self, INSTALL, RPM_DB, RPM_LOCK};
use interlock_tests::wait::{SOON, wait_for};

use super::support::{kill_daemon, line_up};

cases![
    scriptlets_submission_from_a_shell_runs_once_after_the_transaction,
    scriptlets_submission_inside_a_task_runs_once_after_the_task,
    request_that_would_wait_for_its_own_task_is_refused,
    start_that_is_not_waited_for_runs_after_the_task,
    task_knows_what_it_holds,
    command_has_its_input_output_and_exit_status,
    command_waits_like_a_task_and_survives_the_daemons_death,
    interrupted_command_is_stopped_and_frees_its_resource,
    ordinary_user_may_look_and_not_submit,
];

/// A `%post` that submits the task `work`, and then takes its time.
fn submitting_post() -> String {
    format!("%interlock_submit work\n{TASK_PROGRAM} transaction hold")
}

/// The task `work`, which uses nothing that a transaction uses, but fails if rpm's lock isn't free.
fn work(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("work")
        .runs(0.05)
        .service(&format!("ExecStartPre={LOCK_PROGRAM} free {RPM_LOCK}"))])
}

/// Nothing is queued for later any more.
fn nothing_submitted(case: &Case<'_>) -> Result<()> {
    wait_for("all submissions to have been started", SOON, || {
        let left = case.sh(
            "busctl call org.interlock.Interlock1 /org/interlock/Interlock1 \
             org.interlock.Interlock1.Manager ListSubmitted",
        )?;
        Ok(left.ends_with(" 0").then_some(()))
    })
}

/// `work` has run once, after this one's end.
fn worked_once_after(case: &Case<'_>, before: &str) -> Result<()> {
    case.ran("work.service", 1)?;
    nothing_submitted(case)?;
    let runs = case.log()?.runs();
    let end = runs.iter().find(|run| run.name == before);
    let end = end.and_then(|run| run.end).context("it has no end")?;
    let work = runs.iter().find(|run| run.name == "work.service");
    let began = work.map_or(0.0, |run| run.begin);
    ensure!(
        began > end,
        "work began before the end of {before}: {runs:?}"
    );
    case.ran("work.service", 1)?;
    transaction::withdraw(case)
}

fn scriptlets_submission_from_a_shell_runs_once_after_the_transaction(
    case: &Case<'_>,
) -> Result<()> {
    transaction::provide(case, &submitting_post())?;
    work(case)?;
    case.policy(&format!(
        "{RPM_DB}[resources.other]\n{}",
        task_policy("work", "work", "uses = [\"other\"]")
    ))?;
    let shell = case.spawn(INSTALL)?;
    case.begun("transaction")?;
    kill_daemon(case)?;
    let left = case.sh(
        "busctl call org.interlock.Interlock1 /org/interlock/Interlock1 \
         org.interlock.Interlock1.Manager ListSubmitted",
    )?;
    ensure!(
        left.contains("work.service") && left.contains("dnf (pid "),
        "{left}"
    );
    ensure!(case.log()?.count("work.service") == 0);
    case.release("transaction")?;
    let output = shell.wait(SOON)?;
    ensure!(output.success(), "{}", output.text());
    worked_once_after(case, "transaction")
}

fn scriptlets_submission_inside_a_task_runs_once_after_the_task(case: &Case<'_>) -> Result<()> {
    transaction::provide(case, &submitting_post())?;
    work(case)?;
    case.write("/run/testbed-install", INSTALL)?;
    case.services(&[Service::oneshot("t").command(&format!(
        "/bin/sh -c '{TASK_PROGRAM} t.service begin; /bin/sh /run/testbed-install; {TASK_PROGRAM} after-dnf hold; {TASK_PROGRAM} t.service end'"
    ))])?;
    case.policy(&format!(
        "{RPM_DB}[resources.other]\n{}{}",
        task_policy("work", "work", "uses = [\"other\"]"),
        task_policy("t", "t", "uses = [\"rpm-db\"]")
    ))?;
    case.start(&["t.service"])?;
    case.begun("transaction")?;
    kill_daemon(case)?;
    case.release("transaction")?;
    // The transaction is over, the task isn't.
    case.begun("after-dnf")?;
    ensure!(case.sh("rpm -q slow")?.starts_with("slow-1"));
    ensure!(case.log()?.count("work.service") == 0);
    kill_daemon(case)?;
    case.release("after-dnf")?;
    worked_once_after(case, "t.service")
}

/// What a command did that a task's process ran.
#[derive(Debug)]
struct Answer {
    status: i32,
    text: String,
}

/// Runs commands one after another in a task `t` that uses `r`; the policy knows of it already.
fn from_inside(case: &Case<'_>, commands: &[&str]) -> Result<Vec<Answer>> {
    let mut script = format!("mkdir -p /run/testbed\n{TASK_PROGRAM} t.service begin\n");
    for (number, command) in commands.iter().enumerate() {
        script += &format!(
            "({command}) </dev/null >/run/testbed/{number}.text 2>&1; echo $? >/run/testbed/{number}.status\n"
        );
    }
    script += &format!("{TASK_PROGRAM} t.service end\n");
    case.write("/run/testbed-inside", &script)?;
    case.services(&[Service::oneshot("t").command("/bin/sh /run/testbed-inside")])?;
    case.reload_systemd()?;
    case.start(&["t.service"])?;
    case.ran("t.service", 1)?;
    (0..commands.len())
        .map(|number| {
            let status = case.read(&format!("/run/testbed/{number}.status"))?;
            let text = case.read(&format!("/run/testbed/{number}.text"))?;
            Ok(Answer {
                status: status.trim().parse()?,
                text,
            })
        })
        .collect()
}

fn request_that_would_wait_for_its_own_task_is_refused(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("t"),
        Service::oneshot("b"),
        Service::oneshot("c"),
    ])?;
    case.policy(&format!(
        "[resources.r]\n[resources.s]\n{}{}{}[groups.g]\ntasks = [\"t\", \"c\"]\n",
        task_policy("t", "t", "uses = [\"r\"]"),
        task_policy("b", "b", "uses = [\"r\"]"),
        task_policy("c", "c", "uses = [\"s\"]\nafter = [\"t\"]"),
    ))?;
    let refused = [
        "interlockctl start b",
        "interlockctl start c",
        "interlockctl start t",
        "interlockctl run --uses r -- true",
        "sh -c 'setsid --wait interlockctl run --uses r --uses s -- true; exit $?'",
        "interlockctl deploy run --group g -- true",
    ];
    let fine = ["interlockctl run --uses s -- true"];
    let commands: Vec<&str> = refused.iter().chain(&fine).copied().collect();
    let answers = from_inside(case, &commands)?;
    for (command, answer) in refused.iter().zip(&answers) {
        ensure!(
            answer.status == 35 && answer.text.contains("t.service"),
            "{command}: {answer:?}"
        );
    }
    let chain = &answers[0].text;
    ensure!(
        chain.contains("interlockctl (pid ") && chain.contains("< sh (pid "),
        "{chain}"
    );
    ensure!(answers[refused.len()].status == 0, "{answers:?}");
    for unit in ["b.service", "c.service"] {
        ensure!(case.log()?.count(unit) == 0);
    }
    case.queued(&[])
}

fn start_that_is_not_waited_for_runs_after_the_task(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("t"), Service::oneshot("b").runs(0.05)])?;
    case.exclusive(&["t", "b"])?;
    let answers = from_inside(case, &["interlockctl start --no-block b"])?;
    ensure!(answers[0].status == 0, "{answers:?}");
    case.ran("b.service", 1)?;
    case.no_overlap(&["t.service", "b.service"])?;
    ensure!(case.log()?.order() == ["t.service", "b.service"]);
    Ok(())
}

fn task_knows_what_it_holds(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("t")])?;
    case.policy(&format!(
        "[resources.r]\n[resources.s]\n{}",
        task_policy("tee", "t", "uses = [\"r\"]")
    ))?;
    let answers = from_inside(
        case,
        &[
            "interlockctl holding r",
            "interlockctl holding s",
            "interlockctl holding nothing",
            "env -i interlockctl holding r",
            "echo \"$INTERLOCK_TASK: $INTERLOCK_HOLDS\"",
        ],
    )?;
    let statuses: Vec<i32> = answers.iter().map(|answer| answer.status).collect();
    ensure!(statuses == [0, 1, 4, 0, 0], "{answers:?}");
    ensure!(answers[4].text == "tee: r\n", "{answers:?}");
    for (resource, status) in [("r", 1), ("s", 1), ("nothing", 4)] {
        let output = case.try_sh(&format!("interlockctl holding {resource}"))?;
        ensure!(output.status == Some(status), "{resource}: {output:?}");
    }
    Ok(())
}

fn command_has_its_input_output_and_exit_status(case: &Case<'_>) -> Result<()> {
    case.policy("[resources.r]\n")?;
    let output = case.try_sh(
        "echo hello | interlockctl run --uses r -- sh -c 'read -r x; echo \"got $x\"; echo so >&2; exit 7'",
    )?;
    ensure!(
        output.status == Some(7) && output.stdout == "got hello\n" && output.stderr.contains("so"),
        "{output:?}"
    );
    let output = case.try_sh(
        "cd /var/lib && interlockctl run --uses r -- sh -c 'pwd; echo $INTERLOCK_HOLDS; interlockctl holding r'",
    )?;
    ensure!(
        output.success() && output.stdout == "/var/lib\nr\n",
        "{output:?}"
    );
    let output = case.try_sh("interlockctl run --uses nothing -- true")?;
    ensure!(output.status == Some(4), "{output:?}");
    Ok(())
}

fn command_waits_like_a_task_and_survives_the_daemons_death(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    case.services(&[Service::oneshot("b").runs(0.05)])?;
    case.policy(&exclusive_policy(&["a", "b"]))?;
    let command = case.spawn(&format!(
        "interlockctl run --uses r -- {TASK_PROGRAM} command hold 5"
    ))?;
    let is_waiting = || {
        wait_for("the command to wait", SOON, || {
            let queue = case.queue()?;
            let waits = queue.len() == 1 && queue[0].starts_with("interlock-run-task-");
            Ok(waits.then_some(()))
        })
    };
    is_waiting()?;
    kill_daemon(case)?;
    is_waiting()?;
    ensure!(case.log()?.count("command") == 0);
    case.release("a.service")?;
    case.begun("command")?;
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    kill_daemon(case)?;
    case.queued(&["b.service"])?;
    case.release("command")?;
    let output = command.wait(SOON)?;
    ensure!(output.status == Some(5), "{output:?}");
    case.ran("b.service", 1)?;
    case.no_overlap(&["a.service", "command", "b.service"])
}

fn interrupted_command_is_stopped_and_frees_its_resource(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    // Once while it waits, once while it runs.
    for runs in [false, true] {
        let command = case.spawn(&format!(
            "exec interlockctl run --uses r -- {TASK_PROGRAM} command hold"
        ))?;
        wait_for("the command to wait", SOON, || {
            Ok((case.queue()?.len() == 1).then_some(()))
        })?;
        if runs {
            case.release("a.service")?;
            case.begun("command")?;
        }
        case.sh("kill -INT $(pgrep -f '^interlockctl run')")?;
        let output = command.wait(SOON)?;
        ensure!(output.status == Some(130), "{output:?}");
        case.queued(&[])?;
        ensure!(!case.log()?.is_running("command"));
        let left = case.sh("systemctl list-units --all --plain --no-legend 'interlock-run-*'")?;
        ensure!(left.is_empty(), "{left}");
    }
    case.start(&["a.service"])?;
    case.release("a.service")?;
    case.ran("command", 1)
}

fn ordinary_user_may_look_and_not_submit(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    case.exclusive(&["a"])?;
    let output = case.as_alice("interlockctl submit a")?;
    ensure!(output.status == Some(77), "{output:?}");
    for (command, status) in [("locks", 0), ("holding r", 1), ("why a", 0)] {
        let output = case.as_alice(&format!("interlockctl {command}"))?;
        ensure!(output.status == Some(status), "{command}: {output:?}");
    }
    nothing_submitted(case)?;
    ensure!(case.log()?.count("a.service") == 0);
    Ok(())
}
