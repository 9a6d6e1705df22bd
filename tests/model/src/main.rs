//! The model check: the arbiter and the deployments as they are, in every order of events.
//!
//! `interlock-model [SETUP...]`: each setup, or those named, until all its states are seen or a fault is found;
//! then exits 1 and says how it comes about. See `tests/README.md`.

mod acting;
mod daemon;
mod deploying;
mod failing;
mod fairness;
mod faults;
mod hooks;
mod liveness;
mod machine;
mod pid1;
mod recovery;
mod search;
mod setup;
mod setups;
mod shared;
mod sight;
mod words;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use machine::Interlock;
use search::Machine;
use setup::Setup;
use world::Event;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = setups::all();
    let names: Vec<&str> = all.iter().map(|it| it.name).collect();
    if let Some(unknown) = wanted.iter().find(|it| !names.contains(&it.as_str())) {
        eprintln!(
            "there is no setup {unknown:?}; there are {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    }
    let is_wanted = |it: &&Setup| wanted.is_empty() || wanted.iter().any(|name| name == it.name);
    let began = Instant::now();
    let mut states = 0;
    let mut count = 0;
    for setup in all.iter().filter(is_wanted) {
        let (seen, is_good) = check(setup);
        if !is_good {
            return ExitCode::FAILURE;
        }
        states += seen;
        count += 1;
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{states} states of {count} setups explored, all of them, without a fault, in {took:.0} s"
    );
    ExitCode::SUCCESS
}

/// Looks at one setup; says how many states it has and whether all is well.
fn check(setup: &Setup) -> (usize, bool) {
    let began = Instant::now();
    let machine = Interlock(setup);
    let graph = search::search(&machine, Event::Up, setup.most);
    let searched = began.elapsed().as_secs_f64();
    let fault = graph.fault.clone();
    let fault = match (fault, graph.is_cut) {
        (None, false) => fairness::endless(&graph, setup),
        (fault, _) => fault,
    };
    let took = began.elapsed().as_secs_f64();
    println!(
        "{}: {} states, {} steps, {} deep, in {took:.1} s ({searched:.1} s of it to find them): {}",
        setup.name,
        graph.states(),
        graph.targets.len(),
        graph.depth,
        setup.what
    );
    match fault {
        Some((state, fault)) => {
            println!("FAULT: {fault}");
            show(&machine, &graph.way_to(state));
            (graph.states(), false)
        }
        None if graph.is_cut => {
            println!(
                "FAULT: there are more than the {} states expected",
                setup.most
            );
            (graph.states(), false)
        }
        None => (graph.states(), true),
    }
}

/// How a state comes about.
fn show(machine: &Interlock<'_>, way: &[Event]) {
    let mut world = machine.initial();
    for (at, event) in way.iter().enumerate() {
        println!("{:3}. {}", at + 1, words::sentence(*event, &world));
        machine.happen(&mut world, *event);
    }
    println!("then:\n{}", words::picture(&world));
}
