//! The command lines of other people's processes.

use interlock_core::deadlock::commands::{Wanted, waits_for};

use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "command_line",
    run,
    words: &[
        "systemctl\0start\0",
        "systemctl\0--now\0enable\0",
        "/usr/bin/systemctl\0restart\0",
        "systemd-run\0--wait\0--unit=",
        "systemd-run\0--pipe\0-u\0",
        "interlockctl\0run\0--uses\0",
        "interlockctl\0start\0--wait\0",
        "--no-block\0",
        "--property=",
        "-H",
        "-M\0",
        "--\0",
        "-\0",
        "a.service\0",
        "a@\0",
        "@.service\0",
    ],
};

fn run(bytes: &[u8]) {
    let words: Vec<String> = bytes.split(|byte| *byte == 0).map(input::lossy).collect();
    let wanted = waits_for(&words);
    assert!(wanted.len() <= words.len());
    let is_systemctl = words[0].rsplit('/').next() == Some("systemctl");
    for it in &wanted {
        if let Wanted::Unit(name) = it {
            let is_pattern = name.contains(['*', '?', '[']);
            assert!(!(is_systemctl && is_pattern), "{name:?} may be any unit");
        }
    }
    let is_remote = words
        .iter()
        .any(|word| word == "--user" || word == "--host");
    if words[0] == "systemctl" && is_remote && !words.iter().any(|word| word == "--") {
        assert!(wanted.is_empty() || takes_a_value_before(&words));
    }
}

/// `--job-mode --user` makes a value of what looks like an option.
fn takes_a_value_before(words: &[String]) -> bool {
    words
        .windows(2)
        .any(|pair| (pair[1] == "--user" || pair[1] == "--host") && pair[0].starts_with('-'))
}
