//! The supervisor of interlock: the pure [`arbiter`], and around it interlockd, interlock-gate and interlockctl.

pub mod bus;
pub mod cgroup;
pub mod clock;
pub mod ctl;
pub mod daemon;
pub mod failpoint;
pub mod freezer;
pub mod gate;
pub mod granted;
pub mod history;
pub mod inhibitors;
pub mod instance;
pub mod journal;
pub mod locks;
pub mod logs;
pub mod lookout;
pub mod monitor;
pub mod person;
pub mod pid1;
pub mod process;
pub mod store;
