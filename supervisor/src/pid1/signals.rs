//! PID 1's signals, as triggers to read the state again: they are never the state itself.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use futures_util::StreamExt;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, Structure, Variant};

use super::SYSTEMD;

/// Something may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A job was queued.
    JobNew {
        /// Whose job it is.
        unit: String,
        /// Its id.
        id: u32,
    },
    /// A job has ended.
    JobRemoved {
        /// Whose job it was.
        unit: String,
        /// Its id.
        id: u32,
        /// `done`, `canceled`, `dependency`, `timeout`, … (org.freedesktop.systemd1(5)).
        result: String,
    },
    /// The unit with this object path has come to rest, or runs no more.
    UnitRested {
        /// Object path.
        path: String,
        /// It is `exited`: still active, if it is a `RemainAfterExit=` unit.
        exited: bool,
        /// The job that it has just then.
        job: Option<u32>,
    },
    /// The unit with this object path is being stopped, or has been told to stop.
    UnitLeaves {
        /// Object path.
        path: String,
    },
    /// The unit with this object path has ended, and systemd is about to restart it (`Restart=`).
    UnitRestarts {
        /// Object path.
        path: String,
    },
    /// daemon-reload begins (`true`) or has ended (`false`), or PID 1 has been replaced (`false`).
    Reloading(bool),
}

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Asks the bus for PID 1's signals.
///
/// # Errors
/// The bus's.
pub async fn subscribe(connection: &Connection) -> zbus::Result<Vec<MessageStream>> {
    // All of them in one stream: a job's end must not be heard of before its beginning.
    let manager = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .interface(MANAGER)
        .build()?;
    let units = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .path_namespace("/org/freedesktop/systemd1/unit")
        .interface(PROPERTIES)
        .member("PropertiesChanged")
        // Only the generic part, which has ActiveState: a third of all.
        .arg(0, "org.freedesktop.systemd1.Unit")
        .build()?;
    // After a daemon-reexec PID 1 comes back under the same name.
    let owner = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, SYSTEMD)
        .build()?;
    let mut streams = Vec::new();
    for rule in [manager, units, owner] {
        // Storms of a thousand starts must not fill the queue while the daemon waits for PID 1.
        let stream = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        streams.push(stream);
    }
    Ok(streams)
}

const QUEUE: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Reads one stream and hands on what it means, until the connection or the receiver is gone.
pub async fn forward<F: Fn(Signal) -> bool>(mut stream: MessageStream, hand_on: F) {
    while let Some(message) = stream.next().await {
        let Ok(message) = message else {
            return;
        };
        if let Some(signal) = read(&message)
            && !hand_on(signal)
        {
            return;
        }
    }
}

fn read(message: &zbus::Message) -> Option<Signal> {
    let header = message.header();
    match header.member()?.as_str() {
        "JobNew" => {
            type Body = (u32, zbus::OwnedObjectPath, String);
            let (id, _, unit): Body = message.body().deserialize().ok()?;
            Some(Signal::JobNew { unit, id })
        }
        "JobRemoved" => {
            type Body = (u32, zbus::OwnedObjectPath, String, String);
            let (id, _, unit, result): Body = message.body().deserialize().ok()?;
            Some(Signal::JobRemoved { unit, id, result })
        }
        "Reloading" => message.body().deserialize().ok().map(Signal::Reloading),
        "NameOwnerChanged" => Some(Signal::Reloading(false)),
        "PropertiesChanged" => {
            let path = header.path()?.to_string();
            Some(match change(message)? {
                Change::Restarts => Signal::UnitRestarts { path },
                Change::Leaves => Signal::UnitLeaves { path },
                Change::Down(job) => Signal::UnitRested {
                    path,
                    exited: false,
                    job,
                },
                Change::Exited => Signal::UnitRested {
                    path,
                    exited: true,
                    job: None,
                },
            })
        }
        _ => None,
    }
}

/// What a change of a unit means.
enum Change {
    Restarts,
    Leaves,
    /// With the job that it has.
    Down(Option<u32>),
    Exited,
}

/// Only what may end a lease, or must be thawed, is worth a look: of some ten changes in a run few are.
fn change(message: &zbus::Message) -> Option<Change> {
    type Body<'a> = (&'a str, HashMap<&'a str, Variant<'a>>, Vec<&'a str>);
    let body = message.body();
    let (_, changed, _): Body<'_> = body.deserialize().ok()?;
    let text = |name: &str| changed.get(name).and_then(|v| <&str>::try_from(v).ok());
    match text("SubState") {
        Some("exited") => return Some(Change::Exited),
        Some(state) if state.starts_with("auto-restart") => return Some(Change::Restarts),
        _ => {}
    }
    match text("ActiveState") {
        Some("inactive" | "failed") => {
            let job = changed
                .get("Job")
                .and_then(|v| <&Structure<'_>>::try_from(v).ok());
            let id = job.and_then(|job| u32::try_from(job.fields().first()?).ok());
            Some(Change::Down(id.filter(|id| *id != 0)))
        }
        Some("deactivating") => Some(Change::Leaves),
        _ => None,
    }
}
