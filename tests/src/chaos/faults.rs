//! What goes wrong on a host: interlockd, systemd, the bus, the clock, the disk and the policy.

use anyhow::Result;

use super::dice::Dice;
use super::driver::{Choice, Driver};
use super::world::World;

/// Where the clock that interlockd sees is set.
pub const CLOCK: &str = "/run/testbed/clock";

/// How long interlockd may say nothing before systemd kills it, in seconds; shorter than what is shipped.
pub const WATCHDOG: u32 = 4;

/// What systemd starts.
pub const DAEMON: &str = "/usr/libexec/interlock/interlockd";
/// The one of the package.
pub const SHIPPED: &str = "/usr/libexec/interlock/interlockd.shipped";
/// The one that dies at a step, if it is told to.
pub const MORTAL: &str = "/usr/libexec/interlock/interlockd.mortal";

/// Where it is told to, see interlock's `failpoint.rs`.
const KILL_AT: &str = "/run/interlock/kill-at";
/// Where it says at which ones it died.
pub const POINTS: &str = "/run/interlock/points";

/// With their weights.
pub const FAULTS: [Choice; 12] = [
    ("interlockd killed", 25, kill),
    ("interlockd killed twice", 5, kill_twice),
    ("interlockd to die at a step", 30, die_at_a_step),
    ("interlockd of another build", 5, change_build),
    ("interlockd stands still", 10, stand_still),
    ("interlockd past its watchdog", 4, hang),
    ("daemon-reload", 20, reload),
    ("daemon-reexec", 6, reexec),
    ("bus restarted", 4, bus),
    ("clock jumps", 12, clock),
    ("disk full", 5, fill),
    ("policy is rubbish", 6, rubbish),
];

/// Faults of the policy that only one task bears.
pub const DROPS: [Choice; 1] = [("policy of a running task dropped", 8, drop_policy)];

const PID: &str =
    "pid=$(systemctl show --value -p MainPID interlockd.service); [ \"$pid\" != 0 ] && kill";

fn kill(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("kill-daemon")?;
    driver.sh(&format!("{PID} -KILL $pid")).map(drop)
}

fn kill_twice(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    kill(driver, dice)?;
    // Right after its start: the second time while it finds out how things are.
    driver.ledger.note("kill-daemon")?;
    driver
        .sh(&format!(
            "for _ in $(seq 200); do {PID} -KILL $pid && break; sleep 0.01; done"
        ))
        .map(drop)
}

/// At the n-th step of a grant, a deployment, a lease's end, the queue, from here on.
fn die_at_a_step(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let step = 1 + dice.below(8);
    if driver.is_shipped || !driver.broken("step", 10 + dice.below(30), let_live) {
        return Ok(());
    }
    driver.ledger.note("kill-daemon")?;
    driver
        .sh(&format!(
            "echo 'any {step}' >{KILL_AT}.new; mv {KILL_AT}.new {KILL_AT}"
        ))
        .map(drop)
}

/// If it hasn't come to that step.
fn let_live(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    if driver.sh(&format!("rm {KILL_AT}"))?.success() {
        driver.ledger.note("unkilled-daemon")?;
    }
    Ok(())
}

/// As by an upgrade: from the one that dies at steps to the one that is shipped, or back.
fn change_build(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.is_shipped = !driver.is_shipped;
    let build = if driver.is_shipped { SHIPPED } else { MORTAL };
    driver.sh(&use_build(build)).map(drop)
}

/// The script that has interlockd be one of another build.
pub fn use_build(build: &str) -> String {
    format!(
        "ln -f {build} {DAEMON}.new && mv {DAEMON}.new {DAEMON}; systemctl restart --no-block interlockd.service"
    )
}

fn stand_still(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let left = if driver.broken("stands still", 2 + dice.below(15), go_on) {
        "STOP"
    } else {
        return Ok(());
    };
    driver.ledger.note("stop-daemon")?;
    driver.sh(&format!("{PID} -{left} $pid")).map(drop)
}

fn go_on(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.sh(&format!("{PID} -CONT $pid")).map(drop)
}

fn hang(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("stop-daemon")?;
    // systemd ends it; meanwhile all else goes on.
    driver.sh(&format!("{PID} -STOP $pid")).map(drop)
}

fn reload(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.sh("systemctl daemon-reload").map(drop)
}

fn reexec(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.sh("systemctl daemon-reexec").map(drop)
}

fn bus(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("bus")?;
    // With its name on the bus it loses what it is there for.
    for unit in ["dbus0.service", "dbus1.service"] {
        driver.undo(unit)?;
    }
    driver
        .sh("systemctl restart dbus.service; systemctl try-restart polkit.service systemd-logind.service")
        .map(drop)
}

fn clock(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    let jump = *dice.one(&["+0", "+600", "-600", "+3", "-3", "+86400", "-86400"]);
    driver.ledger.note(&format!("clock {jump}"))?;
    driver.machine.write(CLOCK, &format!("{jump}\n"))
}

fn fill(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    if driver.broken("disk full", 5 + dice.below(20), make_room) {
        driver.ledger.note("disk full")?;
        driver.sh("cat /dev/zero >/var/lib/interlock/ballast 2>/dev/null")?;
    }
    Ok(())
}

fn make_room(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    driver.ledger.note("disk has room")?;
    driver.sh("rm -f /var/lib/interlock/ballast").map(drop)
}

const RUBBISH: [&str; 6] = [
    "[tasks.oneshot0\nunit = ",
    "[tasks.x]\nunit = \"oneshot0.service\"\n",
    "\u{0}\u{1}\u{2}",
    "[resources.one]\ncapacity = 5\n",
    "[tasks.y]\nunit = \"y.service\"\nuses = [\"no-such\"]\nwhen-buzy = 7\n",
    "[groups.g]\ntasks = [\"nobody\"]\n",
];

fn rubbish(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    if driver.broken("rubbish", 3 + dice.below(15), clean) {
        let text = *dice.one(&RUBBISH);
        driver.ledger.note("policy is rubbish")?;
        driver
            .machine
            .write("/etc/interlock/policy.d/60-rubbish.toml", text)?;
        let how = *dice.one(&["interlockctl reload", "systemctl daemon-reload"]);
        driver.sh(how)?;
    }
    Ok(())
}

fn clean(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    driver.ledger.note("policy is good")?;
    driver.sh("rm -f /etc/interlock/policy.d/60-rubbish.toml")?;
    let how = *dice.one(&["interlockctl reload", "systemctl daemon-reload"]);
    driver.sh(how).map(drop)
}

const DROPPED: &str = "dropped.service";

/// The policy of a task is dropped while it runs, and comes back later. Meanwhile nobody starts it: it would be
/// unguarded, as it should.
fn drop_policy(driver: &mut Driver<'_>, dice: &mut Dice) -> Result<()> {
    if driver.is_broken("dropped") {
        return Ok(());
    }
    driver.ask("start", &[DROPPED.to_owned()])?;
    let text = driver.ledger.text()?;
    let last = text
        .lines()
        .rev()
        .find(|line| line.contains("dropped.service") && !line.contains(" driver "));
    // If it waits at its gate it is left: without its policy it would go at once.
    if !last.is_some_and(|line| line.contains(" begin ")) {
        return Ok(());
    }
    driver.broken("dropped", 5 + dice.below(20), bring_back);
    let path = World::fragment_path("dropped");
    driver
        .sh(&format!("rm {path}; systemctl daemon-reload"))
        .map(drop)
}

fn bring_back(driver: &mut Driver<'_>, _: &mut Dice) -> Result<()> {
    if let Some(task) = driver.world.task("dropped") {
        driver
            .machine
            .write(&World::fragment_path("dropped"), &task.fragment())?;
    }
    driver.sh("systemctl daemon-reload").map(drop)
}
