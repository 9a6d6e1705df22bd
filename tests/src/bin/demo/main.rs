//! The main job, shown: dnf-automatic and a panel's updater without interlock and with it, twenty tasks at once,
//! a dnf that waits for its own ancestor, and a deployment.
//!
//! usage: demo [252|257]

mod deployment;
mod incident;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use interlock_tests::case::{self, Case, task_policy};
use interlock_tests::install;
use interlock_tests::log::Run;
use interlock_tests::machine::Machine;
use interlock_tests::root::Version;
use interlock_tests::service::Service;
use interlock_tests::timeline::{self, Chart, Kind, Row};
use interlock_tests::updates;
use interlock_tests::wait::wait_for;

const DNF: &str = "dnf-automatic.service";
const UPCP: &str = "upcp.service";
const WIDTH: usize = 100;
const ROUND: Duration = Duration::from_secs(90);

const POLICY: &str = r#"[resources.rpm-db]
description = "the RPM database, and everything that writes it"

[tasks.dnf-automatic]
unit = "dnf-automatic.service"
uses = ["rpm-db"]
uninterruptible = true

[tasks.upcp]
unit = "upcp.service"
uses = ["rpm-db"]
"#;

fn main() -> Result<ExitCode> {
    let version: Version = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("257")
        .parse()?;
    install::rpm()?;
    let began = Instant::now();
    let machine = Machine::boot(version)?;
    say(&format!("A machine with systemd {version} is up."));
    let mut demo = Demo {
        charts: Vec::new(),
        good: true,
    };

    case::prepare(&machine)?;
    let case = Case::begin(&machine, "demo")?;
    case.unit(DNF, updates::DNF_AUTOMATIC)?;
    case.unit(&format!("{DNF}.d/10-log.conf"), updates::DNF_AUTOMATIC_LOG)?;
    case.services(&[Service::oneshot("upcp").command("/usr/local/bin/upcp %n panel 1")])?;
    case.reload_systemd()?;

    say("WITHOUT interlock: both start within a second, as after a weekend off.");
    demo.round(
        &case,
        "without interlock, dnf-automatic first",
        [DNF, UPCP],
        false,
    )?;
    demo.round(&case, "without interlock, upcp first", [UPCP, DNF], false)?;

    say(
        "THE INCIDENT without interlock: an updater's dnf installs a package whose scriptlet calls dnf.",
    );
    demo.incident_without(&case)?;

    say("interlock's RPM is installed with dnf, and a policy says that both use the RPM database:");
    println!("{POLICY}");
    install::install(&machine)?;
    case.policy(POLICY)?;

    say("WITH interlock: the same two starts.");
    demo.round(
        &case,
        "with interlock, dnf-automatic first",
        [DNF, UPCP],
        true,
    )?;
    demo.round(&case, "with interlock, upcp first", [UPCP, DNF], true)?;

    say("Twenty tasks over five resources, started in one transaction.");
    demo.twenty(&case)?;

    say("THE INCIDENT with interlock, under this policy:");
    demo.incident_with(&case)?;

    say("A DEPLOYMENT, while three scripts run.");
    demo.deployment(&case)?;

    let target = install::source_dir().join("target/demo");
    fs::create_dir_all(&target)?;
    let path = target.join("timeline.svg");
    fs::write(&path, timeline::svg(&demo.charts))?;
    println!("\nThe same as a drawing: {}", path.display());
    println!("Took {:.0} s.", began.elapsed().as_secs_f64());
    Ok(if demo.good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn say(text: &str) {
    println!("\n== {text}");
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

struct Demo {
    charts: Vec<Chart>,
    good: bool,
}

impl Demo {
    /// Both updaters once: the second one is started when the first is in the middle of its work.
    fn round(
        &mut self,
        case: &Case<'_>,
        title: &str,
        order: [&str; 2],
        guarded: bool,
    ) -> Result<()> {
        updates::withdraw(case)?;
        // The package's transaction takes three seconds.
        updates::provide(case, "3")?;
        case.sh(": >/var/lib/testbed/log")?;
        let first = now()?;
        case.start(&[order[0]])?;
        let middle = if order[0] == DNF {
            "transaction"
        } else {
            "upcp.service-fetch"
        };
        case.begun(middle)?;
        let second = now()?;
        case.start(&[order[1]])?;
        for unit in order {
            wait_for(&format!("the end of {unit}"), ROUND, || {
                let log = case.log()?;
                Ok((log.count(unit) > 0 && !log.is_running(unit)).then_some(()))
            })?;
        }
        let runs = case.log()?.runs();
        let of = |name: &str| {
            let run = runs.iter().find(|run| run.name == name);
            run.cloned().with_context(|| format!("{name} did not run"))
        };
        let (dnf, upcp) = (of(DNF)?, of(UPCP)?);
        let common = common(&dnf, &upcp);
        let mut rows = Vec::new();
        for (name, run) in [("dnf-automatic", &dnf), ("upcp", &upcp)] {
            let asked = if run.name == order[0] { first } else { second };
            rows.push(row(name, "", asked, run, common));
        }
        // What takes its time inside: the package's own scriptlet.
        if let Ok(run) = of("transaction") {
            let mut row = Row::new("  its transaction", "");
            row.push(run.begin, run.end.unwrap_or(run.begin), Kind::Running);
            rows.insert(1, row);
        }
        let chart = Chart {
            title: title.to_owned(),
            rows,
        };
        println!("\n{}", chart.text(WIDTH));
        self.charts.push(chart);
        let times = |run: &Run| {
            format!(
                "{:6.3} s to {:6.3} s",
                run.begin - first,
                run.end.unwrap_or(run.begin) - first
            )
        };
        println!(
            "  dnf-automatic {}\n  upcp          {}",
            times(&dnf),
            times(&upcp)
        );
        let seconds = common.map_or(0.0, |(from, to)| to - from);
        if seconds > 0.0 {
            println!("  Both worked on the host at the same time for {seconds:.1} s.");
            let waited = case.journal(&format!("-u {UPCP} -u {DNF} -o cat"))?;
            if let Some(line) = waited
                .lines()
                .rev()
                .find(|line| line.contains("Waiting for process"))
            {
                println!("  dnf said: {}", line.trim());
            }
        } else {
            println!("  One after the other.");
        }
        self.expect(
            guarded == (seconds == 0.0),
            "this is not what should have happened",
        );
        Ok(())
    }

    fn twenty(&mut self, case: &Case<'_>) -> Result<()> {
        let mut policy = String::from(POLICY);
        for resource in 0..5 {
            policy += &format!("[resources.r{resource}]\n");
        }
        let mut tasks: Vec<(String, Vec<usize>)> = Vec::new();
        for number in 0..20_usize {
            let mut uses = vec![number % 5];
            if number % 3 == 0 {
                uses.push((number % 5 + 1 + number % 4) % 5);
            }
            let name = format!("task-{number:02}");
            let list: Vec<String> = uses
                .iter()
                .map(|resource| format!("\"r{resource}\""))
                .collect();
            policy += &task_policy(&name, &name, &format!("uses = [{}]", list.join(", ")));
            case.services(&[Service::oneshot(&name).runs(0.2 + 0.05 * (number % 7) as f64)])?;
            tasks.push((format!("{name}.service"), uses));
        }
        case.policy(&policy)?;
        case.sh(": >/var/lib/testbed/log")?;
        let asked = now()?;
        let units: Vec<&str> = tasks.iter().map(|(unit, _)| unit.as_str()).collect();
        case.start_together(&units)?;
        for unit in &units {
            wait_for(&format!("the end of {unit}"), ROUND, || {
                let log = case.log()?;
                Ok((log.count(unit) > 0 && !log.is_running(unit)).then_some(()))
            })?;
        }
        case.leaves_nothing()?;
        let log = case.log()?;
        let mut chart = Chart {
            title: "twenty tasks, five resources, started at once".into(),
            rows: Vec::new(),
        };
        for run in log.runs() {
            let uses = tasks
                .iter()
                .find(|(unit, _)| *unit == run.name)
                .map(|(_, uses)| uses.clone());
            let note: Vec<String> = uses
                .unwrap_or_default()
                .iter()
                .map(|resource| format!("r{resource}"))
                .collect();
            let name = run.name.trim_end_matches(".service");
            chart
                .rows
                .push(row(name, &note.join(" "), asked, &run, None));
        }
        println!("\n{}", chart.text(WIDTH));
        self.charts.push(chart);
        let mut overlaps = 0;
        for resource in 0..5 {
            let users: Vec<(&str, u32)> = tasks
                .iter()
                .filter(|(_, uses)| uses.contains(&resource))
                .map(|(unit, _)| (unit.as_str(), 1))
                .collect();
            if let Some(overlap) = log.overlap(&users, 1) {
                println!("  r{resource}: {overlap}");
                overlaps += 1;
            }
        }
        let once = tasks
            .iter()
            .filter(|(unit, _)| log.count(unit) == 1)
            .count();
        println!(
            "  {once} of {} tasks ran exactly once; overlaps on a resource: {overlaps}.",
            tasks.len()
        );
        self.expect(
            once == tasks.len() && overlaps == 0,
            "every task should have run once, and none beside another of its resource",
        );
        Ok(())
    }

    fn expect(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            println!("  !! {otherwise}");
            self.good = false;
        }
    }
}

/// When both ran.
fn common(one: &Run, other: &Run) -> Option<(f64, f64)> {
    let from = one.begin.max(other.begin);
    let to = one.end?.min(other.end?);
    (from < to).then_some((from, to))
}

fn row(name: &str, note: &str, asked: f64, run: &Run, collision: Option<(f64, f64)>) -> Row {
    let end = run.end.unwrap_or(run.begin);
    let mut row = Row::new(name, note);
    row.push(asked, run.begin, Kind::Waiting);
    match collision {
        Some((from, to)) => {
            row.push(run.begin, from.max(run.begin), Kind::Running);
            row.push(from, to, Kind::Colliding);
            row.push(to.min(end), end, Kind::Running);
        }
        None => row.push(run.begin, end, Kind::Running),
    }
    row
}
