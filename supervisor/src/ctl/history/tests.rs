//! What `history` and `failures` ask for, and what they make of the answers.

use clap::Parser as _;

use super::cli::{Class, ClassifyArgs, FailuresArgs};
use super::failures::{self, FailureRow, Failures};
use super::tasks::{Lengths, Risk, Tasks, render_lengths, render_risks};
use super::*;
use crate::ctl::cli::{Cli, Command};
use crate::ctl::fake::{self as daemon, Script};
use crate::ctl::fixture::{NOW, SCREEN, clock, documented, names};

async fn asked(line: &[&str]) -> Vec<String> {
    let script = Script::default();
    let (client, _server) = daemon::client(&script).await;
    let words = ["interlockctl"].iter().chain(line);
    match Cli::try_parse_from(words).unwrap().command {
        Command::History(args) => run(&client, &args).await.unwrap(),
        Command::Failures(args) => failures::run(&client, &args).await.unwrap(),
        other => panic!("{other:?}"),
    };
    script.history.asked()
}

#[tokio::test]
async fn options_narrow_down_what_is_asked_for() {
    assert_eq!(asked(&["history"]).await, ["runs limit=uint32 100"]);
    assert_eq!(
        asked(&["history", "--json"]).await,
        ["runs limit=uint32 1000"]
    );
    let all = [
        "history",
        "import",
        "--failed",
        "--slower-than",
        "5s",
        "--limit",
        "3",
    ];
    assert_eq!(
        asked(&all).await,
        ["runs failed=true limit=uint32 3 slower-than=uint64 5000000 task=\"import\""]
    );
    assert_eq!(
        asked(&["history", "import", "--exceeding", "1h"]).await,
        ["exceeding 3600000000 task=\"import\""]
    );
    assert_eq!(asked(&["history", "--at-risk"]).await, ["at-risk"]);
    assert_eq!(
        asked(&["failures", "import"]).await,
        ["failures task=\"import\""]
    );
    assert_eq!(
        asked(&["failures", "classify", "3f2a", "none", "--reason", "x"]).await,
        ["classify 3f2a \"\" \"x\""]
    );
}

#[test]
fn what_makes_no_sense_together_is_wrong_usage() {
    for line in [
        &["history", "--exceeding", "5s", "--failed"][..],
        &["history", "--at-risk", "import"],
        &["history", "--slower-than", "soon"],
        &["history", "--since", "no such day"],
        &["failures", "classify", "3f2a", "maybe"],
    ] {
        let words = ["interlockctl"].iter().chain(line);
        assert_eq!(
            Cli::try_parse_from(words).unwrap_err().exit_code(),
            2,
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn runs_are_shown_with_what_there_is_to_say_about_them() {
    let (client, _server) = daemon::client(&Script::default()).await;
    let history = client.history().await.unwrap();
    let runs = history.list_runs(&Default::default()).await.unwrap();
    let runs = Runs {
        runs: runs.into_iter().map(RunRow::from).collect(),
    };
    let wide = Screen {
        width: None,
        ..SCREEN
    };
    assert_eq!(
        render(&runs, &clock(), &wide),
        "\
TASK        BEGAN       TOOK  RESULT   DETAIL
import@foo  02:02:12  4.000s  exit 75  attempt 2; transient; 3f2a9c0d1e44; deployment web-3: stop; \
waited 56s for import-slots; retry
upcp        02:01:46          skipped  its window is over
"
    );
    let narrow = render(&runs, &clock(), &SCREEN);
    assert!(
        narrow.lines().all(|line| text::width(line) <= 80),
        "{narrow}"
    );
    let json = serde_json::to_value(&runs).unwrap();
    assert_eq!(names(&json), documented(manual::HISTORY_FIELDS));
    assert_eq!(json["runs"][0]["exit_status"], 75);
    assert_eq!(json["runs"][0]["signal"], serde_json::Value::Null);
}

#[test]
fn results_are_told_in_few_words() {
    let told = |result: &str, exit_status, signal| {
        let run = RunRow {
            result: result.to_owned(),
            exit_status,
            signal,
            ..RunRow::default()
        };
        super::result(&run).0
    };
    assert_eq!(told("", None, None), "running");
    assert_eq!(told("success", Some(0), None), "success");
    assert_eq!(told("exit-code", Some(69), None), "exit 69");
    assert_eq!(told("signal", None, Some(9)), "SIGKILL");
    assert_eq!(told("oom-kill", None, Some(9)), "oom-kill");
    assert_eq!(told("interrupted", None, None), "interrupted");
}

#[tokio::test]
async fn lengths_and_risks_are_shown_by_task() {
    let (client, _server) = daemon::client(&Script::default()).await;
    let history = client.history().await.unwrap();
    let rows = history.exceeding(5_000_000, &Default::default()).await;
    let lengths = Tasks {
        tasks: rows.unwrap().into_iter().map(Lengths::from).collect(),
    };
    assert_eq!(
        render_lengths(&lengths, 5_000_000, &SCREEN),
        "\
TASK    RUNS  LONGER    P50     P95     P99  LONGEST
import  3000      17  900ms  4.200s  1min 1s  1h 6min
"
        .replace("  P99  LONGEST", "   P99  LONGEST")
    );
    let json = serde_json::to_value(&lengths).unwrap();
    assert_eq!(names(&json), documented(manual::EXCEEDING_FIELDS));
    let none = Tasks { tasks: Vec::new() };
    assert_eq!(
        render_lengths(&none, 5_000_000, &SCREEN),
        "No task has run longer than 5.000s.\n"
    );
    let rows = history.at_risk(&Default::default()).await.unwrap();
    let risks = Tasks {
        tasks: rows.into_iter().map(Risk::from).collect(),
    };
    assert_eq!(
        render_risks(&risks, &SCREEN),
        "\
TASK  ACTION  CHANCE
dump  stop      14 %  hardly ever finishes
"
    );
    let json = serde_json::to_value(&risks).unwrap();
    assert_eq!(names(&json), documented(manual::AT_RISK_FIELDS));
}

#[tokio::test]
async fn a_cause_is_shown_once_with_what_is_known_about_it() {
    let (client, _server) = daemon::client(&Script::default()).await;
    let history = client.history().await.unwrap();
    let rows = history.list_failures(&Default::default()).await.unwrap();
    let all = Failures {
        failures: rows.into_iter().map(FailureRow::from).collect(),
    };
    assert_eq!(
        failures::render(&all, &clock(), &SCREEN),
        "\
3f2a9c0d1e44  import  214 failures in 180 units, last 02:02:16 (1min)
    exit status 75
    curl: (#) Failed to connect to \"…\"
  transient by network; 190 went well later
  failed for good: 2 units, as import@foo
"
    );
    let json = serde_json::to_value(&all).unwrap();
    assert_eq!(names(&json), documented(manual::FAILURES_FIELDS));
    let none = Failures {
        failures: Vec::new(),
    };
    assert_eq!(
        failures::render(&none, &clock(), &SCREEN),
        "No failure is known.\n"
    );
}

#[test]
fn lines_of_a_failure_do_nothing_to_the_terminal_and_fit_it() {
    let row = FailureRow {
        text: format!("\u{1b}[2J{}", "x".repeat(300)),
        last_usec: Some(NOW),
        ..FailureRow::from(Row::new())
    };
    let all = Failures {
        failures: vec![row],
    };
    let text = failures::render(&all, &clock(), &SCREEN);
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.lines().all(|line| text::width(line) <= 80), "{text}");
}

#[tokio::test]
async fn a_refused_classification_is_told_as_denied() {
    let (client, _server) = daemon::client(&Script::default()).await;
    let args = FailuresArgs {
        command: Some(cli::FailuresCommand::Classify(ClassifyArgs {
            signature: "denied".to_owned(),
            class: Class::Permanent,
            reason: String::new(),
        })),
        task: None,
        since: None,
        form: crate::ctl::cli::Form {
            json: false,
            full: false,
        },
    };
    let error = failures::run(&client, &args).await.unwrap_err();
    assert_eq!(error.code(), 77, "{error}");
}
