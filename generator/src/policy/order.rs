//! Finds orders that contradict each other, or what the units' own files say: systemd would refuse to start such tasks
//! together.

use std::collections::{BTreeMap, VecDeque};

use super::inputs::Inputs;
use super::source::Span;
use super::units::Units;
use super::validate::Context;

/// As many contradictions as are told at once; each more would be one of the same knot.
const MOST: usize = 20;

/// One task before another.
struct Edge<'a> {
    before: usize,
    after: usize,
    /// Where the policy says so, and how.
    at: Span,
    why: Why<'a>,
    /// Whether a contradiction with it was told already.
    told: bool,
}

/// How the policy says so.
enum Why<'a> {
    After,
    Preempts,
    Window(&'a str),
    /// The unit's own files do, which isn't the policy's to change.
    Units,
}

/// Reports each circle of orders.
pub(super) fn check(context: &mut Context<'_>, units: &Units) {
    let names: Vec<&str> = context.inputs.tasks.keys().map(String::as_str).collect();
    let mut edges = edges(context.inputs, &names);
    // First the policy for itself, so that nothing is told twice.
    report_all(context, &names, &mut edges);
    edges.extend(unit_edges(context.inputs, &names, units));
    report_all(context, &names, &mut edges);
}

fn report_all(context: &mut Context<'_>, names: &[&str], edges: &mut [Edge<'_>]) {
    for _ in 0..MOST {
        let Some(circle) = circle(edges, names.len()) else {
            return;
        };
        report(context, names, edges, &circle);
        // The next one is to be found as if the latest line of this one were not there.
        match latest(edges, &circle) {
            Some(latest) => edges[latest].told = true,
            None => circle.iter().for_each(|index| edges[*index].told = true),
        }
    }
}

/// What the files of the tasks' units say of each other.
fn unit_edges(inputs: &Inputs, names: &[&str], units: &Units) -> Vec<Edge<'static>> {
    let mut index = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        let unit = units.of_task.get(*name);
        let aliases = unit.into_iter().flat_map(|unit| &unit.aliases);
        index.extend(
            aliases
                .chain(unit.map(|unit| &unit.name))
                .map(|name| (name, at)),
        );
    }
    let mut edges = Vec::new();
    for (this, name) in names.iter().enumerate() {
        let (Some(unit), Some(task)) = (units.of_task.get(*name), inputs.tasks.get(*name)) else {
            continue;
        };
        let earlier = unit
            .after
            .iter()
            .filter_map(|it| Some((*index.get(it)?, this)));
        let later = unit
            .before
            .iter()
            .filter_map(|it| Some((this, *index.get(it)?)));
        let pairs = earlier
            .chain(later)
            .filter(|(before, after)| before != after);
        edges.extend(pairs.map(|(before, after)| Edge {
            before,
            after,
            at: task.name.at,
            why: Why::Units,
            told: false,
        }));
    }
    edges
}

fn edges<'a>(inputs: &'a Inputs, names: &[&str]) -> Vec<Edge<'a>> {
    let index: BTreeMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, at))
        .collect();
    let mut edges = Vec::new();
    let mut add = |before: Option<&usize>, after: Option<&usize>, at: Span, why: Why<'a>| {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            edges.push(Edge {
                before: *before,
                after: *after,
                at,
                why,
                told: false,
            });
        }
    };
    for (name, task) in &inputs.tasks {
        let this = index.get(name.as_str());
        for other in &task.body.after {
            add(index.get(other.value.as_str()), this, other.at, Why::After);
        }
        // A task that preempts another starts only when that one has stopped.
        for other in &task.body.preempts {
            add(
                index.get(other.value.as_str()),
                this,
                other.at,
                Why::Preempts,
            );
        }
    }
    for (window, it) in &inputs.windows {
        let members: Vec<_> = it
            .body
            .order
            .iter()
            .filter(|member| index.contains_key(member.value.as_str()))
            .collect();
        for pair in members.windows(2) {
            let (first, second) = (&pair[0], &pair[1]);
            add(
                index.get(first.value.as_str()),
                index.get(second.value.as_str()),
                second.at,
                Why::Window(window),
            );
        }
    }
    edges
}

/// A shortest circle through the first task that is in one, as indices of its edges.
fn circle(edges: &[Edge<'_>], tasks: usize) -> Option<Vec<usize>> {
    let mut leaving = vec![Vec::new(); tasks];
    for (index, edge) in edges.iter().enumerate().filter(|(_, edge)| !edge.told) {
        leaving[edge.before].push(index);
    }
    knotted(edges, tasks)
        .into_iter()
        .find_map(|start| shortest(edges, &leaving, start))
}

/// Tasks that are in a circle or behind one: those that are left when, again and again, every task is taken
/// away before which none is left.
fn knotted(edges: &[Edge<'_>], tasks: usize) -> Vec<usize> {
    let mut waits_for = vec![0usize; tasks];
    let mut leaving = vec![Vec::new(); tasks];
    for edge in edges.iter().filter(|edge| !edge.told) {
        waits_for[edge.after] += 1;
        leaving[edge.before].push(edge.after);
    }
    let mut free: Vec<usize> = (0..tasks).filter(|task| waits_for[*task] == 0).collect();
    while let Some(task) = free.pop() {
        for after in &leaving[task] {
            waits_for[*after] -= 1;
            if waits_for[*after] == 0 {
                free.push(*after);
            }
        }
    }
    (0..tasks).filter(|task| waits_for[*task] > 0).collect()
}

/// The shortest way from a task back to itself.
fn shortest(edges: &[Edge<'_>], leaving: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut came_by: Vec<Option<usize>> = vec![None; leaving.len()];
    let mut queue = VecDeque::from([start]);
    while let Some(task) = queue.pop_front() {
        for index in &leaving[task] {
            let next = edges[*index].after;
            if came_by[next].is_some() {
                continue;
            }
            came_by[next] = Some(*index);
            if next == start {
                let mut way = vec![*index];
                while edges[way[way.len() - 1]].before != start {
                    way.push(came_by[edges[way[way.len() - 1]].before]?);
                }
                way.reverse();
                return Some(way);
            }
            queue.push_back(next);
        }
    }
    None
}

/// The edge of the policy that was written last: of two fragments, the later is told.
fn latest(edges: &[Edge<'_>], circle: &[usize]) -> Option<usize> {
    circle
        .iter()
        .copied()
        .filter(|index| !matches!(edges[*index].why, Why::Units))
        .max_by_key(|index| (edges[*index].at.source, edges[*index].at.start))
}

fn report(context: &mut Context<'_>, names: &[&str], edges: &[Edge<'_>], circle: &[usize]) {
    let (Some(latest), Some(first)) = (latest(edges, circle), circle.first()) else {
        return;
    };
    let mut way = names[edges[*first].before].to_owned();
    for index in circle {
        way.push_str(" -> ");
        way.push_str(names[edges[*index].after]);
    }
    let at = edges[latest].at;
    let by_units = |index: &usize| matches!(edges[*index].why, Why::Units);
    let is_own = !circle.iter().any(by_units);
    // Units change with their packages; a policy that was good mustn't block its tasks for that.
    let problem = match is_own {
        true => context
            .problems
            .error(at, format!("the order contradicts itself: {way}")),
        false => context.problems.warning(
            at,
            format!("the order contradicts that of the units: {way}"),
        ),
    };
    for index in circle {
        let edge = &edges[*index];
        let (before, after) = (names[edge.before], names[edge.after]);
        let why = match edge.why {
            Why::After => format!("\"{after}\" comes after \"{before}\""),
            Why::Preempts => format!("\"{after}\" preempts \"{before}\", and so comes after it"),
            Why::Window(window) => {
                format!("\"{after}\" comes after \"{before}\" in window \"{window}\"")
            }
            Why::Units => format!(
                "\"{after}\" comes after \"{before}\" by After= or Before= in the unit files"
            ),
        };
        problem.note(edge.at, why);
    }
    problem.help(match is_own {
        true => "take one of these lines back",
        false => {
            "write the order of the units, or change them (systemctl edit --full); \
             till then the units' order is kept"
        }
    });
}
