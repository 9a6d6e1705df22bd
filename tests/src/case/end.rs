//! The end of a case: nothing may be left of it, and nothing is left to the next one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{ACTIVE, Case, POLICY_DIR, QUEUE, UNIT_DIR};
use crate::deployment::{INTERFACE, MANAGER, NAME, ROOT};
use crate::wait::wait_for;

/// What is left of a case is looked for this long: the last lease may just be on its way back.
pub(super) const LEFTOVERS: Duration = Duration::from_secs(10);

impl Case<'_> {
    /// What is active beyond what was when the machine was new.
    pub(super) fn left_active(&self) -> Result<String> {
        self.sh(&format!(
            "{ACTIVE} list | comm -13 /var/lib/testbed/active -"
        ))
    }

    /// Asserts that nothing is left: jobs, failed units, active gates, leases, running units, frozen units,
    /// live deployments.
    ///
    /// # Errors
    ///
    /// Says what is left.
    pub fn leaves_nothing(&self) -> Result<()> {
        let mut left = String::new();
        let script = format!(
            "{ACTIVE}
             systemctl list-jobs --no-legend --full | sed 's/^/a job: /'
             systemctl list-units --all --plain --no-legend --full --state=failed | sed 's/^/failed: /'
             list | comm -13 /var/lib/testbed/active - | sed 's/^/active: /'
             ls -A /run/interlock/lease 2>/dev/null | sed 's/^/a lease file: /'
             ls /run/interlock/granted 2>/dev/null | sed 's/^/kept of a lease: /'
             ls /run/interlock/units 2>/dev/null | sed 's/^/a unit file: /'
             ls -A /run/interlock/frozen 2>/dev/null | sed 's/^/a mark of a frozen unit: /'
             grep -rlx --include=cgroup.events 'frozen 1' /sys/fs/cgroup | sed 's/^/frozen: /'
             busctl call {NAME} {ROOT} {MANAGER} ListDeployments |
                 grep -oE '\"[^\"]*\" \"[^\"]*\" \"(settling|ready|ending)\"' | sed 's/^/a live deployment: /'
             busctl --json=short call {NAME} {ROOT} {QUEUE} ListQueued 'a{{sv}}' 0 |
                 grep -oE '\"unit\":[^}}]*' | sed 's/^/queued: /'
             busctl call {NAME} {ROOT} {QUEUE} ListPaused | grep -vx 'a(ssst) 0' | sed 's/^/paused: /'
             busctl call {NAME} {ROOT} {MANAGER} ListHolds | grep -vx 'aa{{sv}} 0' | sed 's/^/held: /'"
        );
        wait_for("nothing to be left", LEFTOVERS, || {
            left = self.sh(&script)?;
            Ok(left.is_empty().then_some(()))
        })
        .with_context(|| format!("the case left something behind:\n{left}"))
    }

    /// Clears everything away, whatever state it is in.
    ///
    /// # Errors
    ///
    /// If that isn't possible: then the machine is of no more use.
    pub fn clear(&self) -> Result<()> {
        let script = format!(
            "{ACTIVE}
             systemctl start interlock.socket interlockd.service
             for path in $(busctl --list tree {NAME} 2>/dev/null | grep /deployment/); do
                 busctl --quiet call {NAME} $path {INTERFACE} End s 'cleared away' 2>/dev/null
             done
             for _ in $(seq 100); do
                 busctl call {NAME} {ROOT} {MANAGER} ListDeployments 2>/dev/null |
                     grep -qE '\"(settling|ready|ending)\"' || break
                 read -rt 0.05 <> <(:)
             done
             busctl --quiet call {NAME} {ROOT} {QUEUE} Resume s '' 2>/dev/null
             busctl --quiet call {NAME} {ROOT} {QUEUE} Cancel 'asa{{sv}}' 0 1 all b true 2>/dev/null
             interlockctl holds --json 2>/dev/null | sed -n 's/.*\"unit\": \"\\(.*\\)\".*/\\1/p' | sort -u |
                 while read -r unit; do interlockctl release -- \"$unit\"; done
             for file in $(grep -rlx --include=cgroup.freeze 1 /sys/fs/cgroup); do echo 0 >$file; done
             systemctl cancel 2>/dev/null
             new=$(list | comm -13 /var/lib/testbed/active -)
             if [ -n \"$new\" ]; then
                 for unit in $(grep -vE 'service$' <<<\"$new\"); do systemctl stop -- \"$unit\"; done
                 for unit in $(grep -E 'service$' <<<\"$new\"); do
                     systemctl thaw -- \"$unit\" 2>/dev/null
                     systemctl kill -s KILL -- \"$unit\" 2>/dev/null
                     systemctl stop -- \"$unit\"
                 done
             fi
             find {UNIT_DIR} {POLICY_DIR} | sort | comm -13 /var/lib/testbed/files - | tac |
                 while read -r path; do rm -rf -- \"$path\"; done
             rm -rf /run/interlock/policy.d/* /run/interlock/last-good-policy.toml /run/testbed
             rm -f /var/lib/systemd/timers/stamp-*
             systemctl --quiet is-active interlock.socket && systemctl --quiet is-active interlockd.service || {{
                 systemctl daemon-reload
                 systemctl start interlock.socket interlockd.service
             }}
             # That makes systemd reload, too.
             interlockctl reload || {{ systemctl daemon-reload; interlockctl reload; }}
             systemctl reset-failed
             list | comm -13 /var/lib/testbed/active -"
        );
        let output = self.spawn(&script)?.wait(Duration::from_secs(60))?;
        ensure!(
            output
                .stdout
                .lines()
                .all(|line| !line.ends_with(".service")),
            "{}",
            output.text()
        );
        self.leaves_nothing()
    }

    /// All that helps to understand a failure.
    pub fn report(&self) -> String {
        let state = self
            .try_sh(
                "echo '-- log'; cat /var/lib/testbed/log
                 echo '-- jobs'; systemctl list-jobs --full
                 echo '-- units'; systemctl list-units --all --full --no-legend 'interlock*'
                 systemctl --failed --no-legend
                 echo '-- interlockctl'; timeout 5 interlockctl status --full; timeout 5 interlockctl queue --full
                 timeout 5 interlockctl deploy list --all
                 for path in $(timeout 5 busctl --list tree org.interlock.Interlock1 | grep /deployment/ | tail -n 3); do
                     busctl call org.interlock.Interlock1 $path org.freedesktop.DBus.Properties GetAll s \
                         org.interlock.Interlock1.Deployment
                 done; ls /run/interlock/frozen",
            )
            .map_or_else(|error| format!("{error:#}"), |output| output.text());
        let journal = self
            .journal("-n 200")
            .unwrap_or_else(|error| format!("{error:#}"));
        format!("{state}\n-- journal\n{journal}")
    }
}
