//! D-Bus calls at random against the real interlockd, by root and by an ordinary user.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, QUEUE};
use interlock_tests::deployment::{INTERFACE, MANAGER, NAME, ROOT};
use interlock_tests::wait::wait_for;

cases![
    random_calls_end_nothing_and_hold_nobody_up,
    objects_that_anybody_asks_for_are_not_kept_for_ever,
];

const PROGRAM: &str = "/run/testbed/bus_fuzz";

/// Calls by root; by a user who may do nothing there are fewer, since each is refused.
const CALLS: usize = 1500;
const CALLS_OF_ALICE: usize = 500;

/// A gate's way takes some milliseconds; beside a flood of calls and reloads on a busy host, no longer than this.
const PROMPT: Duration = Duration::from_secs(15);

/// interlockd has some 20 MB, KiB.
const MEMORY: u64 = 128 << 10;

/// Everything that a call can name; `probe` is none of its business.
const POLICY: &str = r#"
[resources.r]
capacity = 2
[resources.s]
[resources.probes]
[tasks.probe]
command = ["/bin/true"]
uses = ["probes"]
[tasks.job]
command = ["/bin/true"]
uses = ["r"]
[tasks.job.actions.repair]
command = ["/bin/true"]
[tasks.imp]
unit = "imp@.service"
uses = { r = 1, s = 1 }
retry = { attempts = 2, delay = "1s" }
[tasks.imp.actions.reset]
command = ["/bin/echo", "%i"]
[tasks.serving]
unit = "serving.service"
on-deploy = { action = "restart" }
[groups.g]
tasks = ["job", "imp", "serving"]
max-wait = "2s"
"#;

const NAMES: &str =
    "job imp imp@a imp@b.service job.service serving.service g g-1 r s repair reset 1 2 3";

fn random_calls_end_nothing_and_hold_nobody_up(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let before = daemon(case)?;
    let seed = std::env::var("INTERLOCK_FUZZ_SEED").unwrap_or_else(|_| random_seed());
    let call = |calls: usize| format!("python3 {PROGRAM} {seed} {calls} {NAMES}");
    let mut root = case.spawn(&call(CALLS))?;
    let mut slowest = Duration::ZERO;
    let mut probes = 0;
    let mut alice = None;
    while root.is_running()? {
        let began = Instant::now();
        // So many starts are too often for systemd, unless it has forgotten the unit in between.
        case.sh("systemctl reset-failed probe.service 2>/dev/null; systemctl start probe.service")?;
        slowest = slowest.max(began.elapsed());
        probes += 1;
        ensure!(slowest < PROMPT, "a gate took {slowest:?}, seed {seed}");
        if alice.is_none() {
            alice = Some(case.as_alice(&call(CALLS_OF_ALICE))?);
        }
    }
    let said = root.wait(Duration::from_secs(1))?;
    ensure!(said.success(), "seed {seed}: {}", said.text());
    let alice = alice.map_or(String::new(), |output| output.text());
    ensure!(alice.contains("AccessDenied"), "seed {seed}: {alice}");
    eprintln!(
        "{}: {}{alice}{probes} gates meanwhile, the slowest {slowest:?}",
        case.version(),
        said.stdout
    );
    tidy_up(case)?;
    ensure!(
        daemon(case)? == before,
        "interlockd was restarted, seed {seed}"
    );
    let memory: u64 = case
        .sh(&format!(
            "sed -n 's/^VmRSS:[[:space:]]*\\([0-9]*\\) kB/\\1/p' /proc/{}/status",
            before.0
        ))?
        .parse()?;
    ensure!(memory < MEMORY, "{memory} KiB, seed {seed}");
    // All is as it was: a task runs, and a deployment is ready.
    case.sh("systemctl start job.service imp@z.service")?;
    case.sh("interlockctl deploy run --group g -- /bin/true")
        .map(drop)
}

fn objects_that_anybody_asks_for_are_not_kept_for_ever(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let asked = case.as_alice(&format!(
        "python3 - <<'END'
import importlib.machinery, sys
sys.argv = ['bus_fuzz', '1', '0']
bus = importlib.machinery.SourceFileLoader('bus_fuzz', '{PROGRAM}').load_module().bus
for number in range(1200):
    error, _ = bus.call('{NAME}', '{ROOT}', '{MANAGER}', 'GetTask', 's', ['imp@%d' % number])
    assert not error, error
END"
    ))?;
    ensure!(asked.success(), "{}", asked.text());
    let objects: usize = case
        .sh(&format!("busctl --list tree {NAME} | grep -c /task/"))?
        .parse()?;
    ensure!((1000..1100).contains(&objects), "{objects} objects");
    // The last that was asked for is there, and so is the first as soon as it lives.
    ensure!(case.task_property("imp@1199", "Unit")? == "imp@1199.service");
    case.sh("systemctl start imp@1.service")?;
    ensure!(case.task_property("imp@1", "Unit")? == "imp@1.service");
    Ok(())
}

fn prepare(case: &Case<'_>) -> Result<()> {
    case.write(PROGRAM, include_str!("../src/bus_fuzz.py"))?;
    case.unit(
        "imp@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    )?;
    case.unit(
        "serving.service",
        "[Service]\nExecStart=/bin/sleep infinity\n",
    )?;
    case.policy(POLICY)
}

/// Its process, and how often it was restarted.
fn daemon(case: &Case<'_>) -> Result<(String, String)> {
    let unit = "interlockd.service";
    Ok((
        case.property(unit, "MainPID")?,
        case.property(unit, "NRestarts")?,
    ))
}

fn random_seed() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (now.unwrap_or_default().as_micros() % 1_000_000).to_string()
}

/// Takes back what the calls have brought about: no more than an operator could.
fn tidy_up(case: &Case<'_>) -> Result<()> {
    wait_for(
        "the deployments to be over",
        Duration::from_secs(30),
        || {
            let over = case.sh(&format!(
                "for path in $(busctl --list tree {NAME} | grep /deployment/); do
                 busctl --quiet call {NAME} $path {INTERFACE} End s 'the calls are over' 2>/dev/null
             done
             busctl call {NAME} {ROOT} {MANAGER} ListDeployments |
                 grep -cE '\"(settling|ready|ending)\"' || true"
            ))?;
            Ok((over == "0").then_some(()))
        },
    )?;
    case.sh(&format!(
        "set -e
         busctl --quiet call {NAME} {ROOT} {QUEUE} Cancel 'asa{{sv}}' 0 1 all b true
         python3 - <<'END'
import json, subprocess
call = ['busctl', '--json=short', 'call', '{NAME}', '{ROOT}', '{QUEUE}']
for task, *_ in json.loads(subprocess.check_output(call + ['ListPaused']))['data'][0]:
    subprocess.check_call(call + ['Resume', 's', task])
call[-1] = '{MANAGER}'
for hold in json.loads(subprocess.check_output(call + ['ListHolds']))['data'][0]:
    hold = {{name: value['data'] for name, value in hold.items()}}
    subprocess.check_call(call + ['ReleaseTask', 's', hold['unit'] or hold['task']])
END
         for resource in r s; do interlockctl capacity $resource policy >/dev/null; done
         systemctl stop serving.service 'imp@*.service' job.service"
    ))?;
    wait_for("what was started to end", Duration::from_secs(30), || {
        let jobs = case.sh("systemctl list-jobs --no-legend")?;
        Ok(jobs.is_empty().then_some(()))
    })?;
    // Instances of any name may have been submitted, and have failed to start.
    case.sh("systemctl reset-failed 'imp@*' 2>/dev/null || true")
        .map(drop)
}
