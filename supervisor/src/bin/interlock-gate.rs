//! The process of `interlock-gate@UNIT.service`: ready when UNIT's lease is granted (interlock(7)).

use std::path::Path;
use std::process::ExitCode;

use interlock_generator::names;
use interlock_supervisor::gate::process::pass;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(unit), None) = (args.next(), args.next()) else {
        eprintln!("usage: interlock-gate UNIT (started by interlock-gate@UNIT.service)");
        return ExitCode::from(64);
    };
    let lease = names::lease_file(&unit);
    match pass(&unit, Path::new(names::GATE_SOCKET), Path::new(&lease)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(closed) => {
            // Priority prefixes of sd-daemon(3); the unit's LogLevelMax= lets these through.
            eprintln!("<4>gate of {unit} stays closed: {closed}");
            ExitCode::from(closed.exit_status())
        }
    }
}
