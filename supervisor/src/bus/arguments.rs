//! What comes with a call is of a size that somebody may mean, and text that can be given back to everybody.

use interlock_generator::unitfile::is_noncharacter;
use zbus::message::Message;
use zbus::{Structure, Variant, fdo};

/// Bytes of a call's arguments. That is 50,000 starts in one submission.
const MOST: usize = 4 * 1024 * 1024;

/// Bytes of one argument, or element of a list. Units' names have at most 255; the rest is text for people.
const LONGEST: usize = 4096;

/// Whether the arguments of a call may be taken.
///
/// # Errors
/// `LimitsExceeded` or `InvalidArgs`, with what is wrong.
pub fn check_arguments(message: &Message) -> fdo::Result<()> {
    let body = message.body();
    if body.len() > MOST {
        return Err(fdo::Error::LimitsExceeded(format!(
            "the arguments have {} bytes; at most {MOST} are taken in one call",
            body.len()
        )));
    }
    // Most calls have little to look at, and nothing that noncharacters are made of.
    if body.len() <= LONGEST && body.data().is_ascii() {
        return Ok(());
    }
    // What can't be read is refused by whoever wants to read it.
    body.deserialize::<Structure<'_>>()
        .map_or(Ok(()), |it| it.fields().iter().try_for_each(check))
}

/// Whether every text in a value may be taken.
fn check(value: &Variant<'_>) -> fdo::Result<()> {
    match value {
        Variant::Str(text) => check_text(text),
        Variant::Variant(value) => check(value),
        Variant::Array(array) => array.inner().iter().try_for_each(check),
        Variant::Dict(dict) => dict
            .iter()
            .try_for_each(|(key, value)| check(key).and_then(|()| check(value))),
        Variant::Structure(it) => it.fields().iter().try_for_each(check),
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> fdo::Result<()> {
    if text.len() > LONGEST {
        return Err(fdo::Error::InvalidArgs(format!(
            "an argument is {} bytes long; at most {LONGEST} are taken",
            text.len()
        )));
    }
    // sd-bus, and so busctl(1) and systemd, would refuse every message that has it in it.
    match text.chars().find(|c| is_noncharacter(*c)) {
        Some(bad) => Err(fdo::Error::InvalidArgs(format!(
            "an argument contains {}, which is no character: remove it",
            bad.escape_unicode()
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Message {
        let call = Message::method_call("/", "Explain");
        call.build(&(text, vec![(1_u32, text)])).unwrap()
    }

    #[test]
    fn long_arguments_and_noncharacters_are_refused_and_many_are_taken() {
        assert!(check_arguments(&call("short")).is_ok());
        assert!(check_arguments(&call(&"x".repeat(LONGEST))).is_ok());
        let refused = check_arguments(&call(&"x".repeat(LONGEST + 1)));
        assert!(matches!(refused, Err(fdo::Error::InvalidArgs(_))));
        let refused = check_arguments(&call(&"x".repeat(MOST)));
        assert!(matches!(refused, Err(fdo::Error::LimitsExceeded(_))));
        for bad in ["\u{fdd0}", "well\u{fffe}", "\u{10ffff}"] {
            let refused = check_arguments(&call(bad));
            assert!(
                matches!(refused, Err(fdo::Error::InvalidArgs(_))),
                "{bad:?}"
            );
        }
        assert!(check_arguments(&call("Grüße \u{fffd} 日本")).is_ok());
        let many = Message::method_call("/", "Submit");
        let many = many.build(&(vec!["x".repeat(100); 20_000],)).unwrap();
        assert!(check_arguments(&many).is_ok());
    }
}
