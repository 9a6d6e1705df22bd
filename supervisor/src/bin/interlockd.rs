//! The supervisor daemon (interlockd(8)).

use interlock_supervisor::daemon::{Paths, run};
use interlock_supervisor::journal;

fn main() -> anyhow::Result<()> {
    if std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == "--version")
    {
        println!("interlockd {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    journal::init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(Paths::default()))
}
