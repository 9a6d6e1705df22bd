//! The daemon killed before and after every step of a deployment with all seven actions, hooks and a start that waits.
//!
//! Needs an interlockd that counts these points, which is built for it; the one that is shipped can't.

use anyhow::{Context, Result, bail, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::install;
use interlock_tests::log::Log;
use interlock_tests::service::{Service, TASK_PROGRAM};

use super::deploy_support::group_policy;

cases![daemon_killed_at_every_step_of_a_deployment_loses_and_leaves_nothing];

const DAEMON: &str = "/usr/libexec/interlock/interlockd";

/// A deployment has more of them than this; if not, the points aren't counted.
const AT_LEAST: usize = 20;

/// So many failures tell enough.
const FAILURES: usize = 5;

const SEVEN: [(&str, &str); 7] = [
    ("w", "wait"),
    ("f", "freeze"),
    ("s", "stop"),
    ("r", "restart"),
    ("c", "checkpoint"),
    ("p", "protect"),
    ("i", "ignore"),
];

/// What the deployment is for: a start that has to wait for its end.
const DEPLOYED: &str = "#!/bin/sh
/usr/local/libexec/testbed/task deploy begin
systemctl start --no-block q.service
/usr/local/libexec/testbed/task deploy end
";

/// One deployment over seven fresh runs, in which the daemon dies at point `$1`. Prints what is to be
/// judged; the tasks' log is read apart.
const ROUND: &str = r#"
until_() { local end=$((SECONDS + 40)); until "$@"; do ((SECONDS < end)) || { echo "late $*"; return; }; read -rt 0.02 <> <(:); done; }
begun() { [ "$(grep -c ' begin ' /var/lib/testbed/log)" -ge 7 ]; }
at_rest() {
    [ "$(systemctl is-active interlockd.service)" = active ] && [ -z "$(systemctl list-jobs --no-legend)" ] &&
        live=$(busctl call org.interlock.Interlock1 /org/interlock/Interlock1 org.interlock.Interlock1.Manager ListDeployments) &&
        ! grep -qE '"(settling|ready|ending)"' <<<"$live"
}
systemctl stop {w,f,s,r,c,p,i,q}.service 'interlock-hook-*' 'interlock-checkpoint-*'
systemctl reset-failed
: >/var/lib/testbed/log
rm -f /var/lib/testbed/count.* /var/lib/testbed/resumed /run/interlock/points
systemctl start --no-block {w,f,s,r,c,p,i}.service
until_ begun
echo "$1" >/run/interlock/kill-at
timeout 50 interlockctl deploy run --group g --reason "point $1" -- /usr/local/bin/deployed 2>/run/said
echo "status $?"
until_ at_rest
[ -e /run/interlock/kill-at ] && echo unreached
rm -f /run/interlock/kill-at
sed 's/^/said /' /run/said
echo "point $(tail -n1 /run/interlock/points 2>/dev/null)"
echo "deployment $(grep -oE '"[^"]*" "g" "(ended|failed)"' <<<"$live" | tail -n1 | tr -d '"')"
systemctl list-units --all --plain --no-legend --full --state=failed | sed 's/^/failed /'
systemctl list-units --plain --no-legend 'interlock-hook-*' 'interlock-checkpoint-*' | sed 's/^/unit /'
ls -A /run/interlock/frozen | sed 's/^/mark /'
grep -rlx --include=cgroup.events 'frozen 1' /sys/fs/cgroup | sed 's/^/frozen /'
exit 0
"#;

fn daemon_killed_at_every_step_of_a_deployment_loses_and_leaves_nothing(
    case: &Case<'_>,
) -> Result<()> {
    let daemon = install::daemon_with_failpoints()?;
    case.copy_in(daemon, &format!("{DAEMON}.new"))?;
    case.sh(&format!(
        "set -e; cp -p {DAEMON} {DAEMON}.shipped; chmod 755 {DAEMON}.new; mv {DAEMON}.new {DAEMON}
         systemctl restart interlockd.service"
    ))?;
    let result = every_point(case);
    case.sh(&format!(
        "mv {DAEMON}.shipped {DAEMON}; rm -f /run/interlock/{{kill-at,points}} /run/said
         systemctl stop {{w,f,s,r,c,p,i,q}}.service 'interlock-hook-*' 'interlock-checkpoint-*'; systemctl reset-failed; rm -f /usr/local/bin/{{deployed,round}}
         systemctl restart interlockd.service"
    ))?;
    result
}

fn every_point(case: &Case<'_>) -> Result<()> {
    prepare(case)?;
    let mut failures = Vec::new();
    let mut point = 1;
    while let Some(round) = Round::run(case, point)? {
        if let Err(error) = round.judge(&case.log()?, case) {
            failures.push(format!(
                "killed at point {point}, {}: {error:#}\n{round:#?}",
                round.point
            ));
            ensure!(failures.len() < FAILURES, "{}", failures.join("\n"));
        }
        point += 1;
    }
    let points = point - 1;
    println!(
        "systemd {}: interlockd was killed at each of {points} points of a deployment with all seven actions",
        case.version()
    );
    ensure!(points >= AT_LEAST, "only {points} points");
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Tasks that react at once, and none whose run is a job: those that are waited for end when others have been stopped.
fn prepare(case: &Case<'_>) -> Result<()> {
    let frees = |other: &str| {
        format!(
            "ExecStopPost=/bin/sh -c '[ ! -p /run/testbed/{other}.service ] || echo go 1<>/run/testbed/{other}.service'"
        )
    };
    let services = [
        Service::exec("w"),
        Service::exec("f").counts(),
        Service::exec("s").service(&frees("w")),
        Service::exec("r").service(&frees("p")),
        Service::exec("c"),
        Service::exec("p"),
        Service::exec("i"),
        Service::oneshot("q").runs(0.0),
    ];
    // Many runs in a short time.
    case.services(&services.map(|service| service.unit("StartLimitIntervalSec=0")))?;
    let hook = |name: &str| format!("[\"{TASK_PROGRAM}\", \"{name}\", \"0\"]");
    let group = group_policy(
        &SEVEN,
        &format!(
            "before-settle = {}\nafter-resume = {}\n",
            hook("before"),
            hook("after")
        ),
    );
    case.policy(&format!(
        "{}{}",
        group.replace("\"i\"]", "\"i\", \"q\"]"),
        task_policy("q", "q", "")
    ))?;
    case.write("/usr/local/bin/deployed", DEPLOYED)?;
    case.write("/usr/local/bin/round", ROUND)?;
    case.sh("chmod 755 /usr/local/bin/deployed").map(drop)
}

/// What was left of one deployment.
#[derive(Debug, Default)]
struct Round {
    /// Where the daemon was killed.
    point: String,
    /// Exit status of `interlockctl deploy run`.
    status: String,
    /// The deployment's id and how it ended; empty if it never came to be.
    deployment: Vec<String>,
    /// Whatever must not be.
    wrong: Vec<String>,
    said: Vec<String>,
}

impl Round {
    /// Runs one; `None` if the point wasn't reached, so that there are no more.
    fn run(case: &Case<'_>, point: usize) -> Result<Option<Self>> {
        let output = case
            .spawn(&format!("bash /usr/local/bin/round {point}"))?
            .wait(std::time::Duration::from_secs(150))?;
        let mut round = Self::default();
        let mut reached = true;
        for line in output.stdout.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "status" => rest.clone_into(&mut round.status),
                "point" => rest.clone_into(&mut round.point),
                "deployment" => round.deployment = rest.split(' ').map(str::to_owned).collect(),
                "said" => round.said.push(rest.to_owned()),
                "unreached" => reached = false,
                _ => round.wrong.push(line.to_owned()),
            }
        }
        if reached {
            return Ok(Some(round));
        }
        // The last one, in which nobody was killed, must be as it should anyway.
        round.judge(&case.log()?, case).context("without a kill")?;
        ensure!(round.status == "0", "without a kill: {round:#?}");
        Ok(None)
    }

    fn judge(&self, log: &Log, case: &Case<'_>) -> Result<()> {
        ensure!(self.wrong.is_empty(), "left behind: {:?}", self.wrong);
        let count = |name: &str| log.count(&format!("{name}.service"));
        let runs = |name: &str| log.is_running(&format!("{name}.service"));
        let deployed = log.count("deploy") == 1;
        let fits = |name: &str, begun: &[usize], running: bool| -> Result<()> {
            ensure!(
                begun.contains(&count(name)) && runs(name) == running,
                "{name} has begun {} times and runs: {}",
                count(name),
                runs(name)
            );
            Ok(())
        };
        // Never interrupted: no second start.
        fits("f", &[1], true)?;
        fits("i", &[1], true)?;
        if let Some(gap) = case.counter("f.service")?.gap() {
            bail!("f lost something: {gap}");
        }
        ensure!(
            count("w") == 1 && count("p") == 1,
            "w or p was started again"
        );
        // Each hook once. Whoever can't know whether the first one ran must run the second.
        let (before, after) = (log.count("before"), log.count("after"));
        ensure!(
            before <= 1 && after <= 1 && (before == 0 || after == 1),
            "before-settle ran {before} times, after-resume {after} times"
        );
        if deployed {
            ensure!(self.status == "0", "COMMAND did well");
            ensure!(
                self.deployment.get(2).is_some_and(|state| state == "ended"),
                "it failed"
            );
            for name in ["r", "c"] {
                fits(name, &[2], true)?;
            }
            for name in ["w", "p", "s"] {
                fits(name, &[1], false)?;
            }
            // The start that waited.
            return fits("q", &[1], false);
        }
        // Undone, never begun, or ended since nobody held it.
        for name in ["r", "c"] {
            fits(name, &[1, 2], true)?;
        }
        if !runs("s") {
            fits("s", &[1], false)?;
        }
        fits("q", &[0], false)
    }
}
