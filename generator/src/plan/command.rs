//! The units of a task that is a command: a service, and its timer.

use super::{Directory, Plan};
use crate::policy::settings::{Command, Task};
use crate::unitfile::{Section, UnitFile};

/// Adds the service, and the timer unless a window starts the task instead.
pub(super) fn units(plan: &mut Plan, task: &Task, command: &Command, in_window: bool) {
    let description = match &command.description {
        Some(description) => description.clone(),
        None => ["Task ", &task.name].concat(),
    };
    let source = task.origin.path.to_string_lossy();

    let mut file = UnitFile::new(&task.origin);
    file.section(Section::Unit)
        .text("Description", &description)
        .text("SourcePath", &source);
    file.section(Section::Service)
        .literal("Type", "oneshot")
        .exec_start(&command.argv);
    let settings = [
        ("User", &command.user),
        ("Group", &command.group),
        ("WorkingDirectory", &command.working_directory),
    ];
    for (key, value) in settings {
        if let Some(value) = value {
            file.text(key, value);
        }
    }
    for (name, value) in &command.environment {
        file.environment(name, value);
    }
    if let Some(limit) = &task.max_runtime {
        file.text("TimeoutStartSec", limit);
    }
    plan.file(Directory::Normal, task.unit.clone(), file);

    if command.calendar.is_empty() || in_window {
        return;
    }
    let mut file = UnitFile::new(&task.origin);
    file.section(Section::Unit)
        .text("Description", &["Timer of ", &task.unit].concat())
        .text("SourcePath", &source);
    timer_section(
        &mut file,
        &command.calendar,
        command.randomized_delay.as_deref(),
        command.persistent,
    );
    let timer = [
        task.unit.strip_suffix(".service").unwrap_or(&task.unit),
        ".timer",
    ]
    .concat();
    enable_timer(plan, &timer);
    plan.file(Directory::Normal, timer, file);
}

/// Adds `[Timer]` with what windows and command tasks have in common.
pub(super) fn timer_section(
    file: &mut UnitFile,
    calendar: &[String],
    randomized_delay: Option<&str>,
    persistent: bool,
) {
    file.section(Section::Timer);
    for event in calendar {
        file.text("OnCalendar", event);
    }
    if let Some(delay) = randomized_delay {
        file.text("RandomizedDelaySec", delay);
    }
    if persistent {
        file.literal("Persistent", "yes");
    }
}

/// Has a generated timer started with all others, as `systemctl enable` would.
pub(super) fn enable_timer(plan: &mut Plan, timer: &str) {
    plan.link(
        Directory::Normal,
        ["timers.target.wants/", timer].concat(),
        ["../", timer].concat(),
    );
}
