//! interlockd killed at every step of holding, releasing, skipping, and of a hold's end by the clock.
//!
//! Needs an interlockd that counts these points, as [`super::deploy_kill`].

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::install;
use interlock_tests::service::Service;

cases![daemon_killed_at_every_step_of_holds_and_skips_keeps_each_promise];

const DAEMON: &str = "/usr/libexec/interlock/interlockd";

/// There are more points than this; if not, they aren't counted.
const AT_LEAST: usize = 9;

/// Everything at point 1, at point 2, …, until nobody is killed any more. What is wrong is told line by line.
const ROUNDS: &str = r#"
until_() { local end=$((SECONDS + 20)); until "$@"; do ((SECONDS < end)) || { echo "wrong: late: $*"; return 1; }; read -rt 0.02 <> <(:); done; }
back() { [ "$(systemctl is-active interlockd.service)" = active ] && interlockctl holds >/dev/null 2>&1; }
at() { rm -f /run/interlock/points; echo "$1" >/run/interlock/kill-at; }
killed() {
    if [ -e /run/interlock/kill-at ]; then rm -f /run/interlock/kill-at; else
        more=yes; echo "killed $1: $(tail -n1 /run/interlock/points)"; fi
    until_ back
}
runs() { grep -c ' begin a.service' /var/lib/testbed/log; }
has_run() { [ "$(runs)" = "$1" ] && [ -z "$(systemctl list-jobs --no-legend)" ] && [ "$(systemctl is-active a.service)" = inactive ]; }
skips() { interlockctl history a.service --limit 1000 --json | grep -c '"skipped"'; }
has_skipped() { [ "$(skips)" = "$1" ]; }
held() { interlockctl holds --json | grep -c '"unit": "a.service"'; }
no_skip() { ! interlockctl holds --json | grep -q '"skip_next": 1'; }
at_gate() { [ "$(systemctl is-active interlock-gate@a.service.service)" = activating ]; }
same() { [ "$2" = "$3" ] || echo "wrong: at point $k: $1: $2 instead of $3"; }
for ((k = 1; k < 20; k++)); do
    more=
    # What was promised holds.
    at $k; interlockctl hold a --reason x >/dev/null 2>&1 && promised=1 || promised=; killed hold
    [ -z "$promised" ] || same "promised holds" "$(held)" 1
    interlockctl hold a --reason x >/dev/null
    before=$(runs); systemctl start --no-block a.service; until_ at_gate
    # What was released goes on, once.
    at $k; interlockctl release a >/dev/null 2>&1; killed release
    interlockctl release a >/dev/null 2>&1
    until_ has_run $((before + 1)); same runs "$(runs)" $((before + 1))
    # Two starts are skipped, and not the third.
    interlockctl hold a --skip-next=2 --reason x >/dev/null
    skipped=$(skips)
    at $k; systemctl start a.service 2>/dev/null && echo "wrong: at point $k: the first start wasn't skipped"; killed skip
    until_ has_skipped $((skipped + 1)); same "holds left" "$(held)" 1
    systemctl start a.service 2>/dev/null && echo "wrong: at point $k: the second start wasn't skipped"
    until_ has_skipped $((skipped + 2)); same "holds left" "$(held)" 0
    systemctl start a.service || echo "wrong: at point $k: the third start failed"
    until_ has_run $((before + 2)); same runs "$(runs)" $((before + 2)); same skips "$(skips)" $((skipped + 2))
    # A waiting start is skipped as the word is given.
    interlockctl hold a --reason x >/dev/null; systemctl start --no-block a.service; until_ at_gate
    at $k; interlockctl hold a --skip-next --reason y >/dev/null 2>&1 && promised=1 || promised=; killed 'skip of a waiter'
    until_ no_skip; now=$(skips)
    [ -z "$promised" ] || same "skips, as promised" "$now" $((skipped + 3))
    interlockctl release a >/dev/null
    until_ has_run $((before + 2 + skipped + 3 - now)); same runs "$(runs)" $((before + 2 + skipped + 3 - now)); now=$(runs)
    # The end by the clock.
    interlockctl hold a --reason x --for 400ms >/dev/null; systemctl start --no-block a.service; until_ at_gate
    at $k; until_ has_run $((now + 1)); killed expiry
    same runs "$(runs)" $((now + 1)); same "holds left" "$(held)" 0
    [ -n "$more" ] || break
done
systemctl list-units --all --plain --no-legend --full --state=failed | sed 's/^/wrong: failed: /'
grep ' begin bad.service' /var/lib/testbed/log | sed 's/^/wrong: OnFailure: /'
exit 0
"#;

fn daemon_killed_at_every_step_of_holds_and_skips_keeps_each_promise(
    case: &Case<'_>,
) -> Result<()> {
    let daemon = install::daemon_with_failpoints()?;
    case.services(&[
        Service::oneshot("a")
            .runs(0.0)
            .unit("OnFailure=bad.service")
            .unit("StartLimitIntervalSec=0"),
        Service::oneshot("bad").runs(0.0),
    ])?;
    case.exclusive(&["a"])?;
    case.copy_in(daemon, &format!("{DAEMON}.new"))?;
    case.sh(&format!(
        "set -e; cp -p {DAEMON} {DAEMON}.shipped; chmod 755 {DAEMON}.new; mv {DAEMON}.new {DAEMON}
         systemctl restart interlockd.service"
    ))?;
    let rounds = case
        .spawn(ROUNDS)
        .and_then(|rounds| rounds.wait(Duration::from_secs(120)));
    case.sh(&format!(
        "mv {DAEMON}.shipped {DAEMON}; rm -f /run/interlock/{{kill-at,points}}; systemctl restart interlockd.service"
    ))?;
    let rounds = rounds?;
    let wrong: Vec<&str> = rounds
        .stdout
        .lines()
        .filter(|line| line.starts_with("wrong"))
        .collect();
    ensure!(
        wrong.is_empty() && rounds.success(),
        "{wrong:#?}\n{}",
        rounds.text()
    );
    let kills = rounds
        .stdout
        .lines()
        .filter(|line| line.starts_with("killed"));
    let kills = kills.count();
    println!(
        "systemd {}: interlockd was killed at each of {kills} points of holds and skips",
        case.version()
    );
    ensure!(kills > AT_LEAST, "only {kills} points");
    Ok(())
}
