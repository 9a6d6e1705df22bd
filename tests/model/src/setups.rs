//! What is checked by `make model`.

mod wrong;

use interlock_generator::policy::settings::DeployAction::{
    Checkpoint, Freeze, Ignore, Restart, Stop, Wait,
};

use crate::setup::{ALWAYS, Budget, Order, Policy, Setup};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

/// One exclusive resource, two with shares, and tasks that need one, two and three of them.
fn policy() -> Policy {
    Policy {
        capacities: [1, 2, 3],
        uses: [[1, 0, 0], [1, 1, 0], [0, 2, 1], [1, 1, 2]],
        priority: [0; 4],
        groups: [0b0011, 0b0110],
        actions: [Freeze, Restart, Stop, Wait],
        fallback: [None; 4],
        ungated: 0,
        attempts: [0; 4],
        hooks: 0,
        skips: 0,
        patience: 0,
    }
}

fn setup(
    name: &'static str,
    what: &'static str,
    policies: Vec<Policy>,
    mut budget: Budget,
) -> Setup {
    // As often as every few seconds.
    budget.sweeps = ALWAYS;
    if budget.intrusions == 0 {
        budget.intrusions = ALWAYS;
    }
    Setup {
        name,
        what,
        policies,
        order: Vec::new(),
        budget,
        leaves: 0,
        locks: 0,
        holds: 0,
        is_fine: false,
        lasting: false,
        grace: 0,
        is_prompt: false,
        is_eager: false,
        lingers: false,
        most: 20_000_000,
    }
}

fn after(first: usize, then: usize, of_gate: bool) -> Order {
    Order {
        first,
        then,
        of_gate,
    }
}

/// All of them, the small ones first.
pub fn all() -> Vec<Setup> {
    vec![
        setup(
            "gates",
            "starts without end, and the daemon hears of them in any order",
            vec![policy()],
            Budget {
                asks: [ALWAYS; 4],
                ..Budget::default()
            },
        ),
        crashes(),
        orders(),
        races(),
        limits(),
        locks(),
        policies(),
        deployments(),
        checkpoints(),
        killed(),
        wrong::failures(),
        wrong::ungated(),
        wrong::hooks(),
        wrong::reboots(),
        wrong::misses(),
        wrong::losses(),
        everything(),
    ]
}

fn crashes() -> Setup {
    let budget = Budget {
        asks: [ALWAYS; 4],
        crashes: ALWAYS,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        lingers: true,
        leaves: 1 << C,
        ..setup(
            "crashes",
            "starts and crashes without end; processes left behind",
            vec![policy()],
            budget,
        )
    }
}

/// A task that starts after another by its own unit's file, unknown to the policy, and needs what that needs.
fn orders() -> Setup {
    let budget = Budget {
        asks: [ALWAYS; 4],
        stops: 1,
        crashes: 1,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        order: vec![after(A, B, false), after(C, D, true)],
        ..setup(
            "orders",
            "tasks that start after others, by the policy or only by their units",
            vec![policy()],
            budget,
        )
    }
}

/// The same, and the world goes on between a question and its answer.
fn races() -> Setup {
    let budget = Budget {
        asks: [1, 1, 1, 0],
        stops: 1,
        cancels: 1,
        ..Budget::default()
    };
    Setup {
        is_fine: true,
        lingers: true,
        order: vec![after(A, B, false), after(B, C, false)],
        ..setup(
            "races",
            "a chain of orders; starts are stopped and cancelled between any two things that the daemon does",
            vec![policy()],
            budget,
        )
    }
}

fn limits() -> Setup {
    let policy = Policy {
        priority: [0, 1, 0, 0],
        skips: 1 << C,
        patience: 1 << A | 1 << D,
        ..policy()
    };
    let budget = Budget {
        asks: [ALWAYS; 4],
        cancels: 1,
        crashes: 1,
        holds: 2,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        holds: 1 << A | 1 << B,
        ..setup(
            "limits",
            "a priority, patience, a task that is skipped if busy, holds by operators",
            vec![policy],
            budget,
        )
    }
}

fn locks() -> Setup {
    let budget = Budget {
        asks: [ALWAYS; 4],
        crashes: 1,
        locks: ALWAYS,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        locks: 0b011,
        ..setup(
            "locks",
            "locks taken and freed from outside without end",
            vec![policy()],
            budget,
        )
    }
}

fn policies() -> Setup {
    let other = Policy {
        capacities: [1, 1, 2],
        uses: [[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 2]],
        groups: [0b0011, 0b1100],
        ..policy()
    };
    let budget = Budget {
        asks: [ALWAYS, ALWAYS, 2, 2],
        crashes: 1,
        reloads: ALWAYS,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        ..setup(
            "policies",
            "other capacities and uses, back and forth without end",
            vec![policy(), other],
            budget,
        )
    }
}

fn deployments() -> Setup {
    let budget = Budget {
        asks: [1, 2, 1, 0],
        stops: 1,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        grace: 10,
        ..setup(
            "deployments",
            "two that overlap: freeze, restart and stop",
            vec![policy()],
            budget,
        )
    }
}

fn checkpoints() -> Setup {
    let policy = Policy {
        actions: [Checkpoint, Freeze, Ignore, Wait],
        fallback: [Some(Stop), Some(Restart), None, Some(Freeze)],
        groups: [0b0011, 0b1010],
        ..policy()
    };
    let budget = Budget {
        asks: [1, 1, 0, 1],
        transactions: 1,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        ..setup(
            "checkpoints",
            "checkpoint, freeze and wait with fallbacks; a task in a transaction",
            vec![policy],
            budget,
        )
    }
}

fn killed() -> Setup {
    let budget = Budget {
        asks: [1, 1, 0, 0],
        crashes: 1,
        deployments: [1, 1],
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        ..setup(
            "killed",
            "two deployments that overlap, and a crash between any two steps",
            vec![policy()],
            budget,
        )
    }
}

fn everything() -> Setup {
    let other = Policy {
        capacities: [1, 1, 3],
        ..policy()
    };
    let budget = Budget {
        asks: [1, 1, 1, 1],
        cancels: 1,
        crashes: 1,
        locks: 1,
        reloads: 1,
        holds: 1,
        deployments: [1, 1],
        intrusions: 1,
        ..Budget::default()
    };
    Setup {
        is_prompt: true,
        is_eager: true,
        order: vec![after(A, B, false)],
        locks: 0b001,
        holds: 1 << D,
        ..setup(
            "everything",
            "all of it at once",
            vec![policy(), other],
            budget,
        )
    }
}
