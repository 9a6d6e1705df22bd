//! A policy with errors: each is named, the good part works, what was guarded stays guarded, boot isn't held up.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::service::Service;

use super::support::{line_up, release_in_turn, start_in_turn};

cases![
    every_error_is_named_with_file_line_and_column,
    good_fragment_works_beside_a_bad_one,
    task_of_a_bad_fragment_is_blocked_and_says_so,
    what_was_guarded_stays_guarded_when_the_policy_breaks,
    boot_is_not_held_up_by_a_bad_policy,
    boot_with_a_policy_guards_from_the_beginning,
    corrected_policy_frees_blocked_tasks,
    garbage_instead_of_a_policy_harms_nobody,
    fragment_in_etc_replaces_and_removes_those_in_usr,
    policy_for_units_that_come_later,
    generator_says_the_same_twice,
    verify_reads_a_directory_without_taking_effect,
    drop_in_that_hides_a_gate_is_told,
];

const BAD: &str =
    "[tasks.b]\nunit = \"b.service\"\nuses = [\"r\"]\nprioritty = 3\nmax-wait = \"soon\"\n";

fn good() -> String {
    format!("[resources.r]\n{}", task_policy("a", "a", "uses = [\"r\"]"))
}

/// a has a good fragment, b a bad one.
fn half_bad(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("a"),
        Service::oneshot("b").runs(0.0),
        Service::oneshot("free").runs(0.0),
    ])?;
    case.fragment("10-case.toml", &good())?;
    case.fragment("20-bad.toml", BAD)
}

fn every_error_is_named_with_file_line_and_column(case: &Case<'_>) -> Result<()> {
    half_bad(case)?;
    case.reload_systemd()?;
    let reload = case.try_sh("interlockctl reload")?;
    ensure!(reload.status == Some(3), "{reload:?}");
    let verify = case.try_sh("interlockctl verify")?;
    ensure!(verify.status == Some(3), "{verify:?}");
    let generator =
        case.try_sh("/usr/lib/systemd/system-generators/interlock-generator --check")?;
    ensure!(generator.status == Some(1), "{generator:?}");
    let status = case.try_sh("interlockctl status --json")?;
    for (what, text) in [
        ("reload", reload.text()),
        ("verify", verify.text()),
        ("the generator", generator.text()),
        ("status", status.text()),
    ] {
        for place in [
            "/etc/interlock/policy.d/20-bad.toml:4:1",
            "/etc/interlock/policy.d/20-bad.toml:5:",
        ] {
            ensure!(text.contains(place), "{what} doesn't name {place}:\n{text}");
        }
    }
    let text = verify.text();
    ensure!(
        text.contains("prioritty") && text.contains("\"priority\""),
        "no help for the typo:\n{text}"
    );
    Ok(())
}

fn good_fragment_works_beside_a_bad_one(case: &Case<'_>) -> Result<()> {
    half_bad(case)?;
    case.services(&[Service::oneshot("c")])?;
    case.fragment("30-good.toml", &task_policy("c", "c", "uses = [\"r\"]"))?;
    case.reload_systemd()?;
    case.try_sh("interlockctl reload")?;
    start_in_turn(case, &["a", "c"])?;
    release_in_turn(case, &["a", "c"])
}

fn task_of_a_bad_fragment_is_blocked_and_says_so(case: &Case<'_>) -> Result<()> {
    half_bad(case)?;
    case.reload_systemd()?;
    case.try_sh("interlockctl reload")?;
    let output = case.try_start("b.service")?;
    ensure!(!output.success(), "b started unguarded");
    // Also past its requirements.
    let output = case.try_sh("systemctl start --job-mode=ignore-dependencies b.service")?;
    ensure!(!output.success(), "b started unguarded");
    ensure!(case.log()?.count("b.service") == 0);
    let why = case.try_sh("interlockctl why b")?;
    ensure!(why.text().contains("20-bad.toml"), "{}", why.text());
    let state = case.sh("interlockctl status --json")?;
    ensure!(
        state.contains("\"blocked\"") && state.contains("\"partial\""),
        "{state}"
    );
    ensure!(case.try_start("free.service")?.success());
    Ok(())
}

fn what_was_guarded_stays_guarded_when_the_policy_breaks(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.fragment("20-b.toml", &task_policy("b", "b", "uses = [\"r\"]"))?;
    case.policy(&good())?;
    case.fragment(
        "20-b.toml",
        "[tasks.b]\nunit = \"b.service\"\nuses = [\"nothing\n",
    )?;
    case.reload_systemd()?;
    let output = case.try_sh("interlockctl reload")?;
    ensure!(output.status == Some(3), "{output:?}");
    ensure!(
        case.sh("interlockctl status --json")?
            .contains("\"last-good\"")
    );
    start_in_turn(case, &["a", "b"])?;
    // Also for a new daemon.
    super::support::kill_daemon(case)?;
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn boot_is_not_held_up_by_a_bad_policy(case: &Case<'_>) -> Result<()> {
    half_bad(case)?;
    case.sh("mkdir -p /etc/systemd/system/multi-user.target.wants
             for unit in a b free; do
                 ln -s ../$unit.service /etc/systemd/system/multi-user.target.wants/
             done")?;
    case.services(&[Service::oneshot("a").runs(0.0)])?;
    // Waits until the boot is complete, and fails if it isn't clean.
    case.reboot()?;
    case.ran("a.service", 1)?;
    case.ran("free.service", 1)?;
    ensure!(case.log()?.count("b.service") == 0, "b started unguarded");
    let journal = case.sh("journalctl -b --no-pager")?;
    ensure!(journal.contains("20-bad.toml:4:1"), "{journal}");
    Ok(())
}

fn boot_with_a_policy_guards_from_the_beginning(case: &Case<'_>) -> Result<()> {
    let names = ["a", "b", "c", "d"];
    case.services(&names.map(|name| Service::oneshot(name).runs(0.3)))?;
    case.exclusive(&names)?;
    case.sh("mkdir -p /etc/systemd/system/multi-user.target.wants
             for unit in a b c d; do
                 ln -s ../$unit.service /etc/systemd/system/multi-user.target.wants/
             done")?;
    case.reboot()?;
    let units = ["a.service", "b.service", "c.service", "d.service"];
    for unit in units {
        case.ran(unit, 1)?;
    }
    case.no_overlap(&units)
}

fn corrected_policy_frees_blocked_tasks(case: &Case<'_>) -> Result<()> {
    half_bad(case)?;
    case.reload_systemd()?;
    ensure!(!case.try_start("b.service")?.success());
    case.fragment("20-bad.toml", &task_policy("b", "b", "uses = [\"r\"]"))?;
    case.reload()?;
    ensure!(case.try_start("b.service")?.success());
    ensure!(case.sh("interlockctl status --json")?.contains("\"good\""));
    Ok(())
}

fn garbage_instead_of_a_policy_harms_nobody(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "b"])?;
    case.sh(
        "head -c 100000 /dev/urandom >/etc/interlock/policy.d/90-garbage.toml
             mkdir /etc/interlock/policy.d/91-directory.toml
             ln -s /nowhere /etc/interlock/policy.d/92-dangling.toml
             mkfifo /etc/interlock/policy.d/93-fifo.toml
             printf '[[[[' >/etc/interlock/policy.d/94-brackets.toml",
    )?;
    // Neither the generator nor the daemon may hang or die of it.
    case.reload_systemd()?;
    let output = case.try_sh("timeout 20 interlockctl reload")?;
    ensure!(output.status == Some(3), "{output:?}");
    case.queued(&["b.service"])?;
    release_in_turn(case, &["a", "b"])
}

fn fragment_in_etc_replaces_and_removes_those_in_usr(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b", "c"].map(|name| Service::oneshot(name).runs(0.0)))?;
    for name in ["a", "b"] {
        case.write(
            &format!("/usr/lib/interlock/policy.d/10-{name}.toml"),
            &task_policy(name, name, ""),
        )?;
    }
    case.sh("ln -s /dev/null /etc/interlock/policy.d/10-a.toml")?;
    case.fragment("10-b.toml", &task_policy("c", "c", ""))?;
    let reloaded = case.reload();
    let status = case.sh("interlockctl status --json");
    case.sh("rm /usr/lib/interlock/policy.d/10-*.toml")?;
    reloaded?;
    let status = status?;
    ensure!(status.contains("c.service"), "{status}");
    ensure!(
        !status.contains("a.service") && !status.contains("b.service"),
        "{status}"
    );
    Ok(())
}

fn policy_for_units_that_come_later(case: &Case<'_>) -> Result<()> {
    case.exclusive(&["a", "b"])?;
    case.services(&["a", "b"].map(Service::oneshot))?;
    case.reload_systemd()?;
    start_in_turn(case, &["a", "b"])?;
    release_in_turn(case, &["a", "b"])
}

fn generator_says_the_same_twice(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b", "c"].map(|name| Service::oneshot(name).runs(0.0)))?;
    case.fragment(
        "10-case.toml",
        &format!(
            "{}[windows.w]\ncalendar = \"daily\"\norder = [\"t0-a\", \"t1-b\"]\n",
            exclusive_policy(&["a", "b", "c"])
        ),
    )?;
    case.reload()?;
    case.sh(
        "set -e; cd /run/systemd
         for target in one two; do
             mkdir -p /tmp/$target/{normal,early,late}
             /usr/lib/systemd/system-generators/interlock-generator /tmp/$target/{normal,early,late}
         done
         diff -r /tmp/one /tmp/two
         for file in $(cd /tmp/one/normal; find . -type f); do diff /tmp/one/normal/$file generator/$file; done
         rm -r /tmp/one /tmp/two",
    )
    ?;
    case.stop(&["interlock-window-w.timer"])
}

fn verify_reads_a_directory_without_taking_effect(case: &Case<'_>) -> Result<()> {
    case.sh("mkdir -p /tmp/policy")?;
    case.write("/tmp/policy/bad.toml", BAD)?;
    let output = case.try_sh("interlockctl verify /tmp/policy")?;
    ensure!(
        output.status == Some(3) && output.text().contains("bad.toml:4:1"),
        "{output:?}"
    );
    case.write("/tmp/policy/bad.toml", &good())?;
    case.sh("interlockctl verify /tmp/policy; rm -r /tmp/policy")?;
    ensure!(!case.sh("interlockctl status --json")?.contains("a.service"));
    Ok(())
}

fn drop_in_that_hides_a_gate_is_told(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.sh("mkdir -p /etc/systemd/system/b.service.d
             ln -s /dev/null /etc/systemd/system/b.service.d/50-interlock.conf")?;
    case.fragment("10-case.toml", &exclusive_policy(&["a", "b"]))?;
    let output = case.try_sh("interlockctl reload")?;
    ensure!(
        output.status == Some(3)
            && output
                .text()
                .contains("b.service would start without its gate")
            && output.text().contains("b.service.d/50-interlock.conf"),
        "{output:?}"
    );
    // The other task is guarded all the same.
    start_in_turn(case, &["a"])?;
    release_in_turn(case, &["a"])?;
    case.sh("rm -r /etc/systemd/system/b.service.d; : >/var/lib/testbed/log")?;
    case.reload()?;
    start_in_turn(case, &["b", "a"])?;
    release_in_turn(case, &["b", "a"])
}
