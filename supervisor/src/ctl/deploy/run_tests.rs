//! How `interlockctl deploy run` and `hold` follow a deployment, and what their exit statuses say.

use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use zbus::Connection;

use super::cli::RunArgs;
use super::fake::{self, Deployments};
use super::screen::Progress;
use super::signals::Signals;
use super::{hold, run};
use crate::ctl::client::Client;
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::fake::Script;

/// All goes well.
pub fn deployments() -> Deployments {
    Deployments {
        settles: Some(("ready", "")),
        ends: ("ended", ""),
        ..Deployments::default()
    }
}

/// A client of a daemon that does so.
pub async fn client(deployments: &Deployments) -> (Client, Connection) {
    let script = Script {
        deployments: deployments.clone(),
        ..Script::default()
    };
    crate::ctl::fake::client(&script).await
}

fn shell(script: &str) -> RunArgs {
    RunArgs {
        group: "mediawiki".to_owned(),
        reason: "release 42".to_owned(),
        max_wait: Some("5min".to_owned()),
        command: ["sh", "-c", script].map(OsString::from).to_vec(),
    }
}

async fn run_quietly(deployments: &Deployments, args: &RunArgs) -> Result<Outcome, CtlError> {
    let (client, _server) = client(deployments).await;
    let (_signals, caught) = Signals::scripted();
    run::run_with(&client, args, Progress::on_stderr(), caught).await
}

/// A FIFO; who opens it waits for the other side.
fn fifo(dir: &tempfile::TempDir) -> String {
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path.into_os_string().into_string().unwrap()
}

async fn read(path: &str) -> String {
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || fs::read_to_string(path).unwrap());
    text.await.unwrap()
}

async fn write(path: &str) {
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || fs::write(path, "go\n").unwrap());
    written.await.unwrap();
}

#[tokio::test]
async fn command_runs_while_the_group_is_at_rest_and_knows_the_deployment() {
    let deployments = deployments();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let args = shell(&format!(
        "echo $INTERLOCK_DEPLOYMENT $INTERLOCK_GROUP >{}",
        out.display()
    ));
    let outcome = run_quietly(&deployments, &args).await.unwrap();
    assert_eq!(outcome, Outcome::Status(0));
    assert_eq!(fs::read_to_string(out).unwrap(), "mediawiki-3 mediawiki\n");
    assert_eq!(
        deployments.asked(),
        [
            "begin mediawiki \"release 42\" max-wait=5min",
            "end \"the command has ended\""
        ]
    );
    deployments.is_let_go().await;
}

#[tokio::test]
async fn exit_status_is_the_commands() {
    for (script, status, reason) in [
        ("exit 3", 3, "the command failed with exit status 3"),
        ("kill -KILL $$", 137, "the command was killed by signal 9"),
    ] {
        let deployments = deployments();
        let outcome = run_quietly(&deployments, &shell(script)).await.unwrap();
        assert_eq!(outcome, Outcome::Status(status));
        assert_eq!(deployments.asked()[1], format!("end {reason:?}"));
    }
}

#[tokio::test]
async fn command_that_is_not_there_ends_the_deployment() {
    for (command, status) in [("/nonexistent", 127), ("/", 126)] {
        let deployments = deployments();
        let mut args = shell("");
        args.command = vec![command.into()];
        let outcome = run_quietly(&deployments, &args).await.unwrap();
        assert_eq!(outcome, Outcome::Status(status));
        assert!(deployments.asked()[1].starts_with("end \"can't run"));
    }
}

#[tokio::test]
async fn group_that_does_not_come_to_rest_is_a_temporary_failure_and_nothing_is_run() {
    let deployments = Deployments {
        settles: Some(("failed", "upcp is inside an RPM transaction")),
        ..deployments()
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let args = shell(&format!("touch {}", out.display()));
    let outcome = run_quietly(&deployments, &args).await.unwrap();
    assert_eq!((outcome, outcome.code()), (Outcome::Busy, 75));
    assert!(!out.exists());
}

#[tokio::test]
async fn end_that_fails_is_told_unless_the_command_has_failed_already() {
    for (script, outcome) in [("exit 0", Outcome::Failed), ("exit 3", Outcome::Status(3))] {
        let deployments = Deployments {
            ends: ("failed", "jobrunner.service could not be started again"),
            ..deployments()
        };
        let told = run_quietly(&deployments, &shell(script)).await.unwrap();
        assert_eq!(told, outcome);
    }
}

#[tokio::test]
async fn signal_while_the_group_comes_to_rest_ends_the_deployment() {
    let deployments = Deployments {
        settles: None,
        ..deployments()
    };
    for (signal, status) in [
        (Signal::SIGINT, 130),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let (client, _server) = client(&deployments).await;
        let (signals, caught) = Signals::scripted();
        let args = shell("exit 0");
        let interrupting = async {
            deployments.is_looked_at(0).await;
            signals.send(signal).unwrap();
        };
        let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
        let (outcome, ()) = tokio::join!(running, interrupting);
        assert_eq!(outcome.unwrap(), Outcome::Status(status));
        let ended = format!("end \"interrupted by {signal}\"");
        assert_eq!(deployments.asked()[1], ended);
        deployments.asked.lock().unwrap().clear();
        deployments.seen.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn signal_is_passed_on_to_the_command() {
    let deployments = deployments();
    let (client, _server) = client(&deployments).await;
    let (signals, caught) = Signals::scripted();
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(&dir);
    let args = shell(&format!("echo ready >{fifo}; exec sleep 1000"));
    let signalling = async {
        assert_eq!(read(&fifo).await, "ready\n");
        signals.send(Signal::SIGTERM).unwrap();
    };
    let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
    let (outcome, ()) = tokio::join!(running, signalling);
    assert_eq!(outcome.unwrap(), Outcome::Status(143));
}

#[tokio::test]
async fn command_does_not_inherit_the_holder() {
    let deployments = deployments();
    let (client, _server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(&dir);
    // It leaves a process behind.
    let args = shell(&format!("(cat {fifo} >/dev/null) & exit 0"));
    let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
    assert_eq!(running.await.unwrap(), Outcome::Status(0));
    deployments.is_let_go().await;
    write(&fifo).await;
}

#[tokio::test]
async fn deployment_that_was_taken_over_is_not_ended() {
    for (what, outcome) in [
        ("takes it over", Outcome::Status(0)),
        ("ends it", Outcome::Status(0)),
        ("failed", Outcome::Failed),
    ] {
        let deployments = deployments();
        let (client, server) = client(&deployments).await;
        let (_signals, caught) = Signals::scripted();
        let dir = tempfile::tempdir().unwrap();
        let (ready, fifo) = (dir.path().join("ready"), fifo(&dir));
        mkfifo(&ready, Mode::S_IRWXU).unwrap();
        let args = shell(&format!("echo >{}; cat {fifo}", ready.display()));
        let interfering = async {
            read(ready.to_str().unwrap()).await;
            let looks = deployments.looks();
            fake::meanwhile(&server, what).await;
            deployments.is_looked_at(looks).await;
            // A question that is answered after that look.
            client.tasks().await.unwrap();
            write(&fifo).await;
        };
        let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
        let (told, ()) = tokio::join!(running, interfering);
        assert_eq!(told.unwrap(), outcome, "{what}");
        assert_eq!(deployments.asked().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn daemon_that_is_being_restarted_is_asked_again() {
    let deployments = deployments();
    *deployments.silent.lock().unwrap() = 2;
    let outcome = run_quietly(&deployments, &shell("exit 0")).await.unwrap();
    assert_eq!(outcome, Outcome::Status(0));
    assert_eq!(deployments.asked()[1], "end \"the command has ended\"");
}

#[tokio::test]
async fn daemon_that_has_forgotten_the_end_is_told_again() {
    let deployments = deployments();
    *deployments.forgets.lock().unwrap() = 1;
    let outcome = run_quietly(&deployments, &shell("exit 0")).await.unwrap();
    assert_eq!(outcome, Outcome::Status(0));
    let end = "end \"the command has ended\"";
    assert_eq!(deployments.asked()[1..], [end, end]);
}

#[tokio::test]
async fn deployment_that_interlockd_has_forgotten_is_not_waited_for() {
    let deployments = deployments();
    let (client, server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(&dir);
    let args = shell(&format!("read line <{fifo}"));
    let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
    let forgetting = async {
        deployments.is_seen("ready").await;
        *deployments.known.lock().unwrap() = false;
        fake::hide(&server).await;
        write(&fifo).await;
        Instant::now()
    };
    let (told, ended) = tokio::join!(running, forgetting);
    assert_eq!(told.unwrap(), Outcome::Failed);
    assert!(ended.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn deployment_whose_object_is_not_there_yet_is_waited_for() {
    let deployments = deployments();
    let (client, server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let dir = tempfile::tempdir().unwrap();
    let fifo = fifo(&dir);
    let args = shell(&format!("read line <{fifo}"));
    let running = run::run_with(&client, &args, Progress::on_stderr(), caught);
    let restarting = async {
        deployments.is_seen("ready").await;
        fake::hide(&server).await;
        write(&fifo).await;
        deployments.is_listed().await;
        fake::show(&server, &deployments).await;
    };
    let (told, ()) = tokio::join!(running, restarting);
    assert_eq!(told.unwrap(), Outcome::Status(0));
}

#[tokio::test]
async fn unit_holds_its_deployment_until_it_is_stopped() {
    for settles in [None, Some(("ready", ""))] {
        let deployments = Deployments {
            settles,
            ..deployments()
        };
        let (client, _server) = client(&deployments).await;
        let (signals, caught) = Signals::scripted();
        let stopping = async {
            let state = settles.map_or("settling", |(state, _)| state);
            deployments.is_seen(state).await;
            signals.send(Signal::SIGTERM).unwrap();
        };
        let holding = hold::hold_with(&client, "mediawiki", caught);
        let (outcome, ()) = tokio::join!(holding, stopping);
        assert_eq!(outcome.unwrap(), Outcome::Done);
        let asked = deployments.asked();
        assert_eq!(
            asked[0],
            "begin mediawiki \"interlock-deploy@mediawiki.service\""
        );
        assert!(asked[1].starts_with("end "), "{asked:?}");
        assert_eq!(asked.len(), 2);
    }
}

#[tokio::test]
async fn unit_ends_with_its_deployment() {
    for (what, outcome) in [("ends it", Outcome::Done), ("failed", Outcome::Failed)] {
        let deployments = deployments();
        let (client, server) = client(&deployments).await;
        let (_signals, caught) = Signals::scripted();
        let interfering = async {
            deployments.is_seen("ready").await;
            client.tasks().await.unwrap();
            fake::meanwhile(&server, what).await;
        };
        let holding = hold::hold_with(&client, "mediawiki", caught);
        let (told, ()) = tokio::join!(holding, interfering);
        assert_eq!(told.unwrap(), outcome, "{what}");
    }
}

#[tokio::test]
async fn unit_whose_group_does_not_come_to_rest_fails() {
    let deployments = Deployments {
        settles: Some(("failed", "upcp didn't end in time")),
        ..deployments()
    };
    let (client, _server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let outcome = hold::hold_with(&client, "mediawiki", caught).await;
    assert_eq!(outcome.unwrap(), Outcome::Busy);
}
