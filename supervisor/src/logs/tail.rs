//! The last lines that a run itself wrote.

use tokio::time::timeout;

use super::entry::{Entries, LIMIT, synchronise};

/// A longer line is cut, bytes.
const LONGEST: usize = 4096;

/// The last lines that the run wrote, the oldest first; not PID 1's about it. Those that it wrote just before its end
/// are among them. Empty if there are none, or the journal can't be asked in time.
pub async fn last_lines(unit: &str, invocation: &str, limit: usize) -> Vec<String> {
    if invocation.is_empty() {
        return Vec::new();
    }
    synchronise().await;
    timeout(LIMIT, read(unit, invocation, limit))
        .await
        .unwrap_or_else(|_| {
            tracing::warn!(
                unit,
                "the journal takes too long to answer; {unit}'s last lines are unknown"
            );
            Vec::new()
        })
}

async fn read(unit: &str, invocation: &str, limit: usize) -> Vec<String> {
    let arguments = [
        format!("--lines={limit}"),
        "--output-fields=MESSAGE".to_owned(),
        format!("_SYSTEMD_INVOCATION_ID={invocation}"),
        format!("_SYSTEMD_UNIT={unit}"),
    ];
    let mut lines = Vec::new();
    let Some(mut entries) = Entries::read(&arguments) else {
        return lines;
    };
    while let Some(entry) = entries.next().await {
        let Some(message) = entry.text("MESSAGE") else {
            continue;
        };
        lines.extend(message.lines().map(|line| cut(line).to_owned()));
    }
    lines.split_off(lines.len().saturating_sub(limit))
}

fn cut(line: &str) -> &str {
    let end = (0..=LONGEST.min(line.len())).rev();
    let end = end.into_iter().find(|at| line.is_char_boundary(*at));
    &line[..end.unwrap_or(0)]
}
