//! Which events some time happen, and which only so often: [`crate::liveness`] for the world's graph.

use std::ops::Range;

use crate::liveness::{Graph, Kind};
use crate::search;
use crate::setup::{GROUP, GROUPS, Setup, TASK, TASKS};
use crate::world::Event;

/// The graph, for one that must come to its end: a start or a deployment.
struct For<'a> {
    graph: &'a search::Graph<Event>,
    setup: &'a Setup,
    goal: usize,
}

impl Graph for For<'_> {
    fn states(&self) -> usize {
        self.graph.states()
    }

    fn edges(&self, state: u32) -> Range<usize> {
        self.graph.edges(state)
    }

    fn target(&self, edge: usize) -> u32 {
        self.graph.targets[edge]
    }

    fn kind(&self, edge: usize) -> Kind {
        match self.graph.events[edge] {
            Event::Ask(at) if self.goes_before(usize::from(at)) => Kind::Seldom,
            event => kind(event),
        }
    }
}

impl For<'_> {
    /// Whether the goal is a start that rightly waits for each start of this task.
    fn goes_before(&self, task: usize) -> bool {
        if self.goal >= TASKS + GROUPS {
            // It is tried again when nobody else has it run.
            return task == self.goal - TASKS - GROUPS;
        }
        if self.goal >= TASKS {
            return false;
        }
        let mut policies = self.setup.policies.iter();
        let is_higher = policies.any(|it| it.priority[task] > it.priority[self.goal]);
        let mut all = vec![self.goal];
        let mut seen = 0_u8;
        while let Some(at) = all.pop() {
            let new = self.setup.before(at).filter(|it| seen & (1 << it) == 0);
            let new: Vec<usize> = new.collect();
            new.iter().for_each(|it| seen |= 1 << it);
            all.extend(new);
        }
        is_higher || seen & (1 << task) != 0
    }
}

fn kind(event: Event) -> Kind {
    match event {
        Event::Opens(at) => Kind::Fair(at),
        Event::Runs(at) => Kind::Fair(4 + at),
        Event::Ends(at) => Kind::Fair(8 + at),
        Event::Left(at) => Kind::Fair(12 + at),
        Event::GateStops(at) => Kind::Fair(16 + at),
        Event::LeftoversEnd(at) => Kind::Fair(20 + at),
        Event::GateBegins(at) => Kind::Fair(24 + at),
        Event::Hear(at) => Kind::Fair(28 + at),
        Event::HearClosed(at) => Kind::Fair(32 + at),
        Event::HearJobGone(at) => Kind::Fair(36 + at),
        Event::Refresh(at) => Kind::Fair(40 + at),
        Event::Unlock(at) => Kind::Fair(44 + at),
        Event::Release(at) => Kind::Fair(48 + at),
        Event::End(at) => Kind::Fair(52 + at),
        Event::HearOwner(at) => Kind::Fair(54 + at),
        Event::Time(at) => Kind::Fair(56 + at),
        Event::Free(at) => Kind::Fair(58 + at),
        Event::Up => Kind::Fair(62),
        Event::Act => Kind::Fair(63),
        Event::Step => Kind::Fair(64),
        Event::Round => Kind::Fair(65),
        Event::PollLocks => Kind::Fair(66),
        Event::HearReload => Kind::Fair(67),
        Event::Sweep => Kind::Fair(68),
        Event::AskAgain => Kind::Fair(69),
        Event::HookEnds(at) => Kind::Fair(70 + at),
        Event::Judge(at) => Kind::Fair(72 + at),
        Event::TryAgain(at) => Kind::Fair(76 + at),
        Event::Crash
        | Event::Begin(_)
        | Event::Take(_)
        | Event::Hold(_)
        | Event::Lock(_)
        | Event::Reload
        | Event::Reboot
        | Event::Fails(_)
        | Event::HookFails(_)
        | Event::HearUnanswered(_)
        | Event::ActFails(_)
        | Event::StepFails(_)
        // As long as something is left behind, its next run has the lease that it needs.
        | Event::Leaves(_) => Kind::Seldom,
        Event::Ask(_)
        | Event::Stop(_)
        | Event::Cancel(_)
        | Event::Overdue(_)
        | Event::OwnerDies(_) => Kind::Free,
    }
}

/// A state from which something may wait for ever, with what that is.
pub fn endless(graph: &search::Graph<Event>, setup: &Setup) -> Option<(u32, String)> {
    let starts = TASK.iter().map(|name| format!("the start of {name}"));
    let deployments = GROUP.iter().map(|name| format!("the deployment of {name}"));
    let retries = TASK
        .iter()
        .map(|name| format!("the next attempt of {name}"));
    starts
        .chain(deployments)
        .chain(retries)
        .enumerate()
        .find_map(|(goal, name)| {
            let view = For { graph, setup, goal };
            let is_open = |state: u32| graph.open[state as usize] & (1 << goal) != 0;
            let state = crate::liveness::fair_loop(&view, is_open)?;
            Some((state, format!("{name} may wait for ever from here on")))
        })
}
