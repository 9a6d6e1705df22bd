//! `org.interlock.Interlock1.History`, as clients see it.

use zbus::proxy;

use super::{Options, Row};

/// Runs that have been, and how they ended.
#[proxy(
    interface = "org.interlock.Interlock1.History",
    default_service = "org.interlock.Interlock1",
    default_path = "/org/interlock/Interlock1"
)]
pub trait History {
    /// Runs, the newest first.
    fn list_runs(&self, filter: &Options<'_>) -> zbus::Result<Vec<Row>>;

    /// By task, how many runs took longer than so many microseconds.
    fn exceeding(&self, limit_usec: u64, filter: &Options<'_>) -> zbus::Result<Vec<Row>>;

    /// By task, how likely a run isn't met by a deployment.
    fn at_risk(&self, filter: &Options<'_>) -> zbus::Result<Vec<Row>>;

    /// Failures, one row for each cause.
    fn list_failures(&self, filter: &Options<'_>) -> zbus::Result<Vec<Row>>;

    /// Says what kind of failure it is. polkit may ask somebody for a password before it replies.
    #[zbus(allow_interactive_auth)]
    fn classify_failure(&self, signature: &str, class: &str, reason: &str) -> zbus::Result<()>;
}
