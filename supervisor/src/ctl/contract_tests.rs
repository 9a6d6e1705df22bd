//! What is documented against what is printed, and what the daemon's errors become.

use clap::{CommandFactory as _, Parser as _};
use zbus::fdo;

use super::cli::Cli;
use super::client::Client;
use super::error::CtlError;
use super::fake::{self, Script};
use super::fixture::{documented, names};
use super::manual;
use super::model::{Queue, QueueEntry, TaskDetails};

fn script() -> Script {
    Script {
        tasks: vec![("upcp", "upcp.service", "running")],
        ..Script::default()
    }
}

#[tokio::test]
async fn status_json_has_the_fields_of_the_manual_and_no_others() {
    let (client, _server) = fake::client(&script()).await;
    let status = serde_json::to_value(client.status().await.unwrap()).unwrap();
    assert_eq!(names(&status), documented(manual::STATUS_FIELDS));
    assert_eq!(status["tasks"][0]["state"], "running");
}

#[tokio::test]
async fn why_json_has_the_tasks_properties_as_the_manual_has_them() {
    let (client, _server) = fake::client(&script()).await;
    let object = client.object("upcp").await.unwrap();
    let details = client.details(&object).await.unwrap();
    assert_eq!(details.held_by, ["upcp.service"]);
    assert_eq!(details.uses["rpm-db"], 1);
    let details = serde_json::to_value(details).unwrap();
    assert_eq!(names(&details), documented(manual::WHY_FIELDS));
    let empty = serde_json::to_value(TaskDetails::default()).unwrap();
    assert_eq!(
        names(&empty),
        documented(manual::WHY_FIELDS),
        "null fields are there too"
    );
}

#[test]
fn queue_json_has_the_fields_of_the_manual_and_no_others() {
    let row = (
        1,
        "upcp".to_owned(),
        "upcp.service".to_owned(),
        Vec::new(),
        String::new(),
        0,
    );
    let queue = Queue {
        queue: vec![QueueEntry::from(row)],
    };
    let queue = serde_json::to_value(queue).unwrap();
    assert_eq!(
        names(&queue),
        documented(super::queue::manual::QUEUE_FIELDS)
    );
}

#[tokio::test]
async fn a_daemon_that_is_gone_is_unreachable_and_where_to_look_is_said() {
    let (client, server) = fake::client(&script()).await;
    server.close().await.unwrap();
    let error = client.tasks().await.unwrap_err();
    assert_eq!(error.code(), 69, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("systemctl status interlockd") && text.contains("journalctl"),
        "{text}"
    );
}

#[tokio::test]
async fn a_daemon_that_is_not_installed_is_unreachable() {
    let unknown = fdo::Error::ServiceUnknown("no such name".to_owned());
    assert_eq!(reload_error(unknown).await.code(), 69);
}

#[tokio::test]
async fn a_refused_reload_is_told_as_denied() {
    for refusal in [
        fdo::Error::AccessDenied("not authorised".to_owned()),
        fdo::Error::InteractiveAuthorizationRequired("not authorised".to_owned()),
    ] {
        let error = reload_error(refusal).await;
        assert_eq!(error.code(), 77);
        assert!(error.to_string().contains("not authorised"), "{error}");
        assert!(
            error
                .to_string()
                .contains("org.interlock.Interlock1.manage"),
            "{error}"
        );
    }
}

async fn reload_error(refusal: fdo::Error) -> CtlError {
    let script = Script {
        reload: Some(refusal),
        ..script()
    };
    let (client, _server): (Client, _) = fake::client(&script).await;
    client.reload().await.unwrap_err()
}

#[tokio::test]
async fn why_of_an_unknown_task_suggests_the_nearest() {
    let (client, _server) = fake::client(&script()).await;
    assert_eq!(
        client.explain("upcp").await.unwrap(),
        "upcp.service is idle."
    );
    let error = client.explain("upc").await.unwrap_err();
    assert_eq!(error.code(), 4);
    assert!(error.to_string().contains("Did you mean upcp"), "{error}");
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_fits_eighty_columns_and_names_every_exit_status() {
    let mut command = Cli::command();
    let mut texts = vec![command.render_long_help().to_string()];
    for (status, _) in manual::EXIT_STATUS {
        assert!(texts[0].contains(&format!("\n  {status} ")), "{status}");
    }
    command.build();
    for sub in command.get_subcommands_mut() {
        texts.push(sub.render_long_help().to_string());
        for sub in sub.get_subcommands_mut() {
            texts.push(sub.render_long_help().to_string());
        }
    }
    for line in texts.iter().flat_map(|text| text.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn short_help_lists_the_commands() {
    let help = Cli::command().render_help().to_string();
    assert_eq!(
        help,
        "\
Show and steer the tasks that interlock keeps apart

Usage: interlockctl <COMMAND>

Commands:
  status     List every task and what it does just now
  why        Say why a task waits, runs or is blocked
  queue      List who waits, in which order, for what
  history    List runs of tasks, and how they ended
  failures   List why tasks fail, each cause once
  deadlocks  List processes that wait for one another for ever
  verify     Check the policy and print every mistake
  start      Start a task and wait for it
  run        Run a command behind a gate of its own
  submit     Queue starts of tasks, one or thousands
  action     Run a repair that the policy names on one unit
  hold       Hold starts of tasks, or skip the next ones
  release    Let tasks go that are held
  holds      List which tasks are held, why and until when
  capacity   List or change how much there is of a resource
  holding    Tell whether the caller runs for a task that holds a resource
  locks      List who holds the locks of resources
  deploy     Deploy while the tasks of a group are at rest
  check      Tell a monitoring system how all is
  metrics    Print what Prometheus scrapes
  reload     Make interlockd read the policy again

Options:
  -h, --help     Print help (see more with '--help')
  -V, --version  Print version
"
    );
}

#[test]
fn wrong_usage_exits_two() {
    for line in [
        &["interlockctl", "start"][..],
        &["interlockctl", "status", "--yaml"],
        &["interlockctl"],
    ] {
        assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2);
    }
}
