//! PID 1, the tasks' processes, and the people: all that isn't interlock.

use interlock_core::arbiter::{Lock, Standing};
use interlock_core::deploy::Stage;

use crate::setup::{RESOURCE, Set, Setup, TASK, TASKS, has, spend};
use crate::world::{Event, Gate, HookUnit, Run, Unit, World};

impl World {
    /// What PID 1 says stands before a start (`Job.GetBefore`), and what locks say.
    pub fn standing(&self, setup: &Setup, unit: usize) -> Standing {
        let it = &self.units[unit];
        if it.job {
            let before = setup.before(unit).filter(|x| self.has_job(*x));
            let mut before: Vec<String> = before.map(|x| TASK[x].to_owned()).collect();
            before.sort();
            if !before.is_empty() {
                return Standing::Behind(before);
            }
        }
        let used = setup.policies[usize::from(self.policy)].used(unit);
        let locks = RESOURCE.iter().enumerate();
        let locks = locks.filter(|(r, _)| has(self.locked & used, *r));
        let locks: Vec<Lock> = locks
            .map(|(_, name)| Lock {
                resource: (*name).to_owned(),
                holder: "somebody".to_owned(),
            })
            .collect();
        match (locks.is_empty(), it.job) {
            (false, _) => Standing::Locked(locks),
            (true, true) => Standing::Clear,
            (true, false) => Standing::Jobless,
        }
    }

    /// All whose jobs come before a task's waiting start, directly or through others.
    pub fn all_behind(&self, setup: &Setup, unit: usize) -> Option<Vec<String>> {
        let it = &self.units[unit];
        if it.is_running() || !it.job {
            return None;
        }
        let mut todo = vec![unit];
        let mut seen = 0_u8;
        while let Some(unit) = todo.pop() {
            for before in setup.before(unit).filter(|x| self.has_job(*x)) {
                if !has(seen, before) {
                    seen |= 1 << before;
                    todo.push(before);
                }
            }
        }
        let all = (0..TASKS).filter(|at| has(seen, *at) && *at != unit);
        Some(all.map(|at| TASK[at].to_owned()).collect())
    }

    /// A task's start job, or its stop.
    fn has_job(&self, unit: usize) -> bool {
        let it = &self.units[unit];
        it.job || it.run == Run::Leaving
    }

    /// `StartUnit` of a task. One that is being stopped has its gate still, and starts again behind it.
    pub fn start(&mut self, setup: &Setup, unit: usize) {
        let it = &mut self.units[unit];
        if it.job || it.run == Run::Running {
            return;
        }
        if it.refused {
            return;
        }
        it.job = true;
        if it.gate == Gate::Down && self.is_gated(setup, unit) {
            self.units[unit].gate = Gate::Queued;
            self.begin_gate(setup, unit);
        } else if self.can_run(setup, unit) {
            self.run(unit);
        }
    }

    /// Whether PID 1 lets it start only through its gate: by the policy that the generator has seen.
    fn is_gated(&self, setup: &Setup, unit: usize) -> bool {
        setup.policies[usize::from(self.policy)].is_gated(unit)
    }

    /// `StartUnit` of a gate alone.
    pub fn start_gate(&mut self, setup: &Setup, unit: usize) {
        if self.units[unit].gate == Gate::Down {
            self.units[unit].gate = Gate::Queued;
            self.begin_gate(setup, unit);
        }
    }

    fn begin_gate(&mut self, setup: &Setup, unit: usize) {
        let mut before = setup.before_gate(unit);
        if self.units[unit].gate == Gate::Queued && !before.any(|x| self.has_job(x)) {
            let now = self.now();
            let it = &mut self.units[unit];
            it.gate = Gate::Waiting;
            it.hello = true;
            it.asked = now;
        }
    }

    /// After all that has happened.
    pub fn now(&self) -> u64 {
        let asked = self.units.iter().map(|it| it.asked).max().unwrap_or(0);
        let arbiter = self.daemon.as_ref().map(|daemon| daemon.arbiter.moments());
        let heard = arbiter.and_then(|it| it.last().copied()).unwrap_or(0);
        asked.max(heard) + 1
    }

    /// `StopUnit` of a task: its waiting start is cancelled, and its gate with it (`PartOf=`).
    pub fn stop(&mut self, unit: usize) {
        let it = &mut self.units[unit];
        if it.is_running() {
            it.run = Run::Leaving;
            it.job_gone |= it.job;
            it.job = false;
        } else if it.job || it.gate != Gate::Down {
            it.job_gone |= it.job;
            it.job = false;
            self.stop_gate(unit);
        }
    }

    /// The gate is `inactive`, whatever it was.
    pub fn stop_gate(&mut self, unit: usize) {
        let it = &mut self.units[unit];
        it.closed |= it.gate == Gate::Waiting;
        it.own_will &= it.is_running();
        it.gate = Gate::Down;
        it.hello = false;
        it.go = false;
        it.dirty = true;
        it.asked = 0;
    }

    /// `RestartUnit` of a gate: a new process waits in it; the task's job goes on waiting.
    pub fn restart_gate(&mut self, setup: &Setup, unit: usize) {
        self.stop_gate(unit);
        // Nothing needs it if its task has no job.
        if self.units[unit].job {
            self.units[unit].gate = Gate::Queued;
            self.begin_gate(setup, unit);
        }
    }

    /// A task's processes are gone.
    pub fn rest(&mut self, setup: &Setup, unit: usize, run: Run, failed: bool) {
        // Nobody who isn't behind it has anything to do with the end of a job that was done.
        let is_heard = setup.order.iter().any(|order| order.first == unit);
        let it = &mut self.units[unit];
        it.failed = failed;
        // A start before its gate has closed runs on what there is; one behind the stop runs anyway.
        it.own_will &= it.gate != Gate::Down || (it.job && it.run == Run::Leaving);
        it.frozen = false;
        it.busy = false;
        it.job_gone |= is_heard;
        // A start may have been queued behind a stop.
        it.job &= it.run == Run::Leaving;
        it.run = run;
        // While its gate is open, that has to be stopped first; or it starts again.
        it.dirty |= it.gate != Gate::Open || it.job;
        if !setup.lingers && is_unneeded(it) {
            self.stop_gate(unit);
        }
    }

    /// What these can do.
    pub fn pid1_events(&self, setup: &Setup, out: &mut Vec<Event>) {
        let budget = &self.budget;
        for (at, it) in (0_u8..).zip(&self.units) {
            let unit = usize::from(at);
            let is_free = !it.job && it.run != Run::Running;
            let mut may = |is_so: bool, event: Event| {
                if is_so {
                    out.push(event);
                }
            };
            may(budget.asks[unit] > 0 && is_free, Event::Ask(at));
            may(
                budget.stops > 0 && (it.job || it.run == Run::Running),
                Event::Stop(at),
            );
            may(budget.cancels > 0 && it.waits(), Event::Cancel(at));
            let may_lock = budget.transactions > 0 && !it.busy && !it.frozen;
            may(may_lock && it.run == Run::Running, Event::Lock(at));
            may(it.busy && !it.frozen, Event::Unlock(at));
            let begins = !setup.before_gate(unit).any(|x| self.has_job(x));
            may(it.gate == Gate::Queued && begins, Event::GateBegins(at));
            may(it.gate == Gate::Waiting && it.go, Event::Opens(at));
            may(self.can_run(setup, unit), Event::Runs(at));
            let moves = !it.frozen && !it.busy;
            may(it.run == Run::Running && moves, Event::Ends(at));
            let fails = budget.fails > 0;
            may(it.run == Run::Running && moves && fails, Event::Fails(at));
            let leaves = has(setup.leaves, unit);
            may(it.run == Run::Running && moves && leaves, Event::Leaves(at));
            may(it.run == Run::Leaving && !it.frozen, Event::Left(at));
            may(it.run == Run::Leftovers, Event::LeftoversEnd(at));
            may(is_unneeded(it), Event::GateStops(at));
        }
        for (at, _) in (0_u8..).zip(RESOURCE) {
            if has(self.locked, usize::from(at)) {
                out.push(Event::Free(at));
            } else if budget.locks > 0 && has(setup.locks, usize::from(at)) {
                out.push(Event::Take(at));
            }
        }
        let is_heard = self
            .daemon
            .as_ref()
            .is_none_or(|it| it.policy == self.policy);
        if budget.reloads > 0 && is_heard {
            out.push(Event::Reload);
        }
        for (at, stored) in (0_u8..).zip(&self.stored) {
            let holds = stored.as_ref().is_some_and(|it| it.holds());
            if holds && self.owners[usize::from(at)] && !setup.lasting {
                out.push(Event::OwnerDies(at));
            }
        }
        self.hook_events(out);
        if budget.reboots > 0 {
            out.push(Event::Reboot);
        }
        if budget.crashes > 0 && self.daemon.is_some() {
            out.push(Event::Crash);
        }
    }

    fn can_run(&self, setup: &Setup, unit: usize) -> bool {
        let it = &self.units[unit];
        let is_open = it.gate == Gate::Open || !self.is_gated(setup, unit);
        it.waits() && is_open && !setup.before(unit).any(|x| self.has_job(x))
    }

    /// Has it happen; `false` if it isn't theirs.
    pub fn pid1_event(&mut self, setup: &Setup, event: Event) -> bool {
        match event {
            Event::Ask(at) => {
                let unit = usize::from(at);
                spend(&mut self.budget.asks[unit]);
                self.start(setup, unit);
                let is_free = !self.is_gated(setup, unit) && self.units[unit].is_running();
                self.units[unit].own_will |= is_free && self.is_ready_for(setup, unit);
            }
            Event::Stop(at) => {
                self.budget.intrude(|it| &mut it.stops);
                self.units[usize::from(at)].owed = 0;
                self.stop(usize::from(at));
            }
            Event::Cancel(at) => {
                self.budget.intrude(|it| &mut it.cancels);
                let it = &mut self.units[usize::from(at)];
                it.owed = 0;
                it.job = false;
                it.job_gone = true;
                if it.gate == Gate::Queued {
                    it.gate = Gate::Down;
                }
                let unit = usize::from(at);
                if !setup.lingers && is_unneeded(&self.units[unit]) {
                    self.stop_gate(unit);
                }
            }
            Event::Lock(at) => {
                self.budget.intrude(|it| &mut it.transactions);
                self.units[usize::from(at)].busy = true;
            }
            Event::Unlock(at) => self.units[usize::from(at)].busy = false,
            Event::Take(at) => {
                self.budget.intrude(|it| &mut it.locks);
                self.locked |= 1 << at;
            }
            Event::Free(at) => self.locked &= !(1 << at),
            Event::Reload => {
                self.budget.intrude(|it| &mut it.reloads);
                let count = u8::try_from(setup.policies.len()).unwrap_or(1);
                self.policy = (self.policy + 1) % count;
                for unit in 0..TASKS {
                    // A start without a gate that gets one isn't let in any more (`AssertPathExists=`).
                    let is_gated = self.is_gated(setup, unit);
                    let it = &mut self.units[unit];
                    let is_lost = is_gated && it.waits() && it.gate == Gate::Down;
                    it.job &= !is_lost;
                    it.owed *= Set::from(!is_lost);
                }
            }
            Event::OwnerDies(at) => self.owners[usize::from(at)] = false,
            Event::Crash => {
                self.budget.intrude(|it| &mut it.crashes);
                self.crash();
            }
            Event::GateBegins(at) => self.begin_gate(setup, usize::from(at)),
            Event::Opens(at) => {
                let unit = usize::from(at);
                let it = &mut self.units[unit];
                it.gate = Gate::Open;
                it.go = false;
                it.hello = false;
                it.asked = 0;
                // At once, if nothing stands before it.
                if self.can_run(setup, unit) {
                    self.run(unit);
                } else if !setup.lingers && is_unneeded(&self.units[unit]) {
                    self.stop_gate(unit);
                }
            }
            Event::Runs(at) => self.run(usize::from(at)),
            Event::Ends(at) => {
                self.units[usize::from(at)].attempt = 0;
                self.rest(setup, usize::from(at), Run::Down, false);
            }
            Event::Fails(at) => {
                self.budget.intrude(|it| &mut it.fails);
                self.run_fails(setup, usize::from(at));
            }
            Event::HookEnds(at) => self.hook_is_over(usize::from(at), HookUnit::Succeeded),
            Event::HookFails(at) => {
                self.budget.intrude(|it| &mut it.hook_fails);
                self.hook_is_over(usize::from(at), HookUnit::Failed);
            }
            Event::Reboot => {
                self.budget.intrude(|it| &mut it.reboots);
                self.reboot(setup);
            }
            Event::Leaves(at) => self.rest(setup, usize::from(at), Run::Leftovers, false),
            Event::Left(at) => self.rest(setup, usize::from(at), Run::Down, true),
            Event::LeftoversEnd(at) => {
                let it = &mut self.units[usize::from(at)];
                it.run = Run::Down;
                it.dirty = true;
            }
            Event::GateStops(at) => self.stop_gate(usize::from(at)),
            _ => return false,
        }
        true
    }

    /// A new run: what deployments know of the last one isn't of this one.
    fn run(&mut self, unit: usize) {
        let it = &mut self.units[unit];
        it.run = Run::Running;
        it.failed = false;
        it.frozen = false;
        it.owed = 0;
        let known = self.daemon.iter_mut().flat_map(|it| &mut it.deployments);
        for deployment in known.chain(&mut self.stored).flatten() {
            if deployment.members.contains_key(TASK[unit]) {
                deployment.change(|it| {
                    if let Some(member) = it.members.get_mut(TASK[unit]) {
                        OLD_RUN.clone_into(&mut member.invocation);
                    }
                });
            }
        }
    }

    /// A deployment that this task is about is ready.
    fn is_ready_for(&self, setup: &Setup, unit: usize) -> bool {
        let policy = &setup.policies[usize::from(self.policy)];
        let memory = self.daemon.iter().flat_map(|it| it.deployments.iter());
        let all = self.stored.iter().enumerate().chain(memory.enumerate());
        let mut ready = all.filter_map(|(group, it)| Some((group, it.as_ref()?)));
        ready.any(|(group, it)| it.stage == Stage::Ready && has(policy.groups[group], unit))
    }

    fn crash(&mut self) {
        let connected = self.daemon.take().map_or(0, |daemon| daemon.connected);
        for (at, it) in self.units.iter_mut().enumerate() {
            it.job_gone = false;
            it.closed = false;
            it.dirty = false;
            // It connects again, unless it has been told already.
            if it.gate == Gate::Waiting && has(connected, at) {
                it.hello = !it.go;
            }
        }
    }
}

/// What a run is called that runs, or was the last one.
pub const THIS_RUN: &str = "this";
/// What any earlier one is called.
pub const OLD_RUN: &str = "old";

/// A gate that `StopWhenUnneeded=` stops.
fn is_unneeded(it: &Unit) -> bool {
    it.gate == Gate::Open && !it.job && !it.is_running()
}
