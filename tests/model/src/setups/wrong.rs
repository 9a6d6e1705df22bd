//! Setups of what goes wrong besides interlockd itself.

use interlock_generator::policy::settings::DeployAction::{
    Checkpoint, Freeze, Ignore, Restart, Stop, Wait,
};

use super::{A, B, C, after, policy, setup};
use crate::setup::{Budget, Policy, Setup};

/// Runs that fail, and are tried again as often as the policy says: also those that a deployment keeps waiting.
pub fn failures() -> Setup {
    let policy = Policy {
        attempts: [3, 2, 0, 0],
        ..policy()
    };
    let budget = Budget {
        asks: [1, 1, 1, 0],
        fails: 3,
        crashes: 1,
        deployments: [1, 0],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        ..setup(
            "failures",
            "runs that fail and are tried again, a deployment, a crash",
            vec![policy],
            budget,
        )
    }
}

/// Tasks without a gate, one of which gets one while it runs.
pub fn ungated() -> Setup {
    let before = Policy {
        ungated: 1 << B | 1 << C,
        actions: [Freeze, Restart, Checkpoint, Wait],
        ..policy()
    };
    let after = Policy {
        ungated: 1 << C,
        ..before.clone()
    };
    let budget = Budget {
        asks: [0, 2, 1, 0],
        crashes: 1,
        reloads: 1,
        deployments: [1, 1],
        intrusions: 1,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        ..setup(
            "ungated",
            "tasks without a gate, and one that gets one while it runs",
            vec![before, after],
            budget,
        )
    }
}

/// Deployments whose hooks fail.
pub fn hooks() -> Setup {
    let policy = Policy {
        hooks: 0b01,
        ..policy()
    };
    let budget = Budget {
        asks: [1, 1, 0, 0],
        stops: 1,
        hook_fails: 1,
        crashes: 1,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        ..setup(
            "hooks",
            "a deployment with hooks that fail or take too long, another one without, a crash",
            vec![policy],
            budget,
        )
    }
}

/// Deployments that outlive a reboot.
pub fn reboots() -> Setup {
    let policy = Policy {
        actions: [Freeze, Restart, Checkpoint, Wait],
        fallback: [None, None, Some(Ignore), None],
        hooks: 0b10,
        ..policy()
    };
    let budget = Budget {
        asks: [0, 1, 1, 0],
        reboots: 1,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        lasting: true,
        ..setup(
            "reboots",
            "power lost between any two steps of deployments that nobody holds",
            vec![policy],
            budget,
        )
    }
}

/// Gates whose requests, and what the arbiter wants to know of them, PID 1 doesn't answer.
pub fn misses() -> Setup {
    let budget = Budget {
        asks: [2, 1, 0, 1],
        misses: 2,
        crashes: 1,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        leaves: 1 << A,
        order: vec![after(A, B, false)],
        ..setup(
            "misses",
            "calls to PID 1 for gates that are lost or answered by nobody; processes left behind; a crash",
            vec![policy()],
            budget,
        )
    }
}

/// The same for what deployments ask for.
pub fn losses() -> Setup {
    let policy = Policy {
        actions: [Freeze, Restart, Checkpoint, Wait],
        fallback: [Some(Stop), None, None, None],
        groups: [0b0110, 0b0001],
        hooks: 0b01,
        ..policy()
    };
    let budget = Budget {
        asks: [1, 1, 0, 0],
        misses: 2,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        leaves: 1 << A,
        ..setup(
            "losses",
            "calls to PID 1 for deployments that are lost, answered by nobody, or refused",
            vec![policy],
            budget,
        )
    }
}
