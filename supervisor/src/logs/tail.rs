//! The last lines that a run itself wrote.

use interlock_core::ending::End;
use tokio::time::timeout;

use super::entry::{Entries, Entry, LIMIT, synchronise};

/// A longer line is cut, bytes.
const LONGEST: usize = 4096;

/// So long after a run's end may journald receive its last line, microseconds.
const LATE: u64 = 500_000;

/// The last lines that the run wrote, the oldest first; not PID 1's about it. Those that it wrote just before its end
/// are among them. Empty if there are none, or the journal can't be asked in time.
pub async fn last_lines(unit: &str, end: &End, limit: usize) -> Vec<String> {
    if end.invocation.is_empty() {
        return Vec::new();
    }
    synchronise().await;
    timeout(LIMIT, read(unit, end, limit))
        .await
        .unwrap_or_else(|_| {
            tracing::warn!(
                unit,
                "the journal takes too long to answer; {unit}'s last lines are unknown"
            );
            Vec::new()
        })
}

async fn read(unit: &str, end: &End, limit: usize) -> Vec<String> {
    // Not by the invocation alone: journald finds that out from the control group, which a short process has left
    // before it looks. Such lines are known by the unit and the time.
    let arguments = [
        // Lines of a run just before or after, by their time, are passed over below.
        format!("--lines={}", limit * 2),
        "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID".to_owned(),
        format!("--since=@{}", end.started / 1_000_000),
        format!("--until=@{}", end.ended / 1_000_000 + 2),
        format!("_SYSTEMD_UNIT={unit}"),
    ];
    let mut lines = Vec::new();
    let Some(mut entries) = Entries::read(&arguments) else {
        return lines;
    };
    while let Some(entry) = entries.next().await {
        lines.extend(own_lines(&entry, end));
    }
    lines.split_off(lines.len().saturating_sub(limit))
}

/// The same of what journalctl has printed.
pub fn lines_in(printed: &str, end: &End, limit: usize) -> Vec<String> {
    let entries = printed.lines().filter_map(Entry::parse);
    let mut lines: Vec<String> = entries.flat_map(|entry| own_lines(&entry, end)).collect();
    lines.split_off(lines.len().saturating_sub(limit))
}

/// Those of an entry, if it is that run's own.
fn own_lines(entry: &Entry, end: &End) -> Vec<String> {
    let is_its_own = match entry.text("_SYSTEMD_INVOCATION_ID") {
        Some(invocation) => invocation == end.invocation,
        None => (end.started..=end.ended + LATE).contains(&entry.at()),
    };
    let message = entry.text("MESSAGE").filter(|_| is_its_own);
    let message = message.unwrap_or_default();
    message.lines().map(|line| cut(line).to_owned()).collect()
}

fn cut(line: &str) -> &str {
    let end = (0..=LONGEST.min(line.len())).rev();
    let end = end.into_iter().find(|at| line.is_char_boundary(*at));
    &line[..end.unwrap_or(0)]
}
