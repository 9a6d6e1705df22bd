//! Units that exist only for as long as they run: hooks, commands that ask for a checkpoint, actions, notifications.

use std::time::Duration;

use interlock_generator::names;
use zbus::{OwnedVariant, Variant};

use super::Pid1;

/// A oneshot that PID 1 makes on the spot (`StartTransientUnit` of org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Default)]
pub struct Transient {
    /// Its name, with `.service`.
    pub name: String,
    /// `Description=`.
    pub description: String,
    /// Program and arguments; nothing is expanded.
    pub command: Vec<String>,
    /// `Environment=`.
    pub environment: Vec<(String, String)>,
    /// `TimeoutStartSec=`.
    pub timeout: Duration,
    /// Whether it has a gate of its own, and waits at it (`interlock-gate@.service`).
    pub gated: bool,
    /// Whether it stays after it has ended well, so that this is known.
    pub stays: bool,
}

/// Older ones write `ExecStartEx=` into the unit's file, which they can't read, and `$` as `\$`, which isn't the same:
/// at the next daemon-reload the command of a unit that hasn't started yet is another one, or none.
const WRITES_EXEC_RIGHT: u32 = 257;

impl Pid1 {
    /// `ExecStart=` in which nothing is replaced from the environment.
    async fn exec(
        &self,
        unit: &Transient,
        program: String,
    ) -> zbus::Result<(&'static str, Variant<'static>)> {
        if !unit.command.iter().any(|word| word.contains('$')) {
            let exec = vec![(program, unit.command.clone(), false)];
            return Ok(("ExecStart", Variant::from(exec)));
        }
        let version = self.manager.version().await?;
        let digits = version.split(|c: char| !c.is_ascii_digit()).next();
        let number = digits.and_then(|digits| digits.parse::<u32>().ok());
        if number.is_some_and(|number| number >= WRITES_EXEC_RIGHT) {
            let flags = vec!["no-env-expand".to_owned()];
            let exec = vec![(program, unit.command.clone(), flags)];
            return Ok(("ExecStartEx", Variant::from(exec)));
        }
        if unit.gated {
            return Err(zbus::Error::Failure(format!(
                "an argument has a $ in it, which systemd {version} would change if it were reloaded meanwhile"
            )));
        }
        let words = unit.command.iter().map(|word| word.replace('$', "$$"));
        let exec = vec![(program, words.collect::<Vec<_>>(), false)];
        Ok(("ExecStart", Variant::from(exec)))
    }

    /// Queues the start of a transient unit.
    ///
    /// # Errors
    /// The bus's or PID 1's; also if a unit of that name exists.
    pub async fn run(&self, unit: &Transient) -> zbus::Result<()> {
        let program = unit.command.first().cloned().unwrap_or_default();
        let exec = self.exec(unit, program).await?;
        let environment = unit.environment.iter();
        let environment: Vec<String> = environment.map(|(k, v)| format!("{k}={v}")).collect();
        let timeout = u64::try_from(unit.timeout.as_micros()).unwrap_or(u64::MAX);
        let collect = match unit.stays {
            true => "inactive",
            false => "inactive-or-failed",
        };
        let mut properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", Variant::from(unit.description.as_str())),
            ("Type", Variant::from("oneshot")),
            ("RemainAfterExit", Variant::from(unit.stays)),
            ("CollectMode", Variant::from(collect)),
            ("TimeoutStartUSec", Variant::from(timeout)),
            ("Environment", Variant::from(environment)),
            exec,
        ];
        if unit.gated {
            let gate = vec![names::gate_of(&unit.name)];
            // Whether it counts as a trigger, whether it is negated, and what is asserted.
            let assert = (
                "AssertPathExists",
                false,
                false,
                names::lease_file(&unit.name),
            );
            properties.extend([
                ("Requires", Variant::from(gate.clone())),
                ("After", Variant::from(gate)),
                ("Asserts", Variant::from(vec![assert])),
            ]);
        }
        let owned = properties.into_iter().map(|(name, value)| {
            let value = OwnedVariant::try_from(value)?;
            Ok::<_, zbus::Error>((name.to_owned(), value))
        });
        let owned = owned.collect::<zbus::Result<Vec<_>>>()?;
        let (name, mode) = (unit.name.clone(), "fail".to_owned());
        let job = self
            .manager
            .start_transient_unit(name, mode, owned, Vec::new());
        job.await.map(drop)
    }
}
