//! The daemon's own troubles, and who may do what with it.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy};
use interlock_tests::service::{Service, TASK_PROGRAM};

use super::support::{
    daemon_is_back, gate, kill_daemon, line_up, main_pid, release_in_turn, start_in_turn,
};

cases![
    daemon_that_cannot_start_lets_no_task_run_and_says_so,
    daemon_killed_at_any_moment_loses_and_overlaps_nothing,
    daemon_that_hangs_is_replaced_and_nothing_is_lost,
    restart_of_dbus_loses_nothing,
    command_that_asks_while_the_bus_is_away_waits_for_what_it_uses,
    daemon_starts_when_somebody_asks_on_the_bus,
    shipped_interfaces_are_those_of_the_running_daemon,
    changes_are_signalled_on_the_bus,
    ordinary_user_may_look,
    ordinary_user_may_not_reload,
    polkit_can_allow_a_user_to_reload,
    ordinary_user_cannot_ask_at_the_gate_socket,
    forged_request_at_the_gate_socket_is_refused,
    interlockctl_says_by_its_exit_status_what_is_wrong,
    interlockctl_start_waits_for_the_task_and_tells_its_result,
    why_tells_a_tired_admin_who_holds_what,
];

fn daemon_that_cannot_start_lets_no_task_run_and_says_so(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.unit(
        "interlockd.service.d/broken.conf",
        "[Service]\nExecStart=\nExecStart=/bin/false\n",
    )?;
    case.reload_systemd()?;
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -KILL {pid}"))?;
    // A gate is patient, since a daemon may be restarting; but not for ever.
    let start = case.starting(&["b.service"])?;
    let output = start.wait(Duration::from_secs(120))?;
    ensure!(!output.success(), "the start succeeded");
    ensure!(case.log()?.count("b.service") == 0, "b ran unguarded");
    ensure!(
        case.log()?.is_running("a.service"),
        "a running task has nothing to do with it"
    );
    // Said where an admin looks, at a level that is kept; and no failed gate is left, not even now.
    let journal = case.journal("-p warning | grep 'gate of b.service stays closed'")?;
    ensure!(
        !journal.is_empty(),
        "the journal says nothing about b's gate"
    );
    let failed = case.sh("systemctl list-units --failed --no-legend 'interlock-gate@*'")?;
    ensure!(failed.is_empty(), "{failed}");
    case.sh("rm -r /etc/systemd/system/interlockd.service.d; systemctl daemon-reload")?;
    daemon_is_back(case, &pid)?;
    release_in_turn(case, &["a"])?;
    ensure!(case.property("interlock.socket", "ActiveState")? == "active");
    case.sh(": >/var/lib/testbed/log")?;
    start_in_turn(case, &["a", "b"])?;
    release_in_turn(case, &["a", "b"])
}

fn daemon_killed_at_any_moment_loses_and_overlaps_nothing(case: &Case<'_>) -> Result<()> {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let services = names.map(|name| Service::oneshot(name).runs(0.05));
    case.services(&services)?;
    case.exclusive(&names)?;
    let units: Vec<String> = names.iter().map(|name| format!("{name}.service")).collect();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    // Kills that drift against the hand-offs meet each of their moments, also those of the daemon's start; but
    // however slow the machine is, it comes up now and then.
    let mut killing = case.spawn(
        "number=0
         while :; do
             pid=$(systemctl show --value -p MainPID interlockd.service)
             [ $pid != 0 ] && kill -KILL $pid
             read -rt 0.23 <> <(:)
             ((number++ % 3)) || until systemctl --quiet is-active interlockd.service; do read -rt 0.02 <> <(:); done
         done",
    )?;
    let mut result = Ok(());
    for _ in 0..3 {
        result = case.start(&units);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| {
        units.iter().try_for_each(|unit| {
            interlock_tests::wait::wait_for(unit, Duration::from_secs(60), || {
                let log = case.log()?;
                Ok((log.count(unit) >= 1 && !log.is_running(unit)).then_some(()))
            })
        })
    });
    killing.kill();
    result?;
    case.wait_until("! systemctl list-jobs --no-legend | grep -q .")?;
    case.no_overlap(&units)
}

fn daemon_that_hangs_is_replaced_and_nothing_is_lost(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.unit(
        "interlockd.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=2s\n",
    )?;
    case.sh("systemctl daemon-reload; systemctl restart interlockd.service")?;
    let pid = main_pid(case, "interlockd.service")?;
    case.sh(&format!("kill -STOP {pid}"))?;
    daemon_is_back(case, &pid)?;
    case.queued(&["b.service", "c.service"])?;
    release_in_turn(case, &["a", "b", "c"])
}

/// What `interlockctl run` makes is known by its name alone as long as PID 1 can't be asked what it uses.
fn command_that_asks_while_the_bus_is_away_waits_for_what_it_uses(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    let unit = "interlock-run-case-1.service";
    let gate = gate("interlock-run-case-1");
    case.sh("systemctl stop dbus.service")?;
    let asked = case.sh(&format!(
        "systemd-run --quiet --collect --no-block --unit={unit} --property=Requires={gate} --property=After={gate} \
             --property=AssertPathExists=/run/interlock/lease/{unit} --setenv=INTERLOCK_USES=r=1 \
             {TASK_PROGRAM} {unit} 0"
    ));
    let waits = asked.and_then(|_| case.becomes(&gate, "activating"));
    case.sh("systemctl start dbus.service; systemctl restart systemd-logind.service")?;
    waits?;
    case.queued(&[unit])?;
    release_in_turn(case, &["a"])?;
    case.ran(unit, 1)?;
    case.no_overlap(&["a.service", unit])
}

fn restart_of_dbus_loses_nothing(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    case.sh("systemctl restart dbus.service")?;
    case.queued(&["b.service", "c.service"])?;
    case.release("a.service")?;
    case.sh("systemctl stop dbus.service")?;
    // Without a bus nobody is let in who shouldn't be, and nobody is forgotten.
    if case.log()?.is_running("b.service") {
        case.release("b.service")?;
    }
    // logind doesn't come back to a bus that was gone, and dnf would wait for it.
    case.sh("systemctl start dbus.service; systemctl restart systemd-logind.service")?;
    if case.log()?.count("b.service") == 0 || case.log()?.is_running("b.service") {
        case.release("b.service")?;
    }
    case.release("c.service")?;
    case.queued(&[])?;
    let units = ["a.service", "b.service", "c.service"];
    ensure!(case.log()?.order() == units);
    case.no_overlap(&units)
}

fn daemon_starts_when_somebody_asks_on_the_bus(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    case.exclusive(&["a"])?;
    case.sh("systemctl stop interlockd.service interlock.socket")?;
    ensure!(case.sh("interlockctl status")?.contains("t0-a"));
    ensure!(case.property("interlockd.service", "ActiveState")? == "active");
    ensure!(case.property("interlock.socket", "ActiveState")? == "active");
    Ok(())
}

fn shipped_interfaces_are_those_of_the_running_daemon(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")])?;
    case.policy(&format!(
        "{}[groups.g]\ntasks = [\"t0-a\"]\n",
        exclusive_policy(&["a"])
    ))?;
    let id = case.deploy("g")?;
    let deployment = case.deployment(&id)?.path;
    case.write(
        "/tmp/introspection.py",
        include_str!("../data/introspection.py"),
    )?;
    let object = case.sh(
        "busctl call org.interlock.Interlock1 /org/interlock/Interlock1 \
             org.interlock.Interlock1.Manager GetTask s t0-a | cut -d '\"' -f 2",
    )?;
    case.sh(&format!(
        "python3 /tmp/introspection.py /org/interlock/Interlock1 {object} {deployment} && rm /tmp/introspection.py"
    ))?;
    case.end_deployment(&id)?;
    let output = case.try_sh(
        "busctl call org.interlock.Interlock1 /org/interlock/Interlock1 \
             org.interlock.Interlock1.Manager GetTask s nobody",
    )?;
    ensure!(!output.success());
    Ok(())
}

fn changes_are_signalled_on_the_bus(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b"].map(Service::oneshot))?;
    case.exclusive(&["a", "b"])?;
    let monitor = case
        .spawn("timeout 30 busctl monitor --json=short org.interlock.Interlock1 >/run/signals")?;
    // It says so when it is connected, on standard error; its first line shows that it listens.
    case.wait_until("interlockctl queue >/dev/null; grep -q GetQueue /run/signals")?;
    let signalled = |name: &str, state: &str| {
        case.wait_until(&format!(
            "grep PropertiesChanged /run/signals | grep Interlock1.Task | grep '/{name}_2eservice' |
                 grep -F '\"State\":{{\"type\":\"s\",\"data\":\"{state}\"}}'"
        ))
    };
    start_in_turn(case, &["a", "b"])?;
    signalled("a", "running")?;
    signalled("b", "waiting")?;
    case.release("a.service")?;
    signalled("a", "idle")?;
    case.release("b.service")?;
    signalled("b", "idle")?;
    drop(monitor);
    case.sh("rm /run/signals").map(drop)
}

fn ordinary_user_may_look(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    for command in ["status", "queue", "why t1-b", "verify"] {
        let output = case.as_alice(&format!("interlockctl {command}"))?;
        ensure!(output.success(), "{command}: {output:?}");
    }
    ensure!(case.as_alice("interlockctl queue")?.stdout.contains("t1-b"));
    release_in_turn(case, &["a", "b"])
}

fn ordinary_user_may_not_reload(case: &Case<'_>) -> Result<()> {
    let output = case.as_alice("interlockctl reload")?;
    ensure!(output.status == Some(77), "{output:?}");
    let output = case.as_alice(
        "busctl call org.interlock.Interlock1 /org/interlock/Interlock1 \
             org.interlock.Interlock1.Manager Reload",
    )?;
    ensure!(
        !output.success() && output.stderr.contains("denied"),
        "{output:?}"
    );
    let output = case.as_alice("interlockctl start nothing")?;
    ensure!(!output.success());
    Ok(())
}

fn polkit_can_allow_a_user_to_reload(case: &Case<'_>) -> Result<()> {
    let rule = "/etc/polkit-1/rules.d/50-case.rules";
    case.write(
        rule,
        "polkit.addRule(function (action, subject) {
             if (action.id == 'org.interlock.Interlock1.manage' && subject.user == 'alice')
                 return polkit.Result.YES;
         });\n",
    )?;
    case.sh(&format!(
        "chmod 644 {rule}; systemctl restart polkit.service"
    ))?;
    let output = case.as_alice("interlockctl reload");
    case.sh(&format!("rm {rule}; systemctl restart polkit.service"))?;
    let output = output?;
    ensure!(output.success(), "{output:?}");
    Ok(())
}

fn ordinary_user_cannot_ask_at_the_gate_socket(case: &Case<'_>) -> Result<()> {
    let output = case.as_alice(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/interlock/gate.sock\")'",
    )?;
    ensure!(output.stderr.contains("PermissionError"), "{output:?}");
    let output = case.as_alice("touch /run/interlock/lease/a.service")?;
    ensure!(!output.success());
    Ok(())
}

fn forged_request_at_the_gate_socket_is_refused(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    // Root, but not the gate that it says it is; and one that says nothing at all, for ever.
    let gate_program = "/usr/libexec/interlock/interlock-gate";
    let mut forged = case.spawn(&format!("timeout 5 {gate_program} a.service"))?;
    let mut silent = case.spawn(
        "timeout 20 python3 -c 'import socket, time; s = socket.socket(socket.AF_UNIX); \
             s.connect(\"/run/interlock/gate.sock\"); s.send(b\"x\" * 100000); time.sleep(20)'",
    )?;
    case.queued(&["b.service"])?;
    let daemon = main_pid(case, "interlockd.service")?;
    let result = release_in_turn(case, &["a", "b"]);
    forged.kill();
    silent.kill();
    result?;
    ensure!(
        main_pid(case, "interlockd.service")? == daemon,
        "the daemon died of it"
    );
    Ok(())
}

fn interlockctl_says_by_its_exit_status_what_is_wrong(case: &Case<'_>) -> Result<()> {
    let status = |command: &str| anyhow::Ok(case.try_sh(command)?.status);
    ensure!(status("interlockctl status")? == Some(0));
    ensure!(status("interlockctl frobnicate")? == Some(2));
    ensure!(status("interlockctl why nobody")? == Some(4));
    ensure!(status("interlockctl start nobody")? == Some(4));
    // Nobody to ask, and nobody who could be started.
    case.unit(
        "interlockd.service.d/broken.conf",
        "[Service]\nExecStart=\nExecStart=/bin/false\n",
    )?;
    case.sh("systemctl daemon-reload; systemctl stop interlockd.service interlock.socket")?;
    let unreachable = status("timeout 60 interlockctl queue");
    case.sh(
        "rm -r /etc/systemd/system/interlockd.service.d; systemctl daemon-reload
             systemctl stop interlockd.service; systemctl reset-failed
             systemctl start interlock.socket interlockd.service",
    )?;
    let unreachable = unreachable?;
    ensure!(unreachable == Some(69), "{unreachable:?}");
    Ok(())
}

fn interlockctl_start_waits_for_the_task_and_tells_its_result(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a"])?;
    case.services(&[
        Service::oneshot("b").runs(0.0),
        Service::oneshot("bad").runs(0.0).exits(3),
    ])?;
    case.exclusive(&["a", "b", "bad"])?;
    let mut start = case.spawn("interlockctl start t1-b")?;
    case.queued(&["b.service"])?;
    ensure!(start.is_running()?);
    case.release("a.service")?;
    let output = start.wait(interlock_tests::wait::SOON)?;
    ensure!(output.success(), "{output:?}");
    case.ran("b.service", 1)?;
    let output = case.try_sh("interlockctl start t2-bad")?;
    ensure!(output.status == Some(1), "{output:?}");
    case.failed("bad.service")
}

fn why_tells_a_tired_admin_who_holds_what(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    let why = case.sh("interlockctl why t2-c")?;
    for word in ["c.service", "a.service", "b"] {
        ensure!(why.contains(word), "no {word} in: {why}");
    }
    let details = case.why("t2-c")?;
    ensure!(details["state"] == "waiting", "{details}");
    ensure!(details["position"] == 2, "{details}");
    ensure!(
        details["waiting_for"] == serde_json::json!(["r"]),
        "{details}"
    );
    ensure!(
        details["held_by"] == serde_json::json!(["a.service"]),
        "{details}"
    );
    ensure!(case.why("t0-a")?["state"] == "running");
    // The same after the daemon was killed.
    kill_daemon(case)?;
    case.queued(&["b.service", "c.service"])?;
    let again = case.why("t2-c")?;
    ensure!(
        again["held_by"] == details["held_by"] && again["position"] == 2,
        "{again}"
    );
    release_in_turn(case, &["a", "b", "c"])
}
