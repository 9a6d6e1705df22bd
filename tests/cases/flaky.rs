//! Services that fail as planned, run after run.

use std::fmt::Write as _;

use anyhow::Result;
use interlock_tests::case::Case;
use interlock_tests::service::{Service, TASK_PROGRAM};

/// Ends as the first line of its plan says, which it takes out: STATUS TEXT; without a plan it succeeds.
const PROGRAM: &str = r#"
unit=$1 plan=/run/testbed/plan.$1 status=0 text=
TASK begin
if [ -s "$plan" ]; then
    read -r status text <"$plan"
    sed -i 1d "$plan"
    echo "$text"
fi
TASK end
exit "$status"
"#;

const PATH: &str = "/run/testbed/flaky";

/// `NAME.service`, or with an `@` at its end a template, that fails as planned.
pub fn service(name: &str) -> Service {
    Service::oneshot(name)
        .command(&format!("/bin/bash {PATH} %n"))
        .unit("StartLimitIntervalSec=0")
}

/// Puts the program there; needed once by a case.
pub fn provide(case: &Case<'_>) -> Result<()> {
    let program = PROGRAM.replace("TASK", &format!("{TASK_PROGRAM} \"$unit\""));
    case.write(PATH, &program)
}

/// How the next runs of a unit end: exit status, and what they say before.
pub fn plan(case: &Case<'_>, unit: &str, runs: &[(u8, &str)]) -> Result<()> {
    let mut plan = String::new();
    for (status, text) in runs {
        let _ = writeln!(plan, "{status} {text}");
    }
    case.write(&format!("/run/testbed/plan.{unit}"), &plan)
}
