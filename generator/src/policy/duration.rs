//! Time spans as in systemd.time(7).

use std::time::Duration;

/// Units that systemd knows. humantime knows a few more, which systemd would then refuse or read otherwise.
const UNITS: [&str; 29] = [
    "us", "usec", "µs", "ms", "msec", "s", "sec", "second", "seconds", "m", "min", "minute",
    "minutes", "h", "hr", "hour", "hours", "d", "day", "days", "w", "week", "weeks", "M", "month",
    "months", "y", "year", "years",
];

/// Longest time span in seconds: ten thousand years, so that no sum with a clock overflows.
pub(super) const MOST_SECONDS: i64 = 10_000 * 365 * 24 * 3600;

/// Why a text is no time span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("\"{0}\" is no unit of time")]
    Unit(String),
    #[error("\"infinity\" isn't possible here")]
    Infinity,
    #[error("it is negative")]
    Negative,
    #[error("it is longer than ten thousand years")]
    TooLong,
    #[error("it is no number and unit")]
    Malformed,
}

impl Error {
    /// What to write instead.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Infinity => "leave it out for no limit".to_owned(),
            _ => "write a number and a unit, as \"90s\", \"15min\", \"2h 30min\" or \"1d\""
                .to_owned(),
        }
    }
}

/// Reads a time span; a number without a unit is seconds.
pub(super) fn parse(text: &str) -> Result<Duration, Error> {
    let text = text.trim();
    if text == "infinity" {
        return Err(Error::Infinity);
    }
    if text.starts_with('-') {
        return Err(Error::Negative);
    }
    let span = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        Duration::from_secs(text.parse().map_err(|_| Error::TooLong)?)
    } else {
        let unknown = text
            .split(|c: char| !c.is_alphabetic())
            .find(|word| !word.is_empty() && !UNITS.contains(word));
        if let Some(unknown) = unknown {
            return Err(Error::Unit(unknown.to_owned()));
        }
        humantime::parse_duration(text).map_err(|error| match error {
            humantime::DurationError::NumberOverflow => Error::TooLong,
            _ => Error::Malformed,
        })?
    };
    match span.as_secs() > MOST_SECONDS.unsigned_abs() {
        true => Err(Error::TooLong),
        false => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("1h 30min", 5400),
            ("1h30m", 5400),
            ("2 days", 172_800),
            ("0", 0),
            ("1M", 2_630_016),
            ("1.5h", 5400),
            ("1y", 31_557_600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn units_that_systemd_would_refuse_are_refused() {
        for text in ["5 fortnights", "3ns", "4hrs", "2wks", "1 Hour"] {
            assert!(matches!(parse(text), Err(Error::Unit(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_says_why() {
        assert_eq!(parse("-3s"), Err(Error::Negative));
        assert_eq!(parse("infinity"), Err(Error::Infinity));
        assert_eq!(parse("99999999999999999999"), Err(Error::TooLong));
        assert_eq!(parse("20000y"), Err(Error::TooLong));
        assert_eq!(parse("1h 30"), Err(Error::Malformed));
        assert_eq!(parse("min"), Err(Error::Malformed));
        assert_eq!(parse(""), Err(Error::Malformed));
    }
}
