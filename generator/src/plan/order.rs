//! Which units come before a task, by its windows and by `after =`.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::settings::{Settings, Task};

/// Predecessors by task name.
#[derive(Debug)]
pub struct Order<'a> {
    settings: &'a Settings,
    /// Each task's places in windows: the window's order, and its index in it.
    places: BTreeMap<&'a str, Vec<(&'a [String], usize)>>,
    /// What the policy says and the units' own files contradict: the earlier task and the later.
    contradicted: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Order<'a> {
    /// The order of a policy.
    pub fn new(settings: &'a Settings) -> Self {
        let mut places: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for window in settings.windows().values() {
            for (index, task) in window.order.iter().enumerate() {
                places
                    .entry(task)
                    .or_default()
                    .push((&window.order[..], index));
            }
        }
        let mut order = Self {
            settings,
            places,
            contradicted: BTreeSet::new(),
        };
        order.contradicted = order.contradictions();
        order
    }

    /// Whether a window starts the task.
    pub(super) fn in_window(&self, task: &Task) -> bool {
        self.places.contains_key(task.name.as_str())
    }

    /// The units after which the task's unit and its gate are ordered, sorted.
    ///
    /// All earlier members of a window, not only the one before: that one may be missing from the
    /// transaction (masked, not installed), and then the order of those around it would be lost.
    /// A template can't be a predecessor, as systemd orders only after instances.
    pub fn before(&self, task: &Task) -> BTreeSet<&'a str> {
        let earlier = self.earlier(&task.name).filter(|earlier| {
            let pair = (earlier.name.as_str(), task.name.as_str());
            !self.contradicted.contains(&pair)
        });
        earlier.map(|earlier| earlier.unit.as_str()).collect()
    }

    /// The tasks that the policy puts before this one.
    fn earlier(&self, name: &str) -> impl Iterator<Item = &'a Task> {
        let places = self.places.get(name);
        let from_windows = places
            .into_iter()
            .flatten()
            .flat_map(|&(order, index)| order[..index].iter());
        let tasks = self.settings.tasks();
        let after = tasks.get(name).map(|task| task.after.iter());
        let all: Vec<&Task> = from_windows
            .chain(after.into_iter().flatten())
            .filter_map(|earlier| tasks.get(earlier))
            .filter(|earlier| !earlier.is_template() && earlier.name != name)
            .collect();
        all.into_iter()
    }

    /// Orders of the policy that would close a circle with those of the units' own files, which no drop-in can take
    /// back. PID 1 would break it by leaving out one of the starts.
    fn contradictions(&self) -> BTreeSet<(&'a str, &'a str)> {
        let own = self.unit_order();
        if own.is_empty() {
            return BTreeSet::new();
        }
        let names: Vec<&str> = self.settings.tasks().keys().map(String::as_str).collect();
        let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut policy = BTreeSet::new();
        for (later, name) in names.iter().enumerate() {
            policy.extend(
                self.earlier(name)
                    .map(|it| (index[it.name.as_str()], later)),
            );
        }
        let mut graph = Graph(vec![Vec::new(); names.len()]);
        for (before, after) in own {
            graph.add(index[before], index[after]);
        }
        let mut whole = graph.clone();
        policy
            .iter()
            .for_each(|(before, after)| whole.add(*before, *after));
        if !whole.has_circle() {
            return BTreeSet::new();
        }
        let mut contradicted = BTreeSet::new();
        for (before, after) in policy {
            if graph.leads(after, before) {
                contradicted.insert((names[before], names[after]));
            } else {
                graph.add(before, after);
            }
        }
        contradicted
    }

    /// What the files of the tasks' units say of each other, by task: the earlier and the later.
    fn unit_order(&self) -> BTreeSet<(&'a str, &'a str)> {
        let task = |unit: &str| Some(self.settings.task_of_unit(unit)?.name.as_str());
        let tasks = self.settings.tasks().values();
        let pairs = tasks.flat_map(|it| {
            let own = it.name.as_str();
            let earlier = it
                .unit_after
                .iter()
                .filter_map(move |unit| Some((task(unit)?, own)));
            let later = it
                .unit_before
                .iter()
                .filter_map(move |unit| Some((own, task(unit)?)));
            earlier.chain(later)
        });
        pairs.filter(|(before, after)| before != after).collect()
    }
}

/// What comes after each task, by number.
#[derive(Clone)]
struct Graph(Vec<Vec<usize>>);

impl Graph {
    fn add(&mut self, before: usize, after: usize) {
        self.0[before].push(after);
    }

    /// Whether there is a way from one to another.
    fn leads(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.0.len()];
        let mut todo = vec![from];
        while let Some(task) = todo.pop() {
            if task == to {
                return true;
            }
            if !std::mem::replace(&mut seen[task], true) {
                todo.extend(&self.0[task]);
            }
        }
        false
    }

    fn has_circle(&self) -> bool {
        let mut before = vec![0usize; self.0.len()];
        self.0
            .iter()
            .flatten()
            .for_each(|after| before[*after] += 1);
        let mut free: Vec<usize> = (0..before.len())
            .filter(|task| before[*task] == 0)
            .collect();
        let mut taken = 0;
        while let Some(task) = free.pop() {
            taken += 1;
            for after in &self.0[task] {
                before[*after] -= 1;
                if before[*after] == 0 {
                    free.push(*after);
                }
            }
        }
        taken < before.len()
    }
}
