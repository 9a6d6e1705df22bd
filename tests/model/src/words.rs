//! Events and states in words, for whoever reads how a fault comes about.

use std::fmt::Write;

use interlock_core::arbiter::Arbiter;
use interlock_core::deploy::Deployment;

use crate::setup::{GROUP, RESOURCE, TASK, members};
use crate::world::{Event, Miss, Retry, Todo, Unit, World};

/// What happens, as a sentence.
pub fn sentence(event: Event, before: &World) -> String {
    let task = |at: u8| TASK[usize::from(at)];
    let group = |at: u8| GROUP[usize::from(at)];
    let resource = |at: u8| RESOURCE[usize::from(at)];
    match event {
        Event::Ask(at) => format!("somebody starts {}", task(at)),
        Event::Stop(at) => format!("somebody stops {}", task(at)),
        Event::Cancel(at) => format!("somebody cancels the start of {}", task(at)),
        Event::Lock(at) => format!("{} enters a transaction", task(at)),
        Event::Unlock(at) => format!("{} leaves its transaction", task(at)),
        Event::Take(at) => format!("somebody outside the policy locks {}", resource(at)),
        Event::Free(at) => format!("{} is unlocked", resource(at)),
        Event::Hold(at) => format!("an operator holds {}", task(at)),
        Event::Release(at) => format!("an operator releases {}", task(at)),
        Event::Overdue(at) => format!("the patience of {} ends", task(at)),
        Event::Reload => "there is another policy, and a daemon-reload".to_owned(),
        Event::Begin(at) => format!("a deployment of {} begins", group(at)),
        Event::End(at) => format!("the deployment of {} is ended", group(at)),
        Event::OwnerDies(at) => format!("the owner of the deployment of {} dies", group(at)),
        Event::Crash => "the daemon is killed".to_owned(),
        Event::Reboot => "the power is lost, and the host boots".to_owned(),
        Event::Fails(at) => format!("{} fails", task(at)),
        Event::HookEnds(at) => format!("the hook of the deployment of {} ends", group(at)),
        Event::HookFails(at) => format!("the hook of the deployment of {} fails", group(at)),
        Event::HearUnanswered(at) => {
            format!(
                "the daemon hears the gate of {}, and PID 1 doesn't answer",
                task(at)
            )
        }
        Event::AskAgain => "the daemon asks again what wasn't answered".to_owned(),
        Event::Judge(at) => format!("the daemon judges that {} failed", task(at)),
        Event::TryAgain(at) => format!("the daemon tries {} again", task(at)),
        Event::GateBegins(at) => format!("the gate of {} begins to wait", task(at)),
        Event::Opens(at) => format!("the gate of {} opens", task(at)),
        Event::Runs(at) => format!("{} runs", task(at)),
        Event::Ends(at) => format!("{} ends", task(at)),
        Event::Leaves(at) => format!("{} ends and leaves processes behind", task(at)),
        Event::LeftoversEnd(at) => format!("what {} left behind ends", task(at)),
        Event::Left(at) => format!("{} is down after its stop", task(at)),
        Event::GateStops(at) => format!("PID 1 stops the gate of {}", task(at)),
        Event::Up => "the daemon is started".to_owned(),
        Event::Hear(at) => format!("the daemon hears the gate of {}", task(at)),
        Event::HearClosed(at) => format!("the daemon hears that the gate of {} is gone", task(at)),
        Event::HearJobGone(at) => format!("the daemon hears that a job of {} is gone", task(at)),
        Event::Refresh(at) => format!("the daemon looks at the lease of {}", task(at)),
        Event::HearReload => "the daemon hears of the daemon-reload".to_owned(),
        Event::HearOwner(at) => format!("the daemon hears that the owner of {} is gone", group(at)),
        Event::PollLocks => "the daemon looks at locks from outside".to_owned(),
        Event::Sweep => "the daemon reads everything again".to_owned(),
        Event::Act => format!("the daemon does {}", next_action(before)),
        Event::ActFails(miss) => {
            format!("the daemon does {}: {}", next_action(before), wrong(miss))
        }
        Event::Step => format!("the daemon does {}", next_step(before)),
        Event::StepFails(miss) => {
            format!("the daemon does {}: {}", next_step(before), wrong(miss))
        }
        Event::Round => "the daemon looks at its deployments".to_owned(),
        Event::Time(at) => format!("time passes for the deployment of {}", group(at)),
    }
}

fn wrong(miss: Miss) -> &'static str {
    match miss {
        Miss::Lost => "the call is lost",
        Miss::Unheard => "the answer is lost",
        Miss::Refused => "it is refused",
    }
}

fn next_action(world: &World) -> String {
    let action = world.daemon.as_ref().and_then(|it| it.actions.first());
    action.map_or_else(String::new, |it| format!("{it:?}"))
}

fn next_step(world: &World) -> String {
    match world.daemon.as_ref().and_then(|it| it.steps.first()) {
        Some(Todo::Do(todo)) => format!("{todo:?}"),
        Some(Todo::ThawUnwanted) => "thaw what nobody wants frozen".to_owned(),
        None => String::new(),
    }
}

/// A state, some lines.
pub fn picture(world: &World) -> String {
    let mut text = String::new();
    for (name, it) in TASK.iter().zip(&world.units) {
        if *it != Unit::default() {
            let _ = writeln!(text, "    {name}: {}", unit(it));
        }
    }
    let daemon = world.daemon.as_ref();
    match daemon {
        None => text.push_str("    there is no daemon\n"),
        Some(daemon) => {
            text.push_str(&arbiter(&daemon.arbiter));
            let todo: Vec<String> = daemon
                .actions
                .iter()
                .map(|it| format!("{it:?}"))
                .chain(daemon.steps.iter().map(|it| format!("{it:?}")))
                .collect();
            if !todo.is_empty() {
                let _ = writeln!(text, "    to do: {}", todo.join(", "));
            }
        }
    }
    let memory = daemon.map_or(&world.stored, |it| &it.deployments);
    for (at, it) in memory.iter().enumerate() {
        if let Some(it) = it {
            let _ = writeln!(text, "    {}", deployment(it, world.owners[at]));
        }
    }
    let locked = members(world.locked).map(|at| RESOURCE[at]);
    let held = members(world.held).map(|at| TASK[at]);
    for (what, names) in [
        ("locked", locked.collect::<Vec<_>>()),
        ("held", held.collect()),
    ] {
        if !names.is_empty() {
            let _ = writeln!(text, "    {what}: {}", names.join(", "));
        }
    }
    text
}

fn unit(it: &Unit) -> String {
    let mut words = vec![format!("{:?}, gate {:?}", it.run, it.gate).to_lowercase()];
    let marks = [
        (it.job, "job"),
        (it.hello, "asks"),
        (it.go, "told to open"),
        (it.frozen, "frozen"),
        (it.busy, "in a transaction"),
        (it.failed, "failed"),
        (it.job_gone, "end of job unheard"),
        (it.closed, "closed gate unheard"),
        (it.dirty, "lease to be looked at"),
        (it.owed != 0, "to be started again"),
        (it.refused, "masked"),
        (it.own_will, "started by somebody"),
        (it.retry == Retry::Unjudged, "failure unheard"),
        (it.retry == Retry::Due, "to be tried again"),
    ];
    let marks = marks.iter().filter(|(is_so, _)| *is_so);
    words.extend(marks.map(|(_, word)| (*word).to_owned()));
    words.join(", ")
}

fn arbiter(it: &Arbiter) -> String {
    let mut text = String::new();
    for (name, lease) in it.leases() {
        let presumed = if lease.presumed { ", presumed" } else { "" };
        let revoked = if lease.revoked.is_some() {
            ", revoked"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "    lease of {name}: {:?}{presumed}{revoked}",
            lease.uses
        );
    }
    for waiter in it.queue() {
        let held = if waiter.held.is_some() { ", held" } else { "" };
        let _ = writeln!(
            text,
            "    waits: {} for {:?}, {:?}{held}",
            waiter.unit, waiter.claim.uses, waiter.standing
        );
    }
    text
}

fn deployment(it: &Deployment, has_owner: bool) -> String {
    let owner = if has_owner { "" } else { ", its owner gone" };
    let members = it.members.iter();
    let members: Vec<String> = members
        .map(|(name, member)| format!("{name} {:?}", member.phase).to_lowercase())
        .collect();
    format!(
        "deployment {}: {:?}{owner}: {}",
        it.id,
        it.stage,
        members.join(", ")
    )
}
