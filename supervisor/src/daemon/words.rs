//! How interlockd says things to people: durations, times of day, lists.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A duration in microseconds, in at most two units: `3min 4s`.
pub fn duration(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    if seconds == 0 {
        return format!("{}ms", usec / 1000);
    }
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (name, length) in units {
        if rest >= length {
            parts.push(format!("{}{name}", rest / length));
            rest %= length;
        } else if !parts.is_empty() {
            // Not "1h 5s": the second unit is the next smaller one or none.
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.join(" ")
}

/// The local time of day of a moment in microseconds of `CLOCK_REALTIME`, with the date unless it is today's.
pub fn time_of_day(usec: u64) -> String {
    let at = Timestamp::from_microsecond(i64::try_from(usec).unwrap_or(i64::MAX));
    let Ok(at) = at.map(|at| at.to_zoned(TimeZone::system())) else {
        return "some time".to_owned();
    };
    let is_today = at.date() == Zoned::now().date();
    at.strftime(if is_today {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    })
    .to_string()
}

/// As systemd counts.
pub fn usec(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `a, b and c`.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// Names for a journal field, separated by spaces.
pub fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// A list cut to its first few: `a, b, c and 17 more`.
pub fn short_list<T: AsRef<str>>(items: &[T]) -> String {
    const SHOWN: usize = 3;
    if items.len() <= SHOWN + 1 {
        return list(items);
    }
    let mut shown: Vec<String> = items[..SHOWN]
        .iter()
        .map(|i| i.as_ref().to_owned())
        .collect();
    shown.push(format!("{} more", items.len() - SHOWN));
    list(&shown)
}

/// `once`, `2 times`, …
pub fn times(n: usize) -> String {
    match n {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    }
}

/// `1st`, `2nd`, …
pub fn ordinal(n: usize) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (usec, text) in [
            (0, "0ms"),
            (1_500, "1ms"),
            (61_000_000, "1min 1s"),
            (3_605_000_000, "1h"),
            (90_061_000_000, "1d 1h"),
        ] {
            assert_eq!(duration(usec), text);
        }
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(short_list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(
            [1, 2, 3, 4, 11, 21].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 21st"
        );
    }
}
