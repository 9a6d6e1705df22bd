//! What monitoring is told: the check as anybody runs it, also under Nagios; metrics under promtool; the textfile.

use anyhow::{Result, ensure};
use interlock_tests::case::{Case, exclusive_policy, task_policy};
use interlock_tests::command::Output;
use interlock_tests::service::Service;
use interlock_tests::tools::Tool;
use interlock_tests::wait::{SOON, wait_for};

use super::support::{main_pid, release_in_turn, start_in_turn};

cases![
    check_says_to_anybody_by_its_exit_status_how_all_is,
    failures_are_measured_against_what_is_usual_on_the_host,
    check_of_a_daemon_that_is_down_is_critical_and_does_not_start_it,
    nagios_runs_the_plugin_and_sees_what_changes,
    metrics_are_clean_and_alerts_fire_when_they_should,
    textfile_follows_the_policy_and_says_when_the_daemon_is_down,
];

const PLUGINS: &str = "$(dirname \"$(rpm -ql interlock | grep check_interlock)\")";
const INSTALLED: &str = "/usr/share/interlock/monitoring";

/// The plugin, as its checker runs it: without rights.
fn check(case: &Case<'_>, arguments: &str) -> Result<Output> {
    case.as_alice(&format!("{PLUGINS}/check_interlock {arguments}"))
}

fn says(output: &Output, status: i32, begins: &str) -> Result<()> {
    let text = output.text();
    ensure!(
        output.status == Some(status) && output.stdout.starts_with(begins),
        "not {status} with {begins:?}: {:?}\n{text}",
        output.status
    );
    Ok(())
}

/// Until the check says so: how a run failed is read from the journal after its end.
fn will_say(case: &Case<'_>, arguments: &str, status: i32, begins: &str) -> Result<Output> {
    wait_for(begins, SOON, || {
        let output = check(case, arguments)?;
        Ok((output.status == Some(status) && output.stdout.starts_with(begins)).then_some(output))
    })
}

fn check_says_to_anybody_by_its_exit_status_how_all_is(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.exclusive(&["a", "b"])?;
    let fine = check(case, "")?;
    says(&fine, 0, "INTERLOCK OK: 2 tasks, 0 running, 0 waiting, ")?;
    let line = fine.stdout.lines().next().unwrap_or_default();
    ensure!(line.contains(" | 'failed'="), "no performance data: {line}");
    start_in_turn(case, &["a", "b"])?;
    let begins = "INTERLOCK CRITICAL: b.service has waited at its gate for ";
    let waits = check(case, "-w wait=1h -c wait:t1-b=1us")?;
    says(&waits, 2, begins)?;
    ensure!(
        waits.stdout.contains("held by a.service"),
        "{}",
        waits.stdout
    );
    says(
        &check(case, "-w wait=1h -c wait:t0-a=1us")?,
        0,
        "INTERLOCK OK: ",
    )?;
    release_in_turn(case, &["a", "b"])?;

    let begins =
        "INTERLOCK UNKNOWN: \"wait\" is no threshold: its limit is missing; write it as wait=30min";
    says(&check(case, "-w wait")?, 3, begins)?;
    let begins =
        "INTERLOCK UNKNOWN: the policy has no task \"t0-b\" (failed:t0-b=1); did you mean ";
    says(&check(case, "-c failed:t0-b=1")?, 3, begins)?;
    says(
        &check(case, "--bogus")?,
        3,
        "INTERLOCK UNKNOWN: unexpected argument",
    )?;
    let no_bus = "export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent; interlockctl check";
    let begins = "INTERLOCK UNKNOWN: the system bus can't be reached: ";
    says(&case.as_alice(no_bus)?, 3, begins)?;

    case.fragment("20-bad.toml", "[tasks.c]\nunit = 5\n")?;
    let _ = case.try_sh("interlockctl reload")?;
    says(&check(case, "")?, 1, "INTERLOCK WARNING: the policy has ")?;
    says(
        &check(case, "-c policy")?,
        2,
        "INTERLOCK CRITICAL: the policy has ",
    )?;
    says(&check(case, "-i policy")?, 0, "INTERLOCK OK: ")?;
    let json = case.as_alice("interlockctl check --json")?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout)?;
    ensure!(json["status"] == "WARNING", "{json}");
    case.sh("rm /etc/interlock/policy.d/20-bad.toml")?;
    case.reload()
}

/// Hourly samples of a week, on which this task usually had so many units that had failed for good.
fn usual(case: &Case<'_>, task: &str, failed: u32) -> Result<()> {
    case.sh(&format!(
        "python3 - <<'END'
import sqlite3, time
hour = 3600 * 10**6
now = int(time.time() * 10**6) // hour * hour
database = sqlite3.connect('/var/lib/interlock/state.db', timeout=10)
rows = [(now - n * hour, '{task}', 10, {failed}, {failed}) for n in range(2, 160)]
database.executemany('INSERT OR REPLACE INTO samples (hour, task, units, failing, hard) VALUES (?, ?, ?, ?, ?)', rows)
database.commit()
END"
    ))
    .map(drop)
}

fn failures_are_measured_against_what_is_usual_on_the_host(case: &Case<'_>) -> Result<()> {
    case.services(&[Service::template("parcel").command("/bin/false")])?;
    let policy = task_policy("parcels", "parcel@", "uses = [\"r\"]");
    case.policy(&("[resources.r]\n".to_owned() + &policy))?;
    let thresholds = "-w failed:parcels=+50% -c failed:parcels=+2";
    let unknown = check(case, thresholds)?;
    says(&unknown, 0, "INTERLOCK OK: ")?;
    ensure!(
        unknown
            .stdout
            .contains("failed:parcels=+50% counts as OK: what is usual isn't known yet"),
        "{}",
        unknown.stdout
    );
    usual(case, "parcels", 2)?;
    let mut failed = 0;
    let mut fail = |up_to: u32| -> Result<()> {
        while failed < up_to {
            failed += 1;
            let _ = case.try_start(&format!("parcel@{failed}.service"))?;
        }
        Ok(())
    };
    fail(2)?;
    will_say(
        case,
        "-w failed:parcels=2",
        1,
        "INTERLOCK WARNING: 2 units of parcels have failed for good",
    )?;
    says(&check(case, thresholds)?, 0, "INTERLOCK OK: ")?;
    fail(3)?;
    let begins = "INTERLOCK WARNING: 3 units of parcels have failed for good (warning from 3, 50% above the usual 2)";
    let warning = will_say(case, thresholds, 1, begins)?;
    ensure!(
        warning.stdout.contains(" 'failed:parcels'=3;3;4;0 "),
        "{}",
        warning.stdout
    );
    fail(4)?;
    let begins = "INTERLOCK CRITICAL: 4 units of parcels have failed for good (critical from 4, 2 above the usual 2)";
    will_say(case, thresholds, 2, begins)?;
    // A success ends it, whoever brought it about.
    case.unit(
        "parcel@.service.d/fixed.conf",
        "[Service]\nExecStart=\nExecStart=/bin/true\n",
    )?;
    case.reload_systemd()?;
    for number in 1..=failed {
        case.sh(&format!("systemctl start parcel@{number}.service"))?;
    }
    will_say(case, thresholds, 0, "INTERLOCK OK: ")?;
    case.sh("rm -r /etc/systemd/system/parcel@.service.d")?;
    Ok(())
}

fn check_of_a_daemon_that_is_down_is_critical_and_does_not_start_it(case: &Case<'_>) -> Result<()> {
    case.sh("systemctl stop interlockd.service")?;
    let down = check(case, "")?;
    let begins = "INTERLOCK CRITICAL: interlockd isn't running: interlockd.service is inactive\n";
    let metrics = case.as_alice("interlockctl metrics")?;
    let state = case.try_sh("systemctl is-active interlockd.service")?;
    case.sh("systemctl start interlockd.service")?;
    says(&down, 2, begins)?;
    ensure!(metrics.status == Some(69), "{}", metrics.text());
    ensure!(metrics.stdout.ends_with("\ninterlock_up 0\n"));
    ensure!(state.stdout.trim() == "inactive", "the question started it");
    says(&check(case, "")?, 0, "INTERLOCK OK: ")
}

fn nagios_runs_the_plugin_and_sees_what_changes(case: &Case<'_>) -> Result<()> {
    const DIR: &str = "/srv/nagios";
    case.services(&[Service::oneshot("nightly").command("/bin/false")])?;
    let policy = task_policy("nightly", "nightly", "uses = [\"r\"]");
    case.policy(&("[resources.r]\n".to_owned() + &policy))?;
    case.copy_in(&Tool::Nagios.fetch()?, &format!("{DIR}/nagios4"))?;
    case.write(
        &format!("{DIR}/nagios.sh"),
        include_str!("../data/nagios.sh"),
    )?;
    case.sh(&format!(
        "sh {DIR}/nagios.sh {DIR} {PLUGINS} {INSTALLED}/nagios.cfg && {DIR}/nagios4 -v {DIR}/nagios.cfg"
    ))?;
    case.sh(&format!(
        "systemd-run --quiet --unit=nagios --uid=alice {DIR}/nagios4 {DIR}/nagios.cfg"
    ))?;
    let seen = |service: &str, lines: &[&str]| {
        let what = format!("{service}: {lines:?}");
        wait_for(&what, SOON, || {
            let status = case.read(&format!("{DIR}/status.dat"))?;
            let of_service = status
                .split("servicestatus {")
                .find(|part| part.contains(&format!("service_description={service}\n")));
            let has = |line: &&str| of_service.is_some_and(|part| part.contains(*line));
            Ok(lines.iter().all(has).then_some(()))
        })
    };
    let observed = seen("usual", &["current_state=0", "plugin_output=INTERLOCK OK: "])
        .and_then(|()| seen("nightly", &["current_state=0", "performance_data='failed'="]))
        .and_then(|()| {
            let _ = case.try_start("nightly.service")?;
            let output = "plugin_output=INTERLOCK WARNING: 1 unit of nightly has failed for good (warning from 1)\n";
            let details = "long_plugin_output=WARNING: 1 unit of nightly has failed for good (warning from 1)\\n  \
                           nightly: 1 (nightly.service)";
            seen("nightly", &["current_state=1", output, details, "'failed:nightly'=1;1;2;0"])
        });
    case.sh(&format!("systemctl stop nagios.service; rm -r {DIR}"))?;
    case.sh("systemctl reset-failed nightly.service 2>/dev/null; true")?;
    observed
}

fn metrics_are_clean_and_alerts_fire_when_they_should(case: &Case<'_>) -> Result<()> {
    const DIR: &str = "/srv/prometheus";
    case.services(&[Service::oneshot("a"), Service::oneshot("b")])?;
    case.policy(&(exclusive_policy(&["a", "b"]) + "[groups.g]\ntasks = [\"t0-a\"]\n"))?;
    case.copy_in(&Tool::Promtool.fetch()?, &format!("{DIR}/promtool"))?;
    start_in_turn(case, &["a", "b"])?;
    let clean = case.try_sh(&format!(
        "interlockctl metrics | {DIR}/promtool check metrics"
    ))?;
    ensure!(
        clean.success() && clean.text().trim().is_empty(),
        "{}",
        clean.text()
    );
    let metrics = case.as_alice("interlockctl metrics")?;
    for line in [
        "interlock_up 1",
        "interlock_resource_used{resource=\"r\"} 1",
        "interlock_task_units{task=\"t0-a\",state=\"running\"} 1",
        "interlock_task_units{task=\"t1-b\",state=\"waiting\"} 1",
        "interlock_deployments{group=\"g\"} 0",
    ] {
        ensure!(
            metrics.stdout.lines().any(|it| it == line),
            "no {line} in\n{}",
            metrics.stdout
        );
    }
    release_in_turn(case, &["a", "b"])?;
    let open = case.sh("interlockctl metrics --openmetrics")?;
    ensure!(open.ends_with("# EOF"), "{open}");

    // Every panel's expressions are checked as rules that record.
    let dashboard = case.read(&format!("{INSTALLED}/grafana-dashboard.json"))?;
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<serde_json::Value> = targets
        .filter_map(|target| target["expr"].as_str())
        .map(|expression| expression.replace("$__rate_interval", "5m"))
        .enumerate()
        .map(|(at, expr)| serde_json::json!({"record": format!("panel:{at}"), "expr": expr}))
        .collect();
    ensure!(rules.len() > 10, "{} expressions", rules.len());
    let rules = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    case.write(&format!("{DIR}/dashboard.yml"), &rules.to_string())?;
    let tests = include_str!("../data/prometheus-rules-test.yml");
    case.write(&format!("{DIR}/test.yml"), tests)?;
    case.sh(&format!(
        "cd {DIR} && cp {INSTALLED}/prometheus-rules.yml . &&
         ./promtool check rules prometheus-rules.yml dashboard.yml && ./promtool test rules test.yml && rm -r {DIR}"
    ))
    .map(drop)
}

fn textfile_follows_the_policy_and_says_when_the_daemon_is_down(case: &Case<'_>) -> Result<()> {
    const DIR: &str = "/var/lib/node exporter";
    let daemon = main_pid(case, "interlockd.service")?;
    case.sh(&format!("mkdir -p '{DIR}'"))?;
    let told = |file: &str, line: &str| {
        wait_for(&format!("{line} in {file}"), SOON, || {
            let text = case.read(&format!("{DIR}/{file}"))?;
            Ok(text.lines().any(|it| it == line).then_some(()))
        })
    };
    let write = |name: &str| case.policy(&format!("metrics-textfile = \"{DIR}/{name}\"\n"));
    write("a.prom")?;
    told("a.prom", "interlock_up 1")?;
    let mode = case.sh(&format!("stat -c %a '{DIR}/a.prom'"))?;
    ensure!(mode == "644", "{mode}");
    // Another name, and with what units and shells expand.
    write("50%a$b.prom")?;
    case.sh("systemctl start interlock-metrics.service")?;
    told("50%a$b.prom", "interlock_up 1")?;
    ensure!(
        daemon == main_pid(case, "interlockd.service")?,
        "the policy's change restarted interlockd"
    );
    case.sh("systemctl stop interlockd.service; systemctl start interlock-metrics.service")?;
    let down = told("50%a$b.prom", "interlock_up 0");
    case.sh("systemctl start interlockd.service; systemctl start interlock-metrics.service")?;
    down?;
    told("50%a$b.prom", "interlock_up 1")?;
    let files = case.sh(&format!("ls -A '{DIR}'"))?;
    ensure!(files == "50%a$b.prom\na.prom", "{files}");
    // Twice a minute is nothing that a journal should fill with.
    let journal =
        case.sh("journalctl -b -o cat UNIT=interlock-metrics.service | grep -c Finished; true")?;
    ensure!(journal == "0", "{journal} lines about its runs");
    case.policy("")?;
    let timers = case.sh("systemctl list-units --all --no-legend 'interlock-metrics*'")?;
    ensure!(timers.is_empty(), "{timers}");
    case.sh(&format!("rm -r '{DIR}'")).map(drop)
}
