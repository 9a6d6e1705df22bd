//! What must come to an end comes to one, whoever else goes on for ever.
//!
//! A start waits for ever if there is a loop of states in each of which it waits, and that is fair: what can happen
//! again and again in it (a task ends, the daemon hears, an owner ends his deployment) does happen in it. What
//! nobody owes (a crash, another deployment, a lock taken, a start of a task that goes before) happens only so
//! often, and so not in the loop; starts, stops and cancels of all others may go on in it without end.

use std::ops::Range;

/// What is asked of a graph: edges out of each state, and what each edge is.
pub trait Graph {
    /// How many states.
    fn states(&self) -> usize;
    /// A state's edges.
    fn edges(&self, state: u32) -> Range<usize>;
    /// Where an edge leads.
    fn target(&self, edge: usize) -> u32;
    /// What an edge is.
    fn kind(&self, edge: usize) -> Kind;
}

/// What an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Happens some time if it can again and again: a bit for each such thing.
    Fair(u8),
    /// May happen, or never, or always.
    Free,
    /// Happens only so often.
    Seldom,
}

/// A state of a fair loop that stays within `stays`, if there is one.
pub fn fair_loop(graph: &impl Graph, stays: impl Fn(u32) -> bool) -> Option<u32> {
    let count = u32::try_from(graph.states()).unwrap_or(u32::MAX);
    let all: Vec<u32> = (0..count).filter(|state| stays(*state)).collect();
    // The set that each state belongs to; edges between sets don't count.
    let mut sets = vec![0_u32; graph.states()];
    let mut fresh = 1;
    all.iter().for_each(|state| sets[*state as usize] = fresh);
    let mut todo = vec![all];
    while let Some(states) = todo.pop() {
        for component in components(graph, &sets, &states) {
            fresh += 1;
            component
                .iter()
                .for_each(|state| sets[*state as usize] = fresh);
            let mut done = 0_u128;
            for state in &component {
                for edge in graph.edges(*state) {
                    if sets[graph.target(edge) as usize] == fresh
                        && let Kind::Fair(it) = graph.kind(edge)
                    {
                        done |= 1 << it;
                    }
                }
            }
            let is_unfair = |state: &u32| {
                graph
                    .edges(*state)
                    .any(|edge| matches!(graph.kind(edge), Kind::Fair(it) if done & (1 << it) == 0))
            };
            // Where it could go on but never does, it doesn't come again and again.
            let (unfair, rest): (Vec<u32>, Vec<u32>) = component.into_iter().partition(is_unfair);
            match (unfair.is_empty(), rest.is_empty()) {
                (true, _) => return rest.first().copied(),
                (false, true) => {}
                (false, false) => {
                    unfair.iter().for_each(|state| sets[*state as usize] = 0);
                    todo.push(rest);
                }
            }
        }
    }
    None
}

/// The strongly connected components of some states of one set (Tarjan's algorithm, without recursion).
fn components(graph: &impl Graph, sets: &[u32], states: &[u32]) -> Vec<Vec<u32>> {
    use std::collections::HashMap;
    use std::hash::BuildHasherDefault;
    type Fast<K, V> = HashMap<K, V, BuildHasherDefault<crate::search::Given>>;
    const NONE: u32 = u32::MAX;
    let places: Fast<u32, u32> = states.iter().copied().zip(0..).collect();
    let place = |state: u32, set: u32| match sets[state as usize] == set {
        true => places.get(&state).copied(),
        false => None,
    };
    let mut index = vec![NONE; states.len()];
    let mut low = vec![NONE; states.len()];
    let mut on_stack = vec![false; states.len()];
    let mut stack: Vec<u32> = Vec::new();
    let mut found = Vec::new();
    let mut next = 0;
    for root in 0..u32::try_from(states.len()).unwrap_or(NONE) {
        if index[root as usize] != NONE {
            continue;
        }
        let mut calls = vec![(root, graph.edges(states[root as usize]))];
        index[root as usize] = next;
        low[root as usize] = next;
        next += 1;
        stack.push(root);
        on_stack[root as usize] = true;
        while let Some((at, edges)) = calls.last_mut() {
            let at = *at as usize;
            let set = sets[states[at] as usize];
            if let Some(edge) = edges.next() {
                if graph.kind(edge) == Kind::Seldom {
                    continue;
                }
                let Some(to) = place(graph.target(edge), set) else {
                    continue;
                };
                let to_at = to as usize;
                if index[to_at] == NONE {
                    index[to_at] = next;
                    low[to_at] = next;
                    next += 1;
                    stack.push(to);
                    on_stack[to_at] = true;
                    calls.push((to, graph.edges(states[to_at])));
                } else if on_stack[to_at] {
                    low[at] = low[at].min(index[to_at]);
                }
                continue;
            }
            calls.pop();
            if let Some((caller, _)) = calls.last() {
                let caller = *caller as usize;
                low[caller] = low[caller].min(low[at]);
            }
            if low[at] == index[at] {
                let mut component = Vec::new();
                while let Some(member) = stack.pop() {
                    on_stack[member as usize] = false;
                    component.push(states[member as usize]);
                    if member as usize == at {
                        break;
                    }
                }
                found.push(component);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy(Vec<Vec<(u32, Kind)>>);

    impl Graph for Toy {
        fn states(&self) -> usize {
            self.0.len()
        }
        fn edges(&self, state: u32) -> Range<usize> {
            let before: usize = self.0[..state as usize].iter().map(Vec::len).sum();
            before..before + self.0[state as usize].len()
        }
        fn target(&self, edge: usize) -> u32 {
            self.0.iter().flatten().nth(edge).unwrap().0
        }
        fn kind(&self, edge: usize) -> Kind {
            self.0.iter().flatten().nth(edge).unwrap().1
        }
    }

    use Kind::{Fair, Free, Seldom};

    #[test]
    fn a_dead_end_is_a_loop_for_ever() {
        let toy = Toy(vec![vec![(1, Fair(0))], vec![]]);
        assert_eq!(fair_loop(&toy, |_| true), Some(1));
        assert_eq!(fair_loop(&toy, |state| state == 0), None);
    }

    #[test]
    fn what_leads_out_again_and_again_is_taken_some_time() {
        let toy = Toy(vec![
            vec![(1, Fair(1))],
            vec![(0, Fair(2)), (2, Fair(3))],
            vec![],
        ]);
        assert_eq!(fair_loop(&toy, |state| state < 2), None);
    }

    #[test]
    fn who_is_owed_nothing_may_stay_where_he_is() {
        let toy = Toy(vec![vec![(1, Free)], vec![(0, Free), (2, Fair(3))], vec![]]);
        assert_eq!(fair_loop(&toy, |state| state < 2), Some(0));
    }

    #[test]
    fn who_may_stay_stays() {
        let toy = Toy(vec![
            vec![(1, Fair(1))],
            vec![(0, Fair(2)), (2, Free)],
            vec![],
        ]);
        assert!(fair_loop(&toy, |state| state < 2).is_some());
    }

    #[test]
    fn a_loop_that_needs_what_nobody_owes_comes_to_an_end() {
        let toy = Toy(vec![
            vec![(1, Fair(1))],
            vec![(0, Seldom), (2, Fair(2))],
            vec![],
        ]);
        assert_eq!(fair_loop(&toy, |state| state < 2), None);
    }

    #[test]
    fn a_part_of_a_loop_may_be_fair_where_the_whole_is_not() {
        // 0 <-> 1 for ever is fair; by way of 2 something else could happen again and again.
        let toy = Toy(vec![
            vec![(1, Free)],
            vec![(0, Free), (2, Free)],
            vec![(0, Free), (3, Fair(9))],
            vec![],
        ]);
        assert!(matches!(fair_loop(&toy, |state| state < 3), Some(0 | 1)));
    }
}
