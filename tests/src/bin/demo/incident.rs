//! The incident that interlock was made for: an updater calls dnf, a package's scriptlet calls dnf again, and that
//! waits for its own ancestor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::nested;
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};
use serde_json::Value;

use super::Demo;

const UPDATER: &str = "panel-updater.service";
/// So long is looked at what hangs, in seconds.
const HANG: f64 = 8.0;

const POLICY: &str = r#"[resources.rpm-db]
lock-files = [
  { path = "/var/lib/rpm/.rpm.lock", kind = "posix" },
  { path = "/var/lib/dnf/rpmdb_lock.pid", kind = "pidfile" },
]
clients = ["dnf", "dnf5", "yum", "rpm"]
nested-grace = "5s"
on-deadlock = "kill-nested"

"#;

impl Demo {
    /// Without interlock nothing ends it. It is looked at for some seconds, and then ended.
    pub(super) fn incident_without(&mut self, case: &Case<'_>) -> Result<()> {
        nested::provide(case)?;
        case.services(&[updater()])?;
        case.reload_systemd()?;
        case.start(&[UPDATER])?;
        let mut processes = String::new();
        wait_for("the inner dnf to hang", SOON, || {
            processes = processes_of(case)?;
            let age = case.sh("ps -o etimes= -p $(pgrep -n -x dnf)");
            let age: f64 = age
                .ok()
                .and_then(|age| age.trim().parse().ok())
                .unwrap_or(0.0);
            Ok((age >= HANG).then_some(()))
        })?;
        println!("{processes}");
        let still = case.property(UPDATER, "ActiveState")? == "activating";
        self.expect(still, "it should hang");
        case.sh(&format!(
            "systemctl stop {UPDATER}; systemctl reset-failed {UPDATER}; true"
        ))?;
        // dnf says it where nobody is to read it before its end.
        let said = case.journal(&format!("-u {UPDATER} -o cat"))?;
        let said = said.lines().rev().find(|line| line.contains("Waiting for"));
        println!(
            "  The innermost dnf waits: {}\n  \
             That is the dnf at the top, which waits for the scriptlet, which waits for the innermost. After {HANG:.0} s\n  \
             nothing has moved, and nothing ever will. The demo has ended it here.",
            said.unwrap_or("(it said nothing)").trim()
        );
        nested::withdraw(case)
    }

    /// With interlock it is found, told, and the innermost is ended, so that the others go on.
    pub(super) fn incident_with(&mut self, case: &Case<'_>) -> Result<()> {
        nested::provide(case)?;
        case.services(&[updater()])?;
        let task = task_policy("panel-updater", "panel-updater", "uses = [\"rpm-db\"]");
        let policy = format!("{POLICY}{task}");
        println!("{policy}");
        case.policy(&policy)?;
        let began = Instant::now();
        case.start(&[UPDATER])?;
        let ended = wait_for("the end of the deadlock", SOON, || {
            let all: Value = serde_json::from_str(&case.sh("interlockctl deadlocks --json")?)?;
            let last = all["deadlocks"].as_array().and_then(|all| all.last());
            Ok(last.filter(|it| it["state"] == "ended").cloned())
        })?;
        let took = began.elapsed();
        case.becomes(UPDATER, "inactive")?;
        let chain = ended["chain"].as_array().context("no chain")?;
        println!("  interlockd has found out who waits for whom:");
        for link in chain.iter().filter_map(Value::as_str) {
            println!("    {link}");
        }
        let installed = case.sh("rpm -q outer inner | cat")?;
        println!(
            "  It ended the innermost, which could never have gone on and held no lock, {:.1} s after the start;\n  \
             the transaction around it went through, and the updater ended:\n    {}",
            took.as_secs_f64(),
            installed.replace('\n', "\n    ")
        );
        self.expect(
            took < Duration::from_secs(30)
                && installed.contains("outer-1-1")
                && installed.contains("inner is not installed"),
            "the outer transaction should have gone through, without the inner one",
        );
        nested::withdraw(case)
    }
}

fn updater() -> Service {
    Service::oneshot("panel-updater").command("/bin/sh -c 'dnf -y install outer'")
}

fn processes_of(case: &Case<'_>) -> Result<String> {
    case.sh(&format!(
        "systemctl status --no-pager --lines=0 --full {UPDATER} | sed -n '/CGroup/,$p'; true"
    ))
}
