//! Which of a task's keys need a gate, and which of them go together.

use super::fragment::Named;
use super::task_fragment::TaskFragment;
use super::validate::{Context, or};

/// Keys that say something about the wait at the gate.
const NEED_GATE: [&str; 5] = ["uses", "preempts", "priority", "when-busy", "max-wait"];

/// Reports keys of a task that contradict each other.
pub(super) fn check(context: &mut Context<'_>, task: &Named<TaskFragment>) {
    let body = &task.body;
    if let Some(gated) = body.gated.as_ref().filter(|gated| !gated.value) {
        for key in NEED_GATE {
            if let Some(at) = body.key(key) {
                context
                    .problems
                    .error(
                        at,
                        format!("\"{key}\" needs a gate, but this task has none"),
                    )
                    .note(gated.at, "its gate is taken away here")
                    .help("remove one of the two");
            }
        }
    }
    if let Some(timeout) = body
        .stop_timeout
        .as_ref()
        .filter(|_| !or(&body.uninterruptible, false))
    {
        context
            .problems
            .error(
                timeout.at,
                "\"stop-timeout\" is only for uninterruptible tasks",
            )
            .help("add uninterruptible = true, or set TimeoutStopSec= in the unit itself");
    }
}
