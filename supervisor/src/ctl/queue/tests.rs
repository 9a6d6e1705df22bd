//! What `queue`, `submit` and `capacity` ask for, and what they make of the answers.

use clap::Parser as _;

use super::batches::{Batch, Batches};
use super::capacity::{Capacities, Capacity};
use super::list::{Entries, Entry};
use super::*;
use crate::ctl::cli::{Cli, Command};
use crate::ctl::fake::{self as daemon, Script};
use crate::ctl::fixture::{SCREEN, clock, documented, names};
use crate::ctl::history::fake::row;
use fake::Submissions;

const TASKS: [(&str, &str, &str); 2] = [
    ("upcp", "upcp.service", "idle"),
    ("import", "package-import@.service", "idle"),
];

async fn called(
    submissions: Submissions,
    line: &[&str],
) -> (Vec<String>, Result<Outcome, CtlError>) {
    let script = Script {
        tasks: TASKS.to_vec(),
        submissions,
        ..Script::default()
    };
    let (client, _server) = daemon::client(&script).await;
    let words = ["interlockctl"].iter().chain(line);
    let outcome = match Cli::try_parse_from(words).unwrap().command {
        Command::Queue(args) => run(&client, &args).await,
        Command::Capacity(args) => capacity::run(&client, &args).await,
        Command::Submit(args) => submit::run(&client, &args).await,
        other => panic!("{other:?}"),
    };
    (script.submissions.asked(), outcome)
}

async fn asked(line: &[&str]) -> Vec<String> {
    let (asked, outcome) = called(Submissions::default(), line).await;
    assert_eq!(outcome.unwrap(), Outcome::Done, "{line:?}");
    asked
}

#[tokio::test]
async fn each_command_asks_for_what_it_says() {
    for (line, asked_for) in [
        (&["queue", "list"][..], "list limit=uint32 100"),
        (
            &[
                "queue", "list", "--json", "--task", "import", "--batch", "3",
            ],
            "list batch=\"3\" limit=uint32 1000 task=\"import\"",
        ),
        (
            &["queue", "cancel", "import@foo", "41"],
            "cancel package-import@foo.service 41",
        ),
        (&["queue", "cancel", "--all"], "cancel  all=true"),
        (&["queue", "cancel", "--batch", "3"], "cancel  batch=\"3\""),
        (&["queue", "move", "41", "--first"], "move 41 first 0"),
        (&["queue", "move", "41", "--last"], "move 41 last 0"),
        (
            &["queue", "move", "upcp", "--priority", "-5"],
            "move upcp.service priority -5",
        ),
        (
            &["queue", "pause", "import", "--reason", "x"],
            "pause \"import\" \"x\"",
        ),
        (&["queue", "resume"], "resume \"\""),
        (
            &["capacity", "import-slots", "4", "--reason", "x"],
            "capacity import-slots 4 \"x\"",
        ),
        (
            &["capacity", "import-slots", "policy"],
            "capacity import-slots 0 \"\"",
        ),
    ] {
        assert_eq!(asked(line).await, [asked_for], "{line:?}");
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for line in [
        &["queue", "cancel"][..],
        &["queue", "cancel", "41", "--all"],
        &["queue", "move", "41"],
        &["queue", "move", "41", "--first", "--last"],
        &["capacity", "import-slots"],
        &["submit", "--wait", "--after-transaction", "upcp"],
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
async fn no_capacity_is_wrong_usage_too() {
    for shares in ["0", "many", "-1"] {
        let line = ["capacity", "import-slots", "--", shares];
        let (asked, outcome) = called(Submissions::default(), &line).await;
        assert_eq!(outcome.unwrap_err().code(), 2, "{shares}");
        assert!(asked.is_empty());
    }
}

#[tokio::test]
async fn nothing_cancelled_of_what_was_named_is_a_failure() {
    let (_, outcome) = called(Submissions::default(), &["queue", "cancel", "99"]).await;
    assert_eq!(outcome.unwrap(), Outcome::Failed);
}

#[tokio::test]
async fn a_paused_queue_is_drained_when_nothing_of_it_runs() {
    let submissions = Submissions::default();
    *submissions.running.lock().unwrap() = 8;
    let line = ["queue", "pause", "--drain"];
    let (asked, outcome) = called(submissions.clone(), &line).await;
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!(asked, ["pause \"\" \"\""]);
    assert_eq!(*submissions.running.lock().unwrap(), 0);
}

#[tokio::test]
async fn few_are_submitted_without_a_batch_and_with_the_options_given() {
    assert_eq!(asked(&["submit", "upcp"]).await, ["submit 1"]);
    assert_eq!(
        asked(&[
            "submit",
            "--after-transaction",
            "--priority",
            "-3",
            "upcp",
            "import@a"
        ])
        .await,
        ["submit 2 after-transaction=true priority=-3"]
    );
}

#[tokio::test]
async fn thousands_are_sent_in_chunks_of_one_batch() {
    let script = Script::default();
    let (client, _server) = daemon::client(&script).await;
    let tasks: Vec<String> = (0..2500).map(|n| format!("import@{n}")).collect();
    let args = submit_args(&["--batch", "nightly"]);
    submit::together(&client, &args, &tasks).await.unwrap();
    assert_eq!(
        script.submissions.asked(),
        [
            "batch \"nightly\"",
            "submit 1000 batch=\"3\"",
            "submit 1000 batch=\"3\"",
            "submit 500 batch=\"3\""
        ]
    );
}

fn submit_args(line: &[&str]) -> cli::SubmitArgs {
    let words = ["interlockctl", "submit"].iter().chain(line);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Submit(args) => args,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_batch_is_waited_for_and_its_failures_are_told() {
    let line = ["submit", "--wait", "import@a", "import@b"];
    let (_, outcome) = called(Submissions::default(), &line).await;
    assert_eq!(outcome.unwrap(), Outcome::Done);
    let submissions = Submissions {
        failed: 1,
        ..Submissions::default()
    };
    let (_, outcome) = called(submissions, &line).await;
    assert_eq!(outcome.unwrap(), Outcome::Failed);
}

#[tokio::test]
async fn a_refused_submission_names_its_own_action() {
    let submissions = Submissions {
        denied: true,
        ..Submissions::default()
    };
    let (_, outcome) = called(submissions, &["submit", "upcp"]).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), 77);
    assert!(error.to_string().contains("Interlock1.submit"), "{error}");
}

#[test]
fn those_that_were_queued_already_are_counted() {
    let batch = |total| Batch {
        total,
        ..Batch::default()
    };
    assert_eq!(
        submit::queued(&batch(2997), 3000, "3"),
        "2997 queued, 3 were queued already; batch 3.\n"
    );
    assert_eq!(
        submit::queued(&batch(1), 2, "3"),
        "1 queued, 1 was queued already; batch 3.\n"
    );
    assert_eq!(submit::queued(&batch(5), 5, "3"), "5 queued; batch 3.\n");
}

#[test]
fn names_are_read_one_per_line() {
    let input = "import@a\n\n# remark\n  import@b \r\nimport@c";
    assert_eq!(
        submit::names(input.as_bytes()).unwrap(),
        ["import@a", "import@b", "import@c"]
    );
}

#[tokio::test]
async fn entries_batches_and_capacities_are_shown_and_their_fields_described() {
    let submissions = Submissions {
        already: 3,
        failed: 4,
        submitted: std::sync::Arc::new(std::sync::Mutex::new(3000)),
        ..Submissions::default()
    };
    let script = Script {
        submissions,
        ..Script::default()
    };
    let (client, _server) = daemon::client(&script).await;
    let queue = client.submissions().await.unwrap();

    let (total, entries) = queue.list_queued(&Default::default()).await.unwrap();
    let entries = entries.into_iter().map(Entry::from).collect();
    let entries = Entries { total, entries };
    assert_eq!(
        list::render(&entries, &clock(), &SCREEN),
        "\
ID  #  TASK        STATE    SINCE     DETAIL
41     import@foo  delayed  02:02:16  attempt 1 failed; the next is in 1min

1 of 3000; more with --limit.
"
    );
    let json = serde_json::to_value(&entries).unwrap();
    assert_eq!(names(&json), documented(manual::LIST_FIELDS));

    for shown in [
        "\
ID  NAME     SINCE     DONE    FAILED  RUNNING  WAITING  END
3   nightly  02:02:16  0/2997       0        0     2997  about 03:03:16
",
        "\
ID  NAME     SINCE     DONE       FAILED  RUNNING  WAITING  END
3   nightly  02:02:16  2993/2997       4        0        0  02:03:16
",
    ] {
        let batches = queue.list_batches().await.unwrap();
        let batches = Batches {
            batches: batches.into_iter().map(Batch::from).collect(),
        };
        let text = batches::render(&batches, &clock(), &SCREEN);
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&text), squeezed(shown), "{text}");
        let json = serde_json::to_value(&batches).unwrap();
        assert_eq!(names(&json), documented(manual::BATCHES_FIELDS));
    }

    let rows = queue.list_capacities().await.unwrap();
    let all = Capacities {
        resources: rows.into_iter().map(Capacity::from).collect(),
    };
    let text = capacity::render(&all, &clock(), &SCREEN);
    assert!(
        text.contains("import-slots         4     6  not 8 as in the policy; by alice"),
        "{text}"
    );
    let json = serde_json::to_value(&all).unwrap();
    assert_eq!(names(&json), documented(manual::CAPACITY_FIELDS));
}

#[test]
fn a_batch_says_in_one_line_how_far_it_is() {
    let batch = Batch {
        done: 2977,
        failed: 3,
        waiting: 12,
        finish_usec: Some(crate::ctl::fixture::NOW),
        ..Batch::default()
    };
    assert_eq!(
        batch.progress(&clock()),
        "2977 done, 3 failed, 12 waiting; over at 02:03:16 (estimated)"
    );
    assert_eq!(Batch::default().progress(&clock()), "nothing in it");
}

#[test]
fn plain_queue_says_what_else_waits() {
    let counts = || {
        vec![
            row([("queued", 12_u64.into()), ("behind", 1_u64.into())]),
            row([("delayed", 3_u64.into()), ("running", 8_u64.into())]),
        ]
    };
    assert_eq!(
        waiters::summary(counts(), &[]).unwrap(),
        "Queued: 13 submitted, 3 to be tried again, 8 of them running; see interlockctl queue list."
    );
    let paused = [(String::new(), "disk".to_owned(), String::new(), 0)];
    assert!(
        waiters::summary(counts(), &paused)
            .unwrap()
            .contains("the queue is paused (disk)")
    );
    assert_eq!(waiters::summary(Vec::new(), &[]), None);
}
