//! The drop-ins of a task: on its unit, and on its gate.

use super::Plan;
use super::order::Order;
use crate::names;
use crate::policy::settings::{DeployAction, Origin, Task};
use crate::unitfile::{Section, UnitFile};

/// Adds the drop-ins of a task.
pub(super) fn drop_ins(plan: &mut Plan, order: &Order<'_>, task: &Task) {
    let before = order.before(task);

    let mut file = UnitFile::new(&task.origin);
    if task.gated {
        // `Requires=`, never `BindsTo=`: a daemon-reload that adds it mustn't kill the task that runs.
        // The lease file keeps out starts that ignore dependencies.
        file.section(Section::Unit)
            .literal("Requires", "interlock-gate@%n.service")
            .literal("After", "interlock-gate@%n.service")
            .literal("AssertPathExists", "/run/interlock/lease/%n");
    }
    if !before.is_empty() {
        file.section(Section::Unit)
            .units("After", before.iter().copied());
    }
    if task.unit.ends_with(".service") {
        service_section(&mut file, task);
    }
    if !file.is_empty() {
        plan.drop_in(&task.unit, task.gated, file);
    }

    // A gate that opened before the task's predecessors have ended would hold its lease while the
    // task waits for them. Instances of a template have gates that aren't known yet.
    if task.gated && !task.is_template() && !before.is_empty() {
        let mut file = UnitFile::new(&task.origin);
        file.section(Section::Unit).units("After", before);
        plan.drop_in(&names::gate_of(&task.unit), false, file);
    }
}

fn service_section(file: &mut UnitFile, task: &Task) {
    if task.gated {
        let mut holds = String::new();
        for resource in task.uses.keys() {
            if !holds.is_empty() {
                holds.push(' ');
            }
            holds.push_str(resource);
        }
        file.section(Section::Service)
            .environment("INTERLOCK_TASK", &task.name)
            .environment("INTERLOCK_HOLDS", &holds);
    }
    if task.on_deploy.action == DeployAction::Checkpoint {
        // What the run is told that is started again after a checkpoint; absent otherwise.
        file.section(Section::Service)
            .literal("EnvironmentFile", "-/run/interlock/environment/%n");
    }
    if task.uninterruptible {
        // A stop that only waits for the task to end: SIGCONT changes nothing for a running process.
        file.section(Section::Service)
            .literal("KillSignal", "SIGCONT")
            .literal("SendSIGKILL", "no");
        match &task.stop_timeout {
            Some(timeout) => file.text("TimeoutStopSec", timeout),
            None => file.literal("TimeoutStopSec", "infinity"),
        };
    }
    // A command's own unit has its limit.
    if let (Some(limit), None) = (&task.max_runtime, &task.command) {
        // `RuntimeMaxSec=` has no effect on oneshots: those count as starting while they run.
        let key = match task.unit_type.as_deref() {
            Some("oneshot") => "TimeoutStartSec",
            _ => "RuntimeMaxSec",
        };
        file.section(Section::Service).text(key, limit);
    }
}

/// Adds the drop-in that keeps a unit from starting, since its part of the policy is bad.
pub(super) fn block(plan: &mut Plan, unit: &str, origin: &Origin) {
    let mut file = UnitFile::new(origin);
    file.section(Section::Unit)
        .literal("AssertPathExists", names::BLOCKED_ASSERT);
    plan.drop_in(unit, true, file);
}
