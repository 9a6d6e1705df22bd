//! Names of signals, as in signal(7).

use super::reader::{Reader, Value};
use super::source::At;
use super::suggest;

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
const REAL_TIME: u32 = 30;

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
    if SIGNALS.contains(&name) || is_real_time(name) {
        return Some(signal);
    }
    let upper = name.to_uppercase();
    let whole = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    let help = match SIGNALS.contains(&whole.as_str()) || is_real_time(&whole) {
        true => format!("write \"{whole}\""),
        false => match suggest::nearest(&whole, SIGNALS.into_iter()) {
            Some(nearest) => format!("did you mean \"{nearest}\"?"),
            None => "write a name from signal(7), as \"SIGUSR1\"".to_owned(),
        },
    };
    reader
        .problems
        .error(signal.at, format!("\"{name}\" is not the name of a signal"))
        .help(help);
    None
}

fn is_real_time(name: &str) -> bool {
    let number = |rest: &str, sign: char| {
        rest.is_empty()
            || rest
                .strip_prefix(sign)
                .is_some_and(|n| n.parse().is_ok_and(|n: u32| n <= REAL_TIME))
    };
    name.strip_prefix("SIGRTMIN")
        .is_some_and(|rest| number(rest, '+'))
        || name
            .strip_prefix("SIGRTMAX")
            .is_some_and(|rest| number(rest, '-'))
}
