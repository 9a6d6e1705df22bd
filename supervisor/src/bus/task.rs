//! `org.interlock.Interlock1.Task`; its reference is packaging/dbus/org.interlock.Interlock1.Task.xml.

use std::collections::HashMap;

use tokio::sync::mpsc::UnboundedSender;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Variant, fdo, interface};

use super::manager::ask;
use crate::daemon::engine::TaskView;
use crate::daemon::{Input, Query};
use crate::history::Past;

/// One task, or one instance of a template's.
pub struct Task {
    unit: String,
    inputs: UnboundedSender<Input>,
}

impl Task {
    /// Answers come from the engine.
    pub fn new(unit: String, inputs: UnboundedSender<Input>) -> Self {
        Self { unit, inputs }
    }

    async fn view(&self) -> fdo::Result<TaskView> {
        let view = ask(&self.inputs, |to| Query::Task(self.unit.clone(), to)).await;
        let view = view.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        view.ok_or_else(|| fdo::Error::UnknownObject(format!("{} is no task any more", self.unit)))
    }
}

impl Task {
    async fn past(&self) -> fdo::Result<Past> {
        let past = ask(&self.inputs, |to| Query::Past(self.unit.clone(), to)).await;
        past.map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// Tells clients of the bus what has changed, in one signal.
    pub async fn emit_changed(&self, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let Ok(view) = self.view().await else {
            return Ok(());
        };
        let changed = HashMap::from([
            ("State", Variant::from(view.state)),
            ("Detail", Variant::from(view.detail)),
            ("Since", Variant::from(view.since)),
        ]);
        let interface = InterfaceName::try_from("org.interlock.Interlock1.Task")?;
        fdo::Properties::properties_changed(emitter, interface, changed, [].as_slice().into()).await
    }
}

#[interface(name = "org.interlock.Interlock1.Task")]
impl Task {
    #[zbus(property(emits_changed_signal = "const"))]
    async fn name(&self) -> fdo::Result<String> {
        Ok(self.view().await?.name)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn unit(&self) -> String {
        self.unit.clone()
    }

    #[zbus(property)]
    async fn state(&self) -> fdo::Result<String> {
        Ok(self.view().await?.state)
    }

    #[zbus(property)]
    async fn detail(&self) -> fdo::Result<String> {
        Ok(self.view().await?.detail)
    }

    #[zbus(property)]
    async fn since(&self) -> fdo::Result<u64> {
        Ok(self.view().await?.since)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn position(&self) -> fdo::Result<u32> {
        Ok(self.view().await?.position)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn waiting_for(&self) -> fdo::Result<Vec<String>> {
        Ok(self.view().await?.waiting_for)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn held_by(&self) -> fdo::Result<Vec<String>> {
        Ok(self.view().await?.held_by)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn uses(&self) -> fdo::Result<HashMap<String, u32>> {
        Ok(self.view().await?.uses.into_iter().collect())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn priority(&self) -> fdo::Result<i32> {
        Ok(self.view().await?.priority)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn gated(&self) -> fdo::Result<bool> {
        Ok(self.view().await?.gated)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn stale_since(&self) -> fdo::Result<String> {
        Ok(self.view().await?.stale_since)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn runs(&self) -> fdo::Result<u64> {
        Ok(self.past().await?.runs)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn skips(&self) -> fdo::Result<u64> {
        Ok(self.past().await?.skips)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn last_skip_reason(&self) -> fdo::Result<String> {
        Ok(self.past().await?.last_skip.unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn usual_duration(&self) -> fdo::Result<u64> {
        Ok(self.past().await?.usual_duration.unwrap_or(0))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn usual_wait(&self) -> fdo::Result<u64> {
        Ok(self.past().await?.usual_wait.unwrap_or(0))
    }
}
