//! Names of signals, as in signal(7).

use super::reader::{Reader, Value};
use super::source::At;
use super::suggest;

/// In the order of their numbers, from 1.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// How many real-time signals glibc leaves to programs: SIGRTMIN to SIGRTMIN+30.
const REAL_TIME: i32 = 30;
/// SIGRTMIN of glibc, which keeps the first two of the kernel's for itself.
const REAL_TIME_FIRST: i32 = 34;

/// Reads a signal that a program can act on.
pub(super) fn read(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<At<String>> {
    let signal = reader.string(key, value)?;
    let name = signal.value.as_str();
    if matches!(name, "SIGKILL" | "SIGSTOP") {
        reader
            .problems
            .error(signal.at, format!("no program can act on {name}"))
            .help("name a signal that the program catches, as \"SIGUSR1\"");
        return None;
    }
    if number_of(name).is_none() {
        unknown(reader, &signal);
        return None;
    }
    Some(signal)
}

/// Reads any signal, and gives its number.
pub(super) fn number(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<i32> {
    let signal = reader.string(key, value)?;
    let number = number_of(&signal.value);
    if number.is_none() {
        unknown(reader, &signal);
    }
    number
}

fn unknown(reader: &mut Reader<'_>, signal: &At<String>) {
    let name = signal.value.as_str();
    let upper = name.to_uppercase();
    let whole = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    let help = match number_of(&whole) {
        Some(_) => format!("write \"{whole}\""),
        None => match suggest::nearest(&whole, SIGNALS.into_iter()) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => "write a name from signal(7), as \"SIGUSR1\"".to_owned(),
        },
    };
    reader
        .problems
        .error(signal.at, format!("\"{name}\" is not the name of a signal"))
        .help(help);
}

/// Its number on Linux.
fn number_of(name: &str) -> Option<i32> {
    if let Some(index) = SIGNALS.iter().position(|signal| *signal == name) {
        return i32::try_from(index + 1).ok();
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest
            .strip_prefix(sign)
            .and_then(|n| n.parse().ok())
            .filter(|n| (0..=REAL_TIME).contains(n)),
    };
    if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        return Some(REAL_TIME_FIRST + offset(rest, '+')?);
    }
    let rest = name.strip_prefix("SIGRTMAX")?;
    Some(REAL_TIME_FIRST + REAL_TIME - offset(rest, '-')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_numbers_of_linux() {
        for (name, number) in [
            ("SIGHUP", 1),
            ("SIGKILL", 9),
            ("SIGTERM", 15),
            ("SIGXCPU", 24),
            ("SIGSYS", 31),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("SIGRTMAX", 64),
            ("SIGRTMAX-2", 62),
        ] {
            assert_eq!(number_of(name), Some(number), "{name}");
        }
        for name in ["KILL", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMIN+-1", "9"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
