//! Nobody's calls keep those of others from being answered: each connection may have only so many that wait for
//! their answer, with only so much in them.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Deref;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use interlock_generator::unitfile::is_noncharacter;
use zbus::message::{Header, Message};
use zbus::names::{InterfaceName, MemberName, OwnedUniqueName};
use zbus::object_server::{DispatchResult, Interface, ObjectServer, SignalEmitter};
use zbus::{BoxDBusError, Connection, OwnedVariant, Structure, Variant, fdo};

/// Calls of one connection that may wait for their answers. A client that asks, and waits, has one; dbus-daemon(1)
/// allows a user 256 connections.
const AT_ONCE: u32 = 16;

/// Bytes of a call's arguments. That is 50,000 starts in one submission.
const MOST: usize = 4 * 1024 * 1024;

/// Bytes of one argument, or element of a list. Units' names have at most 255; the rest is text for people.
const LONGEST: usize = 4096;

/// An interface whose callers wait in turn.
pub struct Fair<T>(T);

impl<T> Fair<T> {
    /// The same, for all.
    pub fn new(interface: T) -> Self {
        Self(interface)
    }
}

impl<T> Deref for Fair<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// How many calls of each connection wait for their answers.
static WAITING: LazyLock<Mutex<HashMap<OwnedUniqueName, u32>>> = LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, HashMap<OwnedUniqueName, u32>> {
    // Numbers are whole even if somebody panicked.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call's place, as long as it waits.
#[derive(Debug)]
struct Turn(Option<OwnedUniqueName>);

impl Turn {
    fn take(header: &Header<'_>) -> fdo::Result<Self> {
        let Some(sender) = header.sender() else {
            return Ok(Self(None));
        };
        let sender = OwnedUniqueName::from(sender.to_owned());
        let mut waiting = waiting();
        let count = waiting.entry(sender.clone()).or_default();
        if *count >= AT_ONCE {
            return Err(fdo::Error::LimitsExceeded(format!(
                "{AT_ONCE} calls of yours wait for their answers already: wait for one of them"
            )));
        }
        *count += 1;
        Ok(Self(Some(sender)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(sender) = self.0.take() else {
            return;
        };
        let mut waiting = waiting();
        if let Some(count) = waiting.get_mut(&sender) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&sender);
            }
        }
    }
}

/// Whether what came with a call is of a size that somebody may mean, and text that can be given back to everybody.
fn check_arguments(message: &Message) -> fdo::Result<()> {
    let body = message.body();
    if body.len() > MOST {
        return Err(fdo::Error::LimitsExceeded(format!(
            "the arguments have {} bytes; at most {MOST} are taken in one call",
            body.len()
        )));
    }
    // Most calls have little to look at, and nothing that noncharacters are made of.
    if body.len() <= LONGEST && body.data().is_ascii() {
        return Ok(());
    }
    // What can't be read is refused by whoever wants to read it.
    body.deserialize::<Structure<'_>>()
        .map_or(Ok(()), |it| it.fields().iter().try_for_each(check))
}

/// Whether every text in a value may be taken.
fn check(value: &Variant<'_>) -> fdo::Result<()> {
    match value {
        Variant::Str(text) => check_text(text),
        Variant::Variant(value) => check(value),
        Variant::Array(array) => array.inner().iter().try_for_each(check),
        Variant::Dict(dict) => dict
            .iter()
            .try_for_each(|(key, value)| check(key).and_then(|()| check(value))),
        Variant::Structure(it) => it.fields().iter().try_for_each(check),
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> fdo::Result<()> {
    if text.len() > LONGEST {
        return Err(fdo::Error::InvalidArgs(format!(
            "an argument is {} bytes long; at most {LONGEST} are taken",
            text.len()
        )));
    }
    // sd-bus, and so busctl(1) and systemd, would refuse every message that has it in it.
    match text.chars().find(|c| is_noncharacter(*c)) {
        Some(bad) => Err(fdo::Error::InvalidArgs(format!(
            "an argument contains {}, which is no character: remove it",
            bad.escape_unicode()
        ))),
        None => Ok(()),
    }
}

/// In its sender's turn, or not at all.
fn in_turn<'call>(
    message: &'call Message,
    call: impl FnOnce() -> DispatchResult<'call>,
) -> DispatchResult<'call> {
    let turn = check_arguments(message).and_then(|()| Turn::take(&message.header()));
    match turn {
        Ok(turn) => match call() {
            DispatchResult::Async(work) => DispatchResult::Async(Box::pin(async move {
                let answer = work.await;
                drop(turn);
                answer
            })),
            other => other,
        },
        Err(error) => DispatchResult::Async(Box::pin(async move { Err(error.into()) })),
    }
}

#[async_trait]
impl<T: Interface> Interface for Fair<T> {
    fn name() -> InterfaceName<'static> {
        T::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.0.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property_name: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        let _turn = match header.map(Turn::take).transpose() {
            Ok(turn) => turn,
            Err(error) => return Some(Err(error.into())),
        };
        self.0
            .get(property_name, server, connection, header, emitter)
            .await
    }

    async fn get_all(
        &self,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> fdo::Result<HashMap<String, OwnedVariant>> {
        let _turn = header.map(Turn::take).transpose()?;
        self.0.get_all(server, connection, header, emitter).await
    }

    fn set<'call>(
        &'call self,
        property_name: &'call str,
        value: &'call Variant<'_>,
        server: &'call ObjectServer,
        connection: &'call Connection,
        header: Option<&'call Header<'_>>,
        emitter: &'call SignalEmitter<'_>,
    ) -> DispatchResult<'call> {
        self.0
            .set(property_name, value, server, connection, header, emitter)
    }

    async fn set_mut(
        &mut self,
        property_name: &str,
        value: &Variant<'_>,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<(), BoxDBusError>> {
        self.0
            .set_mut(property_name, value, server, connection, header, emitter)
            .await
    }

    fn call<'call>(
        &'call self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        in_turn(message, || self.0.call(server, connection, message, name))
    }

    fn call_mut<'call>(
        &'call mut self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        in_turn(message, || {
            self.0.call_mut(server, connection, message, name)
        })
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        self.0.introspect_to_writer(writer, level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(sender: &str, text: &str) -> Message {
        let call = Message::method_call("/", "Explain");
        let call = call.sender(sender);
        call.build(&(text, vec![(1_u32, text)])).unwrap()
    }

    #[test]
    fn a_connection_with_too_many_calls_is_told_and_others_are_not() {
        let (mine, others) = (call(":1.4001", ""), call(":1.4002", ""));
        let take = |message: &Message| Turn::take(&message.header());
        let turns: Vec<Turn> = (0..AT_ONCE).map(|_| take(&mine).unwrap()).collect();
        assert!(matches!(take(&mine), Err(fdo::Error::LimitsExceeded(_))));
        assert!(take(&others).is_ok());
        drop(turns);
        assert!(take(&mine).is_ok());
        let sender = mine.header().sender().unwrap().to_owned();
        assert!(!waiting().contains_key(&OwnedUniqueName::from(sender)));
    }

    #[test]
    fn long_arguments_and_noncharacters_are_refused_and_many_are_taken() {
        assert!(check_arguments(&call(":1.1", "short")).is_ok());
        assert!(check_arguments(&call(":1.1", &"x".repeat(LONGEST))).is_ok());
        let refused = check_arguments(&call(":1.1", &"x".repeat(LONGEST + 1)));
        assert!(matches!(refused, Err(fdo::Error::InvalidArgs(_))));
        let refused = check_arguments(&call(":1.1", &"x".repeat(MOST)));
        assert!(matches!(refused, Err(fdo::Error::LimitsExceeded(_))));
        for bad in ["\u{fdd0}", "well\u{fffe}", "\u{10ffff}"] {
            let refused = check_arguments(&call(":1.1", bad));
            assert!(
                matches!(refused, Err(fdo::Error::InvalidArgs(_))),
                "{bad:?}"
            );
        }
        assert!(check_arguments(&call(":1.1", "Grüße \u{fffd} 日本")).is_ok());
        let many = Message::method_call("/", "Submit");
        let many = many.build(&(vec!["x".repeat(100); 20_000],)).unwrap();
        assert!(check_arguments(&many).is_ok());
    }
}
