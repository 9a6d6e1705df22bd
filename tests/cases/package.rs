//! The RPM's life on a machine of its own: installed with dnf, upgraded while tasks run, are frozen and wait, removed.

use anyhow::{Result, ensure};
use interlock_tests::case::{self, Case, exclusive_policy};
use interlock_tests::install;
use interlock_tests::machine::Machine;
use interlock_tests::service::{Service, TASK_PROGRAM};

use super::deploy_support::{group_policy, paused, run_all};
use super::support::{gate, main_pid, release_in_turn, start_in_turn};

cases![
    install_makes_everything_ready_without_a_reboot,
    upgrade_while_tasks_run_are_frozen_and_wait_disturbs_nobody,
    removal_kills_no_task_and_leaves_none_frozen_and_no_file_behind,
];

/// Files that belong to nobody's package and may differ: what dnf, rpm, the journal and the testbed keep.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run/log -o -path /var/log \
    -o -path /var/lib/rpm -o -path /var/lib/dnf -o -path /var/cache -o -path /tmp -o -path /var/tmp \
    -o -path /run/systemd -o -path /var/lib/systemd -o -path /srv -o -path /run/testbed \
    -o -path /var/lib/testbed -o -path /etc/yum.repos.d -o -name __pycache__ -o -path /run/dnf \\) -prune -o -print; \
    find /run/interlock /run/systemd/generator* -name '*interlock*' 2>/dev/null";

fn dnf(machine: &Machine, what: &str) -> Result<String> {
    machine.sh(&format!("dnf -y --quiet {what} interlock </dev/null 2>&1"))
}

fn install_makes_everything_ready_without_a_reboot(case: &Case<'_>) -> Result<()> {
    let machine = Machine::boot(case.version())?;
    install::provide(&machine)?;
    // A policy that waits for its program.
    machine.write(
        "/etc/systemd/system/a.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    )?;
    machine.write(
        "/etc/interlock/policy.d/a.toml",
        "[resources.r]\n[tasks.a]\nunit = \"a.service\"\nuses = [\"r\"]\n",
    )?;
    let said = dnf(&machine, "install")?;
    ensure!(!said.to_lowercase().contains("scriptlet"), "{said}");
    ensure!(machine.sh("systemctl is-enabled interlock.socket")? == "enabled");
    ensure!(machine.sh("systemctl is-active interlock.socket")? == "active");
    machine.sh("systemctl start a.service")?;
    ensure!(
        machine
            .sh("interlockctl why --json a")?
            .contains("\"runs\": 1"),
        "a didn't run behind its gate"
    );
    ensure!(machine.sh("systemctl --failed --no-legend")?.is_empty());
    machine.sh("rpm -V interlock")?;
    machine.sh(
        "set -e
         for page in interlock.7 interlock-policy.5 interlock-generator.8 interlockd.8 interlockctl.1; do
             ls /usr/share/man/man${page##*.}/$page*
         done
         ls /usr/share/interlock/monitoring/{nagios.cfg,icinga2.conf,prometheus-rules.yml,grafana-dashboard.json}
         ls /usr/share/bash-completion/completions/interlockctl
         busctl get-property org.interlock.Interlock1 /org/interlock/Interlock1 \
             org.interlock.Interlock1.Manager Version",
    )?;
    // And after one.
    machine.reboot()?;
    machine
        .sh("systemctl start a.service; interlockctl status")
        .map(drop)
}

/// A machine with interlock in which a runs, b waits, and a deployment, whose id this gives, has frozen f.
fn busy(
    version: interlock_tests::root::Version,
    before: impl FnOnce(&Machine) -> Result<()>,
) -> Result<(Machine, String)> {
    let machine = Machine::boot(version)?;
    before(&machine)?;
    install::install(&machine)?;
    case::prepare(&machine)?;
    let case = Case::begin(&machine, "busy")?;
    case.services(&[
        Service::oneshot("a"),
        Service::oneshot("b"),
        Service::exec("f").counts(),
    ])?;
    let group = group_policy(&[("f", "freeze")], "");
    case.policy(&(exclusive_policy(&["a", "b"]) + &group))?;
    start_in_turn(&case, &["a", "b"])?;
    run_all(&case, &["f"])?;
    let deployment = case.deploy("g")?;
    Ok((machine, deployment))
}

fn upgrade_while_tasks_run_are_frozen_and_wait_disturbs_nobody(case: &Case<'_>) -> Result<()> {
    let (machine, deployment) = busy(case.version(), |_| Ok(()))?;
    let case = Case::begin_again(&machine)?;
    let ready = case.now()?;
    let daemon = main_pid(&case, "interlockd.service")?;
    install::provide_rpm(&machine, install::newer_rpm()?)?;
    dnf(&machine, "upgrade")?;
    ensure!(machine.sh("rpm -q --qf '%{VERSION}' interlock")? == "999.0");
    super::support::daemon_is_back(&case, &daemon)?;
    case.queued(&["b.service"])?;
    ensure!(case.log()?.is_running("a.service"));
    case.deployment_is(&deployment, "ready")?;
    ensure!(case.is_frozen("f.service")?);
    let end = case.now()?;
    case.end_deployment(&deployment)?;
    paused(&case, "f", ready, end)?;
    case.release("f.service")?;
    case.sh("sed -i '/ f.service$/d' /var/lib/testbed/log")?;
    release_in_turn(&case, &["a", "b"])?;
    case.leaves_nothing()
}

fn removal_kills_no_task_and_leaves_none_frozen_and_no_file_behind(case: &Case<'_>) -> Result<()> {
    let list = format!("({FILES}) | sort");
    let mut before = String::new();
    let (machine, _) = busy(case.version(), |machine| {
        before = machine.sh(&list)?;
        Ok(())
    })?;
    let case = Case::begin_again(&machine)?;
    case.fragment(
        "20-metrics.toml",
        "metrics-textfile = \"/srv/interlock.prom\"\n",
    )?;
    case.fragment(
        "30-command.toml",
        &format!("[tasks.c]\ncommand = [\"{TASK_PROGRAM}\", \"c.service\", \"hold\"]\n"),
    )?;
    // For starts of units that say nothing else, as those whose file is gone.
    case.write(
        "/etc/systemd/system.conf.d/timeout.conf",
        "[Manager]\nDefaultTimeoutStartSec=1\n",
    )?;
    case.sh("systemctl daemon-reexec")?;
    case.reload()?;
    run_all(&case, &["c"])?;
    case.wait_until("test -e /srv/interlock.prom")?;
    let said = dnf(&machine, "remove")?;
    ensure!(
        !case.exists("/srv/interlock.prom")?,
        "the metrics of before would be read for ever"
    );
    ensure!(!said.to_lowercase().contains("scriptlet"), "{said}");
    ensure!(
        case.log()?.is_running("a.service"),
        "the removal ended a running task"
    );
    ensure!(
        case.log()?.count("b.service") == 0,
        "the removal let a waiting task in"
    );
    ensure!(!case.is_frozen("f.service")?, "the removal left f frozen");
    case.counts("f.service")?;
    case.release("f.service")?;
    command_outlived_its_file(&case)?;
    let jobs = case.sh("systemctl list-jobs --no-legend --plain | awk '{print $2}'")?;
    ensure!(jobs == "a.service", "left over: {jobs}");
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    // No gate is needed any more, and none is there.
    let units = case.sh("systemctl list-units --all --no-legend 'interlock*'")?;
    ensure!(units.is_empty(), "{units}");
    ensure!(!case.property("b.service", "Requires")?.contains(&gate("b")));
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    case.release("a.service")?;
    case.release("b.service")?;
    case.sh("rm -rf /etc/systemd/system/{a,b,f}.service /etc/interlock/policy.d/{10-case,20-metrics,30-command}.toml /usr/local/libexec/testbed
             rmdir /etc/interlock/policy.d /etc/interlock /usr/local/libexec 2>/dev/null; rm -f /etc/dnf/*.rpmsave; true")?;
    let after = case.sh(&list)?;
    let left: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .collect();
    ensure!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    Ok(())
}

/// The command c, whose unit the generator had made, runs on past the limit for starts.
fn command_outlived_its_file(case: &Case<'_>) -> Result<()> {
    // This one began later, and the limit ends it.
    case.unit(
        "slow.service",
        "[Service]\nType=notify\nExecStart=/bin/sleep 60\n",
    )?;
    case.reload_systemd()?;
    case.try_start("slow.service")?;
    case.failed("slow.service")?;
    ensure!(
        case.log()?.is_running("c.service"),
        "the removal ended a command"
    );
    case.release("c.service")?;
    case.becomes("c.service", "inactive")?;
    case.sh("rm -r /etc/systemd/system/slow.service /etc/systemd/system.conf.d; systemctl daemon-reexec")
        .map(drop)
}
