//! What operators are told of deployments that are there, and of those that can't be begun.

use std::collections::BTreeSet;

use super::calls::{self, Wish};
use super::cli::{EndArgs, ExtendArgs, TakeOverArgs};
use super::fake::{self, Deployments, Refusal};
use super::run_tests::{client, deployments};
use super::screen::Progress;
use super::signals::Signals;
use super::{begin, end, manual, model};
use crate::ctl::error::{CtlError, Outcome};

#[tokio::test]
async fn begin_leaves_the_deployment_to_its_expiry() {
    let deployments = deployments();
    let (client, _server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let wish = Wish {
        group: "mediawiki".to_owned(),
        expires: Some("30min".to_owned()),
        ..Wish::default()
    };
    let outcome = begin::begin_with(&client, &wish, Progress::on_stderr(), caught).await;
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!(
        deployments.asked(),
        ["begin mediawiki \"\" expires=30min"],
        "and not ended"
    );
}

async fn begin_error(group: &str, refusal: Option<Refusal>) -> CtlError {
    let deployments = Deployments {
        refuse: refusal,
        ..deployments()
    };
    let (client, _server) = client(&deployments).await;
    let wish = Wish {
        group: group.to_owned(),
        ..Wish::default()
    };
    calls::begin(&client, &wish).await.unwrap_err()
}

#[tokio::test]
async fn unknown_group_is_told_with_the_nearest() {
    let error = begin_error("mediawik", None).await;
    assert_eq!(error.code(), 4);
    assert_eq!(
        error.to_string(),
        "there is no group \"mediawik\"; the policy has import and mediawiki\nDid you mean mediawiki?"
    );
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let denied = Refusal::AccessDenied("not authorised".to_owned());
    let error = begin_error("mediawiki", Some(denied)).await;
    assert_eq!(error.code(), 77);
    assert!(
        error
            .to_string()
            .contains("org.interlock.Interlock1.deploy"),
        "{error}"
    );
    let invalid = Refusal::InvalidArgs("\"soon\" is no time span".to_owned());
    let error = begin_error("mediawiki", Some(invalid)).await;
    assert_eq!(error.code(), 2);
    assert!(error.to_string().contains("\"soon\""), "{error}");
    let deadlock = Refusal::WouldDeadlock("pid 7 belongs to upcp.service".to_owned());
    let error = begin_error("mediawiki", Some(deadlock)).await;
    assert_eq!(error.code(), 35);
    assert!(error.to_string().starts_with("pid 7"), "{error}");
}

#[tokio::test]
async fn extend_and_take_over_tell_why_not() {
    let deployments = deployments();
    let (client, _server) = client(&deployments).await;
    let wish = Wish {
        group: "mediawiki".to_owned(),
        ..Wish::default()
    };
    let _holder = calls::begin(&client, &wish).await.unwrap();
    let args = ExtendArgs {
        id: fake::ID.to_owned(),
        span: "1h".to_owned(),
    };
    let error = end::extend(&client, &args).await.unwrap_err();
    assert!(error.to_string().contains("it has a holder"), "{error}");
    assert_eq!(error.code(), 1);
    let args = TakeOverArgs {
        id: fake::ID.to_owned(),
        expires: "1h".to_owned(),
        reason: "the host is gone".to_owned(),
    };
    let error = end::take_over(&client, &args).await.unwrap_err();
    assert_eq!(error.code(), 77);
    assert!(
        error
            .to_string()
            .contains("org.interlock.Interlock1.manage"),
        "{error}"
    );
    assert_eq!(
        deployments.asked()[1..],
        ["extend 1h", "take over \"the host is gone\" [\"expires\"]"]
    );
}

async fn end(
    others: &[(&'static str, &'static str, &'static str)],
    id: Option<&str>,
    group: Option<&str>,
) -> Result<Outcome, CtlError> {
    let deployments = Deployments {
        others: others.to_vec(),
        ..deployments()
    };
    let (client, _server) = client(&deployments).await;
    let (_signals, caught) = Signals::scripted();
    let args = EndArgs {
        id: id.map(str::to_owned),
        group: group.map(str::to_owned),
        reason: String::new(),
    };
    end::end_with(&client, &args, Progress::on_stderr(), caught).await
}

#[tokio::test]
async fn the_only_deployment_needs_no_id() {
    let live = ("mediawiki-3", "mediawiki", "ready");
    let over = ("mediawiki-2", "mediawiki", "failed");
    let other = ("import-1", "import", "settling");
    let error = end(&[over], None, None).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (4, "no deployment is alive".to_owned())
    );
    let error = end(&[live, other], None, None).await.unwrap_err();
    assert_eq!(error.code(), 2);
    assert!(
        error
            .to_string()
            .contains("\n  import-1 (import, by alice (uid 1000))"),
        "{error}"
    );
    for group in [None, Some("mediawiki")] {
        assert_eq!(
            end(&[over, live], None, group).await.unwrap(),
            Outcome::Done
        );
    }
    let error = end(&[live], None, Some("import")).await.unwrap_err();
    assert_eq!(error.to_string(), "no deployment of import is alive");
}

#[tokio::test]
async fn ending_what_is_over_tells_how_it_ended() {
    let others = [
        ("mediawiki-1", "mediawiki", "ended"),
        ("mediawiki-2", "mediawiki", "failed"),
    ];
    for (id, outcome) in [
        ("mediawiki-1", Outcome::Done),
        ("mediawiki-2", Outcome::Failed),
    ] {
        assert_eq!(end(&others, Some(id), None).await.unwrap(), outcome);
    }
    let error = end(&others, Some("mediawiki-9"), None).await.unwrap_err();
    assert_eq!(error.code(), 4);
    assert!(
        error.to_string().contains("Did you mean mediawiki-1"),
        "{error}"
    );
}

/// Names of all fields, as the manual writes them.
fn names(value: &serde_json::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in value.as_object().unwrap() {
        match value.as_array().and_then(|array| array.first()) {
            Some(first) => {
                found.extend(names(first).iter().map(|name| format!("{key}[].{name}")));
            }
            None => drop(found.insert(key.clone())),
        }
    }
    found
}

fn documented(fields: &[(&str, &str)]) -> BTreeSet<String> {
    fields.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[tokio::test]
async fn json_has_the_fields_of_the_manual_and_no_others() {
    let deployments = Deployments {
        others: vec![("mediawiki-1", "mediawiki", "ended")],
        ..deployments()
    };
    let (client, _server) = client(&deployments).await;
    let rows = calls::list(&client).await.unwrap();
    let object = rows[0].object.clone();
    let list = model::Deployments { deployments: rows };
    let list = serde_json::to_value(list).unwrap();
    assert_eq!(names(&list), documented(manual::LIST_FIELDS));
    let facts = calls::facts(&client, &object).await.unwrap();
    assert_eq!(facts.tasks[0].detail, "then stop");
    let facts = serde_json::to_value(facts).unwrap();
    assert_eq!(names(&facts), documented(manual::SHOW_FIELDS));
}
