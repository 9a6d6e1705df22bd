//! What several deployments make together: whose starts wait, what stays frozen, and in which order steps are taken.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Deployment;
use super::step::Step;

/// Something to do for deployments, see [`in_order`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Todo {
    /// Thaw the unit's processes, if they are frozen.
    Thaw(String),
    /// Take this step of the deployment with this id.
    Take(String, Step),
    /// Stop these units for the deployment with this id, all at once.
    Stop(String, Vec<String>),
}

/// What is to be done of the steps that were decided on, by deployment, one after the other. What is done by writing it
/// down has no part in it.
pub fn in_order(steps: &[(String, Vec<Step>)]) -> Vec<Todo> {
    let mut todo = Vec::new();
    // Whatever else is to be done, what may run again runs first.
    for step in steps.iter().flat_map(|(_, steps)| steps) {
        if let Step::Thaw(unit) = step {
            todo.push(Todo::Thaw(unit.clone()));
        }
    }
    for (id, steps) in steps {
        let mut stops = Vec::new();
        for step in steps {
            match step {
                Step::Thaw(_) | Step::HandOver(..) | Step::Interrupted(_) | Step::Stale(_) => {}
                Step::Stop(unit) => stops.push(unit.clone()),
                step => todo.push(Todo::Take(id.clone(), step.clone())),
            }
        }
        if !stops.is_empty() {
            // Another deployment may have frozen it: PID 1 waits for what is frozen, or refuses to stop it.
            todo.extend(stops.iter().cloned().map(Todo::Thaw));
            todo.push(Todo::Stop(id.clone(), stops));
        }
    }
    todo
}

/// Whether a deployment wants the unit frozen. Nothing else stays so.
pub fn wants_frozen<'a>(deployments: impl IntoIterator<Item = &'a Deployment>, unit: &str) -> bool {
    let mut holding = deployments.into_iter().filter(|it| it.holds());
    holding.any(|it| {
        let member = it.members.get(unit);
        member.is_some_and(super::Member::may_be_frozen)
    })
}

/// The tasks whose starts wait. `tasks_of` names those of a group, by the policy that is in effect; who was met under
/// another one is held as well.
pub fn closed<'a, T>(
    deployments: impl IntoIterator<Item = &'a Deployment>,
    tasks_of: impl Fn(&str) -> T,
) -> BTreeSet<String>
where
    T: IntoIterator<Item: Into<String>>,
{
    let mut closed = BTreeSet::new();
    for it in deployments.into_iter().filter(|it| it.closes_admission()) {
        closed.extend(tasks_of(&it.group).into_iter().map(Into::into));
        closed.extend(it.members.values().map(|member| member.task.clone()));
    }
    closed
}

/// A deployment's units that another one goes on holding, with its id: by closed admission, the tasks of its group, and
/// those that were when it began. `has` says whether a task is one of a group's.
pub fn held_by_others<'a>(
    it: &Deployment,
    all: impl IntoIterator<Item = &'a Deployment>,
    has: impl Fn(&str, &str) -> bool,
) -> BTreeMap<String, String> {
    let mut held = BTreeMap::new();
    for other in all {
        if other.id == it.id || !other.holds() {
            continue;
        }
        let is_theirs = |task: &str| {
            has(&other.group, task) || other.members.values().any(|it| it.task == task)
        };
        let theirs = it.members.iter();
        let theirs = theirs.filter(|(_, member)| is_theirs(&member.task));
        held.extend(theirs.map(|(unit, _)| (unit.clone(), other.id.clone())));
    }
    held
}

#[cfg(test)]
mod tests {
    use interlock_generator::policy::settings::DeployAction;

    use super::super::{Begin, Member, Phase, Stage};
    use super::*;

    fn deployment(id: &str, stage: Stage, members: &[(&str, Phase)]) -> Deployment {
        let begin = Begin {
            group: format!("group of {id}"),
            ..Begin::default()
        };
        let mut it = Deployment::begin(id.to_owned(), "boot", begin, 1);
        it.stage = stage;
        for (unit, phase) in members {
            let mut member =
                Member::new(&format!("task of {unit}"), DeployAction::Freeze, "", 0, 1);
            member.phase = *phase;
            it.members.insert((*unit).to_owned(), member);
        }
        it
    }

    #[test]
    fn all_that_is_thawed_runs_before_anything_else_is_done() {
        let step = |it: fn(String) -> Step, unit: &str| it(unit.to_owned());
        let steps = [
            (
                "one".to_owned(),
                vec![step(Step::Stop, "a"), step(Step::Freeze, "b")],
            ),
            (
                "two".to_owned(),
                vec![
                    step(Step::Stale, "c"),
                    step(Step::Thaw, "c"),
                    step(Step::Stop, "d"),
                ],
            ),
        ];
        let thaw = |unit: &str| Todo::Thaw(unit.to_owned());
        let stop = |id: &str, unit: &str| Todo::Stop(id.to_owned(), vec![unit.to_owned()]);
        assert_eq!(
            in_order(&steps),
            [
                thaw("c"),
                Todo::Take("one".to_owned(), step(Step::Freeze, "b")),
                // Whoever has frozen it: what is frozen can't be stopped.
                thaw("a"),
                stop("one", "a"),
                thaw("d"),
                stop("two", "d"),
            ]
        );
    }

    #[test]
    fn only_who_still_holds_keeps_anything_frozen() {
        for (stage, phase, is_wanted) in [
            (Stage::Settle, Phase::Freezing, true),
            (Stage::Ready, Phase::Frozen, true),
            (Stage::Ready, Phase::Stopping, false),
            (Stage::Resume, Phase::Frozen, false),
        ] {
            let it = deployment("one", stage, &[("a", phase)]);
            assert_eq!(wants_frozen([&it], "a"), is_wanted, "{stage:?} {phase:?}");
            assert!(!wants_frozen([&it], "b"));
        }
    }

    #[test]
    fn starts_wait_for_groups_as_they_are_and_for_whoever_was_met() {
        let ready = deployment("one", Stage::Ready, &[("a", Phase::Stopped)]);
        let watching = deployment("two", Stage::Watch, &[("b", Phase::Starting)]);
        let tasks = ["new".to_owned()];
        let of = |group: &str| tasks.iter().take(usize::from(group == "group of one"));
        let closed = closed([&ready, &watching], of);
        assert_eq!(Vec::from_iter(closed), ["new", "task of a"]);
    }

    #[test]
    fn another_goes_on_holding_what_is_of_its_group_as_long_as_it_holds() {
        let ends = deployment(
            "one",
            Stage::Resume,
            &[("a", Phase::Stopped), ("b", Phase::Stopped)],
        );
        let ready = deployment("two", Stage::Ready, &[]);
        let over = deployment("three", Stage::Resume, &[]);
        let has = |group: &str, task: &str| group != "group of two" || task == "task of a";
        let held = held_by_others(&ends, [&ends, &ready, &over], has);
        assert_eq!(held, BTreeMap::from([("a".to_owned(), "two".to_owned())]));
    }
}
