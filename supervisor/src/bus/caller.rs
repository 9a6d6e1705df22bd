//! Who calls, and the options that they pass.

use std::collections::HashMap;
use std::time::Duration;

use interlock_core::deploy::Owner;
use nix::unistd::{Uid, User};
use zbus::message::Header;
use zbus::{OwnedVariant, fdo};

use super::callers::{Callers, Credentials};

/// A caller.
#[derive(Debug)]
pub struct Caller {
    /// Its user, and how to name it.
    pub owner: Owner,
    /// Its user alone.
    pub user: String,
    /// Its process; 0 if not known.
    pub pid: u32,
}

/// Who has sent this.
///
/// # Errors
/// If the bus doesn't know its user.
pub async fn of(callers: &Callers, header: &Header<'_>) -> fdo::Result<Caller> {
    let Credentials { uid, pid } = callers.sender_of(header).await?;
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let user = match user {
        Some(user) => format!("{} (uid {uid})", user.name),
        None => format!("uid {uid}"),
    };
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let name = match comm {
        Ok(comm) => format!("{user}, {} (pid {pid})", comm.trim()),
        Err(_) => user.clone(),
    };
    Ok(Caller {
        owner: Owner { name, uid },
        user,
        pid,
    })
}

/// Options of a call, each by name; none is left when all have been taken.
pub struct Options(HashMap<String, OwnedVariant>);

impl Options {
    /// As they came, and checked to be among those that are known.
    ///
    /// # Errors
    /// `InvalidArgs`, with those that are known.
    pub fn new(given: HashMap<String, OwnedVariant>, known: &[&str]) -> fdo::Result<Self> {
        match given.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(fdo::Error::InvalidArgs(format!(
                "unknown option {key:?}; known are: {}",
                known.join(", ")
            ))),
            None => Ok(Self(given)),
        }
    }

    /// A switch; off unless given.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn flag(&mut self, name: &str) -> fdo::Result<bool> {
        let Some(value) = self.0.remove(name) else {
            return Ok(false);
        };
        bool::try_from(&value)
            .map_err(|_| fdo::Error::InvalidArgs(format!("{name} must be a boolean (b)")))
    }

    /// Text.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn text(&mut self, name: &str) -> fdo::Result<Option<String>> {
        let text = self.0.remove(name).map(String::try_from).transpose();
        text.map_err(|_| fdo::Error::InvalidArgs(format!("{name} must be text (s)")))
    }

    /// A number from 0.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn number(&mut self, name: &str) -> fdo::Result<Option<u32>> {
        let number = self.0.remove(name).map(u32::try_from).transpose();
        number.map_err(|_| fdo::Error::InvalidArgs(format!("{name} must be a number (u)")))
    }

    /// A number that may be negative.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn integer(&mut self, name: &str) -> fdo::Result<Option<i32>> {
        let number = self.0.remove(name).map(i32::try_from).transpose();
        number.map_err(|_| fdo::Error::InvalidArgs(format!("{name} must be a number (i)")))
    }

    /// A point in time or a span in microseconds; 0 is one.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn microseconds(&mut self, name: &str) -> fdo::Result<Option<u64>> {
        let number = self.0.remove(name).map(u64::try_from).transpose();
        number.map_err(|_| fdo::Error::InvalidArgs(format!("{name} must be microseconds (t)")))
    }

    /// Several words; none unless given.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn words(&mut self, name: &str) -> fdo::Result<Vec<String>> {
        let Some(value) = self.0.remove(name) else {
            return Ok(Vec::new());
        };
        Vec::<String>::try_from(value).map_err(|_| {
            fdo::Error::InvalidArgs(format!("{name} must be an array of strings (as)"))
        })
    }

    /// A time span.
    ///
    /// # Errors
    /// `InvalidArgs`, with what is expected.
    pub fn span(&mut self, name: &str) -> fdo::Result<Option<Duration>> {
        self.0
            .remove(name)
            .map(|value| span(name, &value))
            .transpose()
    }
}

/// A time span: microseconds, or text as in systemd.time(7).
///
/// # Errors
/// `InvalidArgs`, with what is expected.
pub fn span(name: &str, value: &OwnedVariant) -> fdo::Result<Duration> {
    let bad = |what: &str| {
        Err(fdo::Error::InvalidArgs(format!(
            "{name} is {what}; it must be a time span: microseconds (t), or text such as \"10min\" (s)"
        )))
    };
    if let Ok(usec) = u64::try_from(value) {
        return match usec {
            0 => bad("0"),
            usec => Ok(Duration::from_micros(usec)),
        };
    }
    let Ok(text) = <&str>::try_from(value) else {
        return bad("of another type");
    };
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => return Ok(Duration::from_secs(seconds)),
        Ok(_) => return bad("0"),
        Err(_) => {}
    }
    match humantime::parse_duration(text) {
        Ok(span) if !span.is_zero() => Ok(span),
        _ => bad(&format!("{text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::Variant;

    fn parsed(value: Variant<'_>) -> Option<Duration> {
        span("expires", &OwnedVariant::try_from(value).unwrap()).ok()
    }

    #[test]
    fn a_span_is_microseconds_or_text() {
        assert_eq!(parsed(Variant::from(5_u64)), Some(Duration::from_micros(5)));
        assert_eq!(
            parsed(Variant::from("10min")),
            Some(Duration::from_secs(600))
        );
        assert_eq!(parsed(Variant::from("90")), Some(Duration::from_secs(90)));
        for bad in [
            Variant::from("soon"),
            Variant::from(0_u64),
            Variant::from(true),
        ] {
            assert_eq!(parsed(bad), None);
        }
    }
}
