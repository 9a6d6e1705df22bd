//! What the checker holds a world against.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::Rules;
use super::world::{BEATS, REPAIR, REPAIRED, Role, World};

/// A task that its repair must not meet.
const ITSELF: &str = "the repaired task itself";

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
    // Each is the only one of its own, whatever else it uses.
    let repaired = uses.entry(REPAIRED.to_owned()).or_default();
    repaired.insert(ITSELF.to_owned(), 1);
    let repair = repaired.clone();
    uses.insert(REPAIR.to_owned(), repair);
    let mut capacities = World::capacities();
    capacities.insert(ITSELF.to_owned(), 1);
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
        capacities,
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
            .chain(["import@.service".to_owned(), format!("{BEATS}@.service")])
            .collect(),
        oneshots: world
            .tasks
            .iter()
            .filter(|task| !task.stays_active)
            .map(super::world::Task::unit)
            .chain(["once@.service".to_owned(), "line@.service".to_owned()])
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
