//! `interlockctl queue cancel`, `move`, `pause` and `resume`.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use zbus::Variant;

use super::cli::{CancelArgs, MoveArgs, PauseArgs, ResumeArgs};
use crate::ctl::client::{Client, not_submitted};
use crate::ctl::error::{CtlError, Outcome};
use crate::ctl::line::Line;
use crate::ctl::proxy::fields::Fields;
use crate::ctl::{output, proxy, start, text};

/// Between two looks at what still runs.
const LOOK: Duration = Duration::from_secs(1);

/// Takes out what waits.
pub async fn cancel(client: &Client, args: &CancelArgs) -> Result<Outcome, CtlError> {
    let entries = meant(client, &args.entries).await?;
    let options = proxy::given([
        ("batch", args.batch.as_deref().map(Variant::from)),
        ("task", args.task.as_deref().map(Variant::from)),
        ("all", args.all.then(|| Variant::from(true))),
    ]);
    let queue = client.submissions().await?;
    let cancelled = queue.cancel(&entries, &options).await;
    let cancelled = cancelled.map_err(|error| not_submitted("can't cancel them", error))?;
    if cancelled == 0 && !entries.is_empty() {
        output::complain("none of them waits in the queue; nothing was cancelled");
        return Ok(Outcome::Failed);
    }
    output::print(&format!("{cancelled} cancelled.\n"))?;
    Ok(Outcome::Done)
}

/// Changes the order.
pub async fn order(client: &Client, args: &MoveArgs) -> Result<Outcome, CtlError> {
    let entries = meant(client, &args.entries).await?;
    let (place, priority) = match (args.first, args.priority) {
        (true, _) => ("first", 0),
        (false, Some(priority)) => ("priority", priority),
        (false, None) => ("last", 0),
    };
    let queue = client.submissions().await?;
    let moved = queue.move_entries(&entries, place, priority);
    client.change("can't move them", moved).await?;
    output::print(&format!("{} moved.\n", text::count(entries.len(), "start")))?;
    Ok(Outcome::Done)
}

/// Starts nothing more.
pub async fn pause(client: &Client, args: &PauseArgs) -> Result<Outcome, CtlError> {
    let task = args.task.as_deref().unwrap_or_default();
    let queue = client.submissions().await?;
    let paused = queue.pause(task, &args.reason);
    client.change("can't pause the queue", paused).await?;
    let what = match task {
        "" => "The queue".to_owned(),
        task => format!("{task} in the queue"),
    };
    let resume = match task {
        "" => "interlockctl queue resume".to_owned(),
        task => format!("interlockctl queue resume {task}"),
    };
    if args.drain && !drained(client, task).await? {
        output::complain(&format!(
            "no longer waiting; it stays paused until: {resume}"
        ));
        return Ok(Outcome::Interrupted);
    }
    let rest = match args.drain {
        true => ", and nothing of it runs",
        false => "",
    };
    output::print(&format!("{what} is paused{rest}; to go on: {resume}\n"))?;
    Ok(Outcome::Done)
}

/// Waits until nothing runs that the queue has started; false: interrupted from the keyboard.
async fn drained(client: &Client, task: &str) -> Result<bool, CtlError> {
    let queue = client.submissions().await?;
    let mut line = Line::on_stderr();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {
                line.clear();
                return Ok(false);
            }
            _ = looks.tick() => {}
        }
        let counts = client.ask("can't read the queue", queue.count_queued());
        let counts = match counts.await {
            Ok(counts) => counts,
            // It is being restarted, and stays paused.
            Err(CtlError::Unreachable { .. }) => continue,
            Err(error) => return Err(error),
        };
        let running: u64 = counts
            .into_iter()
            .filter_map(|row| {
                let mut row = Fields::from(row);
                let name: String = row.get("task");
                let running: u64 = row.get("running");
                (task.is_empty() || name == task).then_some(running)
            })
            .sum();
        if running == 0 {
            line.clear();
            return Ok(true);
        }
        line.show(&format!("{running} still running"));
    }
}

/// Starts it again.
pub async fn resume(client: &Client, args: &ResumeArgs) -> Result<Outcome, CtlError> {
    let queue = client.submissions().await?;
    let resumed = queue.resume(args.task.as_deref().unwrap_or_default());
    client.change("can't resume the queue", resumed).await?;
    output::print(&match &args.task {
        Some(task) => format!("{task} goes on.\n"),
        None => "The queue goes on.\n".to_owned(),
    })?;
    Ok(Outcome::Done)
}

/// Numbers as they are, tasks as their units.
async fn meant(client: &Client, typed: &[String]) -> Result<Vec<String>, CtlError> {
    let is_number = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut entries = Vec::new();
    for word in typed {
        entries.push(match is_number(word) {
            true => word.clone(),
            false => start::resolve(client, word).await?.unit,
        });
    }
    Ok(entries)
}
