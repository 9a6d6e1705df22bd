//! What operators are told by `notify-command`: what lasts, once, with the facts; and that it never gets in the way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use interlock_tests::case::{Case, task_policy};
use interlock_tests::service::Service;
use interlock_tests::wait::{SOON, wait_for};

use super::support::kill_daemon;

cases![
    lasting_failure_is_told_once_and_its_recovery,
    failure_that_is_tried_again_is_told_on_the_bus_only,
    skips_in_a_row_are_told_every_so_many,
    command_of_a_task_replaces_the_policys,
    deadlock_is_told,
    no_more_than_sixteen_commands_run_at_a_time_and_none_is_lost,
    command_that_cannot_be_run_is_told_in_the_journal,
];

const NOTIFIED: &str = "5b1f3f0c4e6b4d0fa2c1c0a8de1f7a13";
const DIR: &str = "/run/testbed-told";

/// A command that keeps what it was told; as long as the file `hold` is there it doesn't end.
fn teller(case: &Case<'_>) -> Result<()> {
    case.write(
        "/usr/local/bin/tell",
        &format!(
            "#!/bin/sh
             env | grep ^INTERLOCK_ | sort >{DIR}/new.$$ && echo WHO=${{1-}} >>{DIR}/new.$$
             mv {DIR}/new.$$ {DIR}/told.$(date +%s.%N).$$
             while [ -e {DIR}/hold ]; do sleep 0.1; done\n"
        ),
    )?;
    case.sh(&format!(
        "chmod 755 /usr/local/bin/tell; rm -rf {DIR}; mkdir {DIR}"
    ))
    .map(drop)
}

const COMMAND: &str = "notify-command = ['/usr/local/bin/tell']\n";

type Told = BTreeMap<String, String>;

/// What was told so far, in order.
fn told(case: &Case<'_>) -> Result<Vec<Told>> {
    let text = case.sh(&format!(
        "for file in $(ls {DIR} | grep ^told); do cat {DIR}/$file; echo; done"
    ))?;
    let entries = text.split("\n\n").filter(|entry| !entry.trim().is_empty());
    let entry = |entry: &str| {
        let lines = entry.lines().filter_map(|line| line.split_once('='));
        lines
            .map(|(k, v)| (k.replace("INTERLOCK_", ""), v.to_owned()))
            .collect()
    };
    Ok(entries.map(entry).collect())
}

/// Waits until so much was told, and gives the last of it.
fn told_times(case: &Case<'_>, times: usize) -> Result<Told> {
    let mut all = Vec::new();
    wait_for(&format!("{times} notifications"), SOON, || {
        all = told(case)?;
        ensure!(all.len() <= times, "{} notifications: {all:#?}", all.len());
        Ok((all.len() == times).then_some(()))
    })
    .with_context(|| format!("{all:#?}"))?;
    all.pop().context("nothing was told")
}

fn is(told: &Told, facts: &[(&str, &str)]) -> Result<()> {
    for (key, value) in facts {
        ensure!(
            told.get(*key).map(String::as_str) == Some(*value),
            "{key} is not {value:?}: {told:#?}"
        );
    }
    Ok(())
}

/// A task that ends as the file says: a word to standard error, then that exit status.
fn fickle(name: &str) -> Service {
    Service::oneshot(name).command(&format!(
        "/bin/sh -c 'read status word </run/testbed-{name}; echo $$word >&2; exit $$status'"
    ))
}

fn ends_with(case: &Case<'_>, name: &str, how: &str) -> Result<()> {
    case.write(&format!("/run/testbed-{name}"), &format!("{how}\n"))?;
    // A failed unit can be started; what it failed of is lost by resetting it before it has been examined.
    case.try_start(&format!("{name}.service")).map(drop)
}

/// When all that they failed of has been told, or can't be told any more.
fn forgive(case: &Case<'_>, names: &str) -> Result<()> {
    case.sh(&format!("systemctl reset-failed {names}; true"))
        .map(drop)
}

fn lasting_failure_is_told_once_and_its_recovery(case: &Case<'_>) -> Result<()> {
    teller(case)?;
    case.services(&[fickle("lasting")])?;
    case.policy(&format!("{COMMAND}{}", task_policy("job", "lasting", "")))?;
    ends_with(case, "lasting", "3 broken")?;
    let first = told_times(case, 1)?;
    is(
        &first,
        &[
            ("EVENT", "failed"),
            ("TASK", "job"),
            ("UNIT", "lasting.service"),
            ("RESULT", "exit-code"),
            ("EXIT_STATUS", "3"),
            ("SIGNAL", ""),
            ("HARD", "1"),
            ("ATTEMPT", "1"),
            ("COUNT", "1"),
            ("WHO", ""),
        ],
    )?;
    ensure!(
        first["TEXT"].starts_with("lasting.service failed: ") && first["TEXT"].contains("broken"),
        "{first:#?}"
    );
    ensure!(first["SIGNATURE"].len() == 12, "{first:#?}");
    // The same again isn't news, another cause is.
    ends_with(case, "lasting", "3 broken")?;
    ends_with(case, "lasting", "4 worse")?;
    let other = told_times(case, 2)?;
    is(&other, &[("EVENT", "failed"), ("EXIT_STATUS", "4")])?;
    ends_with(case, "lasting", "0 well")?;
    is(
        &told_times(case, 3)?,
        &[
            ("EVENT", "recovered"),
            ("UNIT", "lasting.service"),
            ("TEXT", "lasting.service succeeded again"),
        ],
    )?;
    ends_with(case, "lasting", "0 well")?;
    ends_with(case, "lasting", "4 worse")?;
    let fourth = told_times(case, 4)?;
    is(&fourth, &[("EVENT", "failed"), ("COUNT", "2")])
        .with_context(|| format!("after {:#?}", told(case)))?;
    // Another interlockd knows from the history what it recovers from.
    kill_daemon(case)?;
    ends_with(case, "lasting", "0 well")?;
    is(&told_times(case, 5)?, &[("EVENT", "recovered")])?;
    forgive(case, "lasting.service")
}

fn failure_that_is_tried_again_is_told_on_the_bus_only(case: &Case<'_>) -> Result<()> {
    teller(case)?;
    case.services(&[fickle("passing")])?;
    let lines = "retry = { attempts = 2, delay = '1s', max-delay = '1s' }";
    case.policy(&format!(
        "{COMMAND}{}",
        task_policy("passes", "passing", lines)
    ))?;
    let mut signals = case.spawn(
        "timeout 60 dbus-monitor --system \"type='signal',interface='org.interlock.Interlock1.Manager'\" \
         >/run/testbed-signals 2>&1",
    )?;
    case.wait_until("grep -q NameAcquired /run/testbed-signals")?;
    ends_with(case, "passing", "3 broken")?;
    case.wait_until("grep -q member=TaskFailed /run/testbed-signals")?;
    // The second one is the last.
    let hard = told_times(case, 1)?;
    is(&hard, &[("HARD", "1"), ("ATTEMPT", "2")])?;
    ends_with(case, "passing", "0 well")?;
    is(&told_times(case, 2)?, &[("EVENT", "recovered")])?;
    case.wait_until("grep -q member=TaskRecovered /run/testbed-signals")?;
    signals.kill();
    let heard = case.read("/run/testbed-signals")?;
    let failures = heard.matches("member=TaskFailed").count();
    ensure!(
        failures == 2 && heard.contains("boolean false") && heard.contains("boolean true"),
        "{heard}"
    );
    forgive(case, "passing.service")
}

/// A task `hog` that runs, and another that is skipped while it does.
fn busy(case: &Case<'_>, shy: &str, lines: &str) -> Result<()> {
    case.services(&[Service::oneshot("hog"), Service::oneshot(shy).runs(0.0)])?;
    case.policy(&format!(
        "{COMMAND}[resources.r]\n{}{}",
        task_policy("hog", "hog", "uses = ['r']"),
        task_policy(
            "shy",
            shy,
            &format!("uses = ['r']\nwhen-busy = 'skip'\n{lines}")
        )
    ))?;
    case.start(&["hog.service"])?;
    case.begun("hog.service")
}

/// Has starts of a task skipped, one after the other.
fn skip(case: &Case<'_>, unit: &str, times: usize) -> Result<()> {
    for _ in 0..times {
        case.try_start(unit)?;
    }
    Ok(())
}

fn skips_in_a_row_are_told_every_so_many(case: &Case<'_>) -> Result<()> {
    teller(case)?;
    busy(case, "shy", "notify-skips = 2")?;
    skip(case, "shy.service", 5)?;
    let second = told_times(case, 2)?;
    is(
        &second,
        &[
            ("EVENT", "skipped"),
            ("TASK", "shy"),
            ("COUNT", "4"),
            ("HARD", ""),
        ],
    )?;
    ensure!(
        second["TEXT"].contains("4 times in a row")
            && second["TEXT"].contains("r is held by hog.service"),
        "{second:#?}"
    );
    // A run begins it anew, also for another interlockd.
    case.release("hog.service")?;
    case.sh("systemctl start shy.service")?;
    case.start(&["hog.service"])?;
    case.begun("hog.service")?;
    skip(case, "shy.service", 1)?;
    kill_daemon(case)?;
    skip(case, "shy.service", 1)?;
    is(&told_times(case, 3)?, &[("COUNT", "2")])?;
    case.release("hog.service")
}

fn command_of_a_task_replaces_the_policys(case: &Case<'_>) -> Result<()> {
    teller(case)?;
    case.services(&[fickle("own"), fickle("none"), fickle("usual")])?;
    let own = "notify-command = ['/usr/local/bin/tell', 'own $HOME %n']";
    case.policy(&format!(
        "{COMMAND}{}{}{}",
        task_policy("own", "own", own),
        task_policy("none", "none", "notify-command = []"),
        task_policy("usual", "usual", "")
    ))?;
    ends_with(case, "none", "1 x")?;
    ends_with(case, "own", "1 x")?;
    is(
        &told_times(case, 1)?,
        &[("UNIT", "own.service"), ("WHO", "own $HOME %n")],
    )?;
    ends_with(case, "usual", "1 x")?;
    is(
        &told_times(case, 2)?,
        &[("UNIT", "usual.service"), ("WHO", "")],
    )?;
    forgive(case, "own.service none.service usual.service")
}

fn deadlock_is_told(case: &Case<'_>) -> Result<()> {
    teller(case)?;
    case.services(&[
        // It doesn't fail when its systemctl is ended: that would be told as well.
        Service::oneshot("caught").command("/bin/sh -c 'systemctl start awaited.service; true'"),
        Service::oneshot("awaited").runs(0.0),
    ])?;
    case.policy(&format!(
        "{COMMAND}[resources.r]\nnested-grace = '1s'\non-deadlock = 'kill-nested'\n{}{}",
        task_policy("caught", "caught", "uses = ['r']"),
        task_policy("awaited", "awaited", "uses = ['r']")
    ))?;
    case.start(&["caught.service"])?;
    let deadlock = told_times(case, 1)?;
    is(
        &deadlock,
        &[
            ("EVENT", "deadlock"),
            ("TASK", "caught"),
            ("UNIT", "caught.service"),
        ],
    )?;
    ensure!(
        deadlock["TEXT"].contains("systemctl start awaited.service"),
        "{deadlock:#?}"
    );
    case.sh("systemctl stop caught.service awaited.service; systemctl reset-failed caught.service awaited.service; true")
        .map(drop)
}

fn no_more_than_sixteen_commands_run_at_a_time_and_none_is_lost(case: &Case<'_>) -> Result<()> {
    const MANY: usize = 40;
    teller(case)?;
    busy(case, "shyer", "notify-skips = 1")?;
    case.sh(&format!("touch {DIR}/hold"))?;
    skip(case, "shyer.service", MANY)?;
    told_times(case, 16)?;
    // Gates open all the same.
    case.release("hog.service")?;
    case.sh("systemctl start shyer.service")?;
    let running =
        case.sh("systemctl list-units --plain --no-legend 'interlock-notify-*' | wc -l")?;
    ensure!(running == "16", "{running} run");
    case.sh(&format!("rm {DIR}/hold"))?;
    told_times(case, MANY)?;
    case.wait_until(
        "[ -z \"$(systemctl list-units --all --plain --no-legend 'interlock-notify-*')\" ]",
    )
}

fn command_that_cannot_be_run_is_told_in_the_journal(case: &Case<'_>) -> Result<()> {
    case.services(&[fickle("lost"), fickle("false")])?;
    case.policy(&format!(
        "notify-command = ['/nonexistent']\n{}{}",
        task_policy("lost", "lost", ""),
        task_policy("false", "false", "notify-command = ['/bin/false']")
    ))?;
    ends_with(case, "lost", "1 x")?;
    case.journalled(
        NOTIFIED,
        &["notify-command is run as", "lost.service failed"],
    )?;
    case.journalled(NOTIFIED, &["notify-command failed (failed)"])?;
    ends_with(case, "false", "1 x")?;
    case.journalled(
        NOTIFIED,
        &["notify-command is run as", "false.service failed"],
    )?;
    forgive(case, "lost.service false.service")?;
    // Nothing of it is left failed.
    case.wait_until(
        "[ -z \"$(systemctl list-units --all --plain --no-legend 'interlock-notify-*')\" ]",
    )
}
