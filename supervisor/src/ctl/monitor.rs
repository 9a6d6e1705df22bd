//! Questions of monitoring to interlockd. Other than those of people they never start it: whether it runs is
//! one of the answers.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, Variant, proxy};

use super::error::{self, Answer};
use super::proxy::systemd::SystemdProxy;

const UNIT: &str = "interlockd.service";
/// A daemon that is being restarted, as by an upgrade, is asked again so soon.
const POLL: Duration = Duration::from_millis(50);

/// What the daemon answers.
#[proxy(
    interface = "org.interlock.Interlock1.Monitor",
    default_service = "org.interlock.Interlock1",
    default_path = "/org/interlock/Interlock1"
)]
trait Monitor {
    #[zbus(no_autostart)]
    fn metrics(&self, format: &str) -> zbus::Result<String>;

    #[zbus(no_autostart)]
    fn check(
        &self,
        warnings: &[String],
        criticals: &[String],
        options: &HashMap<&str, Variant<'_>>,
    ) -> zbus::Result<(u32, String)>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// The bus can't be reached, so nothing is known.
    #[error("the system bus can't be reached: {0}")]
    NoBus(String),
    /// It doesn't run.
    #[error("interlockd isn't running: {UNIT} is {0}")]
    Down(String),
    /// It runs and doesn't answer.
    #[error("interlockd has not answered within {} s", .0.as_secs())]
    Hangs(Duration),
    /// It answers with an error.
    #[error("interlockd can't tell: {0}")]
    Refused(String),
}

/// `Check`: the status and what to print.
pub async fn check(
    warnings: &[String],
    criticals: &[String],
    options: &HashMap<&str, Variant<'_>>,
    patience: Duration,
) -> Result<(u32, String), Silence> {
    let question =
        async |monitor: &MonitorProxy<'_>| monitor.check(warnings, criticals, options).await;
    within(patience, ask(question)).await
}

/// `Metrics`, in the format of that name.
pub async fn metrics(format: &str, patience: Duration) -> Result<String, Silence> {
    let question = async |monitor: &MonitorProxy<'_>| monitor.metrics(format).await;
    within(patience, ask(question)).await
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Silence> {
    let answer = tokio::time::timeout(patience, answer).await;
    answer.unwrap_or(Err(Silence::Hangs(patience)))
}

async fn ask<T>(
    question: impl AsyncFn(&MonitorProxy<'_>) -> zbus::Result<T>,
) -> Result<T, Silence> {
    let no_bus = |error: zbus::Error| Silence::NoBus(error::message(&error));
    let connection = Connection::system().await.map_err(no_bus)?;
    let monitor = MonitorProxy::builder(&connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .map_err(no_bus)?;
    loop {
        let error = match question(&monitor).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error::answer(&error) != Answer::Nobody {
            return Err(Silence::Refused(error::message(&error)));
        }
        match state(&connection).await {
            Ok(state) if is_up(&state.0) => tokio::time::sleep(POLL).await,
            Ok((active, why)) => {
                let why = match why.as_str() {
                    "" => active,
                    why => format!("{active} ({why})"),
                };
                return Err(Silence::Down(why));
            }
            Err(error) => return Err(no_bus(error)),
        }
    }
}

fn is_up(active: &str) -> bool {
    matches!(active, "active" | "activating" | "reloading" | "refreshing")
}

/// PID 1's word on the daemon's unit: `ActiveState`, and how it ended unless that was well.
async fn state(connection: &Connection) -> zbus::Result<(String, String)> {
    let systemd = SystemdProxy::new(connection).await?;
    let unit = systemd.load_unit(UNIT).await?;
    let properties = PropertiesProxy::builder(connection)
        .destination("org.freedesktop.systemd1")
        .path(unit)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let read = async |interface: &'static str, name: &str| -> zbus::Result<String> {
        let interface = InterfaceName::from_static_str_unchecked(interface);
        let value = properties.get(interface, name).await?;
        Ok(String::try_from(value).unwrap_or_default())
    };
    let active = read("org.freedesktop.systemd1.Unit", "ActiveState").await?;
    let load = read("org.freedesktop.systemd1.Unit", "LoadState").await?;
    if load != "loaded" {
        return Ok((active, load));
    }
    let result = read("org.freedesktop.systemd1.Service", "Result").await?;
    let result = if result == "success" {
        String::new()
    } else {
        result
    };
    Ok((active, result))
}
