//! What a case works with: a machine with interlock in which nothing of an earlier case is left.

use std::fs;
use std::io::Write as _;
use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{Output, Running};
use crate::log::{self, Log};
use crate::machine::Machine;
use crate::service::{Service, TASK_PROGRAM};
use crate::wait::{SOON, wait_for};

const UNIT_DIR: &str = "/etc/systemd/system";
const POLICY_DIR: &str = "/etc/interlock/policy.d";

/// What is left of a case is looked for this long: the last lease may just be on its way back.
const LEFTOVERS: Duration = Duration::from_secs(10);

/// Lists what is active and no part of the freshly installed machine.
const ACTIVE: &str = r"list() {
    systemctl list-units --all --plain --no-legend --full \
        --state=active,activating,deactivating,reloading,refreshing \
        --type=service,timer,socket,path,target | awk '{print $1}' |
        grep -vE '^(interlockd|interlock|polkit|systemd-[a-z-]+|user@[0-9]+|user-runtime-dir@[0-9]+)\.(service|socket)$' | sort
}
";

/// A case while it runs.
#[derive(Debug)]
pub struct Case<'m> {
    machine: &'m Machine,
    cursor: String,
}

impl Deref for Case<'_> {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        self.machine
    }
}

/// Prepares a machine for cases, once, when everything that they need is installed.
///
/// # Errors
///
/// If the machine doesn't do as told.
pub fn prepare(machine: &Machine) -> Result<()> {
    machine.write(TASK_PROGRAM, include_str!("task.sh"))?;
    machine.sh(&format!(
        "{ACTIVE} chmod 755 {TASK_PROGRAM}; mkdir -p /var/lib/testbed
         list >/var/lib/testbed/active; find {UNIT_DIR} {POLICY_DIR} | sort >/var/lib/testbed/files"
    ))?;
    Ok(())
}

impl<'m> Case<'m> {
    /// Begins a case.
    ///
    /// # Errors
    ///
    /// If the machine doesn't do as told.
    pub fn begin(machine: &'m Machine, name: &str) -> Result<Self> {
        machine.sh(&format!(
            "logger -t testbed 'case {name}'; : >{}",
            log::PATH
        ))?;
        Self::begin_again(machine)
    }

    /// Goes on with what another [`Case`] of the same machine began; the log is kept.
    ///
    /// # Errors
    ///
    /// If the machine doesn't do as told.
    pub fn begin_again(machine: &'m Machine) -> Result<Self> {
        let cursor =
            machine.sh("journalctl --quiet -n0 --show-cursor | sed -n 's/^-- cursor: //p'")?;
        Ok(Self { machine, cursor })
    }

    // -- what the case sets up

    /// Writes unit files; `daemon-reload` is left to [`Self::policy`] or [`Self::reload_systemd`].
    ///
    /// # Errors
    ///
    /// If they can't be written.
    pub fn services(&self, services: &[Service]) -> Result<()> {
        for service in services {
            self.unit(&service.name, &service.text())?;
        }
        Ok(())
    }

    /// Writes a unit file, or with a `/` in its name a drop-in.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("{UNIT_DIR}/{name}"), text)
    }

    /// Writes a policy fragment without making it take effect.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn fragment(&self, name: &str, text: &str) -> Result<()> {
        self.write(&format!("{POLICY_DIR}/{name}"), text)
    }

    /// Makes this the policy, and takes effect with it and with new units.
    ///
    /// # Errors
    ///
    /// If interlock finds errors in it.
    pub fn policy(&self, text: &str) -> Result<()> {
        self.fragment("10-case.toml", text)?;
        self.reload()
    }

    /// Tasks of these units (without `.service`), all of which use the one exclusive resource `r`.
    ///
    /// # Errors
    ///
    /// As [`Self::policy`].
    pub fn exclusive(&self, names: &[&str]) -> Result<()> {
        self.policy(&exclusive_policy(names))
    }

    /// Takes effect with changed units and policies, which must be good.
    ///
    /// # Errors
    ///
    /// If interlock finds errors in the policy.
    pub fn reload(&self) -> Result<()> {
        self.reload_systemd()?;
        self.sh("interlockctl reload").map(drop)
    }

    /// `systemctl daemon-reload`.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn reload_systemd(&self) -> Result<()> {
        self.sh("systemctl daemon-reload").map(drop)
    }

    // -- what it does

    /// Queues starts of units, one after another.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn start(&self, units: &[&str]) -> Result<()> {
        self.sh(&format!("systemctl start --no-block {}", quoted(units)))
            .map(drop)
    }

    /// Queues starts of units in one transaction, which `systemctl start` with several units isn't.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn start_together(&self, units: &[&str]) -> Result<()> {
        self.unit(
            "together.target",
            &format!(
                "[Unit]\nDefaultDependencies=no\nWants={}\n",
                units.join(" ")
            ),
        )?;
        self.reload_systemd()?;
        self.sh("systemctl start --no-block together.target")?;
        self.becomes("together.target", "active")?;
        self.stop(&["together.target"])
    }

    /// Releases whatever of these runs, until nothing of them is left to run.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn drain(&self, names: &[&str]) -> Result<()> {
        wait_for("all tasks to have ended", SOON, || {
            for name in names {
                if self.log()?.is_running(name) {
                    self.release(name)?;
                }
            }
            Ok(self
                .sh("systemctl list-jobs --no-legend")?
                .is_empty()
                .then_some(()))
        })
    }

    /// Starts units and waits for them in the background.
    ///
    /// # Errors
    ///
    /// If `systemctl` can't be run.
    pub fn starting(&self, units: &[&str]) -> Result<Running> {
        self.spawn(&format!("systemctl start {}", quoted(units)))
    }

    /// Starts a unit and waits until its job has ended.
    ///
    /// # Errors
    ///
    /// If `systemctl` can't be run; that the start fails is no error here.
    pub fn try_start(&self, unit: &str) -> Result<Output> {
        self.starting(&[unit])?.wait(SOON)
    }

    /// Stops units, and waits for it.
    ///
    /// # Errors
    ///
    /// If systemd refuses.
    pub fn stop(&self, units: &[&str]) -> Result<()> {
        self.sh(&format!("systemctl stop {}", quoted(units)))
            .map(drop)
    }

    /// Lets a task end that waits to be released, once it runs.
    ///
    /// # Errors
    ///
    /// If it doesn't begin to run, or doesn't end.
    pub fn release(&self, name: &str) -> Result<()> {
        self.begun(name)?;
        let runs = self.log()?.count(name);
        let fifo = self.path(&format!("/run/testbed/{name}"))?;
        // Read as well, so that opening doesn't wait; the task has it open, so nothing gets lost.
        let mut fifo = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&fifo)
            .with_context(|| format!("{name} doesn't wait to be released"))?;
        fifo.write_all(b"go\n")?;
        wait_for(&format!("the end of {name}"), SOON, || {
            let log = self.log()?;
            Ok((!log.is_running(name) || log.count(name) > runs).then_some(()))
        })
    }

    // -- what it sees

    /// What the tasks wrote so far.
    ///
    /// # Errors
    ///
    /// If the machine is gone.
    pub fn log(&self) -> Result<Log> {
        Ok(Log::parse(&self.read(log::PATH)?))
    }

    /// Waits until a task runs.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn begun(&self, name: &str) -> Result<()> {
        wait_for(&format!("{name} to run"), SOON, || {
            Ok(self.log()?.is_running(name).then_some(()))
        })
    }

    /// Waits until a task has run so often, and doesn't run now.
    ///
    /// # Errors
    ///
    /// If it has not, or if it has run more often.
    pub fn ran(&self, name: &str, times: usize) -> Result<()> {
        wait_for(&format!("{times} runs of {name}"), SOON, || {
            let log = self.log()?;
            ensure!(
                log.count(name) <= times,
                "{name} ran {} times",
                log.count(name)
            );
            Ok((log.count(name) == times && !log.is_running(name)).then_some(()))
        })
    }

    /// The units in interlock's queue, first one first.
    ///
    /// # Errors
    ///
    /// If interlockctl fails.
    pub fn queue(&self) -> Result<Vec<String>> {
        let json: serde_json::Value = serde_json::from_str(&self.sh("interlockctl queue --json")?)?;
        let queue = json["queue"].as_array().context("no queue in the answer")?;
        Ok(queue
            .iter()
            .filter_map(|entry| Some(entry["unit"].as_str()?.to_owned()))
            .collect())
    }

    /// Waits until these units are exactly what waits at gates, in this order.
    ///
    /// # Errors
    ///
    /// If they are not.
    pub fn queued(&self, units: &[&str]) -> Result<()> {
        let mut last = Vec::new();
        wait_for("the queue", SOON, || {
            last = self.queue()?;
            Ok((last == units).then_some(()))
        })
        .with_context(|| format!("the queue should be {units:?}, it is {last:?}"))
    }

    /// Details of a task as `interlockctl why --json` gives them.
    ///
    /// # Errors
    ///
    /// If interlockctl fails.
    pub fn why(&self, task: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(
            &self.sh(&format!("interlockctl why --json '{task}'"))?,
        )?)
    }

    /// A property of a unit.
    ///
    /// # Errors
    ///
    /// If systemd doesn't answer.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.sh(&format!("systemctl show --value -p {name} -- '{unit}'"))
    }

    /// Waits until a unit is in this `ActiveState`.
    ///
    /// # Errors
    ///
    /// If it isn't.
    pub fn becomes(&self, unit: &str, state: &str) -> Result<()> {
        wait_for(&format!("{unit} to be {state}"), SOON, || {
            Ok((self.property(unit, "ActiveState")? == state).then_some(()))
        })
    }

    /// Asserts that a unit has failed, and forgives it.
    ///
    /// # Errors
    ///
    /// If it hasn't.
    pub fn failed(&self, unit: &str) -> Result<()> {
        self.becomes(unit, "failed")?;
        self.sh(&format!("systemctl reset-failed '{unit}'"))
            .map(drop)
    }

    /// Asserts that these tasks, each using all of one resource, never ran at the same time.
    ///
    /// # Errors
    ///
    /// If they did.
    pub fn no_overlap(&self, names: &[&str]) -> Result<()> {
        let users: Vec<(&str, u32)> = names.iter().map(|name| (*name, 1)).collect();
        self.within(&users, 1)
    }

    /// Asserts that these tasks never took more than this capacity.
    ///
    /// # Errors
    ///
    /// If they did.
    pub fn within(&self, users: &[(&str, u32)], capacity: u32) -> Result<()> {
        match self.log()?.overlap(users, capacity) {
            Some(overlap) => bail!("{overlap}\n{}", self.read(log::PATH)?),
            None => Ok(()),
        }
    }

    /// What the journal got since the case began.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn journal(&self, arguments: &str) -> Result<String> {
        self.sh(&format!(
            "journalctl --sync; journalctl --quiet --no-pager -o short-precise --after-cursor='{}' {arguments}",
            self.cursor
        ))
    }

    // -- its end

    /// Asserts that nothing is left: jobs, failed units, active gates, leases, running units.
    ///
    /// # Errors
    ///
    /// Says what is left.
    pub fn leaves_nothing(&self) -> Result<()> {
        let mut left = String::new();
        let script = format!(
            "{ACTIVE}
             systemctl list-jobs --no-legend --full | sed 's/^/a job: /'
             systemctl list-units --all --plain --no-legend --full --state=failed | sed 's/^/failed: /'
             list | comm -13 /var/lib/testbed/active - | sed 's/^/active: /'
             ls -A /run/interlock/lease 2>/dev/null | sed 's/^/a lease file: /'"
        );
        wait_for("nothing to be left", LEFTOVERS, || {
            left = self.sh(&script)?;
            Ok(left.is_empty().then_some(()))
        })
        .with_context(|| format!("the case left something behind:\n{left}"))
    }

    /// Clears everything away, whatever state it is in.
    ///
    /// # Errors
    ///
    /// If that isn't possible: then the machine is of no more use.
    pub fn clear(&self) -> Result<()> {
        let script = format!(
            "{ACTIVE}
             systemctl cancel 2>/dev/null
             new=$(list | comm -13 /var/lib/testbed/active -)
             if [ -n \"$new\" ]; then
                 for unit in $(grep -vE 'service$' <<<\"$new\"); do systemctl stop -- \"$unit\"; done
                 for unit in $(grep -E 'service$' <<<\"$new\"); do
                     systemctl thaw -- \"$unit\" 2>/dev/null
                     systemctl kill -s KILL -- \"$unit\" 2>/dev/null
                     systemctl stop -- \"$unit\"
                 done
             fi
             find {UNIT_DIR} {POLICY_DIR} | sort | comm -13 /var/lib/testbed/files - | tac |
                 while read -r path; do rm -rf -- \"$path\"; done
             rm -rf /run/interlock/policy.d/* /run/interlock/last-good-policy.toml /run/testbed
             rm -f /var/lib/systemd/timers/stamp-*
             systemctl daemon-reload
             systemctl start interlock.socket interlockd.service
             interlockctl reload
             systemctl reset-failed
             list | comm -13 /var/lib/testbed/active -"
        );
        let output = self.spawn(&script)?.wait(Duration::from_secs(60))?;
        ensure!(
            output
                .stdout
                .lines()
                .all(|line| !line.ends_with(".service")),
            "{}",
            output.text()
        );
        self.leaves_nothing()
    }

    /// All that helps to understand a failure.
    pub fn report(&self) -> String {
        let state = self
            .try_sh(
                "echo '-- log'; cat /var/lib/testbed/log
                 echo '-- jobs'; systemctl list-jobs --full
                 echo '-- units'; systemctl list-units --all --full --no-legend 'interlock*'
                 systemctl --failed --no-legend
                 echo '-- interlockctl'; timeout 5 interlockctl status --full; timeout 5 interlockctl queue --full",
            )
            .map_or_else(|error| format!("{error:#}"), |output| output.text());
        let journal = self
            .journal("-n 200")
            .unwrap_or_else(|error| format!("{error:#}"));
        format!("{state}\n-- journal\n{journal}")
    }
}

/// The policy of [`Case::exclusive`].
pub fn exclusive_policy(names: &[&str]) -> String {
    let mut text = String::from("[resources.r]\n");
    for (number, name) in names.iter().enumerate() {
        text.push_str(&task_policy(
            &format!("t{number}-{}", plain(name)),
            name,
            "uses = [\"r\"]",
        ));
    }
    text
}

/// One task of a unit (without `.service`) with further lines.
pub fn task_policy(task: &str, unit: &str, lines: &str) -> String {
    // A literal string, for units whose escaped names have backslashes.
    format!("[tasks.{task}]\nunit = '{unit}.service'\n{lines}\n")
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn quoted(units: &[&str]) -> String {
    let units: Vec<String> = units.iter().map(|unit| format!("'{unit}'")).collect();
    format!("-- {}", units.join(" "))
}
