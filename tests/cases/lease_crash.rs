//! What a lease holds over a crash of interlockd, and a start that something comes before once its lease is granted.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::{Service, TASK_PROGRAM};

use super::support::{gate, kill_daemon, line_up, main_pid, unit, without_daemon};

cases![
    lease_holds_what_was_granted_over_a_new_policy_and_a_crash,
    lease_of_a_task_that_lost_its_policy_survives_a_crash,
    lease_that_is_presumed_holds_what_was_granted,
    leftovers_keep_their_lease_over_a_crash_while_the_next_start_waits,
    start_that_something_comes_before_after_its_grant_is_no_deadlock,
    what_is_kept_of_leases_may_be_gone_or_rubbish,
];

/// Asserts that this start waits, and that the task didn't run.
fn waits(case: &Case<'_>, name: &str) -> Result<()> {
    case.start(&[&unit(name)])?;
    case.queued(&[&unit(name)])?;
    ensure!(case.log()?.count(&unit(name)) == 0, "{name} was let in");
    Ok(())
}

fn lease_holds_what_was_granted_over_a_new_policy_and_a_crash(case: &Case<'_>) -> Result<()> {
    let names = ["one", "all", "other"];
    case.services(&names.map(Service::exec))?;
    case.services(&["b", "c"].map(Service::oneshot))?;
    let policy = |one: &str, all: &str| {
        format!(
            "[resources.r]\n[resources.slots]\ncapacity = 4\n[resources.x]\n{}{}{}{}{}",
            task_policy("one", "one", one),
            task_policy("all", "all", all),
            task_policy("other", "other", "uses = [\"x\"]"),
            task_policy("b", "b", "uses = [\"r\"]"),
            task_policy("c", "c", "uses = [\"slots\"]"),
        )
    };
    case.policy(&policy("uses = [\"r\"]", "uses = { slots = \"all\" }"))?;
    for name in names {
        case.start(&[&unit(name)])?;
        case.begun(&unit(name))?;
    }
    // One resource less, and fewer shares of another: of what runs already that changes nothing.
    case.policy(&policy("", "uses = { slots = 1 }"))?;
    waits(case, "b")?;
    case.stop(&["b.service"])?;
    kill_daemon(case)?;
    waits(case, "b")?;
    case.stop(&["b.service"])?;
    waits(case, "c")?;
    // Nor does a second crash, or a reload after it.
    kill_daemon(case)?;
    case.reload()?;
    case.queued(&["c.service"])?;
    case.release("all.service")?;
    case.begun("c.service")?;
    waits(case, "b")?;
    case.release("one.service")?;
    case.release("b.service")?;
    case.release("c.service")?;
    case.release("other.service")?;
    case.no_overlap(&["one.service", "b.service"])?;
    case.no_overlap(&["all.service", "c.service"])?;
    // The next run is granted what the policy says by now.
    case.start(&["one.service"])?;
    case.begun("one.service")?;
    case.start(&["b.service"])?;
    case.begun("b.service")?;
    case.release("b.service")?;
    case.release("one.service")
}

fn lease_of_a_task_that_lost_its_policy_survives_a_crash(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::exec("a"), Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    case.exclusive(&["b"])?;
    // With its policy it has lost its gate.
    case.becomes(&gate("a"), "inactive")?;
    kill_daemon(case)?;
    waits(case, "b")?;
    let why = case.why("b")?;
    let detail = why["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("a.service"), "{why}");
    case.release("a.service")?;
    case.release("b.service")?;
    case.no_overlap(&["a.service", "b.service"])
}

fn lease_that_is_presumed_holds_what_was_granted(case: &Case<'_>) -> Result<()> {
    line_up(case, &["h", "a"])?;
    case.services(&[Service::oneshot("b")])?;
    case.exclusive(&["h", "a", "b"])?;
    let process = main_pid(case, &gate("a"))?;
    case.sh(&format!("kill -STOP {process}"))?;
    case.release("h.service")?;
    // Granted; its gate hasn't heard of it when interlockd dies, and will then.
    case.queued(&[])?;
    kill_daemon(case)?;
    let without = exclusive_policy(&["h", "b"]) + &task_policy("a", "a", "");
    case.policy(&without)?;
    waits(case, "b")?;
    // And if the policy is older than interlockd.
    kill_daemon(case)?;
    case.queued(&["b.service"])?;
    ensure!(case.log()?.count("b.service") == 0, "b was let in");
    case.sh(&format!("kill -CONT {process}"))?;
    case.begun("a.service")?;
    case.queued(&["b.service"])?;
    case.release("a.service")?;
    case.release("b.service")?;
    case.no_overlap(&["a.service", "b.service"])
}

fn leftovers_keep_their_lease_over_a_crash_while_the_next_start_waits(
    case: &Case<'_>,
) -> Result<()> {
    let service = Service::exec("a")
        .command(&format!(
            "/bin/sh -c '{TASK_PROGRAM} child hold & exec {TASK_PROGRAM} a.service hold'"
        ))
        .service("KillMode=process");
    case.services(&[service, Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    case.start(&["a.service"])?;
    case.begun("child")?;
    case.begun("a.service")?;
    case.sh("interlockctl hold t0-a --reason later")?;
    case.stop(&["a.service"])?;
    case.becomes(&gate("a"), "inactive")?;
    case.start(&["a.service"])?;
    case.queued(&["a.service"])?;
    kill_daemon(case)?;
    case.queued(&["a.service"])?;
    case.start(&["b.service"])?;
    case.queued(&["a.service", "b.service"])?;
    ensure!(
        case.log()?.count("b.service") == 0,
        "b ran beside a's child"
    );
    case.stop(&["a.service"])?;
    case.queued(&["b.service"])?;
    case.release("child")?;
    case.release("b.service")?;
    case.sh("interlockctl release t0-a; systemctl reset-failed")?;
    case.no_overlap(&["child", "b.service"])
}

fn start_that_something_comes_before_after_its_grant_is_no_deadlock(case: &Case<'_>) -> Result<()> {
    case.services(&["h", "x", "z"].map(Service::oneshot))?;
    case.services(&[Service::oneshot("t").unit("After=x.service")])?;
    case.exclusive(&["h", "t", "x", "z"])?;
    case.start(&["h.service"])?;
    case.begun("h.service")?;
    case.start(&["t.service"])?;
    case.queued(&["t.service"])?;
    // The way from the grant to the start takes as long as we like.
    let process = main_pid(case, &gate("t"))?;
    case.sh(&format!("kill -STOP {process}"))?;
    case.release("h.service")?;
    case.queued(&[])?;
    // Whoever waits for a lease has its task's job looked at: nothing comes before it yet.
    case.start(&["z.service"])?;
    case.queued(&["z.service"])?;
    case.start(&["x.service"])?;
    // Before t by PID 1's order, and behind it by the lease: unless that is taken back, all three wait for ever.
    case.sh(&format!("kill -CONT {process} 2>/dev/null || true"))?;
    case.drain(&["z.service", "x.service", "t.service"])?;
    let units = ["h.service", "x.service", "t.service", "z.service"];
    units.iter().try_for_each(|unit| case.ran(unit, 1))?;
    case.no_overlap(&units)?;
    let order = case.log()?.order();
    let place = |unit: &str| order.iter().position(|it| it == unit);
    ensure!(place("x.service") < place("t.service"), "{order:?}");
    Ok(())
}

fn what_is_kept_of_leases_may_be_gone_or_rubbish(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "c"].map(Service::exec))?;
    case.services(&["b", "d"].map(Service::oneshot))?;
    case.policy(&format!(
        "[resources.r]\n[resources.s]\n{}{}{}{}",
        task_policy("a", "a", "uses = [\"r\"]"),
        task_policy("b", "b", "uses = [\"r\"]"),
        task_policy("c", "c", "uses = [\"s\"]"),
        task_policy("d", "d", "uses = [\"s\"]"),
    ))?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    without_daemon(case, || {
        // As an interlockd leaves it that kept nothing, with somebody's files in between.
        case.sh(
            "cd /run/interlock; rm -rf granted; mkdir granted; cd granted
                 head -c 100000 /dev/urandom >a.service; echo '{\"r\": 1}' >b.service
                 echo '{\"r\": 1}' | tee gone.service template@.service >nonsense; ln -s / link.service; mkdir directory.service
                 ln -s /nowhere c.service; echo '[' >.draft",
        )
        .map(drop)
    })?;
    // The policy says what it needs.
    waits(case, "b")?;
    case.start(&["c.service"])?;
    case.begun("c.service")?;
    case.start(&["d.service"])?;
    case.queued(&["b.service", "d.service"])?;
    case.sh("rm -rf /run/interlock/granted")?;
    case.release("a.service")?;
    case.release("b.service")?;
    case.release("c.service")?;
    case.release("d.service")?;
    case.no_overlap(&["a.service", "b.service"])?;
    case.no_overlap(&["c.service", "d.service"])?;
    // Made again when it was needed, and emptied.
    case.wait_until(
        "[ -d /run/interlock/granted ] && ! ls /run/interlock/granted | grep -q service",
    )?;
    case.sh("chmod 755 /run/interlock/granted").map(drop)
}
