//! Windows: policy order after two days off, no cycle, each once, and an end.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

cases![
    timers_after_two_days_off_run_each_task_once_in_policy_order,
    members_own_timers_are_masked_and_come_back,
    member_started_alone_waits_for_nobody,
    failed_member_does_not_stop_the_others,
    what_has_not_started_when_the_window_ends_is_skipped,
    window_can_open_again,
    command_task_runs_by_its_timer_as_its_user,
];

const ORDER: [&str; 4] = ["c", "a", "d", "b"];

/// Four tasks in a window of this order, with timers of their own, and a fifth outside.
fn nightly(case: &Case<'_>, lines: &str) -> Result<()> {
    let mut policy = format!(
        "[resources.r]\n[windows.nightly]\ncalendar = \"*-*-* 02:00\"\norder = [\"c\", \"a\", \"d\", \"b\"]\n{lines}\n"
    );
    for name in ["a", "b", "c", "d", "other"] {
        case.services(&[Service::oneshot(name).runs(0.1)])?;
        case.unit(
            &format!("{name}.timer"),
            "[Timer]\nOnCalendar=*-*-* 02:00\nPersistent=true\n[Install]\nWantedBy=timers.target\n",
        )?;
        policy += &task_policy(name, name, "uses = [\"r\"]");
    }
    case.sh("cd /etc/systemd/system && mkdir -p timers.target.wants &&
             for name in a b c d other; do ln -s ../$name.timer timers.target.wants/; done")?;
    case.policy(&policy)
}

/// Stops the timer that the policy brought.
fn close(case: &Case<'_>) -> Result<()> {
    case.stop(&["interlock-window-nightly.timer"])
}

fn in_order(case: &Case<'_>) -> Result<()> {
    let order: Vec<String> = case.log()?.order();
    let members: Vec<&str> = order
        .iter()
        .map(String::as_str)
        .filter(|name| *name != "other.service")
        .collect();
    ensure!(
        members == ORDER.map(|name| format!("{name}.service")),
        "{order:?}"
    );
    case.no_overlap(&[
        "a.service",
        "b.service",
        "c.service",
        "d.service",
        "other.service",
    ])
}

fn timers_after_two_days_off_run_each_task_once_in_policy_order(case: &Case<'_>) -> Result<()> {
    nightly(case, "")?;
    // The host was off: every timer last elapsed two days ago.
    case.sh(
        "cd /var/lib/systemd/timers && for name in a b c d other interlock-window-nightly; do
                 touch -d '2 days ago' stamp-$name.timer
             done",
    )?;
    case.reboot()?;
    for name in ["a", "b", "c", "d", "other"] {
        case.ran(&format!("{name}.service"), 1)?;
    }
    in_order(case)?;
    let journal = case.journal("_PID=1")?;
    ensure!(
        !journal.contains("ordering cycle") && !journal.contains("is cyclic"),
        "{journal}"
    );
    case.stop(&["other.timer", "interlock-window-nightly.timer"])
}

fn members_own_timers_are_masked_and_come_back(case: &Case<'_>) -> Result<()> {
    nightly(case, "")?;
    ensure!(case.property("a.timer", "LoadState")? == "masked");
    ensure!(case.property("other.timer", "LoadState")? == "loaded");
    ensure!(
        case.sh("systemctl list-timers --all")?
            .contains("interlock-window-nightly.timer")
    );
    case.policy("")?;
    ensure!(case.property("a.timer", "LoadState")? == "loaded");
    // Enabled as they are, they go on by themselves.
    for name in ["a.timer", "b.timer", "c.timer", "d.timer"] {
        case.becomes(name, "active")?;
    }
    case.stop(&["a.timer", "b.timer", "c.timer", "d.timer"])
}

fn member_started_alone_waits_for_nobody(case: &Case<'_>) -> Result<()> {
    nightly(case, "")?;
    ensure!(case.try_start("b.service")?.success());
    ensure!(case.log()?.order() == ["b.service"]);
    close(case)
}

fn open(case: &Case<'_>) -> Result<()> {
    case.start(&["interlock-window-nightly.target"])
}

fn failed_member_does_not_stop_the_others(case: &Case<'_>) -> Result<()> {
    nightly(case, "")?;
    case.services(&[Service::oneshot("a").runs(0.1).exits(1)])?;
    case.reload_systemd()?;
    open(case)?;
    for name in ORDER {
        case.ran(&format!("{name}.service"), 1)?;
    }
    in_order(case)?;
    case.failed("a.service")?;
    close(case)
}

fn what_has_not_started_when_the_window_ends_is_skipped(case: &Case<'_>) -> Result<()> {
    nightly(case, "max-duration = \"1s\"")?;
    // The second one takes longer than the window.
    case.services(&[Service::oneshot("a").runs(2.5)])?;
    case.reload_systemd()?;
    let skips = |name: &str| anyhow::Ok(case.why(name)?["skips"].as_u64().unwrap_or(0));
    let (before_d, before_b) = (skips("d")?, skips("b")?);
    open(case)?;
    case.begun("a.service")?;
    wait_for("d and b to be skipped", SOON, || {
        Ok((skips("d")? == before_d + 1 && skips("b")? == before_b + 1).then_some(()))
    })?;
    let reason = case.why("b")?["last_skip_reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(reason.contains("nightly"), "{reason:?}");
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    ensure!(case.log()?.order() == ["c.service", "a.service"]);
    // A start by hand isn't the window's.
    ensure!(case.try_start("b.service")?.success());
    case.ran("b.service", 1)?;
    close(case)
}

fn window_can_open_again(case: &Case<'_>) -> Result<()> {
    nightly(case, "max-duration = \"1h\"")?;
    for times in 1..=2 {
        open(case)?;
        for name in ORDER {
            case.ran(&format!("{name}.service"), times)?;
        }
        // Inactive again, or its timer could not start it a second time.
        case.becomes("interlock-window-nightly.target", "inactive")?;
    }
    close(case)
}

fn command_task_runs_by_its_timer_as_its_user(case: &Case<'_>) -> Result<()> {
    case.write(
        "/usr/local/bin/probe",
        "#!/bin/bash\nprintf '%s\\n' \"$(id -un)\" \"$PWD\" \"$GREETING\" \"$@\" >/tmp/probe\n",
    )?;
    case.sh("chmod 755 /usr/local/bin/probe")?;
    let when = case.sh("date -d '+2 sec' '+%F %T'")?;
    case.policy(&format!(
        r#"[resources.r]
[tasks.probe-links]
command = ["/usr/local/bin/probe", "a b", "100%", "$HOME", "x;y", 'it"s']
user = "alice"
working-directory = "/var/tmp"
environment = {{ GREETING = "good morning" }}
calendar = "{when}"
uses = ["r"]
"#
    ))?;
    // The policy brought the timer; enabling it is systemd's business at boot.
    case.start(&["probe-links.timer"])?;
    case.wait_until("[ -s /tmp/probe ]")?;
    let said = case.read("/tmp/probe")?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(
        lines
            == [
                "alice",
                "/var/tmp",
                "good morning",
                "a b",
                "100%",
                "$HOME",
                "x;y",
                "it\"s"
            ],
        "{said}"
    );
    case.sh("rm -f /tmp/probe /usr/local/bin/probe; systemctl stop probe-links.timer")
        .map(drop)
}
