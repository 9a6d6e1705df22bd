//! The words of `interlockctl history` and `failures` for `--help` and interlockctl(1).

/// What `history` does.
pub const HISTORY: &str = "\
Lists the runs of tasks, the newest first, and the starts that were given up:
when each began, how long it took, how it ended, and in one line what there is
to say about it: what it waited for, what interrupted it, which attempt it was.

Results: systemd's own, as success, exit-code, signal, timeout or oom-kill, and
assert (one of the unit's own assertions wasn't met, and its start failed); and
stopped (by an operator), interrupted (by a deployment, a preemption or a
shutdown; it is run again), not-started (a condition wasn't met, or its start
was cancelled), skipped (given up at its gate), unknown (nobody knows any more).
stopped, interrupted, not-started, skipped and unknown are no failures.

--exceeding SPAN lists by task instead how many runs took longer, of how many,
and how long they take: half of them at most P50, 95 and 99 of a hundred at most
P95 and P99. What takes long wants an on-deploy action, see interlock-policy(5).

--at-risk lists the tasks that deployments interrupt, with how likely a run of
usual length isn't met by one. A task whose runs are about as long as the time
between two deployments hardly ever finishes.";

/// Fields of `history --json`.
pub const HISTORY_FIELDS: &[(&str, &str)] = &[
    ("runs[].id", "its number, 0 of one that was skipped"),
    ("runs[].task", "the task's name in the policy"),
    ("runs[].unit", "its unit"),
    ("runs[].asked_usec", "when its start was asked for, or null"),
    ("runs[].granted_usec", "when its gate was opened, or null"),
    ("runs[].started_usec", "when it began, or null"),
    ("runs[].ended_usec", "when it ended, null while it goes on"),
    ("runs[].result", "how it ended, empty while it goes on"),
    ("runs[].exit_status", "its exit status, or null"),
    (
        "runs[].signal",
        "number of the signal that ended it, or null",
    ),
    ("runs[].invocation", "systemd's invocation id"),
    ("runs[].waited_for", "array of what it waited for"),
    ("runs[].interruptions", "array of what interrupted it"),
    ("runs[].attempt", "number of the attempt, from 1"),
    ("runs[].cause", "what asked for it, may be empty"),
    ("runs[].signature", "key of its failure, may be empty"),
    ("runs[].verdict", "what was made of it, may be empty"),
    ("runs[].reason", "why it was skipped, may be empty"),
];

/// Fields of `history --exceeding SPAN --json`.
pub const EXCEEDING_FIELDS: &[(&str, &str)] = &[
    ("tasks[].task", "the task's name in the policy"),
    ("tasks[].runs", "number of its runs"),
    ("tasks[].exceeding", "how many of them took longer"),
    ("tasks[].p50_usec", "half of them took this or less"),
    ("tasks[].p95_usec", "95 of a hundred took this or less"),
    ("tasks[].p99_usec", "99 of a hundred took this or less"),
    ("tasks[].longest_usec", "the longest"),
];

/// Fields of `history --at-risk --json`.
pub const AT_RISK_FIELDS: &[(&str, &str)] = &[
    ("tasks[].task", "the task's name in the policy"),
    ("tasks[].action", "what a deployment does to it"),
    ("tasks[].usual_usec", "how long its runs usually take"),
    ("tasks[].p95_usec", "95 of a hundred took this or less"),
    ("tasks[].deployments", "number of deployments of its groups"),
    ("tasks[].every_usec", "mean time between two, or null"),
    (
        "tasks[].chance",
        "that a usual run isn't met by one, 0 to 1",
    ),
    ("tasks[].text", "one line about it"),
];

/// What `failures` does.
pub const FAILURES: &str = "\
Lists the failures of tasks by their cause, the latest first: the signature of
each, how often it has been and in how many units; exit status or signal and the
last lines of the run, with all folded in them that differs from run to run, as
numbers, paths, times and quoted names; and whether it is transient (it goes
away by itself, and is retried), permanent (it isn't retried), or neither yet.

Classes come from [failures.NAME] of the policy, and from failures classify.
What is not classified counts as transient, until every attempt has ended with
it. See retry in interlock-policy(5).";

/// What `failures classify` does.
pub const CLASSIFY: &str = "\
Says that a failure goes away by itself (transient), so that it is retried, or
that it doesn't (permanent), whatever the policy says; none takes that back.";

/// Fields of `failures --json`.
pub const FAILURES_FIELDS: &[(&str, &str)] = &[
    ("failures[].signature", "its key"),
    ("failures[].task", "the task's name in the policy"),
    ("failures[].text", "result and last lines, folded"),
    ("failures[].count", "how often it has been"),
    ("failures[].units", "in how many units"),
    ("failures[].first_usec", "for the first time"),
    ("failures[].last_usec", "for the last time"),
    ("failures[].class", "transient, permanent or null"),
    ("failures[].class_by", "rule of the policy, or who said so"),
    ("failures[].class_reason", "why, may be empty"),
    (
        "failures[].recovered",
        "how often a later attempt succeeded",
    ),
    (
        "failures[].hard",
        "number of units that are failed for good",
    ),
    ("failures[].example", "a unit of it"),
];

/// What stands at the end of `history --help`.
pub fn after_help() -> String {
    let part = |option: &str, fields| {
        let text = crate::ctl::manual::fields(fields);
        text.replacen("--json", option, 1)
    };
    [
        part("--json", HISTORY_FIELDS),
        part("--exceeding SPAN --json", EXCEEDING_FIELDS),
        part("--at-risk --json", AT_RISK_FIELDS),
    ]
    .join("\n\n")
}
