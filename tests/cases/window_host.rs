//! Windows over the units as a host has them: services that aren't oneshots, unit files that say the opposite, timers
//! of other names.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::{Service, TASK_PROGRAM};
use interlock_tests::wait::{SOON, wait_for};

use super::support::kill_daemon;

cases![
    window_waits_for_the_end_of_services_of_every_type,
    window_that_contradicts_the_unit_files_loses_no_start,
    timers_of_other_names_are_masked_with_their_tasks,
    request_for_a_later_member_of_its_window_is_refused,
];

const MEMBERS: [&str; 3] = ["a", "b", "c"];

/// A window with these members in this order, who share no resource.
fn window(case: &Case<'_>) -> Result<()> {
    let tasks: String = MEMBERS.map(|name| task_policy(name, name, "")).concat();
    case.policy(&format!(
        "[windows.nightly]\ncalendar = \"*-*-* 02:00\"\norder = [\"a\", \"b\", \"c\"]\n{tasks}"
    ))
}

fn open(case: &Case<'_>) -> Result<()> {
    case.start(&["interlock-window-nightly.target"])
}

fn close(case: &Case<'_>) -> Result<()> {
    case.stop(&["interlock-window-nightly.timer"])
}

/// It waits at its gate for the end of another.
fn held_behind(case: &Case<'_>, task: &str, before: &str) -> Result<()> {
    wait_for(&format!("{task} to be held"), SOON, || {
        let why = case.why(task)?;
        let said = why["explanation"].as_str().unwrap_or_default();
        Ok((why["state"] == "held" && said.contains(before)).then_some(()))
    })
}

fn window_waits_for_the_end_of_services_of_every_type(case: &Case<'_>) -> Result<()> {
    // Their starts are over when they are up, which is when systemd goes on to what is ordered after them.
    case.services(&[
        Service::oneshot("a").of_type("simple"),
        Service::oneshot("b").of_type("notify"),
        Service::oneshot("c").runs(0.05),
    ])?;
    window(case)?;
    open(case)?;
    case.begun("a.service")?;
    held_behind(case, "b", "a.service")?;
    kill_daemon(case)?;
    held_behind(case, "b", "a.service")?;
    ensure!(case.log()?.order() == ["a.service"]);
    case.release("a.service")?;
    case.begun("b.service")?;
    held_behind(case, "c", "b.service")?;
    case.release("b.service")?;
    case.ran("c.service", 1)?;
    case.no_overlap(&["a.service", "b.service", "c.service"])?;
    close(case)
}

fn window_that_contradicts_the_unit_files_loses_no_start(case: &Case<'_>) -> Result<()> {
    // No drop-in can take an After= back: together with the window's order it would be a circle.
    case.services(&[
        Service::oneshot("a").runs(0.05).unit("After=c.service"),
        Service::oneshot("b").runs(0.05),
        Service::oneshot("c").runs(0.05),
    ])?;
    window(case)?;
    let said = case.sh("interlockctl verify 2>&1")?;
    ensure!(
        said.contains("10-case.toml:3:")
            && said.contains("warning: the order contradicts that of the units"),
        "{said}"
    );
    open(case)?;
    for name in MEMBERS {
        case.ran(&format!("{name}.service"), 1)?;
    }
    let order = case.log()?.order();
    ensure!(
        order == ["c.service", "a.service", "b.service"],
        "{order:?}"
    );
    let journal = case.journal("_PID=1")?;
    ensure!(!journal.contains("cycle"), "{journal}");
    close(case)
}

fn timers_of_other_names_are_masked_with_their_tasks(case: &Case<'_>) -> Result<()> {
    case.services(&MEMBERS.map(|name| Service::oneshot(name).runs(0.05)))?;
    case.unit(
        "quarterly.timer",
        "[Timer]\nOnCalendar=*-01,04-01 03:00\nUnit=b.service\n[Install]\nWantedBy=timers.target\n",
    )?;
    case.sh("systemctl enable --now quarterly.timer 2>&1")?;
    window(case)?;
    ensure!(case.property("quarterly.timer", "LoadState")? == "masked");
    case.policy("")?;
    ensure!(case.property("quarterly.timer", "LoadState")? == "loaded");
    case.becomes("quarterly.timer", "active")?;
    case.sh("systemctl disable --now quarterly.timer 2>&1")
        .map(drop)
}

fn request_for_a_later_member_of_its_window_is_refused(case: &Case<'_>) -> Result<()> {
    let command = "interlockctl start c >/run/testbed-said 2>&1; echo $$? >>/run/testbed-said";
    case.services(&[
        Service::oneshot("a").command(&format!(
            "/bin/sh -c '{command}; exec {TASK_PROGRAM} a.service 0'"
        )),
        Service::oneshot("b").runs(0.05),
        Service::oneshot("c").runs(0.05),
    ])?;
    window(case)?;
    ensure!(case.try_start("a.service")?.success());
    let said = case.read("/run/testbed-said")?;
    ensure!(
        said.contains("c.service comes after that") && said.ends_with("35\n"),
        "{said}"
    );
    ensure!(case.log()?.count("c.service") == 0);
    case.sh("rm /run/testbed-said")?;
    close(case)
}
