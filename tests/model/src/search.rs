//! Every state that can be reached, breadth first, so that the way to a fault is the shortest there is.
//!
//! Of a state only its fingerprint is kept, and by which event it was first reached; the way to it is found by
//! doing these events again. Who goes on to where is kept as well: [`crate::liveness`] needs it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What can be searched.
pub trait Machine: Sync {
    /// One state; equal ones have equal fingerprints.
    type State: Clone + Send + Sync;
    /// What leads from one to the next.
    type Event: Copy + Send + Sync;

    /// Where all begins.
    fn initial(&self) -> Self::State;
    /// All that can happen, with what follows from it.
    fn next(&self, state: &Self::State, out: &mut Vec<(Self::Event, Self::State)>);
    /// 64 bits that tell states apart.
    fn fingerprint(&self, state: &Self::State) -> u64;
    /// What may never be.
    fn fault(&self, state: &Self::State) -> Option<String>;
    /// What must come to an end some time, a bit each.
    fn open(&self, state: &Self::State) -> u16;
}

/// What was found.
pub struct Graph<E> {
    /// Each state's first predecessor, and the event that led from there; its own number for the first.
    parents: Vec<(u32, E)>,
    /// Where each state's edges begin.
    edges_of: Vec<usize>,
    /// The states that they lead to.
    pub targets: Vec<u32>,
    /// By what.
    pub events: Vec<E>,
    /// What is open in each state, see [`Machine::open`].
    pub open: Vec<u16>,
    /// The deepest state's distance from the first.
    pub depth: usize,
    /// The first state that may not be.
    pub fault: Option<(u32, String)>,
    /// There was more than was asked for.
    pub is_cut: bool,
}

impl<E: Copy> Graph<E> {
    /// How many states there are.
    pub fn states(&self) -> usize {
        self.parents.len()
    }

    /// The edges of one state, as places in [`Graph::targets`] and [`Graph::events`].
    pub fn edges(&self, state: u32) -> std::ops::Range<usize> {
        let state = state as usize;
        let begin = self.edges_of.get(state).copied();
        let end = self.edges_of.get(state + 1).copied();
        begin.unwrap_or(self.targets.len())..end.unwrap_or(self.targets.len())
    }

    /// The events that lead from the first state to this one.
    pub fn way_to(&self, state: u32) -> Vec<E> {
        let mut way = Vec::new();
        let mut at = state;
        loop {
            let (parent, event) = self.parents[at as usize];
            if parent == at {
                way.reverse();
                return way;
            }
            way.push(event);
            at = parent;
        }
    }
}

/// Keys that are hashes already, or as good.
#[derive(Default)]
pub struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = u64::from(value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type Known = HashMap<u64, u32, BuildHasherDefault<Given>>;

/// One edge; the state only if it isn't known.
struct Step<M: Machine> {
    event: M::Event,
    fingerprint: u64,
    state: Option<M::State>,
}

/// All states, but no more than so many, nor any behind the first fault.
pub fn search<M: Machine>(machine: &M, start: M::Event, most: usize) -> Graph<M::Event> {
    let first = machine.initial();
    let mut known = Known::default();
    known.insert(machine.fingerprint(&first), 0);
    let mut graph = Graph {
        parents: vec![(0, start)],
        edges_of: Vec::new(),
        targets: Vec::new(),
        events: Vec::new(),
        open: vec![machine.open(&first)],
        depth: 0,
        fault: machine.fault(&first).map(|fault| (0, fault)),
        is_cut: false,
    };
    let mut frontier = vec![(0_u32, first)];
    while !frontier.is_empty() && graph.fault.is_none() && !graph.is_cut {
        let mut next = Vec::new();
        // Piece by piece, so that what is found again within a level isn't kept many times over.
        for piece in frontier.chunks(PIECE) {
            let found = expand(machine, &known, piece);
            for ((from, _), steps) in piece.iter().zip(found) {
                graph.edges_of.push(graph.targets.len());
                for step in steps {
                    let fresh = u32::try_from(graph.parents.len()).unwrap_or(u32::MAX);
                    let to = *known.entry(step.fingerprint).or_insert(fresh);
                    if let (true, Some(state)) = (to == fresh, step.state) {
                        graph.parents.push((*from, step.event));
                        graph.open.push(machine.open(&state));
                        if graph.fault.is_none() {
                            graph.fault = machine.fault(&state).map(|fault| (to, fault));
                        }
                        next.push((to, state));
                    }
                    // What changes nothing is no event.
                    if to != *from {
                        graph.targets.push(to);
                        graph.events.push(step.event);
                    }
                }
            }
            if graph.fault.is_some() {
                break;
            }
        }
        graph.depth += usize::from(!next.is_empty());
        if std::env::var_os("PROGRESS").is_some() {
            eprintln!(
                "{} deep: {} states, {} in the last level, {} steps",
                graph.depth,
                graph.states(),
                next.len(),
                graph.targets.len()
            );
        }
        graph.is_cut = graph.states() > most;
        frontier = next;
    }
    graph
}

/// So many states are gone on from at a time.
const PIECE: usize = 1 << 16;
/// So many by one thread at a time.
const BITE: usize = 256;

fn expand<M: Machine>(machine: &M, known: &Known, piece: &[(u32, M::State)]) -> Vec<Vec<Step<M>>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let bites: Vec<&[(u32, M::State)]> = piece.chunks(BITE).collect();
    let at = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        let mut out = Vec::new();
        loop {
            let place = at.fetch_add(1, Ordering::Relaxed);
            let Some(bite) = bites.get(place) else {
                return done;
            };
            let steps = bite.iter().map(|(_, state)| {
                machine.next(state, &mut out);
                let steps = out.drain(..).map(|(event, state)| {
                    let fingerprint = machine.fingerprint(&state);
                    let state = (!known.contains_key(&fingerprint)).then_some(state);
                    Step {
                        event,
                        fingerprint,
                        state,
                    }
                });
                steps.collect()
            });
            done.push((place, steps.collect::<Vec<Vec<Step<M>>>>()));
        }
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let hands: Vec<_> = (0..threads.min(bites.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let ends = hands.into_iter().flat_map(|hand| match hand.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect()
    });
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().flat_map(|(_, steps)| steps).collect()
}
