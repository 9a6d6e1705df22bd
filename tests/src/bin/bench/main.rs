//! What interlock costs, beside its peers in the same run: interleaved runs, medians, ratios.
//!
//! usage: bench [252|257 [generators|gates|serialised|deployment|looks|history|queue|memory|boot]]
//! (systemd-cron and podman are in the root of 257 only)

mod boot;
mod history;
mod looks;
mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interlock_tests::command::Running;
use interlock_tests::install;
use interlock_tests::machine::Machine;
use interlock_tests::root::Version;

const SCRIPT: Duration = Duration::from_secs(600);
const GENERATORS: &str = "/usr/lib/systemd/system-generators";

/// Prints `LABEL MICROSECONDS` for one execution of a command; the subshell that a fork is costs the same for all.
const MEASURE: &str = r#"
measure() {
    local label=$1 from to
    shift
    from=${EPOCHREALTIME/./}
    "$@" >/dev/null 2>&1
    to=${EPOCHREALTIME/./}
    echo "$label $((to - from))"
}
"#;

/// Measures something and prints it.
type Part = fn(&Machine) -> Result<()>;

fn main() -> Result<()> {
    let version: Version = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("257")
        .parse()?;
    install::rpm()?;
    let machine = Machine::boot(version)?;
    install::install(&machine)?;
    println!("systemd {version}; times are medians of interleaved runs, compare the ratios.\n");
    let only = std::env::args().nth(2);
    let parts: [(&str, Part); 9] = [
        ("generators", generators),
        ("gates", gates),
        ("serialised", serialised),
        ("deployment", deployment),
        ("looks", looks::looks),
        ("history", history::history),
        ("queue", queue::queue),
        ("memory", memory),
        ("boot", boot::boot),
    ];
    for (name, part) in parts {
        if only.as_deref().is_none_or(|only| only == name) {
            part(&machine)?;
        }
    }
    Ok(())
}

/// Runs a script that prints `LABEL MICROSECONDS` lines, and gives each label's median.
fn medians(machine: &Machine, script: &str) -> Result<BTreeMap<String, f64>> {
    let script = format!("{MEASURE}{script}");
    let output = Running::start("a benchmark", machine.command(&script)?)?.wait(SCRIPT)?;
    ensure!(output.success(), "the benchmark failed:\n{}", output.text());
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in output.stdout.lines() {
        let (label, time) = line
            .split_once(' ')
            .with_context(|| format!("not a sample: {line}"))?;
        samples
            .entry(label.to_owned())
            .or_default()
            .push(time.parse()?);
    }
    Ok(samples
        .into_iter()
        .map(|(label, mut times)| {
            times.sort_by(f64::total_cmp);
            let median = times[times.len() / 2];
            (label, median)
        })
        .collect())
}

fn milliseconds(microseconds: f64) -> String {
    format!("{:.2} ms", microseconds / 1000.0)
}

fn verdict(holds: bool) -> &'static str {
    if holds { "reached" } else { "NOT reached" }
}

/// interlock-generator with 1 to 1000 tasks, beside /bin/true and generators with as many entries.
fn generators(machine: &Machine) -> Result<()> {
    let names = ["true", "interlock", "systemd-cron", "quadlet"];
    println!("GENERATORS, time of one execution");
    println!(
        "  {:>7} {:>11} {:>22} {:>14} {:>14} {:>15}",
        "entries", "/bin/true", "interlock", "systemd-cron", "quadlet", "to fastest peer"
    );
    let mut one = 0.0;
    let mut thousand = None;
    for entries in [1_u32, 10, 100, 1000] {
        let rounds = if entries == 1000 { 11 } else { 25 };
        let medians = medians(
            machine,
            &format!(
                r#"
mkdir -p /etc/containers/systemd /etc/interlock/policy.d /etc/cron.d /tmp/out/{{a,b,c}}
rm -f /etc/containers/systemd/* /etc/systemd/system/bench-*.service
exec 3>/etc/interlock/policy.d/bench.toml 4>/etc/cron.d/bench
echo '[resources.r]' >&3
for i in $(seq {entries}); do
    printf '[tasks.bench-%d]\nunit = "bench-%d.service"\nuses = ["r"]\n' $i $i >&3
    printf '[Service]\nType=oneshot\nExecStart=/bin/true\n' >/etc/systemd/system/bench-$i.service
    echo "$((i % 60)) $((i % 24)) * * * root /bin/true $i" >&4
    printf '[Container]\nImage=example\nExec=/bin/true\n[Install]\nWantedBy=multi-user.target\n' >/etc/containers/systemd/bench-$i.container
done
exec 3>&- 4>&-
run() {{
    [ "$1" = true ] || [ -x "$2" ] || return 0
    rm -rf /tmp/out/*/*
    measure "$@"
}}
export SYSTEMD_LOG_LEVEL=err
for round in $(seq {rounds}); do
    run true /bin/true /tmp/out/a /tmp/out/b /tmp/out/c
    run interlock {GENERATORS}/interlock-generator /tmp/out/a /tmp/out/b /tmp/out/c
    run systemd-cron {GENERATORS}/systemd-crontab-generator /tmp/out/a /tmp/out/b /tmp/out/c
    run quadlet {GENERATORS}/podman-system-generator /tmp/out/a /tmp/out/b /tmp/out/c
done
rm -rf /etc/containers/systemd/* /etc/cron.d/bench /etc/interlock/policy.d/bench.toml /etc/systemd/system/bench-*.service /tmp/out
"#
            ),
        )?;
        let of = |name: &str| medians.get(name).copied();
        let interlock = of("interlock").context("the generator did not run")?;
        let plain = of("true").context("/bin/true did not run")?;
        let peer = names[2..]
            .iter()
            .filter_map(|name| of(name))
            .min_by(f64::total_cmp);
        let shown = |time: Option<f64>| time.map_or("-".to_owned(), milliseconds);
        let ratio = interlock / plain;
        println!(
            "  {entries:>7} {:>11} {:>11} ({ratio:4.1} x) {:>14} {:>14} {:>15}",
            milliseconds(plain),
            milliseconds(interlock),
            shown(of("systemd-cron")),
            shown(of("quadlet")),
            peer.map_or("-".to_owned(), |peer| format!("{:.2} x", interlock / peer)),
        );
        if entries == 1 {
            one = ratio;
        }
        thousand = peer.map(|peer| interlock / peer);
    }
    println!("  1 task within 2 x of /bin/true: {}", verdict(one <= 2.0));
    if let Some(ratio) = thousand {
        println!(
            "  1000 tasks in half the time of the fastest peer: {}",
            verdict(ratio <= 0.5)
        );
    }
    println!();
    Ok(())
}

/// Units for the other measurements: plain, behind a gate whose process is /bin/true, and under the policy.
fn units(count: u32) -> String {
    format!(
        r#"
cd /etc/systemd/system
cat >true-gate@.service <<'END'
[Unit]
PartOf=%i
StopWhenUnneeded=yes
DefaultDependencies=no
StartLimitIntervalSec=0
CollectMode=inactive-or-failed
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
LogLevelMax=notice
END
echo '[resources.r]' >/etc/interlock/policy.d/bench.toml
for i in $(seq {count}); do
    for kind in plain behind gated; do
        printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n' >$kind-$i.service
    done
    mkdir -p behind-$i.service.d
    printf '[Unit]\nRequires=true-gate@%%n.service\nAfter=true-gate@%%n.service\n' >behind-$i.service.d/gate.conf
    printf '[tasks.gated-%d]\nunit = "gated-%d.service"\nuses = ["r"]\n' $i $i >>/etc/interlock/policy.d/bench.toml
done
systemctl daemon-reload
interlockctl reload >/dev/null || exit 1
"#
    )
}

const CLEAR: &str = "
cd /etc/systemd/system && rm -rf true-gate@.service plain-*.service behind-*.service* gated-*.service
rm /etc/interlock/policy.d/bench.toml; systemctl daemon-reload; interlockctl reload >/dev/null
";

fn gates(machine: &Machine) -> Result<()> {
    let medians = medians(
        machine,
        &format!(
            "{}
             for round in $(seq 100); do
                 for kind in plain behind gated; do measure $kind systemctl start $kind-1.service; done
             done
             {CLEAR}",
            units(1)
        ),
    )?;
    println!("START of a oneshot of /bin/true with systemctl, until it has ended");
    let behind = medians["behind"];
    for (label, name) in [
        ("plain", "without a gate"),
        ("behind", "behind a gate whose process is /bin/true"),
        ("gated", "under interlock's policy"),
    ] {
        println!(
            "  {name:<42} {:>10}   {:.2} x",
            milliseconds(medians[label]),
            medians[label] / behind
        );
    }
    println!(
        "  within 1.2 x of the gate of /bin/true: {}\n",
        verdict(medians["gated"] / behind <= 1.2)
    );
    Ok(())
}

fn serialised(machine: &Machine) -> Result<()> {
    const COUNT: u32 = 200;
    let medians = medians(
        machine,
        &format!(
            "{}
             for round in $(seq 5); do
                 for kind in plain behind gated; do
                     measure $kind systemctl start $(seq -f $kind-%g.service {COUNT})
                 done
             done
             {CLEAR}",
            units(COUNT)
        ),
    )?;
    println!("{COUNT} ONESHOTS of /bin/true, started by one systemctl");
    let plain = medians["plain"];
    for (label, name) in [
        ("plain", "in parallel, without gates"),
        ("behind", "in parallel, each behind a gate of /bin/true"),
        ("gated", "one after another, through one resource"),
    ] {
        println!(
            "  {name:<46} {:>12}   {:>8} each   {:.2} x",
            milliseconds(medians[label]),
            milliseconds(medians[label] / f64::from(COUNT)),
            medians[label] / plain
        );
    }
    println!();
    Ok(())
}

/// A deployment over running tasks, half of them frozen and half of them stopped, until it is ready; beside
/// the same done by hand: writes to the same `cgroup.freeze` files, and one `systemctl stop` of the same units.
fn deployment(machine: &Machine) -> Result<()> {
    const HALF: u32 = 50;
    let medians = medians(
        machine,
        &format!(
            r#"
cd /etc/systemd/system
stopped=$(seq -f stopped-%g.service {HALF}) frozen=$(seq -f frozen-%g.service {HALF})
names=
for unit in $frozen $stopped; do
    printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\nExecStart=/bin/sleep infinity\n' >$unit
    case $unit in frozen*) action=freeze ;; *) action=stop ;; esac
    printf '[tasks.%s]\nunit = "%s"\non-deploy = {{ action = "%s" }}\n' ${{unit%.service}} $unit $action
    names="$names\"${{unit%.service}}\", "
done >/etc/interlock/policy.d/bench.toml
echo "[groups.bench]
tasks = [$names]" >>/etc/interlock/policy.d/bench.toml
systemctl daemon-reload
interlockctl reload >/dev/null || exit 1
systemctl start $frozen $stopped || exit 1
groups=$(systemctl show -P ControlGroup $frozen | grep .)
write() {{ for group in $groups; do echo $1 >/sys/fs/cgroup$group/cgroup.freeze; done; }}
freeze() {{
    local group line
    write 1
    for group in $groups; do
        line=
        while [ "$line" != 'frozen 1' ]; do
            while read -r line && [ "${{line#frozen}}" = "$line" ]; do :; done </sys/fs/cgroup$group/cgroup.events
        done
    done
}}
object="org.interlock.Interlock1 /org/interlock/Interlock1 org.interlock.Interlock1.Manager"
for round in $(seq 7); do
    measure freeze freeze
    write 0
    measure stop systemctl stop $stopped
    systemctl start $stopped || exit 1
    from=${{EPOCHREALTIME/./}}
    id=$(interlockctl deploy begin --group bench --expires 10min 2>/dev/null) || exit 1
    to=${{EPOCHREALTIME/./}}
    echo "begin $((to - from))"
    path=$(busctl call $object GetDeployment s $id | cut -d '"' -f 2)
    read -r _ since _ ready < <(busctl get-property org.interlock.Interlock1 $path org.interlock.Interlock1.Deployment \
        Since ReadySince | xargs)
    echo "ready $((ready - since))"
    from=${{EPOCHREALTIME/./}}
    interlockctl deploy end $id >/dev/null 2>&1 || exit 1
    to=${{EPOCHREALTIME/./}}
    echo "end $((to - from))"
    systemctl start $stopped || exit 1
done
systemctl stop $frozen $stopped
rm -f $frozen $stopped /etc/interlock/policy.d/bench.toml
systemctl daemon-reload
interlockctl reload >/dev/null
"#
        ),
    )?;
    println!(
        "DEPLOYMENT over {} running tasks, {HALF} frozen and {HALF} stopped, until it is ready",
        2 * HALF
    );
    let bare = medians["freeze"] + medians["stop"];
    let shown = |name: &str, time: f64| {
        println!(
            "  {name:<58} {:>10}   {:.2} x",
            milliseconds(time),
            time / bare
        );
    };
    shown(
        "writes to the cgroup.freeze files, until all are frozen",
        medians["freeze"],
    );
    shown("one systemctl stop of the others", medians["stop"]);
    shown("from BeginDeployment to Ready", medians["ready"]);
    shown(
        "interlockctl deploy begin, from its start to its end",
        medians["begin"],
    );
    shown("interlockctl deploy end, likewise", medians["end"]);
    println!(
        "  within 1.5 x of the first two together: {}\n",
        verdict(medians["begin"] / bare <= 1.5)
    );
    Ok(())
}

fn memory(machine: &Machine) -> Result<()> {
    println!("MEMORY, resident");
    for service in ["interlockd.service", "systemd-logind.service"] {
        let rss = machine.sh(&format!(
            "awk '/^VmRSS/ {{print $2}}' /proc/$(systemctl show --value -p MainPID {service})/status"
        ))?;
        println!(
            "  {service:<24} {:.1} MB",
            rss.parse::<f64>().unwrap_or(0.0) / 1024.0
        );
    }
    Ok(())
}
