//! `org.interlock.Interlock1.Monitor`; its reference is packaging/dbus/org.interlock.Interlock1.Monitor.xml.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedSender;
use zbus::{OwnedVariant, interface};

use super::caller::Options;
use super::error::Error;
use super::manager::ask;
use crate::clock;
use crate::daemon::{Input, Query};
use crate::history::reader;
use crate::monitor::{self, Facts, Format, Request};

/// What monitoring asks, at the root object. Reads only, so it is open to all.
pub struct Monitor {
    inputs: UnboundedSender<Input>,
    database: PathBuf,
}

impl Monitor {
    /// Live facts come from the engine, those of the past from the database.
    pub fn new(inputs: UnboundedSender<Input>, database: PathBuf) -> Self {
        Self { inputs, database }
    }

    async fn facts(&self) -> Result<Facts, Error> {
        let live = ask(&self.inputs, Query::Live).await?;
        let now = clock::realtime();
        let past = reader::ask(self.database.clone(), move |it| it.monitored(now)).await;
        Ok(Facts {
            now,
            past: match past {
                Ok(past) => Ok(past.of_policy(&live)),
                Err(error) => Err(error.to_string()),
            },
            live,
        })
    }
}

#[interface(name = "org.interlock.Interlock1.Monitor")]
impl Monitor {
    #[zbus(out_args("text"))]
    async fn metrics(&self, format: String) -> Result<String, Error> {
        let format = Format::named(&format).ok_or_else(|| {
            Error::InvalidArgs(format!(
                "{format:?} is no format; there are prometheus and openmetrics"
            ))
        })?;
        Ok(monitor::metrics(&self.facts().await?, format))
    }

    #[zbus(out_args("status", "output"))]
    async fn check(
        &self,
        warnings: Vec<String>,
        criticals: Vec<String>,
        options: HashMap<String, OwnedVariant>,
    ) -> Result<(u32, String), Error> {
        let mut options = Options::new(options, &["ignore", "json"])?;
        let request = Request {
            warnings,
            criticals,
            ignored: options.words("ignore")?,
        };
        let as_json = options.flag("json")?;
        let verdict = monitor::check(&self.facts().await?, &request);
        let output = match as_json {
            true => verdict.json(),
            false => verdict.render(),
        };
        Ok((u32::from(verdict.status.code()), output))
    }
}
