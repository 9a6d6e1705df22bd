//! What stands in lock files and in /proc about locks and processes.

use interlock_supervisor::locks::{contents, process, table};
use interlock_supervisor::process::Stat;

use crate::{Target, input};

pub const TARGET: Target = Target {
    name: "lock_files",
    run,
    words: &[
        "pid = ",
        "start_time = ",
        "description = \"\"\n",
        "1: POSIX  ADVISORY  WRITE ",
        "2: -> FLOCK  ADVISORY  READ ",
        "OFDLCK ADVISORY ",
        " fd:00:2531452 0 EOF\n",
        "lock:\t",
        "pos:\t0\n",
        "42 (a) S 1 ",
        "btime 1789000000\n",
        "processes 12\n",
        "-1",
        "2147483648",
        "18446744073709551616",
    ],
};

fn run(bytes: &[u8]) {
    let text = input::lossy(bytes);
    for named in [contents::pid_file(bytes), contents::toml_file(bytes)] {
        let Ok(named) = named else { continue };
        assert!(named.pid > 0, "0 and less are no processes but groups");
        assert!(named.since.is_none_or(|since| since > 0));
        let digits = named.pid.to_string();
        let written: String = text.chars().filter(|c| *c != '_').collect();
        let is_decimal = written.contains(&digits);
        assert!(
            is_decimal
                || written.contains("0x")
                || written.contains("0o")
                || written.contains("0b"),
            "{digits} isn't in the file"
        );
    }
    let entries = table::entries(&text);
    assert!(entries.len() <= text.lines().count());
    let through = table::entries_of_descriptor(&text);
    assert!(through.len() <= text.lines().count());
    for entry in entries.iter().chain(&through) {
        assert!(entry.is_same_lock(entry));
    }
    if let Some(process) = Stat::parse(&text) {
        assert!(process.pid > 0);
        assert!(text.contains(&process.comm));
    }
    let (stat, most) = input::halves(bytes);
    let boot = process::parse_boot(&input::lossy(stat), None);
    assert!(boot.is_none_or(|boot| !boot.pids_are_unique));
    process::parse_boot(&input::lossy(stat), Some(&input::lossy(most)));
}
