//! Never in a transaction: who holds a lock of its resources or a logind inhibitor is waited for, with real dnf.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::command::Running;
use interlock_tests::service::{LOCK_PROGRAM, Service};
use interlock_tests::updates;
use interlock_tests::wait::{SOON, wait_for};

use super::deploy_support::{on_deploy, refused, run_all, runs_on};

deploy_cases![
    package_transaction_is_waited_for_and_never_stopped,
    package_transaction_is_waited_for_and_never_frozen,
    package_transaction_refuses_a_deployment_whatever_its_fallback,
    inhibitor_is_waited_for_whatever_the_action,
    locks_that_others_hold_are_no_reason_to_wait,
    every_kind_of_lock_is_found,
    package_transaction_is_never_preempted,
];

const DNF: &str = "dnf-automatic.service";

/// Where Debian's rpm and dnf, as upstream's, have their locks.
const LOCKS: &str = "lock-files = [
  { path = \"/var/lib/rpm/.rpm.lock\", kind = \"posix\" },
  { path = \"/var/lib/dnf/rpmdb_lock.pid\", kind = \"pidfile\" },
]";

/// dnf-automatic is in a transaction that lasts until `transaction` is released; beside it a task that
/// is stopped.
fn in_transaction(case: &Case<'_>, on_deploy: &str, lines: &str) -> Result<()> {
    updates::withdraw(case)?;
    updates::provide(case, "hold")?;
    case.unit(DNF, updates::DNF_AUTOMATIC)?;
    case.unit(&format!("{DNF}.d/10-log.conf"), updates::DNF_AUTOMATIC_LOG)?;
    case.services(&[Service::exec("r")])?;
    case.policy(&format!(
        "[resources.rpm-db]\n{LOCKS}\n{}{}[groups.g]\ntasks = [\"dnf\", \"r\"]\n{lines}\n",
        task_policy(
            "dnf",
            "dnf-automatic",
            &format!("uses = [\"rpm-db\"]\n{on_deploy}")
        ),
        task_policy("r", "r", &self::on_deploy("restart")),
    ))?;
    case.start(&[DNF])?;
    run_all(case, &["r"])?;
    case.begun("transaction")
}

/// It is waited for, its process and the lock are named, and nothing is done to it.
fn waited_for(case: &Case<'_>) -> Result<(Running, String)> {
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    case.member_is(&id, "r.service", "stopped")?;
    let member = case.member_is(&id, DNF, "waiting")?;
    ensure!(
        member.detail.contains("dnf")
            && (member.detail.contains(".rpm.lock") || member.detail.contains("rpmdb_lock.pid")),
        "{member:?}"
    );
    let pid = case.property(DNF, "MainPID")?;
    ensure!(
        member.detail.contains(&pid),
        "{pid} isn't named: {member:?}"
    );
    ensure!(!case.is_frozen(DNF)?);
    Ok((deploy, id))
}

/// The transaction came to its end.
fn complete(case: &Case<'_>) -> Result<()> {
    wait_for("the package to be installed", SOON, || {
        let version = case.try_sh("rpm -q --qf '%{VERSION}' system-update")?;
        Ok((version.stdout == "2").then_some(()))
    })?;
    // No scriptlet that was killed, no duplicate, nothing half done.
    let journal = case.journal(&format!("-u {DNF} -o cat"))?;
    ensure!(
        !journal.to_lowercase().contains("scriptlet failed") && !journal.contains("Error in"),
        "{journal}"
    );
    let check = case.sh("rpm -qa system-update panel | sort; rpm -V system-update")?;
    ensure!(
        check
            .lines()
            .filter(|line| line.contains("system-update"))
            .count()
            == 1,
        "{check}"
    );
    let log = case.log()?;
    ensure!(
        log.count("transaction") == 1 && !log.is_running("transaction"),
        "{log:?}"
    );
    Ok(())
}

fn package_transaction_is_waited_for_and_never_stopped(case: &Case<'_>) -> Result<()> {
    in_transaction(case, &on_deploy("stop"), "")?;
    let (mut deploy, id) = waited_for(case)?;
    ensure!(case.log()?.is_running("transaction"), "it was ended");
    ensure!(deploy.is_running()?);
    case.release("transaction")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    complete(case)?;
    // What dnf-automatic does after its transaction may be stopped.
    case.becomes(DNF, "inactive")?;
    case.end_deployment(&id)?;
    runs_on(case, &[("r", 2)])?;
    updates::withdraw(case)
}

fn package_transaction_is_waited_for_and_never_frozen(case: &Case<'_>) -> Result<()> {
    in_transaction(case, &on_deploy("freeze"), "")?;
    let (deploy, id) = waited_for(case)?;
    case.release("transaction")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    // Nobody holds the lock now: others may install packages in this deployment.
    case.sh("dnf -y --quiet upgrade panel </dev/null")?;
    case.end_deployment(&id)?;
    case.becomes(DNF, "inactive")?;
    complete(case)?;
    updates::withdraw(case)
}

fn package_transaction_refuses_a_deployment_whatever_its_fallback(case: &Case<'_>) -> Result<()> {
    in_transaction(
        case,
        &on_deploy("action = \"freeze\", fallback = \"stop\""),
        "max-wait = \"1s\"",
    )?;
    let output = case.deploy_run("g", "")?.wait(SOON)?;
    refused(case, &output, &[DNF])?;
    ensure!(case.log()?.count("deploy") == 0, "the command was run");
    ensure!(case.log()?.is_running("transaction"), "it was ended");
    runs_on(case, &[("r", 2)])?;
    case.release("transaction")?;
    case.becomes(DNF, "inactive")?;
    complete(case)?;
    updates::withdraw(case)
}

fn inhibitor_is_waited_for_whatever_the_action(case: &Case<'_>) -> Result<()> {
    let inhibited = |name: &str| {
        Service::exec(name).command(&format!(
            "/usr/bin/systemd-inhibit --what=shutdown --mode=block --who=vendor '--why=Transaction running' \
             /usr/local/libexec/testbed/task {name}.service hold"
        ))
    };
    case.services(&[
        inhibited("s"),
        inhibited("f"),
        Service::exec("delay").command(
            "/usr/bin/systemd-inhibit --what=shutdown --mode=delay --who=vendor --why=later \
             /usr/local/libexec/testbed/task delay.service hold",
        ),
    ])?;
    let tasks = [
        ("s", "action = \"stop\""),
        ("f", "action = \"freeze\", fallback = \"stop\""),
        ("delay", "stop"),
    ];
    case.policy(&super::deploy_support::group_policy(&tasks, ""))?;
    run_all(case, &tasks.map(|(name, _)| name))?;
    let output = case.deploying("g", "--max-wait 0.5s")?.wait(SOON)?;
    refused(case, &output, &["Transaction running"])?;
    runs_on(case, &[("s", 1), ("f", 1), ("delay", 2)])?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    for unit in ["s.service", "f.service"] {
        let member = case.member_is(&id, unit, "waiting")?;
        ensure!(
            member.detail.contains("Transaction running") || member.detail.contains("vendor"),
            "{member:?}"
        );
        ensure!(!case.is_frozen(unit)?);
    }
    // One that only delays a shutdown says nothing of a transaction.
    case.member_is(&id, "delay.service", "stopped")?;
    case.release("s.service")?;
    case.release("f.service")?;
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    case.end_deployment(&id)
}

fn locks_that_others_hold_are_no_reason_to_wait(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("s"), Service::exec("f").counts()])?;
    case.policy(&format!(
        "[resources.db]\nlock-files = [{{ path = \"/run/db.lock\", kind = \"flock\" }}]\ncapacity = 2\n{}{}\
         [groups.g]\ntasks = [\"s\", \"f\"]\n",
        task_policy("s", "s", &format!("uses = [\"db\"]\n{}", on_deploy("stop"))),
        task_policy("f", "f", &format!("uses = [\"db\"]\n{}", on_deploy("freeze"))),
    ))?;
    run_all(case, &["s", "f"])?;
    let admin =
        case.spawn("exec flock /run/db.lock sh -c 'echo held >/run/held; exec sleep 60'")?;
    case.wait_until("[ -s /run/held ]")?;
    let id = case.deploy("g")?;
    ensure!(case.is_frozen("f.service")?);
    case.end_deployment(&id)?;
    drop(admin);
    case.sh("pkill -x sleep; rm /run/held /run/db.lock; true")?;
    runs_on(case, &[("f", 1)])
}

/// Takes a lock of a kind and holds it until the task is released.
const LOCKER: &str = r#"
import fcntl, os, subprocess, struct, sys
kind, name = sys.argv[1:]
path = "/run/" + kind + ".lock"
file = open(path, "w")
if kind == "posix":
    fcntl.lockf(file, fcntl.LOCK_EX)
elif kind == "ofd":
    fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
elif kind == "flock":
    fcntl.flock(file, fcntl.LOCK_EX)
elif kind == "pidfile":
    file.write("%d\n" % os.getpid())
    file.flush()
subprocess.run(["/usr/local/libexec/testbed/task", name, "hold"])
os.unlink(path)
file.close()
subprocess.run(["/usr/local/libexec/testbed/task", name + "-after", "hold"])
"#;

fn every_kind_of_lock_is_found(case: &Case<'_>) -> Result<()> {
    let kinds = ["posix", "ofd", "flock", "pidfile"];
    case.write("/usr/local/bin/locker", LOCKER)?;
    let mut policy = String::new();
    for kind in kinds {
        case.services(&[Service::exec(kind).command(&format!(
            "/usr/bin/python3 /usr/local/bin/locker {kind} {kind}.service"
        ))])?;
        policy += &format!(
            "[resources.{kind}]\nlock-files = [{{ path = \"/run/{kind}.lock\", kind = \"{kind}\" }}]\n"
        );
    }
    for kind in kinds {
        let lines = format!("uses = [\"{kind}\"]\n{}", on_deploy("stop"));
        policy += &task_policy(kind, kind, &lines);
    }
    policy += "[groups.g]\ntasks = [\"posix\", \"ofd\", \"flock\", \"pidfile\"]\n";
    case.policy(&policy)?;
    run_all(case, &kinds)?;
    let deploy = case.deploying("g", "")?;
    let id = case.live_deployment("g")?.id;
    for kind in kinds {
        let member = case.member_is(&id, &format!("{kind}.service"), "waiting")?;
        ensure!(
            member.detail.contains(&format!("/run/{kind}.lock")),
            "{member:?}"
        );
    }
    for kind in kinds {
        case.release(&format!("{kind}.service"))?;
        // Only the lock had kept it.
        case.member_is(&id, &format!("{kind}.service"), "stopped")?;
    }
    let output = deploy.wait(SOON)?;
    ensure!(output.success(), "{output:?}");
    case.end_deployment(&id)?;
    case.sh("rm /usr/local/bin/locker").map(drop)
}

fn package_transaction_is_never_preempted(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::exec("low").command(&format!(
            "{LOCK_PROGRAM} posix /run/transaction.lock low.service"
        )),
        Service::oneshot("high"),
    ])?;
    case.policy(&format!(
        "[resources.r]\nlock-files = [{{ path = \"/run/transaction.lock\", kind = \"posix\" }}]\n{}{}",
        task_policy("low", "low", "uses = [\"r\"]"),
        task_policy("high", "high", "uses = [\"r\"]\npreempts = [\"low\"]"),
    ))?;
    case.start(&["low.service"])?;
    case.begun("low.service")?;
    case.start(&["high.service"])?;
    wait_for("interlockd to spare it", SOON, || {
        let journal = case.journal("-u interlockd.service -o cat")?;
        let spared = "low.service isn't stopped for high.service yet";
        Ok((journal.contains(spared) && journal.contains("transaction.lock")).then_some(()))
    })?;
    ensure!(case.log()?.is_running("low.service"), "it was stopped");
    // It gives the lock back and lives on.
    case.sh("systemctl kill --kill-who=main --signal=USR1 low.service")?;
    case.release("high.service")?;
    case.ran("low.service", 1)?;
    case.becomes("low.service", "inactive")?;
    case.no_overlap(&["low.service", "high.service"])
}
