//! Deployments: bring a group's tasks to rest, hold its starts, and let all go on. Pure: no I/O, no clock.
//!
//! A deployment isn't driven by events but by what is seen: [`Deployment::advance`] compares what it wants with
//! what is, and says which [`Step`]s are next. So it goes on from wherever an interlockd left off that was killed:
//! it is written down before its steps are taken, and a step that was taken already isn't seen as missing.
//!
//! ```text
//! depool ─> settle ─> ready ─> resume ─> watch ─> repool ─> over
//!              └── refused ──────┘
//! └──── admission is closed ─────────┘
//! ```

mod member;
mod model;
mod resume;
mod settle;
mod sight;
mod step;
#[cfg(test)]
mod tests;
mod together;

pub use member::{Member, Phase};
pub use model::{Begin, Deployment, Owner, PUT_OFF, Stage, State, Usec};
pub use sight::{Activity, HookSight, Rule, Seen, Sight};
pub use step::{Answer, Hook, Step};
pub use together::{Todo, closed, held_by_others, in_order, wants_frozen};
