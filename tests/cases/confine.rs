//! What interlockd may do at most, and what others may do to it: nothing.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::deployment::{MANAGER, NAME, ROOT};
use interlock_tests::service::Service;

use super::flood::{FLOOD, flood_program, peak};
use super::support::{gate, kill_daemon, line_up, release_in_turn};

cases![
    units_are_confined,
    gates_can_be_confined_further,
    files_and_sockets_have_the_least_rights,
    ordinary_user_can_plant_nothing_where_interlock_writes,
    lock_files_in_homes_and_temporary_directories_are_seen,
    hostile_lock_files_hold_nobody_up,
    links_in_place_of_lease_files_are_not_followed,
    nobody_but_its_gate_gets_a_lease,
    oversized_arguments_are_refused,
    hundred_megabytes_of_policy_are_refused,
];

/// What systemd-analyze(1) says at most, by unit: 0 is no exposure.
const EXPOSURE: [(&str, f64); 3] = [
    ("interlockd.service", 1.5),
    ("interlock-deploy@x.service", 1.5),
    ("interlock-gate@x.service.service", 2.5),
];

fn units_are_confined(case: &Case<'_>) -> Result<()> {
    for (unit, most) in EXPOSURE {
        is_confined(case, unit, most)?;
    }
    Ok(())
}

fn is_confined(case: &Case<'_>, unit: &str, most: f64) -> Result<()> {
    let text = case.sh(&format!(
        "systemd-analyze security --no-pager '{unit}' | grep -o 'level for .*: [0-9.]*' | grep -o '[0-9.]*$'"
    ))?;
    let exposure: f64 = text.parse().with_context(|| format!("{unit}: {text}"))?;
    println!("exposure of {unit}: {exposure}");
    ensure!(exposure <= most, "{unit}: {exposure}, more than {most}");
    Ok(())
}

/// With the example drop-in a gate has the exposure of interlockd, and does all that it did.
fn gates_can_be_confined_further(case: &Case<'_>) -> Result<()> {
    let dir = "/etc/systemd/system/interlock-gate@.service.d";
    case.sh(&format!(
        "install -Dm644 /usr/share/doc/interlock/examples/gate-confined.conf {dir}/confined.conf; systemctl daemon-reload"
    ))?;
    let result = is_confined(case, "interlock-gate@x.service.service", 1.5)
        .and_then(|()| line_up(case, &["a", "b", "c"]))
        .and_then(|()| kill_daemon(case))
        .and_then(|()| release_in_turn(case, &["a", "b", "c"]));
    case.sh(&format!("rm -r {dir}; systemctl daemon-reload"))?;
    result
}

/// Mode, owner and group of all that interlock makes and that is there before any task.
const RIGHTS: &str = "\
755 root:root directory /etc/interlock/policy.d
755 root:root directory /run/interlock
700 root:root directory /run/interlock/deploy
755 root:root directory /run/interlock/environment
755 root:root directory /run/interlock/frozen
755 root:root directory /run/interlock/granted
600 root:root socket /run/interlock/gate.sock
755 root:root directory /run/interlock/lease
755 root:root directory /run/interlock/policy.d
755 root:root directory /run/interlock/units
755 root:root regular file /usr/libexec/interlock/interlock-gate
755 root:root regular file /usr/libexec/interlock/interlockd
700 root:root directory /var/lib/interlock
600 root:root regular file /var/lib/interlock/state.db";

fn files_and_sockets_have_the_least_rights(case: &Case<'_>) -> Result<()> {
    let paths: Vec<&str> = RIGHTS
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    let found = case.sh(&format!("stat -c '%a %U:%G %F %n' {}", paths.join(" ")))?;
    ensure!(found == RIGHTS, "{found}");
    // And nothing, old or new, that others may write, or that runs with others' rights.
    let open = case.sh(
        "find /run/interlock /var/lib/interlock /etc/interlock /usr/lib/interlock /usr/libexec/interlock \
         /usr/share/interlock ! -type l -perm /6022",
    )?;
    ensure!(open.is_empty(), "{open}");
    Ok(())
}

fn ordinary_user_can_plant_nothing_where_interlock_writes(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let output = case.as_alice(
        "for dir in /run/interlock /run/interlock/{lease,granted,units,frozen,environment,deploy,policy.d} /var/lib/interlock \
                    /etc/interlock/policy.d /usr/lib/interlock/policy.d; do
             ln -s /etc/passwd $dir/b.service 2>/dev/null && echo \"$dir: a link\"
             : 2>/dev/null >$dir/forged && echo \"$dir: a file\"
             mkdir $dir/.draft 2>/dev/null && echo \"$dir: a directory\"
         done
         for file in /run/interlock/lease/* /run/interlock/gate.sock; do
             rm -f $file 2>/dev/null && echo \"$file is gone\"
             : 2>/dev/null >>$file && echo \"$file was written\"
         done
         ls /var/lib/interlock /run/interlock/deploy 2>/dev/null && echo 'private directories were read'
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/interlock/gate.sock\")' 2>/dev/null &&
             echo 'the socket was reached'
         true",
    )?;
    ensure!(output.stdout.is_empty(), "{}", output.stdout);
    release_in_turn(case, &["a", "b"])
}

fn lock_files_in_homes_and_temporary_directories_are_seen(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    let lock = |path: &str| format!("{{ path = \"{path}\", kind = \"pidfile\" }}");
    let paths = [
        "/tmp/x.pid",
        "/var/tmp/x.pid",
        "/home/x/x.pid",
        "/root/x.pid",
    ];
    // A link is followed as PID 1 would follow it.
    case.sh("mkdir -m 700 /home/x; ln -s /tmp/there /var/tmp/x.pid")?;
    let files = paths.map(lock).join(", ");
    case.policy(&format!(
        "[resources.r]\nlock-files = [{files}]\n{}",
        task_policy("a", "a", "uses = [\"r\"]")
    ))?;
    for path in paths {
        case.sh(&format!(
            "systemd-run --quiet --unit=holder sleep infinity
             mkdir -p $(dirname {path}); systemctl show -P MainPID holder >{path}"
        ))?;
        case.start(&["a.service"])?;
        case.queued(&["a.service"])?;
        let why = case.sh("interlockctl why a")?;
        ensure!(why.contains("sleep"), "{path}: {why}");
        case.sh(&format!("systemctl stop holder; rm -f {path} /tmp/there"))?;
        case.drain(&["a.service"])?;
    }
    case.ran("a.service", paths.len())?;
    case.sh("rm -rf /home/x").map(drop)
}

fn hostile_lock_files_hold_nobody_up(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a")
        .runs(0.0)
        .unit("StartLimitIntervalSec=0")])?;
    case.policy(&format!(
        "[resources.r]\nlock-files = [{{ path = \"/tmp/x.pid\", kind = \"pidfile\" }}, \
         {{ path = \"/tmp/x.pid\", kind = \"toml\" }}, {{ path = \"/tmp/x.lock\", kind = \"posix\" }}]\n{}",
        task_policy("a", "a", "uses = [\"r\"]")
    ))?;
    // Whatever a user may put there; none of it names a process that could hold a lock.
    let plants = [
        "ln -s /tmp/x.pid /tmp/x.pid; ln -s x.lock /tmp/x.lock",
        "ln -s /dev/zero /tmp/x.pid; ln -s /dev/full /tmp/x.lock",
        "mkfifo /tmp/x.pid /tmp/x.lock",
        "mkdir /tmp/x.pid /tmp/x.lock",
        "truncate -s 1T /tmp/x.pid /tmp/x.lock",
        "head -c 200000 /dev/urandom >/tmp/x.pid; ln -s /proc/kmsg /tmp/x.lock",
        "ln -s /proc/self/fd/0 /tmp/x.pid; ln -s /run/interlock/gate.sock /tmp/x.lock",
    ];
    for plant in plants {
        let output = case.as_alice(plant)?;
        ensure!(output.success(), "{plant}: {}", output.text());
        let output = case.try_sh("timeout 10 systemctl start a.service")?;
        ensure!(output.success(), "{plant}: {}", output.text());
        case.sh("rm -rf /tmp/x.pid /tmp/x.lock")?;
    }
    case.ran("a.service", plants.len())
}

fn links_in_place_of_lease_files_are_not_followed(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    case.exclusive(&["a"])?;
    case.sh("echo precious >/root/victim; ln -s /root/victim /run/interlock/lease/a.service")?;
    case.sh("ln -s /root/nothing /run/interlock/lease/b.service")?;
    case.start(&["a.service"])?;
    case.ran("a.service", 1)?;
    case.drain(&["a.service"])?;
    case.sh("[ $(cat /root/victim) = precious ] && [ ! -e /root/nothing ]; rm /root/victim /run/interlock/lease/b.service")
        .map(drop)
}

/// Says that it is a unit's gate, and what it is told.
fn hello(unit: &str) -> String {
    format!(
        "python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(\"/run/interlock/gate.sock\")
try:
    s.send(b\"interlock-gate 1 {unit}\\n\")
    print(s.recv(100))
except OSError as error:
    print(b\"\")'"
    )
}

fn nobody_but_its_gate_gets_a_lease(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b", "c"])?;
    let refused = |script: &str, whom: &str| -> Result<()> {
        let output = case.try_sh(script)?;
        ensure!(output.stdout.trim() == "b''", "{whom}: {}", output.text());
        case.queued(&["b.service", "c.service"])
    };
    refused(&hello("b.service"), "a shell of root's")?;
    refused(
        &format!("systemd-run --quiet --pipe --wait {}", hello("b.service")),
        "a unit that isn't a gate",
    )?;
    refused(
        &format!(
            "systemd-run --quiet --pipe --wait --unit=interlock-gate-b.service {}",
            hello("b.service")
        ),
        "a unit that is called nearly so",
    )?;
    // A process in the gate of another task.
    let group = case.property(&gate("c"), "ControlGroup")?;
    refused(
        &format!(
            "bash -c 'echo $$ >\"/sys/fs/cgroup{group}/cgroup.procs\" && exec \"$@\"' - {}",
            hello("b.service")
        ),
        "another's gate",
    )?;
    // And the gate itself has no more than a few connections.
    let group = case.property(&gate("b"), "ControlGroup")?;
    case.sh(&format!(
        "bash -c 'echo $$ >\"/sys/fs/cgroup{group}/cgroup.procs\" && exec python3 -c \"
import socket
kept = []
for number in range(100):
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    one.connect(\\\"/run/interlock/gate.sock\\\")
    kept.append(one)
assert kept[-1].recv(1) == bytes()
\"'"
    ))?;
    release_in_turn(case, &["a", "b", "c"])
}

fn oversized_arguments_are_refused(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let before = peak(case)?;
    // No program takes an argument of more than 128 KB; a client of its own isn't bound by that.
    let refused = |call: &str, sizes: &[u32]| -> Result<()> {
        for size in sizes {
            let script = format!(
                "text=$(head -c {size} /dev/zero | tr '\\0' x); busctl call {NAME} {ROOT} {call}"
            );
            let output = case.try_sh(&script.replace("TEXT", "\"$text\""))?;
            let text = output.text();
            ensure!(!output.success(), "{call} of {size} was taken");
            ensure!(
                text.contains("at most") && text.len() < 500,
                "{call} of {size}: {text:.500}"
            );
        }
        Ok(())
    };
    let sizes = [5_000, 100_000];
    refused(&format!("{MANAGER} Explain s TEXT"), &sizes)?;
    refused(&format!("{MANAGER} GetTask s TEXT"), &sizes)?;
    refused(&format!("{MANAGER} Submit 'asa{{sv}}' 2 a TEXT 0"), &sizes)?;
    refused(
        &format!("{MANAGER} Submit 'asa{{sv}}' 1 a 1 batch s TEXT"),
        &sizes,
    )?;
    refused(
        &format!("{MANAGER} CheckRequest 'sa{{su}}' a 1 TEXT 1"),
        &sizes,
    )?;
    refused(
        &format!("{MANAGER} BeginDeployment 'ssa{{sv}}' g TEXT 0"),
        &sizes,
    )?;
    refused("org.interlock.Interlock1.Queue Pause ss a TEXT", &sizes)?;
    refused(
        "org.interlock.Interlock1.Queue SetCapacity sus r 1 TEXT",
        &sizes,
    )?;
    // Many, each of which is short enough.
    flood_program(case)?;
    let told = case.sh(&format!("python3 {FLOOD} names 7000"))?;
    ensure!(told.contains("28700008 bytes; at most"), "{told}");
    let grown = peak(case)?.saturating_sub(before);
    println!("oversized arguments: {grown} MB more");
    ensure!(grown < 128, "interlockd grew by {grown} MB");
    // Environment and arguments of the programs themselves.
    let output = case.try_sh(
        "export INTERLOCK_RESUME=$(head -c 100000 /dev/zero | tr '\\0' x)
         interlockctl queue >/dev/null && interlockctl why \"$INTERLOCK_RESUME\"",
    )?;
    ensure!(
        !output.success() && output.text().len() < 500,
        "{:.500}",
        output.text()
    );
    release_in_turn(case, &["a", "b"])
}

fn hundred_megabytes_of_policy_are_refused(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    let before = peak(case)?;
    for make in [
        "head -c 100M /dev/zero | tr '\\0' '#' >",
        "truncate -s 100G ",
    ] {
        let output = case.try_sh(&format!(
            "{make}/etc/interlock/policy.d/20-huge.toml; timeout 20 interlockctl reload"
        ))?;
        let text = output.text();
        ensure!(
            !output.success() && text.contains("20-huge.toml"),
            "{text:.500}"
        );
        ensure!(text.len() < 2000, "{text:.500}");
        case.queued(&["b.service"])?;
        case.sh("rm /etc/interlock/policy.d/20-huge.toml")?;
    }
    case.reload()?;
    let grown = peak(case)?.saturating_sub(before);
    ensure!(grown < 64, "interlockd grew by {grown} MB");
    release_in_turn(case, &["a", "b"])
}
