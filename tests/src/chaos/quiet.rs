//! The end of a chaos run: all faults are mended, all comes to rest, nothing may be left, and everything still runs.

use std::time::Duration;

use anyhow::Result;

use super::checker::Finding;
use super::driver::Driver;
use super::faults::CLOCK;
use super::world::Role;
use crate::wait::wait_for;

/// How long what was asked for may take to be done, on a slow and busy machine.
const LONG: Duration = Duration::from_secs(90);

/// What is looked for at the end, each line of output one thing that is left.
const LEFT: &str = r#"
systemctl list-jobs --no-legend --full | grep -vE 'polkit|logind|timesync' | sed 's/^ */stuck job: /'
systemctl list-units 'interlock-gate@*' --state=active,activating,deactivating,failed --plain --no-legend --full | sed 's/^/gate left: /'
ls -A /run/interlock/lease | sed 's/^/lease file left: /'
ls /run/interlock/granted | sed 's/^/kept of a lease: /'
ls /run/interlock/units | sed 's/^/unit file left: /'
ls -A /run/interlock/frozen | sed 's/^/mark of a frozen unit left: /'
grep -rlx --include=cgroup.events 'frozen 1' /sys/fs/cgroup | sed 's/^/frozen: /'
timeout 20 interlockctl queue list --json | tr ',' '\n' | grep '"unit"' | sed 's/^/queued: /'
timeout 20 interlockctl deploy list --json | tr ',' '\n' | grep -E '"(settling|ready|ending)"' | sed 's/^/deployment left: /'
systemctl is-active interlockd.service interlock.socket | grep -vx active | sed 's/^/interlock is /'
"#;

/// Lets all come to rest.
///
/// # Errors
///
/// If the machine is gone.
pub fn calm(driver: &mut Driver<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    driver.ledger.note("quiet")?;
    driver.mend(true)?;
    driver.machine.write(CLOCK, "+0\n")?;
    driver.ledger.note("capacity elastic policy")?;
    // What a driver's fault left standing still is what nobody mends in time.
    driver.sh(
        "pid=$(systemctl show --value -p MainPID interlockd.service); [ $pid = 0 ] || kill -CONT $pid
         systemctl start interlockd.service interlock.socket
         interlockctl capacity elastic policy; interlockctl queue resume; interlockctl reload
         for task in $(interlockctl holds --json | tr ',{' '\\n\\n' | sed -n 's/.*\"task\": *\"\\([^\"]*\\)\".*/\\1/p'); do
             interlockctl release $task; done",
    )?;
    findings.extend(timers(driver)?);
    let timers = driver.world.timers().join(" ");
    driver.sh(&format!("systemctl stop {timers}"))?;
    // The owners of deployments end by themselves.
    let aside = wait_for("clients to end", LONG, || {
        Ok((driver.aside_left()? == 0).then_some(()))
    });
    if let Err(error) = aside {
        findings.push(finding("stuck", &format!("{error}")));
    }
    driver.sh(
        "for id in $(interlockctl deploy list --json | tr ',' '\\n' | sed -n 's/.*\"id\": *\"\\([^\"]*\\)\".*/\\1/p'); do
             interlockctl deploy end $id; done",
    )?;
    let mut left = String::new();
    let still = wait_for("all to come to rest", LONG, || {
        driver.sh("systemctl stop 'remains*.service' line-holder.service")?;
        left = driver.sh(LEFT)?.text();
        Ok(left.trim().is_empty().then_some(()))
    });
    if still.is_err() {
        findings.extend(left.lines().map(|line| finding("left behind", line)));
        let more = driver.sh("interlockctl status --full; interlockctl queue --full; interlockctl deploy list; systemctl list-jobs --full")?;
        findings.push(finding("left behind", &more.text()));
    }
    Ok(findings)
}

fn finding(kind: &'static str, text: &str) -> Finding {
    Finding {
        kind,
        text: text.to_owned(),
    }
}

/// Timers that will never elapse again.
fn timers(driver: &mut Driver<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for timer in driver.world.timers() {
        let state = driver
            .sh(&format!("systemctl show --value -p ActiveState '{timer}'"))?
            .stdout;
        if state.trim() != "active" {
            findings.push(finding("timer", &format!("{timer} is {}", state.trim())));
        }
    }
    Ok(findings)
}

/// Everything runs once more, when it is asked for.
///
/// # Errors
///
/// If the machine is gone.
pub fn all_runs(driver: &mut Driver<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    driver.ledger.note("once more")?;
    let units: Vec<String> = driver
        .world
        .tasks
        .iter()
        .filter(|task| {
            let waits = ["limited", "skipped", "impatient", "conflicts"];
            task.role != Role::Refusable || !waits.contains(&task.name.as_str())
        })
        .map(super::world::Task::unit)
        .collect();
    driver.ask("start", &units)?;
    let mut missing = Vec::new();
    let all = wait_for("all tasks to run once more", LONG, || {
        let text = driver.ledger.text()?;
        let since = text
            .split_once(" driver once more")
            .map_or("", |(_, since)| since);
        missing = units
            .iter()
            .filter(|unit| !since.contains(&format!(" begin {unit} ")))
            .cloned()
            .collect();
        Ok(missing.is_empty().then_some(()))
    });
    if all.is_err() {
        findings.push(finding("doesn't run any more", &missing.join(", ")));
    }
    let rest = wait_for("their end", LONG, || {
        let jobs = driver.sh("systemctl list-jobs --no-legend | grep -c .")?;
        Ok((jobs.stdout.trim() == "0").then_some(()))
    });
    if let Err(error) = rest {
        findings.push(finding("stuck", &format!("{error}")));
    }
    driver.sh("systemctl stop 'remains*.service'")?;
    findings.extend(driver.hung.iter().map(|it| finding("hung", it)));
    Ok(findings)
}
