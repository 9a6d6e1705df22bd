//! What whoever floods interlockd does to the others: nothing.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::command::Running;
use interlock_tests::service::Service;
use interlock_tests::wait::SOON;

use super::support::main_pid;

cases![
    ten_thousand_connections_delay_nobody,
    ten_thousand_calls_delay_nobody,
    ten_thousand_scrapes_delay_nobody,
];

pub const FLOOD: &str = "/usr/local/libexec/testbed/flood.py";

/// What goes on while others flood interlockd; an ordinary user reads, and root.
const MEANWHILE: [(&str, &str); 3] = [
    ("start", "systemctl start a.service"),
    (
        "read",
        "setpriv --reuid=nobody --clear-groups interlockctl metrics >/dev/null",
    ),
    ("read of root's", "interlockctl status >/dev/null"),
];

/// Seconds that each of these takes, so often one after the other; the longest last.
fn meanwhile(case: &Case<'_>, count: u32) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let timed = |(number, (_, command)): (usize, &(&str, &str))| {
        format!(
            "from=${{EPOCHREALTIME/./}}; {command} || exit 1; echo {number} $((${{EPOCHREALTIME/./}} - from));"
        )
    };
    let each: String = MEANWHILE.iter().enumerate().map(timed).collect();
    let text = case.sh(&format!("for i in $(seq {count}); do {each} done"))?;
    let mut times: Vec<_> = MEANWHILE.map(|(name, _)| (name, Vec::new())).to_vec();
    for line in text.lines() {
        let (number, time) = line.split_once(' ').context("not a time")?;
        let of = times
            .get_mut(number.parse::<usize>()?)
            .context("no such command")?;
        of.1.push(time.parse::<f64>()? / 1e6);
    }
    for (_, times) in &mut times {
        times.sort_by(f64::total_cmp);
    }
    Ok(times)
}

/// The most memory that interlockd has had, in MB.
pub fn peak(case: &Case<'_>) -> Result<u64> {
    let pid = main_pid(case, "interlockd.service")?;
    let text = case.sh(&format!("awk '/VmHWM/ {{print $2}}' /proc/{pid}/status"))?;
    Ok(text.parse::<u64>()? / 1024)
}

/// Starts and reads go on while interlockd is flooded, and it is none the worse for it. Says what the flood has got.
fn survives(case: &Case<'_>, kind: &str, flood: Running) -> Result<String> {
    /// Seconds; each takes a twentieth of one.
    const LONGEST: f64 = 5.0;
    /// MB that interlockd may need for it.
    const MEMORY: u64 = 128;
    let (pid, before) = (main_pid(case, "interlockd.service")?, peak(case)?);
    case.wait_until("[ -e /tmp/flooding ]")?;
    let times = meanwhile(case, 10)?;
    case.sh("rm /tmp/flooding")?;
    let output = flood.wait(SOON * 6)?;
    let said = output.stdout.lines().last().unwrap_or_default().to_owned();
    let grown = peak(case)?.saturating_sub(before);
    println!("{kind}: {said}; {grown} MB more; meanwhile, in seconds:");
    for (name, times) in &times {
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("  a {name} took {median:.3}, the longest {longest:.3}");
        ensure!(longest < LONGEST, "a {name} took {longest} s");
    }
    ensure!(grown < MEMORY, "interlockd grew by {grown} MB");
    ensure!(
        main_pid(case, "interlockd.service")? == pid,
        "it was restarted"
    );
    Ok(said)
}

pub fn flood_program(case: &Case<'_>) -> Result<()> {
    case.write(FLOOD, include_str!("../data/flood.py"))?;
    case.sh(&format!("chmod 755 {FLOOD}")).map(drop)
}

fn quick_task(case: &Case<'_>) -> Result<()> {
    flood_program(case)?;
    case.services(&[Service::oneshot("a")
        .command("/bin/true")
        .unit("StartLimitIntervalSec=0")])?;
    case.exclusive(&["a"])
}

fn ten_thousand_connections_delay_nobody(case: &Case<'_>) -> Result<()> {
    // It tells of the first complaints in a while only; those of another case don't count.
    case.sh("systemctl restart interlockd.service")?;
    quick_task(case)?;
    let flood = case.spawn(&format!(
        "ulimit -n 20000; sleep 4 | python3 {FLOOD} gates 10000"
    ))?;
    survives(case, "connections to the gates' socket", flood)?;
    let pid = main_pid(case, "interlockd.service")?;
    case.wait_until(&format!("[ $(ls /proc/{pid}/fd | wc -l) -lt 100 ]"))?;
    let told = case.journal("--unit=interlockd.service")?;
    let told = told.matches("refused a peer").count();
    ensure!(
        (1..=100).contains(&told),
        "{told} complaints in the journal"
    );
    Ok(())
}

fn ten_thousand_scrapes_delay_nobody(case: &Case<'_>) -> Result<()> {
    quick_task(case)?;
    let flood = case.spawn(&as_alice("metrics 10000"))?;
    let said = survives(case, "scrapes of one user", flood)?;
    ensure!(!said.contains(" 0 answered"), "{said}");
    // Threads stay for a while after their work.
    let pid = main_pid(case, "interlockd.service")?;
    let threads: u32 = case.sh(&format!("ls /proc/{pid}/task | wc -l"))?.parse()?;
    ensure!(threads < 32, "{threads} threads");
    Ok(())
}

fn as_alice(flood: &str) -> String {
    format!("setpriv --reuid=alice --regid=alice --init-groups python3 {FLOOD} {flood}")
}

fn ten_thousand_calls_delay_nobody(case: &Case<'_>) -> Result<()> {
    quick_task(case)?;
    let flood = case.spawn(&as_alice("calls 10000"))?;
    let said = survives(case, "calls of one user", flood)?;
    let numbers: Vec<u32> = said
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [all, answered, refused] = numbers[..] else {
        anyhow::bail!("not a report: {said}");
    };
    ensure!(all == answered + refused && answered > 0, "{said}");
    Ok(())
}
