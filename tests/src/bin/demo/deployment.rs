//! The demo's last part: a deployment while three scripts run, one frozen, one checkpointed, one stopped.

use anyhow::{Context, Result};
use interlock_tests::case::Case;
use interlock_tests::counter::Counter;
use interlock_tests::log::Run;
use interlock_tests::service::Service;
use interlock_tests::timeline::{Chart, Kind, Row};
use interlock_tests::wait::{SOON, wait_for};

use super::{Demo, WIDTH};

const FREEZE: &str = "refresh-links.service";
const CHECKPOINT: &str = "purge-cache.service";
const STOP: &str = "special-pages.service";

const POLICY: &str = r#"[tasks.refresh-links]
unit = "refresh-links.service"
on-deploy = { action = "freeze" }

[tasks.purge-cache]
unit = "purge-cache.service"
on-deploy = { action = "checkpoint", signal = "SIGUSR1" }

[tasks.special-pages]
unit = "special-pages.service"
on-deploy = { action = "stop" }

[groups.wiki]
tasks = ["refresh-links", "purge-cache", "special-pages"]
"#;

/// Counts, saves its place when it is told to end, and goes on from there when it is told to resume.
const RESUMABLE: &str = r#"#!/bin/bash
place=/var/lib/testbed/place task=/usr/local/libexec/testbed/task number=0
[ "${INTERLOCK_RESUME-}" = 1 ] && number=$(cat $place)
trap 'echo $number >$place; "$task" "$1" end; exit 0' USR1
"$task" "$1" begin
exec 3<> <(:)
while :; do
    echo "$EPOCHREALTIME $number" >>/var/lib/testbed/count.$1
    number=$((number + 1))
    read -rt 0.02 -u 3
done
"#;

/// What is deployed here takes a second and a half.
const DEPLOY: &str = "#!/bin/sh
interlockctl status
/usr/local/libexec/testbed/task deploy.sh 1.5
";

/// So many numbers are written before and after the deployment: about a second each.
const NUMBERS: usize = 40;

impl Demo {
    pub(super) fn deployment(&mut self, case: &Case<'_>) -> Result<()> {
        case.write("/usr/local/bin/purge-cache", RESUMABLE)?;
        case.write("/usr/local/bin/deploy.sh", DEPLOY)?;
        case.sh("chmod 755 /usr/local/bin/{purge-cache,deploy.sh}; : >/var/lib/testbed/log")?;
        case.services(&[
            Service::oneshot("refresh-links").counts(),
            Service::exec("purge-cache").command("/usr/local/bin/purge-cache %n"),
            Service::oneshot("special-pages").runs(2.0),
        ])?;
        // It elapses while the deployment is on.
        case.unit(
            "special-pages.timer",
            "[Timer]\nOnActiveSec=500ms\nAccuracySec=1ms\n",
        )?;
        case.policy(POLICY)?;
        println!("{POLICY}");
        case.start(&[FREEZE, CHECKPOINT, STOP])?;
        case.begun(STOP)?;
        counted(case, NUMBERS)?;
        let command = "interlockctl deploy run --group wiki --reason 'release 7' -- deploy.sh";
        println!("# {command}");
        let deploy = case.spawn(command)?;
        case.begun("deploy.sh")?;
        case.start(&["special-pages.timer"])?;
        let output = deploy.wait(SOON)?;
        println!("{}", output.text().trim_end());
        let so_far = case.counter(FREEZE)?.len();
        counted(case, so_far + NUMBERS)?;
        case.ran(STOP, 2)?;

        let runs = case.log()?.runs();
        let of = |name: &str| -> Vec<&Run> { runs.iter().filter(|run| run.name == name).collect() };
        let deployed = of("deploy.sh");
        let (deployed, now) = (
            *deployed.first().context("nothing was deployed")?,
            case.now()?,
        );
        let (frozen, resumed) = (case.counter(FREEZE)?, case.counter(CHECKPOINT)?);
        self.draw(case, &frozen, &of, deployed, now)?;

        let written = frozen
            .between(deployed.begin, deployed.end.unwrap_or(now))
            .len();
        println!(
            "  refresh-links wrote {} numbers, {written} of them while deploy.sh ran; it is one run: {}.",
            frozen.len(),
            gaps(&frozen)
        );
        println!(
            "  purge-cache wrote {} numbers in {} runs: {}.",
            resumed.len(),
            of(CHECKPOINT).len(),
            gaps(&resumed)
        );
        println!(
            "  special-pages was stopped; its timer elapsed meanwhile, and it ran after the end: {} runs.",
            of(STOP).len()
        );
        self.expect(
            output.success()
                && written == 0
                && frozen.gap().is_none()
                && resumed.gap().is_none()
                && (of(FREEZE).len(), of(CHECKPOINT).len(), of(STOP).len()) == (1, 2, 2),
            "one should have been frozen, one gone on from its place, and one have run again once, without a gap",
        );
        case.stop(&[FREEZE, CHECKPOINT, "special-pages.timer"])
    }

    fn draw<'r>(
        &mut self,
        case: &Case<'_>,
        frozen: &Counter,
        of: &impl Fn(&str) -> Vec<&'r Run>,
        deployed: &Run,
        now: f64,
    ) -> Result<()> {
        let end = |run: &Run| run.end.unwrap_or(now);
        let mut rows = Vec::new();
        let mut row = Row::new("deploy.sh", "");
        row.push(deployed.begin, end(deployed), Kind::Running);
        rows.push(row);

        let mut row = Row::new("refresh-links", "freeze");
        let begin = of(FREEZE)
            .first()
            .context("refresh-links did not run")?
            .begin;
        let (rest, on) = frozen.longest_pause().context("it did not count")?;
        row.push(begin, rest, Kind::Running);
        row.push(rest, on, Kind::Frozen);
        row.push(on, now, Kind::Running);
        rows.push(row);

        let mut row = Row::new("purge-cache", "checkpoint");
        for run in of(CHECKPOINT) {
            row.push(run.begin, end(run), Kind::Running);
        }
        rows.push(row);

        let mut row = Row::new("special-pages", "stop");
        let elapsed = case.sh(
            "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/special_2dpages_2etimer \
                 org.freedesktop.systemd1.Timer LastTriggerUSec",
        )?;
        let elapsed: f64 = elapsed.trim_start_matches("t ").parse()?;
        for (number, run) in of(STOP).into_iter().enumerate() {
            if number == 1 {
                row.push(elapsed / 1e6, run.begin, Kind::Waiting);
            }
            row.push(run.begin, end(run), Kind::Running);
        }
        rows.push(row);

        let chart = Chart {
            title: "a deployment over three scripts".into(),
            rows,
        };
        println!("\n{}", chart.text(WIDTH));
        self.charts.push(chart);
        Ok(())
    }
}

/// Waits until the script that is to be frozen has written so many numbers.
fn counted(case: &Case<'_>, numbers: usize) -> Result<()> {
    wait_for("the counter", SOON, || {
        Ok((case.counter(FREEZE)?.len() >= numbers).then_some(()))
    })
}

fn gaps(counter: &Counter) -> String {
    counter
        .gap()
        .map_or("no gap".into(), |gap| format!("a gap, {gap}"))
}
