//! The main job with real dnf: dnf-automatic and an upcp that calls dnf follow each other, whoever starts first.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;
use interlock_tests::updates;
use interlock_tests::wait::wait_for;

cases![
    dnf_automatic_whose_timer_elapses_while_upcp_runs_waits_and_runs_once,
    upcp_that_starts_in_a_package_transaction_waits_for_its_end,
    updates_and_twenty_tasks_started_at_once_in_random_order,
    stop_of_an_uninterruptible_transaction_waits_for_its_end,
];

const DNF: &str = "dnf-automatic.service";
const UPCP: &str = "upcp.service";
const TRANSACTION: Duration = Duration::from_secs(60);

/// dnf-automatic and upcp under the policy of a panel's host, plus these lines.
fn host(case: &Case<'_>, span: &str, upcp_span: &str, policy: &str) -> Result<()> {
    updates::withdraw(case)?;
    updates::provide(case, span)?;
    case.unit(DNF, updates::DNF_AUTOMATIC)?;
    case.unit(&format!("{DNF}.d/10-log.conf"), updates::DNF_AUTOMATIC_LOG)?;
    case.services(&[
        Service::oneshot("upcp").command(&format!("/usr/local/bin/upcp %n panel {upcp_span}"))
    ])?;
    case.policy(&format!(
        "[resources.rpm-db]\n{}{}{policy}",
        task_policy(
            "dnf-automatic",
            "dnf-automatic",
            "uses = [\"rpm-db\"]\nuninterruptible = true"
        ),
        task_policy("upcp", "upcp", "uses = [\"rpm-db\"]"),
    ))
}

fn updated(case: &Case<'_>) -> Result<()> {
    for unit in [DNF, UPCP] {
        wait_for(&format!("a run of {unit}"), TRANSACTION, || {
            let log = case.log()?;
            Ok((log.count(unit) == 1 && !log.is_running(unit)).then_some(()))
        })?;
    }
    let versions = case.sh("rpm -q --qf '%{NAME}-%{VERSION} ' system-update panel")?;
    ensure!(versions == "system-update-2 panel-2", "{versions}");
    let log = case.log()?;
    ensure!(log.count("transaction") == 1, "{log:?}");
    case.no_overlap(&[DNF, UPCP])?;
    case.no_overlap(&["transaction", UPCP])?;
    ensure!(case.sh("systemctl --failed --no-legend")?.is_empty());
    updates::withdraw(case)
}

fn dnf_automatic_whose_timer_elapses_while_upcp_runs_waits_and_runs_once(
    case: &Case<'_>,
) -> Result<()> {
    host(case, "0.2", "hold", "")?;
    case.start(&[UPCP])?;
    case.begun("upcp.service-fetch")?;
    let soon = case.sh("date -d '+2 sec' '+%F %T'")?;
    case.unit("dnf-automatic.timer", &updates::dnf_automatic_timer(&soon))?;
    case.reload_systemd()?;
    case.start(&["dnf-automatic.timer"])?;
    case.queued(&[DNF])?;
    let why = case.sh("interlockctl why dnf-automatic")?;
    ensure!(why.contains(UPCP) && why.contains("rpm-db"), "{why}");
    let details = case.why("dnf-automatic")?;
    ensure!(
        details["position"] == 1 && details["held_by"][0] == UPCP,
        "{details}"
    );
    ensure!(details["since_usec"].as_u64() > Some(0), "{details}");
    case.release("upcp.service-fetch")?;
    case.release("upcp.service-migrate")?;
    updated(case)?;
    case.stop(&["dnf-automatic.timer"])
}

fn upcp_that_starts_in_a_package_transaction_waits_for_its_end(case: &Case<'_>) -> Result<()> {
    host(case, "hold", "0", "")?;
    case.start(&[DNF])?;
    case.begun("transaction")?;
    case.start(&[UPCP])?;
    case.queued(&[UPCP])?;
    ensure!(case.why("upcp")?["held_by"][0] == DNF);
    case.release("transaction")?;
    updated(case)
}

fn updates_and_twenty_tasks_started_at_once_in_random_order(case: &Case<'_>) -> Result<()> {
    let mut policy = String::from("[resources.other]\n");
    let mut names = Vec::new();
    for number in 0..20 {
        let name = format!("t{number:02}");
        case.services(&[Service::oneshot(&name).runs(0.05)])?;
        let resource = if number % 2 == 0 { "rpm-db" } else { "other" };
        policy += &task_policy(&name, &name, &format!("uses = [\"{resource}\"]"));
        names.push(format!("{name}.service"));
    }
    host(case, "0.3", "0.1", &policy)?;
    case.sh(&format!(
        "for unit in $(shuf -e {DNF} {UPCP} {}); do systemctl start --no-block $unit || exit 1; done",
        names.join(" ")
    ))?;
    for name in &names {
        wait_for(name, TRANSACTION, || {
            Ok((case.log()?.count(name) == 1).then_some(()))
        })?;
    }
    let rpm_db: Vec<&str> = names
        .iter()
        .step_by(2)
        .map(String::as_str)
        .chain([DNF, UPCP])
        .collect();
    for unit in [DNF, UPCP] {
        wait_for(unit, TRANSACTION, || {
            Ok((case.log()?.count(unit) == 1 && !case.log()?.is_running(unit)).then_some(()))
        })?;
    }
    case.no_overlap(&rpm_db)?;
    updated(case)
}

fn stop_of_an_uninterruptible_transaction_waits_for_its_end(case: &Case<'_>) -> Result<()> {
    host(case, "hold", "0", "")?;
    case.start(&[DNF])?;
    case.begun("transaction")?;
    case.sh(&format!("systemctl stop --no-block {DNF}"))?;
    case.becomes(DNF, "deactivating")?;
    case.start(&[UPCP])?;
    case.queued(&[UPCP])?;
    ensure!(
        case.log()?.is_running("transaction"),
        "the stop ended the transaction"
    );
    case.release("transaction")?;
    updated(case)
}
