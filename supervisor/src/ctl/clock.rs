//! Times and durations as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

const SECOND: u64 = 1_000_000;
const UNITS: [(&str, u64); 4] = [
    ("d", 86_400 * SECOND),
    ("h", 3_600 * SECOND),
    ("min", 60 * SECOND),
    ("s", SECOND),
];

/// Now, and how the host counts local time.
#[derive(Debug, Clone)]
pub struct Clock {
    now_usec: u64,
    zone: TimeZone,
}

impl Clock {
    /// The host's clock and time zone.
    pub fn of_host() -> Self {
        Self {
            now_usec: usec(SystemTime::now()),
            zone: TimeZone::system(),
        }
    }

    /// A clock that stands still, CLOCK_REALTIME in microseconds.
    pub fn at(now_usec: u64, zone: TimeZone) -> Self {
        Self { now_usec, zone }
    }

    /// `02:00:12 (3min 4s)`, or with the date if it is another day; empty for 0 (none).
    pub fn since(&self, usec: u64) -> String {
        if usec == 0 {
            return String::new();
        }
        format!(
            "{} ({})",
            self.local(usec),
            duration(self.now_usec.saturating_sub(usec))
        )
    }

    /// `02:00:12`, or with the date if it is another day; empty for 0 (none).
    pub fn time(&self, usec: u64) -> String {
        if usec == 0 {
            return String::new();
        }
        self.local(usec)
    }

    /// How long that is ago: `3min 4s`.
    pub fn ago(&self, usec: u64) -> String {
        duration(self.now_usec.saturating_sub(usec))
    }

    /// Whether that is over.
    pub fn is_past(&self, usec: u64) -> bool {
        usec <= self.now_usec
    }

    fn local(&self, usec: u64) -> String {
        let zoned = |usec: u64| {
            let stamp = Timestamp::from_microsecond(i64::try_from(usec).ok()?).ok()?;
            Some(stamp.to_zoned(self.zone.clone()))
        };
        match (zoned(usec), zoned(self.now_usec)) {
            (Some(then), Some(now)) if then.date() == now.date() => {
                then.strftime("%H:%M:%S").to_string()
            }
            (Some(then), _) => then.strftime("%Y-%m-%d %H:%M").to_string(),
            (None, _) => "?".to_owned(),
        }
    }
}

/// The two largest units that say something, in systemd's names: `3min 4s`, `2h`, `1d 6h`; below a second `0s`.
pub fn duration(usec: u64) -> String {
    let Some(first) = UNITS.iter().position(|(_, unit)| usec >= *unit) else {
        return "0s".to_owned();
    };
    let mut rest = usec;
    let mut parts = Vec::new();
    for (name, unit) in UNITS.iter().skip(first).take(2) {
        if rest >= *unit {
            parts.push(format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// As [`duration`], but of less than ten seconds with its milliseconds: `250ms`, `1.204s`.
pub fn short(usec: u64) -> String {
    match usec / 1000 {
        millis @ 0..1000 => format!("{millis}ms"),
        millis @ 1000..10_000 => format!("{}.{:03}s", millis / 1000, millis % 1000),
        _ => duration(usec),
    }
}

/// A duration of the standard library, likewise.
pub fn span(duration_: Duration) -> String {
    duration(u64::try_from(duration_.as_micros()).unwrap_or(u64::MAX))
}

fn usec(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    /// 2026-03-01 02:03:16 UTC.
    const NOW: u64 = 1_772_330_596 * SECOND;

    #[test]
    fn durations_show_their_two_largest_units() {
        for (usec, text) in [
            (0, "0s"),
            (999_999, "0s"),
            (SECOND, "1s"),
            (59 * SECOND, "59s"),
            (MINUTE, "1min"),
            (3 * MINUTE + 4 * SECOND, "3min 4s"),
            (2 * HOUR, "2h"),
            (2 * HOUR + 5 * SECOND, "2h"),
            (2 * HOUR + 5 * MINUTE + 7 * SECOND, "2h 5min"),
            (DAY + 6 * HOUR, "1d 6h"),
            (400 * DAY, "400d"),
        ] {
            assert_eq!(duration(usec), text, "{usec} usec");
        }
        assert!(duration(u64::MAX).ends_with('h'));
        assert_eq!(span(Duration::from_secs(184)), "3min 4s");
        assert_eq!(short(250_000), "250ms");
        assert_eq!(short(1_204_999), "1.204s");
        assert_eq!(short(184 * SECOND), "3min 4s");
    }

    #[test]
    fn a_time_of_today_is_shown_without_its_date() {
        let clock = Clock::at(NOW, TimeZone::UTC);
        assert_eq!(
            clock.since(NOW - 3 * MINUTE - 4 * SECOND),
            "02:00:12 (3min 4s)"
        );
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let clock = Clock::at(NOW, TimeZone::UTC);
        assert_eq!(clock.since(NOW - 3 * HOUR), "2026-02-28 23:03 (3h)");
    }

    #[test]
    fn times_are_local() {
        let clock = Clock::at(NOW, TimeZone::fixed(jiff::tz::offset(-3)));
        assert_eq!(
            clock.since(NOW - 3 * MINUTE - 4 * SECOND),
            "23:00:12 (3min 4s)"
        );
    }

    #[test]
    fn none_is_empty_and_the_future_is_now() {
        let clock = Clock::at(NOW, TimeZone::UTC);
        assert_eq!(clock.since(0), "");
        assert_eq!(
            clock.since(NOW + HOUR),
            "03:03:16 (0s)",
            "the clock was set back"
        );
        assert_eq!(clock.since(u64::MAX), "? (0s)");
    }
}
