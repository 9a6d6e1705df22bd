//! `interlockctl action TASK ACTION`: a repair that the policy names, run by interlockd on one unit.
//!
//! Who may do that need be nobody on the host else: so nothing is asked of systemd that not everybody may ask, and the
//! exit status is in the history, which everybody may read.

mod journal;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use zbus::Variant;

use super::cli::ActionArgs;
use super::client::Client;
use super::error::{CtlError, Outcome};
use super::history::RunRow;
use super::jobs::{self, Removed};
use super::proxy::systemd::SystemdProxy;
use super::run::tell;
use super::{output, proxy, text};
use journal::Journal;

/// Between two looks at what it has written, and whom it waits for.
const LOOK: Duration = Duration::from_secs(1);
/// So often is looked, in these distances, until the history has its end.
const ASK: (usize, Duration) = (20, Duration::from_millis(100));

/// Runs it, waits and tells.
pub async fn run(client: &Client, args: &ActionArgs) -> Result<Outcome, CtlError> {
    let systemd = SystemdProxy::new(client.connection()).await;
    let systemd = systemd.map_err(|error| jobs::failure(&args.task, error))?;
    // Before the unit is there, so that its end isn't missed.
    let removed = Removed::listen(&systemd).await;
    let removed = removed.map_err(|error| jobs::failure(&args.task, error))?;
    let manager = client.manager();
    let unit = manager.run_action(&args.task, &args.action, &args.reason);
    let unit = client.change("can't run the action", unit).await?;
    if args.no_block {
        output::print(&format!("Queued as {unit}.\n"))?;
        return Ok(Outcome::Done);
    }
    let mut watch = Watch {
        client,
        systemd,
        journal: Journal::of(&unit),
        unit,
        missed: false,
    };
    let Some(result) = watch.wait(removed).await? else {
        output::complain(&format!(
            "no longer waiting; the action goes on. To give it up: systemctl stop {}",
            watch.unit
        ));
        return Ok(Outcome::Interrupted);
    };
    watch.journal.sync().await;
    watch.pass_on().await?;
    watch.ending(args, &result).await
}

struct Watch<'a> {
    client: &'a Client,
    systemd: SystemdProxy<'static>,
    journal: Journal,
    unit: String,
    /// Whether the last look found the unit gone.
    missed: bool,
}

impl Watch<'_> {
    /// The result of its job, empty if nobody said it; `None` if interrupted from the keyboard.
    async fn wait(&mut self, mut removed: Removed) -> Result<Option<String>, CtlError> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once; nobody needs to be told of less than a second.
        looks.tick().await;
        let mut told = String::new();
        loop {
            tokio::select! {
                result = ended(&mut removed, &self.unit) => return Ok(Some(result)),
                _ = tokio::signal::ctrl_c() => return Ok(None),
                _ = looks.tick() => {}
            }
            self.pass_on().await?;
            tell(self.client, &self.unit, &mut told).await;
            // A re-executed PID 1 loses signals; only two looks in a row tell, since one may be on its way.
            let gone = self.systemd.get_unit(&self.unit).await.is_err();
            if std::mem::replace(&mut self.missed, gone) && gone {
                return Ok(Some(String::new()));
            }
        }
    }

    async fn pass_on(&mut self) -> Result<(), CtlError> {
        for line in self.journal.lines().await {
            output::print(&format!("{}\n", text::lines(&line)))?;
        }
        Ok(())
    }

    async fn ending(&self, args: &ActionArgs, result: &str) -> Result<Outcome, CtlError> {
        if result == "done" {
            return Ok(Outcome::Done);
        }
        let (action, task) = (&args.action, &args.task);
        if matches!(result, "canceled" | "dependency" | "timeout" | "assert") {
            output::complain(&format!("{action} on {task} was given up before it ran"));
            return Ok(Outcome::Failed);
        }
        let run = self.recorded().await;
        let how = match &run {
            Some(run) => super::history::result(run).0,
            None => "nobody knows how".to_owned(),
        };
        if how == "success" {
            return Ok(Outcome::Done);
        }
        output::complain(&format!(
            "{action} on {task} failed ({how}); see: journalctl -u {}",
            self.unit
        ));
        let status = run.and_then(|run| run.exit_status);
        let status = status.and_then(|status| u8::try_from(status).ok());
        Ok(match status.filter(|status| *status > 0) {
            Some(status) => Outcome::Status(status),
            None => Outcome::Failed,
        })
    }

    /// Its run, as soon as interlockd has heard of its end as well.
    async fn recorded(&self) -> Option<RunRow> {
        let history = self.client.history().await.ok()?;
        let filter = proxy::given([
            ("task", Some(Variant::from(self.unit.as_str()))),
            ("limit", Some(Variant::from(1_u32))),
        ]);
        let mut asks = interval(ASK.1);
        for _ in 0..ASK.0 {
            asks.tick().await;
            let runs = history.list_runs(&filter).await.ok()?;
            let run = runs.into_iter().next().map(RunRow::from);
            if let Some(run) = run.filter(|run| run.ended_usec.is_some()) {
                return Some(run);
            }
        }
        None
    }
}

/// The result of the unit's job, when it has ended. If the connection is lost, the next look finds that.
async fn ended(removed: &mut Removed, unit: &str) -> String {
    match removed.next_of(unit).await {
        Some(result) => result,
        None => std::future::pending().await,
    }
}
