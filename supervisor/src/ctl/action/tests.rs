//! How an action is asked for, and what its end becomes.

use super::*;
use crate::ctl::fake::{self, Script};

fn args(action: &str) -> ActionArgs {
    ActionArgs {
        task: "import@foo".to_owned(),
        action: action.to_owned(),
        reason: "half an archive".to_owned(),
        no_block: false,
    }
}

async fn outcome(
    result: &'static str,
    args: &ActionArgs,
) -> (Result<Outcome, CtlError>, Vec<String>) {
    let script = Script {
        result: Some(result),
        ..Script::default()
    };
    let (client, _server) = fake::client(&script).await;
    let outcome = run(&client, args).await;
    let asked = script.started.lock().unwrap().clone();
    (outcome, asked)
}

#[tokio::test]
async fn an_action_that_ends_well_is_done() {
    let (ended, asked) = outcome("done", &args("reset")).await;
    assert_eq!(ended.unwrap(), Outcome::Done);
    assert_eq!(asked, ["reset on import@foo: half an archive"]);
}

#[tokio::test]
async fn an_action_that_fails_has_the_exit_status_of_its_run() {
    let (ended, _) = outcome("failed", &args("reset")).await;
    assert_eq!(ended.unwrap(), Outcome::Status(75), "as the history has it");
}

#[tokio::test]
async fn an_action_that_was_given_up_has_failed() {
    let (ended, _) = outcome("canceled", &args("reset")).await;
    assert_eq!(ended.unwrap(), Outcome::Failed);
}

#[tokio::test]
async fn an_action_that_is_only_queued_is_done() {
    let mut args = args("reset");
    args.no_block = true;
    assert_eq!(outcome("failed", &args).await.0.unwrap(), Outcome::Done);
}

#[tokio::test]
async fn an_unknown_action_is_told_with_those_that_there_are() {
    let (ended, _) = outcome("done", &args("rest")).await;
    let error = ended.unwrap_err();
    assert_eq!(error.code(), 4);
    assert!(error.to_string().contains("it has reset"), "{error}");
}
