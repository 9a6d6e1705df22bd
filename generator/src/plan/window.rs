//! The units of a window: the target that starts its members, the target's timer, and the masks of
//! the members' own timers.

use super::command::{enable_timer, timer_section};
use super::{Directory, Plan};
use crate::names;
use crate::policy::settings::{Settings, Task, Window};
use crate::unitfile::{Section, UnitFile};

/// Adds the units of a window.
pub(super) fn units(plan: &mut Plan, settings: &Settings, name: &str, window: &Window) {
    let members: Vec<&Task> = window
        .order
        .iter()
        .filter_map(|task| settings.tasks().get(task))
        .filter(|task| !task.is_template())
        .collect();
    let description = match &window.description {
        Some(description) => description.clone(),
        None => ["Maintenance window ", name].concat(),
    };
    let source = window.origin.path.to_string_lossy();
    let target = names::window_target(name);
    let timer = names::window_timer(name);

    let mut file = UnitFile::new(&window.origin);
    // Ordered after its members the target is reached when they have ended; nothing needs it then, so it
    // goes inactive at once, and its timer can start it the next time.
    file.section(Section::Unit)
        .text("Description", &description)
        .text("SourcePath", &source)
        .units("Wants", members.iter().map(|task| task.unit.as_str()))
        .units("After", members.iter().map(|task| task.unit.as_str()))
        .literal("StopWhenUnneeded", "yes");
    plan.file(Directory::Normal, target.clone(), file);

    let mut file = UnitFile::new(&window.origin);
    file.section(Section::Unit)
        .text("Description", &["Timer of ", &target].concat())
        .text("SourcePath", &source);
    timer_section(
        &mut file,
        &window.calendar,
        window.randomized_delay.as_deref(),
        window.persistent,
    );
    file.units("Unit", [target.as_str()]);
    enable_timer(plan, &timer);
    plan.file(Directory::Normal, timer, file);

    for task in members {
        let names = std::iter::once(&task.unit).chain(&task.aliases);
        let services = names.filter_map(|name| name.strip_suffix(".service"));
        let timers = services.map(|service| [service, ".timer"].concat());
        for timer in timers.chain(task.timers.iter().cloned()) {
            // Early, since the timer itself is most often in /etc or /usr/lib.
            plan.link(Directory::Early, timer, "/dev/null".to_owned());
        }
    }
}
