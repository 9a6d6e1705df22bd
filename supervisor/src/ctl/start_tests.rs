//! How `start` finds its unit, waits, and tells.

use super::*;
use crate::ctl::cli::StartArgs;
use crate::ctl::fake::{self, Script};
use zbus::fdo;

const TASKS: [(&str, &str, &str); 3] = [
    ("upcp", "upcp.service", "idle"),
    ("import", "package-import@.service", "idle"),
    ("dnf-automatic", "dnf5-automatic.service", "blocked"),
];

fn script() -> Script {
    Script {
        tasks: TASKS.to_vec(),
        result: Some("done"),
        ..Script::default()
    }
}

fn args(task: &str) -> StartArgs {
    StartArgs {
        task: task.to_owned(),
        no_block: false,
    }
}

async fn unit_of(typed: &str) -> Result<String, CtlError> {
    let (client, _server) = fake::client(&script()).await;
    resolve(&client, typed).await.map(|target| target.unit)
}

#[tokio::test]
async fn a_task_is_found_by_its_name_and_by_its_unit() {
    assert_eq!(unit_of("upcp").await.unwrap(), "upcp.service");
    assert_eq!(unit_of("upcp.service").await.unwrap(), "upcp.service");
    assert_eq!(
        unit_of("dnf-automatic").await.unwrap(),
        "dnf5-automatic.service"
    );
}

#[tokio::test]
async fn an_instance_is_found_by_its_tasks_name() {
    assert_eq!(
        unit_of("import@foo").await.unwrap(),
        "package-import@foo.service"
    );
    assert_eq!(
        unit_of("package-import@foo.service").await.unwrap(),
        "package-import@foo.service"
    );
    assert_eq!(
        unit_of("package-import@foo").await.unwrap(),
        "package-import@foo.service"
    );
    assert_eq!(
        unit_of("import@p@q").await.unwrap(),
        "package-import@p@q.service"
    );
}

#[tokio::test]
async fn a_template_without_instance_is_wrong_usage() {
    for typed in ["import", "import@", "package-import@.service"] {
        let error = unit_of(typed).await.unwrap_err();
        assert_eq!(error.code(), 2, "{typed}");
        assert!(error.to_string().contains("import@INSTANCE"), "{error}");
    }
    let error = unit_of("upcp@foo").await.unwrap_err();
    assert_eq!(error.code(), 2);
    assert!(error.to_string().contains("no template"), "{error}");
}

#[tokio::test]
async fn an_unknown_task_is_told_with_the_nearest_names() {
    let error = unit_of("ucpp").await.unwrap_err();
    assert_eq!(error.code(), 4);
    assert_eq!(error.to_string(), "no such task: ucpp\nDid you mean upcp?");
}

#[tokio::test]
async fn a_job_that_ends_before_its_start_is_answered_is_not_missed() {
    let script = script();
    let (client, _server) = fake::client(&script).await;
    let outcome = run(&client, &args("upcp")).await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(*script.started.lock().unwrap(), ["upcp.service"]);
}

#[tokio::test]
async fn a_failed_job_is_a_failure() {
    let script = Script {
        result: Some("failed"),
        ..script()
    };
    let (client, _server) = fake::client(&script).await;
    assert_eq!(run(&client, &args("upcp")).await.unwrap(), Outcome::Failed);
}

#[tokio::test]
async fn the_reason_of_a_skip_may_come_after_the_jobs_end() {
    let script = Script {
        result: Some("canceled"),
        skip: Some("rpm-db is busy"),
        ..script()
    };
    let (client, _server) = fake::client(&script).await;
    let skips = client.manager().receive_task_skipped().await.unwrap();
    let target = resolve(&client, "upcp").await.unwrap();
    let (mut job, _) = jobs::start(client.connection(), "upcp.service")
        .await
        .unwrap();
    let mut watch = Watch {
        client: &client,
        target: &target,
        skips,
        skipped: None,
    };
    let result = job.removed().await;
    assert_eq!(
        watch.reason(&result).await.as_deref(),
        Some("rpm-db is busy")
    );
}

#[tokio::test]
async fn a_job_that_is_gone_without_a_word_ends_the_waiting() {
    let script = Script {
        result: None,
        ..script()
    };
    let (client, _server) = fake::client(&script).await;
    assert_eq!(run(&client, &args("upcp")).await.unwrap(), Outcome::Failed);
}

#[tokio::test]
async fn a_refused_start_says_who_refused() {
    let denied = fdo::Error::InteractiveAuthorizationRequired("needs a password".to_owned());
    let script = Script {
        refuse: Some(denied),
        ..script()
    };
    let (client, _server) = fake::client(&script).await;
    let error = run(&client, &args("upcp")).await.unwrap_err();
    assert_eq!(error.code(), 77);
    assert!(
        error.to_string().contains("upcp.service")
            && error.to_string().contains("needs a password"),
        "{error}"
    );
    let script = Script {
        refuse: Some(fdo::Error::Failed("Unit is masked.".to_owned())),
        ..script
    };
    let (client, _server) = fake::client(&script).await;
    let error = run(&client, &args("upcp")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (1, "can't start upcp.service: Unit is masked.".to_owned())
    );
}

#[test]
fn a_waiting_line_shows_the_reason() {
    let entry = QueueEntry {
        position: 2,
        task: "upcp".to_owned(),
        unit: "upcp.service".to_owned(),
        waiting_for: vec!["rpm-db".to_owned()],
        reason: "Waiting for rpm-db, held by dnf-automatic.service".to_owned(),
        since_usec: None,
    };
    let took = Duration::from_secs(12);
    assert_eq!(
        waiting("upcp", Some(&entry), took),
        "upcp (12s): Waiting for rpm-db, held by dnf-automatic.service"
    );
    assert_eq!(
        waiting("upcp", None, took),
        "upcp is starting or running (12s)"
    );
}
