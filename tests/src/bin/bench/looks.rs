//! What a look for deadlocks costs on a host with thousands of processes, beside `ps -e` there.

use anyhow::{Context, Result, ensure};
use interlock_tests::machine::Machine;

use super::{medians, milliseconds, verdict};

/// Sleeping processes, besides those of the system.
const SLEEPERS: u32 = 5000;
const ROUNDS: u32 = 5;

/// A task holds its lease while thousands of processes sleep elsewhere, or in it; then a process of it waits for a
/// lock that another one holds, so that all of them are looked at.
pub fn looks(machine: &Machine) -> Result<()> {
    println!("LOOK for deadlocks with {SLEEPERS} sleeping processes");
    let medians = medians(
        machine,
        &format!(
            r#"
mkdir -p /etc/systemd/system/interlockd.service.d
cat >/etc/systemd/system/interlockd.service.d/bench.conf <<'END'
[Service]
Environment=INTERLOCK_LOG=info,interlock_supervisor::daemon::engine::deadlocks=debug
END
cat >/usr/local/bin/sleepers <<'END'
#!/bin/bash
for ((number = 0; number < $1; number++)); do sleep 1000 & done
systemd-notify --ready
wait
END
chmod 755 /usr/local/bin/sleepers
cp /bin/sleep /usr/local/bin/napper
cat >/etc/interlock/policy.d/bench.toml <<'END'
[resources.r]
lock-files = [{{ path = '/run/bench.lock', kind = 'flock' }}]
clients = ['napper']
nested-grace = '1s'
[tasks.look]
unit = "look.service"
uses = ["r"]
END
service() {{ printf '[Service]\nType=notify\nNotifyAccess=all\nTasksMax=infinity\nTimeoutStartSec=600\nExecStart=%s\n' "$2" >/etc/systemd/system/$1.service; }}
service many "/usr/local/bin/sleepers {SLEEPERS}"
systemctl daemon-reload && systemctl restart interlockd && interlockctl reload >/dev/null || exit 1
# Prints how long the looks of this kind took.
looked() {{
    local cursor count
    cursor=$(journalctl --quiet -n0 --show-cursor | sed -n 's/^-- cursor: //p')
    until [ "$count" -ge {ROUNDS} ] 2>/dev/null; do
        sleep 0.2
        count=$(journalctl --sync; journalctl --quiet -o cat --after-cursor="$cursor" -u interlockd | grep -c "^looked at $2")
    done
    journalctl --quiet -o cat --after-cursor="$cursor" -u interlockd |
        sed -n "s/^looked at $2.* in \([0-9]*\) us.*/$1 \1/p" | head -n {ROUNDS}
}}
service look "/usr/local/bin/sleepers 1"
systemctl daemon-reload
systemctl start many look || exit 1
looked outside leases
for round in $(seq {ROUNDS}); do measure ps ps -e; done
systemctl stop look
service look "/usr/bin/flock -o /run/bench.lock /bin/sh -c 'systemd-notify --ready; napper 1000; true'"
systemctl daemon-reload
systemctl start look || exit 1
looked full everything
systemctl stop look many
service look "/usr/local/bin/sleepers {SLEEPERS}"
systemctl daemon-reload
systemctl start look || exit 1
looked inside leases
systemctl stop look
rm -rf /etc/systemd/system/{{many,look}}.service /etc/systemd/system/interlockd.service.d /etc/interlock/policy.d/bench.toml
systemctl daemon-reload; systemctl restart interlockd; interlockctl reload >/dev/null
"#
        ),
    )?;
    let of = |label: &str| medians.get(label).copied().context("not measured");
    let ps = of("ps")?;
    for (label, name) in [
        ("ps", "ps -e"),
        ("outside", "nobody waits; the processes are no task's"),
        ("inside", "nobody waits; all are the task's"),
        ("full", "a client waits: all processes and locks"),
    ] {
        let time = of(label)?;
        println!(
            "  {name:<44} {:>10}   {:.2} x",
            milliseconds(time),
            time / ps
        );
    }
    ensure!(ps > 0.0, "ps took no time");
    println!(
        "  the fullest look in the time of one ps -e: {}\n",
        verdict(of("full")? <= ps)
    );
    Ok(())
}
