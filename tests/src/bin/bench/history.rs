//! What questions to the history cost with a million runs in it, and what such a history costs a start.

use anyhow::{Context, Result};
use interlock_tests::machine::Machine;

use super::{medians, milliseconds, verdict};

const RUNS: u32 = 1_000_000;
const ROUNDS: u32 = 9;
/// The aim for one task's last month, microseconds.
const AIM: f64 = 100_000.0;

const QUESTIONS: [(&str, &str); 7] = [
    ("ping", "a call that asks nothing (Ping)"),
    ("month", "history TASK --since, one task's last month"),
    ("all", "the same with --limit 100000 --json"),
    ("failed", "the same with --failed"),
    ("exceeding", "history TASK --exceeding, its last month"),
    ("everybody", "history --exceeding, all tasks, last month"),
    ("ever", "history --exceeding, all tasks and runs"),
];

/// A year with a million runs of twenty tasks; each question as an operator asks it.
pub fn history(machine: &Machine) -> Result<()> {
    println!("HISTORY of {RUNS} runs, of 20 tasks within a year");
    machine.write(
        "/tmp/million_runs.py",
        include_str!("../../../data/million_runs.py"),
    )?;
    let medians = medians(
        machine,
        &format!(
            r#"
printf '[Service]\nType=oneshot\nExecStart=/bin/true\n' >/etc/systemd/system/bench.service
printf '[resources.r]\n[tasks.bench]\nunit = "bench.service"\nuses = ["r"]\n' >/etc/interlock/policy.d/bench.toml
systemctl daemon-reload && interlockctl reload >/dev/null || exit 1
for round in $(seq {ROUNDS}); do measure start-few systemctl start bench; done
systemctl stop interlock.socket interlockd
cp -a /var/lib/interlock /var/lib/interlock.kept
python3 /tmp/million_runs.py /var/lib/interlock/state.db {RUNS} || exit 1
echo "size $(stat -c %s /var/lib/interlock/state.db)"
systemctl start interlock.socket
measure daemon systemctl start interlockd
since=$(date -d '30 days ago' +%Y-%m-%d)
for round in $(seq {ROUNDS}); do
    measure ping busctl call org.interlock.Interlock1 /org/interlock/Interlock1 org.freedesktop.DBus.Peer Ping
    measure month interlockctl history bench-10 --since $since
    measure all interlockctl history bench-10 --since $since --limit 100000 --json
    measure failed interlockctl history bench-10 --since $since --failed
    measure exceeding interlockctl history bench-10 --since $since --exceeding 1min
    measure everybody interlockctl history --since $since --exceeding 1min
    measure ever interlockctl history --exceeding 1min
    measure start-many systemctl start bench
done
systemctl stop interlock.socket interlockd
rm -rf /var/lib/interlock /etc/interlock/policy.d/bench.toml /etc/systemd/system/bench.service /tmp/million_runs.py
mv /var/lib/interlock.kept /var/lib/interlock
systemctl daemon-reload; systemctl start interlock.socket interlockd; interlockctl reload >/dev/null
"#
        ),
    )?;
    let of = |label: &str| medians.get(label).copied().context("not measured");
    for (label, name) in QUESTIONS {
        println!("  {name:<44} {:>10}", milliseconds(of(label)?));
    }
    let (few, many) = (of("start-few")?, of("start-many")?);
    println!(
        "  a task's start with few and with {RUNS} runs    {} and {} ({:.2} x)",
        milliseconds(few),
        milliseconds(many),
        many / few
    );
    println!("  interlockd's own start: {}", milliseconds(of("daemon")?));
    println!("  the file: {:.0} MB", of("size")? / 1e6);
    println!(
        "  one task's last month within 100 ms: {}\n",
        verdict(of("month")? < AIM)
    );
    Ok(())
}
