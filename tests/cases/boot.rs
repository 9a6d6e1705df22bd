//! Boot is reached with two hundred tasks, whatever stands in place of the policy; what interlock adds to it is printed.

use anyhow::{Context, Result, ensure};
use interlock_tests::boot;
use interlock_tests::case::Case;
use interlock_tests::service::TASK_PROGRAM;

cases![boot_is_reached_whatever_the_policy];

const DIR: &str = "/etc/interlock/policy.d";

/// A policy to boot with.
struct Kind {
    name: &'static str,
    /// Puts it in place of the empty one.
    place: fn(&Case<'_>) -> Result<()>,
    /// What the journal must say of it.
    told: &'static [&'static str],
    /// Whether the tasks that are started at boot may overlap: nobody can know that they shouldn't.
    unguarded: bool,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "no policy",
        place: |_| Ok(()),
        told: &[],
        unguarded: true,
    },
    Kind {
        name: "a good one",
        place: good,
        told: &[],
        unguarded: false,
    },
    Kind {
        name: "a bad one",
        place: bad,
        told: &["20-bad.toml:3:1", "30-rubbish.toml:1:"],
        unguarded: false,
    },
    Kind {
        name: "an unreadable one",
        place: unreadable,
        told: &[
            "10-directory.toml",
            "20-fifo.toml",
            "30-gone.toml",
            "40-device.toml",
            "50-io-error.toml",
        ],
        unguarded: true,
    },
    Kind {
        name: "links in a circle",
        place: circle,
        told: &["policy.d"],
        unguarded: true,
    },
    Kind {
        name: "a hundred megabytes",
        place: large,
        told: &["10-huge.toml", "20-sparse.toml", "/34.toml"],
        unguarded: true,
    },
];

fn good(case: &Case<'_>) -> Result<()> {
    let text = boot::resources() + &boot::policy(0..boot::TASKS);
    case.fragment("10-good.toml", &text)
}

/// The tasks that are started at boot are in a good fragment, the others in one with an error.
fn bad(case: &Case<'_>) -> Result<()> {
    let text = boot::resources() + &boot::policy(boot::at_boot());
    case.fragment("10-good.toml", &text)?;
    let others = (0..boot::TASKS).filter(|task| boot::at_boot().all(|other| other != *task));
    let text = boot::policy(others).replace("uses", "usess");
    case.fragment("20-bad.toml", &text)?;
    case.fragment("30-rubbish.toml", "\u{0}\u{1}[[[ =\n\n]\"")
}

fn unreadable(case: &Case<'_>) -> Result<()> {
    // Root may read whatever its mode is; this is what it can't.
    case.sh(&format!(
        "cd {DIR} && mkdir 10-directory.toml && mkfifo 20-fifo.toml && ln -s gone 30-gone.toml &&
         ln -s /dev/zero 40-device.toml && ln -s /proc/1/mem 50-io-error.toml"
    ))
    .map(drop)
}

fn circle(case: &Case<'_>) -> Result<()> {
    case.sh(&format!(
        "mkdir -p /usr/lib/interlock/policy.d && cd /usr/lib/interlock/policy.d &&
         ln -s 20.toml 10.toml && ln -s 10.toml 20.toml && rmdir {DIR} && ln -s policy.d {DIR}"
    ))
    .map(drop)
}

/// One fragment of a hundred megabytes, one that only says so, and a hundred that together are as large.
fn large(case: &Case<'_>) -> Result<()> {
    case.sh(&format!(
        r"cd {DIR} && yes '# a policy that somebody wrote a loop for' | head -c 100M >10-huge.toml &&
        truncate -s 100M 20-sparse.toml && yes '# the same in pieces' | head -c 1000000 >30.toml &&
        for number in $(seq 31 130); do cp 30.toml $number.toml; done"
    ))
    .map(drop)
}

fn boot_is_reached_whatever_the_policy(case: &Case<'_>) -> Result<()> {
    boot::units(case, &format!("{TASK_PROGRAM} %n 0.02"))?;
    boot::without_interlock(case)?;
    case.reboot()?;
    let before = boot::time(case)?;
    boot::with_interlock(case)?;
    for kind in KINDS {
        let result = with(case, &kind).with_context(|| format!("boot with {}", kind.name));
        // Also after a failure, for the cases that come after.
        case.sh(&format!(
            "[ -L {DIR} ] && rm {DIR}; mkdir -p {DIR}; rm -rf {DIR}/* /usr/lib/interlock/policy.d/*"
        ))?;
        let time = result?;
        let added = time.whole.as_secs_f64() - before.whole.as_secs_f64();
        eprintln!(
            "systemd {}: boot of {} tasks with {} took {:.2} s, {:+.2} s to one without interlock; generators {:.3} s",
            case.version(),
            boot::TASKS,
            kind.name,
            time.whole.as_secs_f64(),
            added,
            time.generators.as_secs_f64(),
        );
    }
    Ok(())
}

fn with(case: &Case<'_>, kind: &Kind) -> Result<boot::BootTime> {
    (kind.place)(case)?;
    case.sh(": >/var/lib/testbed/log")?;
    // Waits until all jobs are done, and fails if anything has.
    case.reboot()?;
    let time = boot::time(case)?;
    let target = case.sh("systemctl is-active multi-user.target")?;
    ensure!(target == "active", "multi-user.target is {target}");
    for task in boot::at_boot() {
        case.ran(&format!("boot-{task}.service"), 1)?;
    }
    if !kind.unguarded {
        let units: Vec<String> = boot::at_boot()
            .map(|task| format!("boot-{task}.service"))
            .collect();
        let users: Vec<(&str, u32)> = units.iter().map(|unit| (unit.as_str(), 1)).collect();
        let overlap = case.log()?.overlap(&users, 1);
        ensure!(overlap.is_none(), "{}", overlap.unwrap_or_default());
    }
    let journal = case.sh("journalctl -b --no-pager")?;
    for told in kind.told {
        ensure!(
            journal.contains(told),
            "the journal doesn't speak of {told}:\n{journal}"
        );
    }
    Ok(time)
}
