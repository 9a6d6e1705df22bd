//! The names and paths that generator, gate, supervisor and units agree on.

/// Directories of policy fragments, lowest priority first, below the root.
///
/// A file in a later directory replaces one of the same name in an earlier one; a link to
/// `/dev/null` removes it, as in systemd.unit(5).
pub const POLICY_DIRS: [&str; 3] = [
    "/usr/lib/interlock/policy.d",
    "/etc/interlock/policy.d",
    "/run/interlock/policy.d",
];

/// The last policy that was good, as the generator took effect with it; lost at reboot.
pub const LAST_GOOD: &str = "/run/interlock/last-good-policy.toml";

/// The socket on which gates ask for their lease (units/interlock.socket).
pub const GATE_SOCKET: &str = "/run/interlock/gate.sock";

/// Holds one empty file per lease, named after the task's unit; see `AssertPathExists=` in each task's drop-in.
pub const LEASE_DIR: &str = "/run/interlock/lease";

/// Holds one file per lease, named after the task's unit, with what it holds.
pub const GRANTED_DIR: &str = "/run/interlock/granted";

/// Holds the unit file of each command of the policy that runs, as the generator wrote it: the unit outlives its policy.
pub const UNITS_DIR: &str = "/run/interlock/units";

/// Where systemd lets generators write units that yield to those in /etc (systemd.generator(7)).
pub const GENERATED_DIR: &str = "/run/systemd/generator";

/// Holds one file per task that interlockd has frozen, named after its unit, with its control group's path in it.
pub const FROZEN_DIR: &str = "/run/interlock/frozen";

/// Holds one environment file per task that is started again after a checkpoint, named after its unit.
pub const ENVIRONMENT_DIR: &str = "/run/interlock/environment";

/// Holds one FIFO per deployment that lives as long as its caller.
pub const HOLDER_DIR: &str = "/run/interlock/deploy";

/// What a blocked task's `AssertPathExists=` names. It never exists, and reads as the reason.
pub const BLOCKED_ASSERT: &str = "/run/interlock/blocked/policy-has-errors-see-interlockctl-verify";

/// The same of a command that still runs though the policy has lost it.
pub const DROPPED_ASSERT: &str = "/run/interlock/blocked/task-is-not-in-the-policy";

/// File name of every drop-in that the generator writes.
pub const DROP_IN: &str = "50-interlock.conf";

const GATE_PREFIX: &str = "interlock-gate@";

const RUN_PREFIX: &str = "interlock-run-";

/// Whether this unit is a command that somebody runs behind a gate of its own (`interlockctl run`).
pub fn is_run(unit: &str) -> bool {
    unit.starts_with(RUN_PREFIX) && unit.ends_with(".service")
}

/// The units of such commands, as a pattern of fnmatch(3).
pub const RUN_PATTERN: &str = "interlock-run-*.service";

/// In such a unit's environment: what it uses, as `rpm-db=1 import-slots=2`.
pub const RUN_USES: &str = "INTERLOCK_USES";

/// Longest unit name that still has a gate: `UNIT_NAME_MAX` of systemd (255) less the gate's own letters.
pub const UNIT_NAME_MAX: usize = 255 - GATE_PREFIX.len() - ".service".len();

/// What a unit's directory of drop-ins ends in.
pub const DROP_IN_DIR: &str = ".d";

/// Whether a directory of drop-ins for the unit's gate couldn't be made, since its name is longer than NAME_MAX (255).
/// Gates of templates have none.
pub fn gate_drop_in_is_too_long(unit: &str) -> bool {
    !is_template(unit) && unit.len() + DROP_IN_DIR.len() > UNIT_NAME_MAX
}

/// The gate of a unit: `interlock-gate@UNIT.service`, `UNIT` with its suffix.
pub fn gate_of(unit: &str) -> String {
    format!("{GATE_PREFIX}{unit}.service")
}

/// The unit whose gate this is, or `None` if `gate` isn't a gate.
pub fn unit_of_gate(gate: &str) -> Option<&str> {
    gate.strip_prefix(GATE_PREFIX)?
        .strip_suffix(".service")
        .filter(|unit| !unit.is_empty())
}

/// The lease file of a unit.
pub fn lease_file(unit: &str) -> String {
    format!("{LEASE_DIR}/{unit}")
}

/// The target that starts a window's tasks in one transaction.
pub fn window_target(window: &str) -> String {
    format!("interlock-window-{window}.target")
}

/// The timer of a window's target.
pub fn window_timer(window: &str) -> String {
    format!("interlock-window-{window}.timer")
}

/// The oneshot that stops, in one transaction, those tasks of a group that a deployment stops.
pub fn stop_group(group: &str) -> String {
    format!("interlock-stop-{group}.service")
}

/// The oneshot that writes the metrics for node_exporter, and its timer.
pub const METRICS_SERVICE: &str = "interlock-metrics.service";

/// See [`METRICS_SERVICE`].
pub const METRICS_TIMER: &str = "interlock-metrics.timer";

/// The marker of a frozen unit.
pub fn frozen_file(unit: &str) -> String {
    format!("{FROZEN_DIR}/{unit}")
}

/// The environment file of a unit that is started again after a checkpoint.
pub fn environment_file(unit: &str) -> String {
    format!("{ENVIRONMENT_DIR}/{unit}")
}

/// The template of an instance: `foo@.service` for `foo@bar.service`; `None` for anything else.
///
/// The first `@` counts, as in systemd.unit(5): `imp@p@q.service` is the instance `p@q` of `imp@.service`.
pub fn template_of(unit: &str) -> Option<String> {
    let (stem, suffix) = unit.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty() && !prefix.is_empty()).then(|| format!("{prefix}@.{suffix}"))
}

/// Whether this names a template itself (`foo@.service`).
pub fn is_template(unit: &str) -> bool {
    unit.rsplit_once('.')
        .and_then(|(stem, _)| stem.split_once('@'))
        .is_some_and(|(prefix, instance)| instance.is_empty() && !prefix.is_empty())
}
