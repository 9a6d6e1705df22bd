//! What is told, when, and with which facts.

use super::*;

fn failed(unit: &str, signature: &str, hard: bool) -> OperatorEvent {
    OperatorEvent::Failed {
        task: "import".to_owned(),
        unit: unit.to_owned(),
        result: "exit-code".to_owned(),
        exit_status: Some(75),
        signal: None,
        signature: signature.to_owned(),
        signature_text: "exit status 75:\nconnection\u{1b}[2J reset".to_owned(),
        attempt: 3,
        hard,
        count: 7,
        verdict: "its 3 attempts are over".to_owned(),
    }
}

fn recovered(unit: &str, hard: bool) -> OperatorEvent {
    OperatorEvent::Recovered {
        task: "import".to_owned(),
        unit: unit.to_owned(),
        hard,
    }
}

#[test]
fn a_lasting_failure_is_told_once_until_it_changes_or_goes() {
    let mut notifier = Notifier::default();
    let mut told = |event: OperatorEvent| notifier.is_news(&event);
    assert!(!told(failed("a", "1", false)), "it is tried again");
    assert!(told(failed("a", "1", true)));
    assert!(!told(failed("a", "1", true)), "the same again");
    assert!(told(failed("b", "1", true)), "another unit");
    assert!(told(failed("a", "2", true)), "another cause");
    assert!(told(recovered("a", false)));
    assert!(
        !told(recovered("a", false)),
        "nobody was told that it failed"
    );
    assert!(told(recovered("c", true)), "an earlier interlockd told it");
    assert!(told(failed("a", "2", true)));
}

#[test]
fn facts_are_in_the_environment_without_control_characters() {
    let environment = failed("import@a.service", "c0ffee", true).environment();
    let value = |key: &str| {
        let found = environment.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).unwrap()
    };
    assert_eq!(value("INTERLOCK_EVENT"), "failed");
    assert_eq!(value("INTERLOCK_EXIT_STATUS"), "75");
    assert_eq!(value("INTERLOCK_SIGNAL"), "");
    assert_eq!(value("INTERLOCK_HARD"), "1");
    assert_eq!(value("INTERLOCK_COUNT"), "7");
    assert_eq!(
        value("INTERLOCK_TEXT"),
        "import@a.service failed: exit status 75:; connection [2J reset (its 3 attempts are over)"
    );
    assert!(
        environment
            .iter()
            .all(|(_, value)| !value.contains(char::is_control))
    );
}

#[test]
fn values_are_cut_between_letters() {
    assert_eq!(clean(&"ä".repeat(VALUE)).len(), VALUE);
    assert_eq!(clean(&format!("x{}", "ä".repeat(VALUE))).len(), VALUE - 1);
}

#[test]
fn no_more_wait_than_may() {
    let mut notifier = Notifier::default();
    for _ in 0..WAITING + 5 {
        let command = vec!["/bin/true".to_owned()];
        notifier.add("import", "a", command, &failed("a", "1", true));
    }
    assert_eq!((notifier.waiting.len(), notifier.dropped), (WAITING, 5));
}
