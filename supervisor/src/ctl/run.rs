//! `interlockctl run`: a command behind a gate of its own.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use interlock_generator::names;
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval};

use super::cli::RunArgs;
use super::client::Client;
use super::deploy::signals::{Signals, status};
use super::error::{CtlError, Outcome};
use super::output;
use super::proxy::systemd::SystemdProxy;

/// Between two looks at who is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command as a transient unit, and passes its exit status on.
pub async fn run(client: &Client, args: &RunArgs) -> Result<Outcome, CtlError> {
    let uses = shares(&args.uses)?;
    client.check_request("", &uses).await?;
    let unit = unit_name(&args.command[0].to_string_lossy());
    let mut signals = Signals::catch()?;
    let child = systemd_run(&unit, &uses, args).map_err(|source| CtlError::Io {
        what: "can't run systemd-run".to_owned(),
        source,
    })?;
    let mut child = child;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one comes at once; nobody needs to be told of less than a second.
    looks.tick().await;
    let mut told = String::new();
    loop {
        tokio::select! {
            ended = child.wait() => {
                let ended = ended.map_err(|source| CtlError::Io {
                    what: "can't wait for systemd-run".to_owned(),
                    source,
                })?;
                return Ok(Outcome::Status(exit_status(ended)));
            }
            signal = signals.next() => {
                stop(client, &unit).await;
                let _ = child.wait().await;
                return Ok(Outcome::Status(status(signal)));
            }
            _ = looks.tick() => tell(client, &unit, &mut told).await,
        }
    }
}

/// `rpm-db` or `import-slots=2`.
fn shares(uses: &[String]) -> Result<HashMap<String, u32>, CtlError> {
    let one = |word: &String| match word.split_once('=') {
        None => Some((word.clone(), 1)),
        Some((name, shares)) => {
            let shares = shares.parse().ok().filter(|shares| *shares > 0)?;
            Some((name.to_owned(), shares))
        }
    };
    let all = uses.iter().map(|word| {
        one(word).ok_or_else(|| CtlError::Usage {
            message: format!(
                "--uses {word}: write RESOURCE or RESOURCE=SHARES, with a whole number from 1"
            ),
        })
    });
    all.collect()
}

/// Its name says what it is, and no other has it.
fn unit_name(command: &str) -> String {
    let base = command.rsplit('/').next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    let base: String = base.chars().filter(plain).take(32).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_micros());
    format!(
        "interlock-run-{base}-{}-{now:x}.service",
        std::process::id()
    )
}

fn systemd_run(unit: &str, uses: &HashMap<String, u32>, args: &RunArgs) -> io::Result<Child> {
    let gate = names::gate_of(unit);
    let mut sorted: Vec<(&String, &u32)> = uses.iter().collect();
    sorted.sort();
    let holds: Vec<&str> = sorted.iter().map(|(name, _)| name.as_str()).collect();
    let shares: Vec<String> = sorted
        .iter()
        .map(|(name, n)| format!("{name}={n}"))
        .collect();
    let description = args.description.clone().unwrap_or_else(|| {
        let words = args.command.iter().map(|word| word.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    });
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--wait", "--service-type=exec"])
        .arg(format!("--unit={unit}"))
        .arg(format!("--description={description}"))
        .arg(format!("--property=Requires={gate}"))
        .arg(format!("--property=After={gate}"))
        .arg(format!(
            "--property=AssertPathExists={}",
            names::lease_file(unit)
        ))
        .arg(format!("--setenv=INTERLOCK_TASK={unit}"))
        .arg(format!("--setenv=INTERLOCK_HOLDS={}", holds.join(" ")))
        .arg(format!("--setenv={}={}", names::RUN_USES, shares.join(" ")));
    if let Ok(directory) = std::env::current_dir() {
        run.arg(format!("--working-directory={}", directory.display()));
    }
    if let Some(user) = &args.user {
        run.arg(format!("--uid={user}"));
    }
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    run.arg(if is_terminal { "--pty" } else { "--pipe" });
    run.arg("--").args(&args.command).spawn()
}

/// Says whom the unit waits for, if it hasn't been said.
pub(super) async fn tell(client: &Client, unit: &str, told: &mut String) {
    let queue = client.queue().await.unwrap_or_default();
    let waits = queue.into_iter().find(|entry| entry.unit == unit);
    if let Some(entry) = waits
        && entry.reason != *told
    {
        output::complain(&entry.reason);
        *told = entry.reason;
    }
}

async fn stop(client: &Client, unit: &str) {
    if let Ok(systemd) = SystemdProxy::new(client.connection()).await {
        let _ = systemd.stop_unit(unit, "replace").await;
    }
}

fn exit_status(ended: ExitStatus) -> u8 {
    let code = ended
        .code()
        .or_else(|| ended.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_one_unless_told() {
        let uses = ["rpm-db".to_owned(), "slots=3".to_owned()];
        let shares = shares(&uses).unwrap();
        assert_eq!(
            shares,
            HashMap::from([("rpm-db".to_owned(), 1), ("slots".to_owned(), 3)])
        );
        for bad in ["slots=", "slots=0", "slots=many"] {
            assert!(super::shares(&[bad.to_owned()]).is_err());
        }
    }

    #[test]
    fn units_are_named_after_their_command() {
        let name = unit_name("/usr/bin/dnf $(x)");
        assert!(name.starts_with("interlock-run-dnfx-"), "{name}");
        assert!(names::is_run(&name));
    }
}
