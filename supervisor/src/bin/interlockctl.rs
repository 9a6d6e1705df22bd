//! interlockctl(1).

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(interlock_supervisor::ctl::main().await)
}
