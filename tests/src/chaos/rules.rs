//! What the checker holds a world against.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::Rules;
use super::world::{Role, World};

/// The rules of a world.
#[must_use]
pub fn of(world: &World) -> Rules {
    let mut uses: BTreeMap<String, BTreeMap<String, u32>> = world
        .tasks
        .iter()
        .map(|task| (task.unit(), task.uses.clone()))
        .collect();
    for (template, shares) in &world.templates {
        uses.insert(format!("{template}@.service"), shares.clone());
    }
    let unit_of = |name: &String| {
        if world.templates.contains_key(name) {
            format!("{name}@.service")
        } else {
            format!("{name}.service")
        }
    };
    let held: BTreeMap<String, BTreeSet<String>> = world
        .groups
        .iter()
        .map(|(group, members)| (group.clone(), members.iter().map(unit_of).collect()))
        .collect();
    let in_a_group: BTreeSet<String> = held.values().flatten().cloned().collect();
    let others = |task: &&super::world::Task| {
        task.role == Role::Timed
            || task.name.starts_with("restarts")
            || in_a_group.contains(&task.unit())
    };
    Rules {
        capacities: World::capacities(),
        uses,
        before: world.before.clone(),
        refusable: world
            .tasks
            .iter()
            .filter(|task| task.role == Role::Refusable)
            .map(super::world::Task::unit)
            .collect(),
        started_by_others: world
            .tasks
            .iter()
            .filter(others)
            .map(super::world::Task::unit)
            .chain(["import@.service".to_owned()])
            .collect(),
        brings: BTreeMap::from([
            ("requires.service".into(), vec!["oneshot0.service".into()]),
            ("wants.service".into(), vec!["oneshot1.service".into()]),
        ]),
        held,
        // Their action is `ignore`.
        run_on: BTreeSet::from(["oneshot5.service".into()]),
    }
}
