//! What the arbiter is told, and what it says is to be done.

use std::collections::{BTreeMap, BTreeSet};

use super::{Claim, Refusal, Standing, Uses};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A gate asks for its unit's lease.
    Request {
        /// The task's unit.
        unit: String,
        /// What it asks for.
        claim: Claim,
        /// When it began to wait, in microseconds of `CLOCK_MONOTONIC`; decides the order of the queue.
        since: u64,
        /// What stood before it just now.
        standing: Standing,
        /// Now, microseconds of `CLOCK_MONOTONIC`: its deadline may have passed before it could ask.
        now: u64,
    },
    /// A gate's wait ended without a grant: its connection closed.
    Cancelled {
        /// The task's unit.
        unit: String,
    },
    /// The answer to [`Action::Look`].
    Looked {
        /// The task's unit.
        unit: String,
        /// What stands before it.
        standing: Standing,
    },
    /// The answer to [`Action::LookBehindLease`]: the units whose jobs the lease's task still waits for,
    /// directly or through others.
    LookedBehindLease {
        /// The task's unit.
        unit: String,
        /// Units that it waits for, none if nothing stands before it just now; `None` once it has started.
        behind: Option<Vec<String>>,
    },
    /// A job of this unit is gone from PID 1's queue: whoever stood behind it may go on.
    JobGone {
        /// The unit whose job it was.
        unit: String,
    },
    /// Locks from outside have been taken or freed: whoever waits for one is looked at again.
    LocksChanged,
    /// A lease that exists without having been granted here: found after a restart, or a task that ran
    /// before it came under policy. Never refused, even if it breaks a capacity.
    Adopt {
        /// The task's unit.
        unit: String,
        /// What it holds.
        uses: Uses,
        /// When its gate was started, microseconds of `CLOCK_MONOTONIC`.
        since: u64,
        /// An activating gate that hasn't reconnected: its grant may have been on the way.
        presumed: bool,
    },
    /// A lease is over: its gate is inactive or failed, and its task's cgroup empty.
    Released {
        /// The task's unit.
        unit: String,
    },
    /// An operator has changed capacities: this is every resource's.
    Capacities(BTreeMap<String, u32>),
    /// The policy was read again.
    Policy {
        /// Every resource's capacity.
        capacities: BTreeMap<String, u32>,
        /// The claims, by unit, of all that holds or waits and is still under policy.
        claims: BTreeMap<String, Claim>,
    },
    /// Deployments and operators hold exactly these starts from now on, and no others any more.
    Admission {
        /// Names of tasks, for all that is run in their names, repairs included; units; templates, for all their
        /// instances.
        closed: BTreeSet<String>,
        /// Now, microseconds of `CLOCK_MONOTONIC`.
        now: u64,
    },
    /// Time has passed: the deadlines are due. Microseconds of `CLOCK_MONOTONIC`.
    Tick {
        /// Now.
        now: u64,
    },
    /// Look again at all that waits: signals may have been lost.
    Sweep,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open the gate.
    Grant {
        /// The task's unit.
        unit: String,
    },
    /// Give the start up.
    Refuse {
        /// The task's unit.
        unit: String,
        /// Why.
        why: Refusal,
    },
    /// Find out what stands before this unit's start; answer with [`Event::Looked`].
    Look {
        /// The task's unit.
        unit: String,
    },
    /// Find out for what a granted, not yet started task waits; answer with [`Event::LookedBehindLease`].
    LookBehindLease {
        /// The task's unit.
        unit: String,
    },
    /// Take the lease back by restarting the gate: its task waits for one that waits for the lease.
    Revoke {
        /// The task's unit.
        unit: String,
    },
}
