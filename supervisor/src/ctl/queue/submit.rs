//! `interlockctl submit`: starts for later, as from inside a task or a package's scriptlet, or thousands of them.

use std::io::{self, BufRead, IsTerminal as _};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use zbus::Variant;

use super::batches::{self, Batch};
use super::cli::SubmitArgs;
use crate::ctl::client::{Client, not_submitted};
use crate::ctl::clock::{self, Clock};
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::output;
use crate::ctl::proxy::manager::SubmittedStart;
use crate::ctl::proxy::{self, Options};

/// As many are sent at once: interlockd writes them down in one go, and answers others in between.
const CHUNK: usize = 1000;
/// More than so many are told of together.
const MANY: usize = 20;

/// A start that is queued for later.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubmittedRow {
    /// Its number.
    pub id: u64,
    /// The unit.
    pub unit: String,
    /// What it waits for.
    pub waits_for: String,
    /// Who asked.
    pub by: String,
    /// When, microseconds of `CLOCK_REALTIME`.
    pub at_usec: u64,
}

impl From<SubmittedStart> for SubmittedRow {
    fn from((id, unit, waits_for, by, at_usec): SubmittedStart) -> Self {
        Self {
            id,
            unit,
            waits_for,
            by,
            at_usec,
        }
    }
}

/// Queues and tells.
pub async fn run(client: &Client, args: &SubmitArgs) -> Result<Outcome, CtlError> {
    let given = args.tasks.iter().any(|task| task != "-");
    match given {
        true if args.batch.is_some() || args.wait || args.tasks.len() > MANY => {
            together(client, args, &args.tasks).await
        }
        true => one_by_one(client, args, &args.tasks).await,
        false => {
            let tasks = from_stdin(!args.tasks.is_empty())?;
            together(client, args, &tasks).await
        }
    }
}

/// As a batch.
pub(super) async fn together(
    client: &Client,
    args: &SubmitArgs,
    tasks: &[String],
) -> Result<Outcome, CtlError> {
    if tasks.is_empty() {
        output::print("Nothing was submitted.\n")?;
        return Ok(Outcome::Done);
    }
    if args.wait {
        from_outside(client, tasks).await?;
    }
    let queue = client.submissions().await?;
    let name = args.batch.as_deref().unwrap_or_default();
    let batch = queue.new_batch(name).await;
    let batch = batch.map_err(|error| not_submitted("can't submit it", error))?;
    for (number, chunk) in tasks.chunks(CHUNK).enumerate() {
        let options = options(args, Some(&batch));
        let sent = client.submit(chunk, &options).await;
        sent.inspect_err(|_| told_of_rest(&batch, number * CHUNK))?;
    }
    let began = Instant::now();
    let counted = batches::find(client, &batch).await?.unwrap_or_default();
    output::print(&queued(&counted, tasks.len(), &batch))?;
    if !args.wait || counted.total == 0 {
        return Ok(Outcome::Done);
    }
    match batches::follow(client, &batch).await? {
        Some(ended) => ending(&ended, began.elapsed()),
        None => {
            output::complain(&format!(
                "no longer waiting; the batch goes on. To give it up: interlockctl queue cancel --batch {batch}"
            ));
            Ok(Outcome::Interrupted)
        }
    }
}

/// Each with what it waits for.
async fn one_by_one(
    client: &Client,
    args: &SubmitArgs,
    tasks: &[String],
) -> Result<Outcome, CtlError> {
    let ids = client.submit(tasks, &options(args, None)).await?;
    let known = client.submitted().await?;
    for (task, id) in tasks.iter().zip(ids) {
        // It may have been started meanwhile.
        let waits_for = known
            .iter()
            .find(|row| row.id == id)
            .map_or("", |row| row.waits_for.as_str());
        let when = match waits_for {
            "" | "about to start" => String::new(),
            waits_for => format!(", {waits_for}"),
        };
        output::print(&format!("Submitted {task}{when}.\n"))?;
    }
    Ok(Outcome::Done)
}

/// Inside a task they are started after it, so that it would wait for itself.
async fn from_outside(client: &Client, tasks: &[String]) -> Result<(), CtlError> {
    for task in tasks.iter().take(1) {
        client.check_request(task, &Default::default()).await?;
    }
    match std::env::var("INTERLOCK_TASK") {
        Ok(task) if !task.is_empty() => Err(CtlError::WouldDeadlock {
            reason: format!(
                "this is called from inside {task}, after whose end they are started, so that --wait would have no end"
            ),
            advice: "\nWithout --wait they are queued for after it.",
        }),
        _ => Ok(()),
    }
}

fn options<'a>(args: &SubmitArgs, batch: Option<&'a str>) -> Options<'a> {
    proxy::given([
        (
            "after-transaction",
            args.after_transaction.then(|| Variant::from(true)),
        ),
        ("priority", args.priority.map(Variant::from)),
        ("batch", batch.map(Variant::from)),
    ])
}

/// All or none of what is sent at once is queued.
fn told_of_rest(batch: &str, sent: usize) {
    if sent > 0 {
        output::complain(&format!(
            "the first {sent} stay queued; to take them out: interlockctl queue cancel --batch {batch}"
        ));
    }
}

/// `2997 queued, 3 were queued already; batch nightly-12.`
pub(super) fn queued(batch: &Batch, sent: usize, id: &str) -> String {
    let already = (sent as u64).saturating_sub(batch.total);
    let already = match already {
        0 => String::new(),
        1 => ", 1 was queued already".to_owned(),
        more => format!(", {more} were queued already"),
    };
    format!("{} queued{already}; batch {id}.\n", batch.total)
}

fn ending(batch: &Batch, took: Duration) -> Result<Outcome, CtlError> {
    let said = format!(
        "{} after {}",
        batch.progress(&Clock::of_host()),
        clock::span(took)
    );
    if batch.failed + batch.cancelled == 0 {
        output::print(&format!("{said}.\n"))?;
        return Ok(Outcome::Done);
    }
    output::complain(&match batch.failed {
        0 => said,
        _ => format!("{said}; why: interlockctl failures, interlockctl history"),
    });
    Ok(Outcome::Failed)
}

fn from_stdin(asked_for: bool) -> Result<Vec<String>, CtlError> {
    let stdin = io::stdin();
    if stdin.is_terminal() && !asked_for {
        return Err(CtlError::Usage {
            message: "name tasks, or give them on standard input, one per line".to_owned(),
        });
    }
    names(stdin.lock()).map_err(|source| CtlError::Io {
        what: "can't read standard input".to_owned(),
        source,
    })
}

/// One per line; what is empty, or a remark, is none.
pub(super) fn names(input: impl BufRead) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for line in input.lines() {
        let line = line?;
        // D-Bus knows no text with it, and would close the connection.
        if line.contains('\0') {
            let what = format!("there is a NUL byte in {:?}", line.trim());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
