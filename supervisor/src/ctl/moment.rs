//! Points in time and time spans as people type them.

#[cfg(test)]
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Days that systemd.time(7) has, but only alone.
const DAYS: [&str; 3] = ["yesterday", "today", "tomorrow"];

/// A point in time, as CLOCK_REALTIME in microseconds: all that journalctl(1) takes, as `2 days ago`, `yesterday` or
/// `2026-11-01`; and a time of one of [`DAYS`], as `tomorrow 6:00`.
///
/// systemd-analyze(1) reads it, so that there are no two opinions about what "yesterday" is.
pub fn point(text: &str) -> Result<u64, String> {
    match text.trim().split_once(' ') {
        Some((day, time)) if DAYS.contains(&day) => {
            let midnight = i64::try_from(ask_systemd(day)?).unwrap_or(i64::MAX);
            let day = Timestamp::from_microsecond(midnight).map_err(|error| error.to_string())?;
            let date = day.to_zoned(TimeZone::system()).date();
            ask_systemd(&format!("{date} {}", time.trim()))
        }
        _ => ask_systemd(text),
    }
}

fn ask_systemd(text: &str) -> Result<u64, String> {
    let output = Command::new("systemd-analyze")
        .args(["timestamp", "--", text])
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("can't run systemd-analyze, which reads it: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let seconds = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("UNIX seconds: @"));
    seconds.and_then(microseconds).ok_or_else(|| {
        "write it as systemd.time(7) has it: \"2 days ago\", yesterday, 2026-11-01, \"2026-11-01 14:00\"; \
         or as \"tomorrow 6:00\""
            .to_owned()
    })
}

/// `1795181529.067230`.
fn microseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = seconds.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

/// A time span in microseconds, as in systemd.time(7); a number alone is seconds.
pub fn span(text: &str) -> Result<u64, String> {
    let span = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "write a number and a unit, as 5s, 15min, \"2h 30min\"".to_owned())?,
    };
    u64::try_from(span.as_micros()).map_err(|_| "it is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_and_without_a_unit() {
        assert_eq!(span("5s"), Ok(5_000_000));
        assert_eq!(span("90"), Ok(90_000_000));
        assert_eq!(span("1h 30min"), Ok(5_400_000_000));
        assert_eq!(span("250ms"), Ok(250_000));
        assert!(span("soon").unwrap_err().contains("15min"));
        assert!(span("").is_err());
        assert!(span(&u64::MAX.to_string()).is_err());
    }

    #[test]
    fn points_in_time_are_read_as_systemd_prints_them() {
        assert_eq!(
            microseconds("1795181529.067230"),
            Some(1_795_181_529_067_230)
        );
        assert_eq!(microseconds("1795181529"), Some(1_795_181_529_000_000));
        assert_eq!(microseconds("1795181529.5"), Some(1_795_181_529_500_000));
        assert_eq!(microseconds("soon"), None);
    }

    #[test]
    fn a_point_in_time_is_what_systemd_takes_for_one() {
        if Command::new("systemd-analyze")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return;
        }
        assert_eq!(point("@1795181529"), Ok(1_795_181_529_000_000));
        assert_eq!(point("2026-11-20 13:32:09 UTC"), Ok(1_795_181_529_000_000));
        assert!(point("2 days ago").unwrap() < point("yesterday").unwrap());
        let (morning, tomorrow) = (point("tomorrow 6:00").unwrap(), point("tomorrow").unwrap());
        // Some hours after midnight, on days on which the clocks are changed, too.
        assert!((4..9).contains(&((morning - tomorrow) / 3_600_000_000)));
        assert!(point("tomorrow noonish").is_err());
        assert!(point("soon").unwrap_err().contains("yesterday"));
        assert!(point("--help").is_err());
    }
}
