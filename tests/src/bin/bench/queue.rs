//! What the queue costs: a hundred thousand instances submitted at once, and a start while so many wait.

use anyhow::{Context, Result};
use interlock_tests::machine::Machine;

use super::{medians, milliseconds, verdict};

const MANY: u32 = 100_000;
const FEW: u32 = 10;
/// Rounds with few, and ten times as many starts with many queued.
const ROUNDS: u32 = 10;

/// Instances of `/bin/bash`, one at a time, that write down when they begin: from one begin to the next is a start with
/// all that belongs to it, also the end of the one before.
pub fn queue(machine: &Machine) -> Result<()> {
    println!("QUEUE of {MANY} submitted instances, started one at a time");
    let medians = medians(
        machine,
        &format!(
            r#"
cat >/etc/systemd/system/bulk@.service <<'END'
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'echo $$EPOCHREALTIME >>/run/bench-starts'
END
printf '[resources.bench]\n[tasks.bulk]\nunit = "bulk@.service"\nuses = ["bench"]\n' >/etc/interlock/policy.d/bench.toml
systemctl daemon-reload && interlockctl reload >/dev/null || exit 1
rss() {{ awk -v label="$1" '/^VmRSS/ {{print label, $2}}' /proc/$(systemctl show --value -p MainPID interlockd.service)/status; }}
# So many have begun; then their distances.
begun() {{ until [ "$(wc -l </run/bench-starts)" -ge "$1" ]; do read -rt 0.02 <> <(:); done; }}
gaps() {{ awk -v label="$1" 'NR > 1 {{printf "%s %.0f\n", label, ($1 - last) * 1e6}} {{last = $1}}' /run/bench-starts; }}
interlockctl queue pause --reason bench >/dev/null || exit 1
: >/run/bench-starts
rss memory-before
for round in $(seq {ROUNDS}); do
    seq -f "bulk@few-$round-%.0f.service" {FEW} | interlockctl submit --batch few >/dev/null || exit 1
    : >/run/bench-starts
    interlockctl queue resume >/dev/null
    begun {FEW}
    gaps few
    interlockctl queue pause --drain --reason bench >/dev/null
done
seq -f 'bulk@many-%.0f.service' {MANY} >/run/bench-units
rss memory-few
submit() {{ interlockctl submit --batch many </run/bench-units; }}
measure submit submit
rss memory-many
measure list interlockctl queue list --json
measure status interlockctl status
: >/run/bench-starts
interlockctl queue resume >/dev/null
begun {many_starts}
interlockctl queue pause --drain --reason bench >/dev/null
gaps many
measure restart systemctl restart interlockd.service
rss memory-restarted
measure cancel interlockctl queue cancel --batch many
interlockctl queue resume >/dev/null
rm -f /etc/systemd/system/bulk@.service /etc/interlock/policy.d/bench.toml /run/bench-starts /run/bench-units
systemctl daemon-reload; interlockctl reload >/dev/null
"#,
            many_starts = FEW * ROUNDS
        ),
    )?;
    let of = |label: &str| medians.get(label).copied().context("not measured");
    let submit = of("submit")?;
    println!(
        "  {:<52} {:>12}   {:.0} per second",
        "interlockctl submit, until all are on disk",
        milliseconds(submit),
        f64::from(MANY) / (submit / 1e6)
    );
    for (label, name) in [
        ("list", "interlockctl queue list --json"),
        ("status", "interlockctl status"),
        ("restart", "restart of interlockd, until it is ready"),
        ("cancel", "interlockctl queue cancel, all of them"),
    ] {
        println!("  {name:<52} {:>12}", milliseconds(of(label)?));
    }
    for (label, name) in [
        (
            "memory-few",
            "interlockd's memory, resident, nothing queued",
        ),
        ("memory-many", "with all of them queued"),
        ("memory-restarted", "the same after a restart"),
    ] {
        println!("  {name:<52} {:>9.1} MB", of(label)? / 1024.0);
    }
    let (few, many) = (of("few")?, of("many")?);
    println!(
        "  {:<52} {:>12}",
        format!("a start with {FEW} queued"),
        milliseconds(few)
    );
    println!(
        "  {:<52} {:>12}   {:.2} x",
        format!("a start with {MANY} queued"),
        milliseconds(many),
        many / few
    );
    println!("  within 2 x: {}\n", verdict(many / few <= 2.0));
    Ok(())
}
