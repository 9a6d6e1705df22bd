//! What interlock adds to boot: none of it, no policy, two hundred tasks, and twenty of them started at boot.

use std::collections::BTreeMap;

use anyhow::Result;
use interlock_tests::boot::{self, BootTime};
use interlock_tests::machine::Machine;

const ROUNDS: usize = 7;
const FRAGMENT: &str = "/etc/interlock/policy.d/bench.toml";
const ENABLE: &str = "/etc/systemd/system/multi-user.target.wants";

/// What is booted: its name, with interlock, with a policy, with tasks that are started.
const KINDS: [(&str, bool, bool, bool); 5] = [
    ("without interlock", false, false, false),
    ("no policy", true, false, false),
    ("200 tasks, none at boot", true, true, false),
    ("20 started, without interlock", false, false, true),
    ("20 of 200 started, one at a time", true, true, true),
];

/// Reboots by turns.
pub fn boot(machine: &Machine) -> Result<()> {
    println!("BOOT, from PID 1's start to its last job; medians of {ROUNDS} boots each, in turn");
    boot::units(machine, "/bin/true")?;
    machine.sh(&format!(
        "mkdir -p /root/wants; mv {ENABLE}/boot-* /root/wants/"
    ))?;
    let mut times: BTreeMap<&str, Vec<BootTime>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (name, interlock, policy, started) in KINDS {
            if !interlock {
                boot::without_interlock(machine)?;
            }
            if policy {
                let text = boot::resources() + &boot::policy(0..boot::TASKS);
                machine.write(FRAGMENT, &text)?;
            }
            if started {
                machine.sh(&format!("cp -a /root/wants/. {ENABLE}/"))?;
            }
            machine.reboot()?;
            times.entry(name).or_default().push(boot::time(machine)?);
            machine.sh(&format!("rm -f {FRAGMENT} {ENABLE}/boot-*"))?;
            if !interlock {
                boot::with_interlock(machine)?;
            }
        }
    }
    let median = |name: &str, what: fn(&BootTime) -> f64| {
        let mut all: Vec<f64> = times[name].iter().map(what).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2] * 1000.0
    };
    for (name, _, _, started) in KINDS {
        let base = KINDS[if started { 3 } else { 0 }].0;
        let whole = median(name, |time| time.whole.as_secs_f64());
        println!(
            "  {name:<33} {whole:>7.0} ms  {:>+6.0} ms  all generators {:>5.1} ms",
            whole - median(base, |time| time.whole.as_secs_f64()),
            median(name, |time| time.generators.as_secs_f64()),
        );
    }
    println!();
    machine
        .sh("rm -f /etc/systemd/system/boot-*.service; systemctl daemon-reload")
        .map(drop)
}
