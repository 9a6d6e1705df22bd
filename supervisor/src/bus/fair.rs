//! Each interface of ours in turns: nobody's calls keep those of others from being answered.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use zbus::message::{Header, Message};
use zbus::names::{InterfaceName, MemberName};
use zbus::object_server::{DispatchResult, Interface, ObjectServer, SignalEmitter};
use zbus::{BoxDBusError, Connection, OwnedVariant, Variant, fdo};

use super::arguments::check_arguments;
use super::callers::Callers;
use super::turns::{Seat, Turn};

/// Calls that wait for what happens, and cost nothing meanwhile: nobody waits for his turn behind them.
const WAITING: &[&str] = &["WaitReady"];

/// An interface whose callers wait in turn.
pub struct Fair<T> {
    interface: T,
    callers: Callers,
    /// Held by who is answered, if it is to be one at a time.
    alone: Option<Arc<Semaphore>>,
}

impl<T: Send + Sync> Fair<T> {
    /// The same, for all.
    pub fn new(interface: T, callers: &Callers) -> Self {
        Self {
            interface,
            callers: callers.clone(),
            alone: None,
        }
    }

    /// For calls during which zbus lets nobody change its tree of objects; and whoever comes after somebody who wants
    /// to, waits for both.
    pub fn one_by_one(interface: T, callers: &Callers) -> Self {
        Self {
            alone: Some(Arc::new(Semaphore::new(1))),
            ..Self::new(interface, callers)
        }
    }

    /// In its sender's turn, or not at all.
    fn in_turn<'call>(
        &'call self,
        message: &'call Message,
        name: &MemberName<'call>,
        call: impl FnOnce(&'call T) -> DispatchResult<'call>,
    ) -> DispatchResult<'call> {
        let seat = check_arguments(message).and_then(|()| self.seat(&message.header()));
        let seat = match seat {
            Ok(seat) => seat,
            Err(error) => return DispatchResult::Async(Box::pin(async move { Err(error.into()) })),
        };
        let work = match call(&self.interface) {
            DispatchResult::Async(work) => work,
            other => return other,
        };
        let is_waiting = WAITING.contains(&name.as_str());
        DispatchResult::Async(Box::pin(async move {
            let _turn = match is_waiting {
                true => None,
                false => self.turn(seat.as_ref(), &message.header()).await?,
            };
            let _alone = match &self.alone {
                Some(alone) => alone.acquire().await.ok(),
                None => None,
            };
            let answer = work.await;
            drop(seat);
            answer
        }))
    }

    /// There is no sender where there is no bus.
    fn seat(&self, header: &Header<'_>) -> fdo::Result<Option<Seat>> {
        let turns = self.callers.turns();
        header.sender().map(|it| turns.seat(it)).transpose()
    }

    async fn turn(
        &self,
        seat: Option<&Seat>,
        header: &Header<'_>,
    ) -> Result<Option<Turn>, BoxDBusError> {
        if seat.is_none() {
            return Ok(None);
        }
        let sender = self.callers.sender_of(header).await?;
        Ok(Some(self.callers.turns().turn(sender.uid).await))
    }

    /// For properties. Nobody has sent it if it is part of another call.
    async fn read(&self, header: Option<&Header<'_>>) -> fdo::Result<Option<(Seat, Turn)>> {
        let Some(header) = header else {
            return Ok(None);
        };
        let Some(seat) = self.seat(header)? else {
            return Ok(None);
        };
        let sender = self.callers.sender_of(header).await?;
        Ok(Some((seat, self.callers.turns().read(sender.uid)?)))
    }
}

impl<T> Deref for Fair<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.interface
    }
}

#[async_trait]
impl<T: Interface> Interface for Fair<T> {
    fn name() -> InterfaceName<'static> {
        T::name()
    }

    fn spawn_tasks_for_methods(&self) -> bool {
        self.interface.spawn_tasks_for_methods()
    }

    async fn get(
        &self,
        property_name: &str,
        server: &ObjectServer,
        connection: &Connection,
        header: Option<&Header<'_>>,
        emitter: &SignalEmitter<'_>,
    ) -> Option<Result<OwnedVariant, BoxDBusError>> {
        let _turn = match self.read(header).await {
            Ok(turn) => turn,
            Err(error) => return Some(Err(error.into())),
        };
        self.interface
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
        let _turn = self.read(header).await?;
        self.interface
            .get_all(server, connection, header, emitter)
            .await
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
        self.interface
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
        self.interface
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
        self.in_turn(message, &name.clone(), |interface| {
            interface.call(server, connection, message, name)
        })
    }

    /// None of our interfaces has anything to change, so nobody is kept out.
    fn call_mut<'call>(
        &'call mut self,
        server: &'call ObjectServer,
        connection: &'call Connection,
        message: &'call Message,
        name: MemberName<'call>,
    ) -> DispatchResult<'call> {
        self.interface.call_mut(server, connection, message, name)
    }

    fn introspect_to_writer(&self, writer: &mut dyn Write, level: usize) {
        self.interface.introspect_to_writer(writer, level);
    }
}
