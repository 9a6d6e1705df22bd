//! The past of the fake interlockd of [`crate::ctl::fake`].

use std::sync::{Arc, Mutex};

use zbus::{OwnedVariant, Variant, fdo, interface};

use crate::ctl::fixture::NOW;
use crate::ctl::proxy::Row;

/// What it was asked.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// All calls, with their filters.
    pub asked: Arc<Mutex<Vec<String>>>,
}

/// A row of these.
pub fn row<const N: usize>(all: [(&str, Variant<'static>); N]) -> Row {
    let owned = |(name, value): (&str, Variant<'static>)| {
        (name.to_owned(), OwnedVariant::try_from(value).unwrap())
    };
    all.into_iter().map(owned).collect()
}

/// Options in the order of their names.
pub fn words(options: Row) -> String {
    let mut words: Vec<String> = options
        .into_iter()
        .map(|(name, value)| format!(" {name}={}", Variant::from(value)))
        .collect();
    words.sort();
    words.concat()
}

#[interface(name = "org.interlock.Interlock1.History")]
impl History {
    fn list_runs(&self, filter: Row) -> Vec<Row> {
        self.ask(format!("runs{}", words(filter)));
        vec![
            row([
                ("id", 7_u64.into()),
                ("task", "import".into()),
                ("unit", "package-import@foo.service".into()),
                ("asked", (NOW - 120_000_000).into()),
                ("granted", (NOW - 64_000_000).into()),
                ("started", (NOW - 64_000_000).into()),
                ("ended", (NOW - 60_000_000).into()),
                ("result", "exit-code".into()),
                ("exit-status", 75_i32.into()),
                ("invocation", "5b1f".into()),
                ("waited-for", vec!["import-slots".to_owned()].into()),
                (
                    "interruptions",
                    vec!["deployment web-3: stop".to_owned()].into(),
                ),
                ("attempt", 2_u32.into()),
                ("cause", "retry".into()),
                ("signature", "3f2a9c0d1e44".into()),
                ("verdict", "transient".into()),
            ]),
            row([
                ("task", "upcp".into()),
                ("unit", "upcp.service".into()),
                ("ended", (NOW - 90_000_000).into()),
                ("result", "skipped".into()),
                ("reason", "its window is over".into()),
            ]),
        ]
    }

    fn exceeding(&self, limit: u64, filter: Row) -> Vec<Row> {
        self.ask(format!("exceeding {limit}{}", words(filter)));
        vec![row([
            ("task", "import".into()),
            ("runs", 3000_u64.into()),
            ("exceeding", 17_u64.into()),
            ("p50", 900_000_u64.into()),
            ("p95", 4_200_000_u64.into()),
            ("p99", 61_000_000_u64.into()),
            ("longest", 4_000_000_000_u64.into()),
        ])]
    }

    fn at_risk(&self, filter: Row) -> Vec<Row> {
        self.ask(format!("at-risk{}", words(filter)));
        vec![row([
            ("task", "dump".into()),
            ("action", "stop".into()),
            ("usual", 7_200_000_000_u64.into()),
            ("p95", 9_000_000_000_u64.into()),
            ("deployments", 40_u64.into()),
            ("every", 3_600_000_000_u64.into()),
            ("chance", 0.135_f64.into()),
            ("text", "hardly ever finishes".into()),
        ])]
    }

    fn list_failures(&self, filter: Row) -> Vec<Row> {
        self.ask(format!("failures{}", words(filter)));
        vec![row([
            ("signature", "3f2a9c0d1e44".into()),
            ("task", "import".into()),
            (
                "text",
                "exit status 75\ncurl: (#) Failed to connect to \"…\"".into(),
            ),
            ("count", 214_u64.into()),
            ("units", 180_u64.into()),
            ("first", (NOW - 7_200_000_000).into()),
            ("last", (NOW - 60_000_000).into()),
            ("class", "transient".into()),
            ("class-by", "network".into()),
            ("class-reason", "".into()),
            ("recovered", 190_u64.into()),
            ("hard", 2_u64.into()),
            ("example", "package-import@foo.service".into()),
        ])]
    }

    fn classify_failure(&self, signature: &str, class: &str, reason: &str) -> fdo::Result<()> {
        self.ask(format!("classify {signature} {class:?} {reason:?}"));
        match signature {
            "denied" => Err(fdo::Error::AccessDenied("not authorised".to_owned())),
            _ => Ok(()),
        }
    }
}

impl History {
    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    /// All that it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
