//! Pure: for which units a command line waits.

/// What a command waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A unit, as systemctl(1) was told, with its suffix.
    Unit(String),
    /// A task, as interlockctl(1) was told.
    Task(String),
}

/// Suffixes of units (systemd.unit(5)).
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
];

/// Commands of systemctl(1) that wait for the start of the units that they name.
const STARTS: [&str; 8] = [
    "start",
    "restart",
    "try-restart",
    "condrestart",
    "reload-or-restart",
    "try-reload-or-restart",
    "force-reload",
    "isolate",
];

/// Those that do so with `--now`.
const WITH_NOW: [&str; 2] = ["enable", "reenable"];

/// Options of systemctl(1) whose value is the next argument unless it is joined by `=`.
const WITH_VALUE: [&str; 27] = [
    "-t",
    "--type",
    "--state",
    "-p",
    "--property",
    "-P",
    "-n",
    "--lines",
    "-o",
    "--output",
    "-s",
    "--signal",
    "--kill-whom",
    "--kill-who",
    "--kill-value",
    "--what",
    "--job-mode",
    "--root",
    "--image",
    "--image-policy",
    "--preset-mode",
    "--message",
    "--check-inhibitors",
    "--timestamp",
    "--when",
    "--drop-in",
    "--reboot-argument",
];

/// Options by which it talks to another manager than the system's.
const ELSEWHERE: [&str; 8] = [
    "--user",
    "--global",
    "-H",
    "--host",
    "-M",
    "--machine",
    "-C",
    "--capsule",
];

/// For what a process with these arguments waits, if it is a systemctl(1), systemd-run(1) or interlockctl(1) that
/// does. busctl(1) never does: `StartUnit` answers as soon as the job is queued.
pub fn waits_for(cmdline: &[String]) -> Vec<Wanted> {
    let Some((program, arguments)) = cmdline.split_first() else {
        return Vec::new();
    };
    match program.rsplit('/').next() {
        Some("systemctl") => systemctl(arguments),
        Some("systemd-run") => systemd_run(arguments),
        Some("interlockctl") => interlockctl(arguments),
        _ => Vec::new(),
    }
}

fn systemctl(arguments: &[String]) -> Vec<Wanted> {
    let (mut words, mut now, mut only_words) = (Vec::new(), false, false);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        let name = argument.split_once('=').map_or(argument, |(name, _)| name);
        match argument {
            word if only_words || !word.starts_with('-') || word == "-" => words.push(word),
            "--" => only_words = true,
            "--no-block" => return Vec::new(),
            "--now" => now = true,
            _ if ELSEWHERE.contains(&name) => return Vec::new(),
            // `-Mhost`, `-Hhost`, `-Cname`: joined to the letter.
            _ if ["-H", "-M", "-C"].iter().any(|o| argument.starts_with(o)) => return Vec::new(),
            _ if WITH_VALUE.contains(&argument) => drop(arguments.next()),
            _ => {}
        }
    }
    let Some((command, units)) = words.split_first() else {
        return Vec::new();
    };
    if !(STARTS.contains(command) || now && WITH_NOW.contains(command)) {
        return Vec::new();
    }
    let suffix = if *command == "isolate" {
        "target"
    } else {
        "service"
    };
    // A pattern names units that are loaded; which they are isn't to be seen from here.
    let named = units
        .iter()
        .filter(|unit| !unit.contains(['*', '?', '[', '/']));
    named
        .map(|unit| Wanted::Unit(with_suffix(unit, suffix)))
        .collect()
}

/// Only a unit whose name it was told can be known.
fn systemd_run(arguments: &[String]) -> Vec<Wanted> {
    let (mut unit, mut waits) = (None, false);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument.split_once('=') {
            Some(("--unit", name)) => unit = Some(name),
            None if matches!(argument, "-u" | "--unit") => unit = arguments.next(),
            None if matches!(argument, "--wait" | "-P" | "--pipe" | "-t" | "--pty") => waits = true,
            None if matches!(argument, "--user" | "--scope" | "--no-block") => return Vec::new(),
            None if !argument.starts_with('-') => break,
            _ => {}
        }
    }
    let unit = unit.filter(|_| waits);
    unit.map(|unit| Wanted::Unit(with_suffix(unit, "service")))
        .into_iter()
        .collect()
}

fn interlockctl(arguments: &[String]) -> Vec<Wanted> {
    if arguments.iter().any(|argument| argument == "--no-block") {
        return Vec::new();
    }
    let words = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    match words.map(String::as_str).collect::<Vec<_>>()[..] {
        ["start", task] => vec![Wanted::Task(task.to_owned())],
        _ => Vec::new(),
    }
}

fn with_suffix(unit: &str, suffix: &str) -> String {
    let known = |s: &str| SUFFIXES.contains(&s);
    match unit.rsplit_once('.') {
        Some((_, suffix)) if known(suffix) => unit.to_owned(),
        _ => format!("{unit}.{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(command: &str) -> Vec<String> {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let name = |wanted| match wanted {
            Wanted::Unit(unit) => unit,
            Wanted::Task(task) => format!("task {task}"),
        };
        waits_for(&words).into_iter().map(name).collect()
    }

    #[test]
    fn a_start_that_waits_is_known() {
        assert_eq!(
            units("systemctl start dnf-automatic"),
            ["dnf-automatic.service"]
        );
        assert_eq!(
            units("/usr/bin/systemctl -q restart a.b c.timer"),
            ["a.b.service", "c.timer"]
        );
        assert_eq!(
            units("systemctl --job-mode fail start x@y"),
            ["x@y.service"]
        );
        assert_eq!(units("systemctl --job-mode=fail start -- x"), ["x.service"]);
        assert_eq!(units("systemctl start -p Id x"), ["x.service"]);
        assert_eq!(units("systemctl isolate rescue"), ["rescue.target"]);
        assert_eq!(units("systemctl enable --now x"), ["x.service"]);
        assert_eq!(
            units("systemd-run --wait --unit=x --collect sh"),
            ["x.service"]
        );
        assert_eq!(units("systemd-run -u x -P dnf"), ["x.service"]);
        assert_eq!(units("interlockctl start upcp"), ["task upcp"]);
    }

    #[test]
    fn what_does_not_wait_or_is_elsewhere_is_not() {
        for command in [
            "systemctl --no-block start x",
            "systemctl start x --no-block",
            "systemctl --user start x",
            "systemctl -M web start x",
            "systemctl -Mweb start x",
            "systemctl --host=web start x",
            "systemctl status x",
            "systemctl stop x",
            "systemctl enable x",
            "systemctl start x*",
            "systemctl",
            "systemd-run --unit=x sh --wait",
            "systemd-run --wait sh",
            "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss x.service replace",
            "interlockctl start --no-block upcp",
            "interlockctl why upcp",
            "vi systemctl start x",
            "",
        ] {
            assert!(units(command).is_empty(), "{command}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_be_read(words: Vec<String>, program in "(systemctl|systemd-run|interlockctl)") {
            let mut cmdline = vec![program];
            cmdline.extend(words);
            waits_for(&cmdline);
        }
    }
}
