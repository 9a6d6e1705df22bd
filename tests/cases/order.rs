//! Order: within a window, by `after`, by priority and weight, and by what only unit files know.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;

use super::support::{line_up, release_in_turn, start_in_turn};

cases![
    order_that_only_the_unit_file_knows_in_one_transaction,
    order_that_only_the_unit_file_knows_in_one_transaction_with_names_swapped,
    order_that_only_unit_files_know_through_a_third_unit,
    predecessor_started_while_its_successor_waits_goes_first,
    predecessor_started_at_any_moment_never_deadlocks,
    after_in_the_policy_orders_what_is_started_together,
    after_in_the_policy_starts_nothing,
    priority_is_served_first,
    preempted_task_is_stopped_and_one_that_waits_goes_on_waiting,
    weights_fill_a_capacity_and_never_exceed_it,
    big_waiter_is_not_starved_by_small_ones,
    tasks_that_need_two_resources_take_both_or_none,
    twenty_tasks_over_five_resources_in_one_transaction,
    twenty_tasks_started_in_random_order_with_everything_restarted,
];

fn t_after_x(case: &Case<'_>, t: &str, x: &str) -> Result<()> {
    let (t_unit, x_unit) = (format!("{t}.service"), format!("{x}.service"));
    case.services(&[
        Service::oneshot(t)
            .runs(0.1)
            .unit(&format!("After={x_unit}")),
        Service::oneshot(x).runs(0.1),
    ])?;
    case.exclusive(&[t, x])?;
    for units in [[&t_unit, &x_unit], [&x_unit, &t_unit]] {
        case.sh(": >/var/lib/testbed/log")?;
        case.start_together(&units.map(String::as_str))?;
        case.ran(&t_unit, 1)?;
        case.ran(&x_unit, 1)?;
        let order = case.log()?.order();
        ensure!(order == [x_unit.as_str(), t_unit.as_str()], "{order:?}");
        case.no_overlap(&[&t_unit, &x_unit])?;
    }
    Ok(())
}

fn order_that_only_the_unit_file_knows_in_one_transaction(case: &Case<'_>) -> Result<()> {
    t_after_x(case, "a", "z")
}

fn order_that_only_the_unit_file_knows_in_one_transaction_with_names_swapped(
    case: &Case<'_>,
) -> Result<()> {
    t_after_x(case, "z", "a")
}

fn order_that_only_unit_files_know_through_a_third_unit(case: &Case<'_>) -> Result<()> {
    // t is after free, which is no task, and that is after x.
    case.services(&[
        Service::oneshot("t").runs(0.1).unit("After=free.service"),
        Service::oneshot("free").runs(0.1).unit("After=x.service"),
        Service::oneshot("x").runs(0.1),
    ])?;
    case.exclusive(&["t", "x"])?;
    case.start_together(&["t.service", "free.service", "x.service"])?;
    for unit in ["x.service", "free.service", "t.service"] {
        case.ran(unit, 1)?;
    }
    let order = case.log()?.order();
    ensure!(
        order == ["x.service", "free.service", "t.service"],
        "{order:?}"
    );
    Ok(())
}

fn predecessor_started_while_its_successor_waits_goes_first(case: &Case<'_>) -> Result<()> {
    line_up(case, &["a", "t"])?;
    case.services(&[
        Service::oneshot("t").unit("After=x.service"),
        Service::oneshot("x"),
    ])?;
    case.exclusive(&["a", "t", "x"])?;
    // x now stands before t, whose gate was first in the queue.
    case.start(&["x.service"])?;
    case.release("a.service")?;
    case.release("x.service")?;
    case.release("t.service")?;
    let order = case.log()?.order();
    ensure!(
        order == ["a.service", "x.service", "t.service"],
        "{order:?}"
    );
    case.no_overlap(&["a.service", "x.service", "t.service"])
}

fn predecessor_started_at_any_moment_never_deadlocks(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("t")
            .runs(0.0)
            .unit("After=x.service")
            .unit("StartLimitIntervalSec=0"),
        Service::oneshot("x")
            .runs(0.0)
            .unit("StartLimitIntervalSec=0"),
    ])?;
    case.exclusive(&["t", "x"])?;
    // x's start comes at every moment of t's: also between the grant and the start of t.
    case.sh(r#"for i in $(seq 60); do
             systemctl start t.service & one=$!
             read -rt "0.0$(printf %02d $((i % 60)))" <> <(:)
             systemctl start x.service & two=$!
             wait $one && wait $two || exit 1
         done"#)?;
    case.ran("t.service", 60)?;
    case.ran("x.service", 60)?;
    case.no_overlap(&["t.service", "x.service"])
}

fn after_in_the_policy_orders_what_is_started_together(case: &Case<'_>) -> Result<()> {
    let names = ["a", "b", "c"];
    case.services(&names.map(|name| Service::oneshot(name).runs(0.1)))?;
    // They share nothing; only their order keeps them apart.
    case.policy(&format!(
        "{}{}{}",
        task_policy("a", "a", "after = [\"b\"]"),
        task_policy("b", "b", "after = [\"c\"]"),
        task_policy("c", "c", ""),
    ))?;
    case.start_together(&["a.service", "b.service", "c.service"])?;
    for unit in ["c.service", "b.service", "a.service"] {
        case.ran(unit, 1)?;
    }
    let units = ["c.service", "b.service", "a.service"];
    ensure!(case.log()?.order() == units);
    case.no_overlap(&units)
}

fn after_in_the_policy_starts_nothing(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b"].map(|name| Service::oneshot(name).runs(0.0)))?;
    case.policy(&format!(
        "{}{}",
        task_policy("a", "a", "after = [\"b\"]"),
        task_policy("b", "b", "")
    ))?;
    ensure!(case.try_start("a.service")?.success());
    case.ran("a.service", 1)?;
    ensure!(case.log()?.count("b.service") == 0);
    Ok(())
}

fn priority_is_served_first(case: &Case<'_>) -> Result<()> {
    let names = ["run", "low", "mid", "mid2", "high"];
    case.services(&names.map(Service::oneshot))?;
    let mut policy = String::from("[resources.r]\n");
    for (name, priority) in [
        ("run", 0),
        ("low", -5),
        ("mid", 0),
        ("mid2", 0),
        ("high", 7),
    ] {
        policy += &task_policy(
            name,
            name,
            &format!("uses = [\"r\"]\npriority = {priority}"),
        );
    }
    case.policy(&policy)?;
    case.start(&["run.service"])?;
    case.begun("run.service")?;
    case.start(&["low.service"])?;
    case.queued(&["low.service"])?;
    case.start(&["mid.service"])?;
    case.queued(&["mid.service", "low.service"])?;
    case.start(&["mid2.service"])?;
    case.queued(&["mid.service", "mid2.service", "low.service"])?;
    case.start(&["high.service"])?;
    case.queued(&["high.service", "mid.service", "mid2.service", "low.service"])?;
    release_in_turn(case, &["run", "high", "mid", "mid2", "low"])
}

fn preempted_task_is_stopped_and_one_that_waits_goes_on_waiting(case: &Case<'_>) -> Result<()> {
    case.services(&[
        Service::oneshot("low"),
        Service::oneshot("patient").runs(0.1),
        Service::oneshot("high").runs(0.1),
    ])?;
    let high = "uses = [\"r\"]\npreempts = [\"low\", \"patient\"]\npriority = 1";
    case.policy(&format!(
        "[resources.r]\n{}{}{}",
        task_policy("low", "low", "uses = [\"r\"]"),
        task_policy("patient", "patient", "uses = [\"r\"]"),
        task_policy("high", "high", high),
    ))?;
    start_in_turn(case, &["low", "patient"])?;
    case.start(&["high.service"])?;
    case.ran("high.service", 1)?;
    case.ran("patient.service", 1)?;
    // Stopped on purpose, so it hasn't failed.
    case.becomes("low.service", "inactive")?;
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    let order = case.log()?.order();
    ensure!(
        order == ["low.service", "high.service", "patient.service"],
        "{order:?}"
    );
    Ok(())
}

fn weights_fill_a_capacity_and_never_exceed_it(case: &Case<'_>) -> Result<()> {
    let weights = [("a", 3), ("b", 2), ("c", 1), ("d", 4), ("e", 2), ("f", 1)];
    let mut policy = String::from("[resources.r]\ncapacity = 4\n");
    for (name, weight) in weights {
        case.services(&[Service::oneshot(name)])?;
        policy += &task_policy(name, name, &format!("uses = {{ r = {weight} }}"));
    }
    case.policy(&policy)?;
    case.start(&["a.service"])?;
    case.begun("a.service")?;
    // b doesn't fit beside a. c would, but b came first and has reserved it.
    case.start(&["b.service"])?;
    case.queued(&["b.service"])?;
    case.start(&["c.service"])?;
    case.queued(&["b.service", "c.service"])?;
    case.release("a.service")?;
    case.begun("b.service")?;
    case.begun("c.service")?;
    case.start(&["d.service"])?;
    case.queued(&["d.service"])?;
    case.release("b.service")?;
    case.queued(&["d.service"])?;
    case.release("c.service")?;
    case.begun("d.service")?;
    case.start(&["e.service", "f.service"])?;
    case.release("d.service")?;
    case.begun("e.service")?;
    case.begun("f.service")?;
    case.release("e.service")?;
    case.release("f.service")?;
    let users: Vec<(String, u32)> = weights
        .map(|(name, weight)| (format!("{name}.service"), weight))
        .into();
    let users: Vec<(&str, u32)> = users
        .iter()
        .map(|(name, weight)| (name.as_str(), *weight))
        .collect();
    case.within(&users, 4)
}

fn big_waiter_is_not_starved_by_small_ones(case: &Case<'_>) -> Result<()> {
    let mut policy = String::from("[resources.r]\ncapacity = 3\n");
    policy += &task_policy("big", "big", "uses = { r = \"all\" }");
    for name in ["a", "b", "c"] {
        policy += &task_policy(name, name, "uses = [\"r\"]");
    }
    case.services(&["big", "a", "b", "c"].map(Service::oneshot))?;
    case.policy(&policy)?;
    for unit in ["a.service", "b.service"] {
        case.start(&[unit])?;
        case.begun(unit)?;
    }
    case.start(&["big.service"])?;
    case.queued(&["big.service"])?;
    // There is room for c, but it came after big.
    case.start(&["c.service"])?;
    case.queued(&["big.service", "c.service"])?;
    case.release("a.service")?;
    case.queued(&["big.service", "c.service"])?;
    case.release("b.service")?;
    case.release("big.service")?;
    case.release("c.service")
}

fn tasks_that_need_two_resources_take_both_or_none(case: &Case<'_>) -> Result<()> {
    case.services(&["a", "b", "ab", "ba"].map(Service::oneshot))?;
    let policy = [
        ("a", "\"r\""),
        ("b", "\"s\""),
        ("ab", "\"r\", \"s\""),
        ("ba", "\"s\", \"r\""),
    ]
    .map(|(name, uses)| task_policy(name, name, &format!("uses = [{uses}]")))
    .concat();
    case.policy(&format!("[resources.r]\n[resources.s]\n{policy}"))?;
    for unit in ["a.service", "b.service"] {
        case.start(&[unit])?;
        case.begun(unit)?;
    }
    case.start(&["ab.service"])?;
    case.queued(&["ab.service"])?;
    case.start(&["ba.service"])?;
    case.queued(&["ab.service", "ba.service"])?;
    case.release("b.service")?;
    // s is free now, but nobody takes a half.
    case.queued(&["ab.service", "ba.service"])?;
    case.release("a.service")?;
    case.release("ab.service")?;
    case.release("ba.service")?;
    case.no_overlap(&["a.service", "ab.service", "ba.service"])?;
    case.no_overlap(&["b.service", "ab.service", "ba.service"])
}

/// Twenty tasks over five resources, of which each uses one or two.
fn twenty(case: &Case<'_>) -> Result<Vec<(String, Vec<usize>)>> {
    let mut policy: String = (0..5)
        .map(|resource| format!("[resources.r{resource}]\n"))
        .collect();
    let mut tasks = Vec::new();
    for number in 0..20_usize {
        let name = format!("t{number:02}");
        let mut uses = vec![number % 5];
        if number % 3 == 0 {
            uses.push((number % 5 + 1 + number % 4) % 5);
        }
        let list: Vec<String> = uses
            .iter()
            .map(|resource| format!("\"r{resource}\""))
            .collect();
        policy += &task_policy(&name, &name, &format!("uses = [{}]", list.join(", ")));
        case.services(&[Service::oneshot(&name).runs(0.1)])?;
        tasks.push((format!("{name}.service"), uses));
    }
    case.policy(&policy)?;
    Ok(tasks)
}

fn each_once_without_overlap(case: &Case<'_>, tasks: &[(String, Vec<usize>)]) -> Result<()> {
    for (unit, _) in tasks {
        case.ran(unit, 1)?;
    }
    for resource in 0..5 {
        let users: Vec<&str> = tasks
            .iter()
            .filter(|(_, uses)| uses.contains(&resource))
            .map(|(unit, _)| unit.as_str())
            .collect();
        case.no_overlap(&users)?;
    }
    Ok(())
}

fn twenty_tasks_over_five_resources_in_one_transaction(case: &Case<'_>) -> Result<()> {
    let tasks = twenty(case)?;
    let units: Vec<&str> = tasks.iter().map(|(unit, _)| unit.as_str()).collect();
    case.start_together(&units)?;
    each_once_without_overlap(case, &tasks)
}

fn twenty_tasks_started_in_random_order_with_everything_restarted(case: &Case<'_>) -> Result<()> {
    let tasks = twenty(case)?;
    let units: Vec<&str> = tasks.iter().map(|(unit, _)| unit.as_str()).collect();
    let starts = case.spawn(&format!(
        "for unit in $(shuf -e {}); do
             # Nobody can be reached while systemd executes itself anew.
             until systemctl start --no-block $unit; do :; done
         done",
        units.join(" ")
    ))?;
    for action in [
        "systemctl kill -s KILL interlockd.service",
        "systemctl daemon-reload",
        "systemctl daemon-reexec",
        "systemctl kill -s KILL interlockd.service; systemctl daemon-reload",
        "systemctl restart interlockd.service",
    ] {
        case.sh(action)?;
    }
    let output = starts.wait(interlock_tests::wait::SOON)?;
    ensure!(output.success(), "{}", output.text());
    each_once_without_overlap(case, &tasks)
}
