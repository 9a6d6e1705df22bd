//! The words of `--help` and of interlockctl(1), and the tables that tests compare with the program.

/// What the program is.
pub const ABOUT: &str = "Show and steer the tasks that interlock keeps apart";

/// Its description.
pub const LONG_ABOUT: &str = "\
interlockctl shows what interlockd knows: which task runs, which waits at its
gate, for what, and who holds that, how runs have ended and why they failed. It
also checks policies, starts tasks, queues them by the thousand, and brings them
to rest for deployments.

Looking is open to everybody. Changes are authorised by polkit.";

/// What `status` does.
pub const STATUS: &str = "\
Lists every task under policy with its state, since when it is in it, and one
line about it. The table fits the terminal, or 80 columns elsewhere; what was
cut ends in an ellipsis. Instances of a template are listed as TASK@INSTANCE.

States: idle; waiting (at its gate, for resources); held (at its gate, for
another reason, as a deployment or a task that comes before it); running (it
has its lease); frozen (it runs, and a deployment has stopped its processes);
blocked (its policy has errors, so it can't start).";

/// What `why` does.
pub const WHY: &str = "\
Says in one paragraph why a task is in its state: what it waits for, who holds
that, since when and for how long usually, and what comes before it.";

/// What `deadlocks` does.
pub const DEADLOCKS: &str = "\
Lists the deadlocks that are and the last ones that have been, the oldest
first: number, the task's unit, kind, the resource that is waited for, when it
was found, what became of it, and then who waits for whom, each for the next
and the last for the first.

Kinds: nested-client (a program waits for a lock that its own ancestor holds);
blocking-start (a program waits for the start of a unit that can't start
before that program has ended); between-tasks (several wait for each other's
locks). What is done about one is the resource's on-deadlock, see
interlock-policy(5).";

/// What `verify` does.
pub const VERIFY: &str = "\
Checks the policy that is installed, or the fragments in DIR alone, and prints
every mistake with file, line and column, and what to write instead. Needs
neither interlockd nor root. Calendar events and time spans that only systemd
reads are checked by systemd-analyze(1), if it is there.";

/// What `start` does.
pub const START: &str = "\
Starts a task's unit as systemctl(1) would, waits until it runs (a oneshot:
until it has ended), and says how that went. On a terminal it shows meanwhile
whom it waits for. Ctrl-C ends the waiting, not the start.

TASK is the task's name in the policy or its unit. For a task whose unit is a
template, append the instance: interlockctl start import@foo";

/// What `run` does.
pub const RUN: &str = "\
Runs a command as a unit of its own (systemd-run(1)) that waits at a gate like
a task until it may use its resources, with its output here, and exits with
its exit status. Who is waited for is told after a second. Ctrl-C stops it.

From inside a task that it would have to wait for it is refused at once, with
exit status 35; see submit.";

/// What `action` does.
pub const ACTION: &str = "\
Runs a repair that the policy names (actions, interlock-policy(5)) on one unit,
as root, without that the caller has to be root. It waits at a gate of its own
for what the task uses and for the end of the unit itself; whom it waits for is
told after a second. What it writes is shown as far as the caller may read the
journal, and the exit status is its own. Ctrl-C ends the waiting, the action
goes on.

Who ran what on which unit, and why, is in the journal and in the history.";

/// What `holding` does.
pub const HOLDING: &str = "\
Exits with 0 if it is called from inside a task that holds the resource, and
with 1 if not, so that scripts and Ansible's when: can ask.";

/// What `locks` does.
pub const LOCKS: &str = "\
Lists who holds the lock files of the policy's resources, inside and outside of
tasks, and says of what only looks like a lock why it isn't one. No lock is
taken or disturbed by it.";

/// Fields of `locks --json`.
pub const LOCKS_FIELDS: &[(&str, &str)] = &[
    ("locks[].resource", "the resource"),
    ("locks[].path", "the lock file"),
    (
        "locks[].kind",
        "how it is held: posix, ofd, flock, pidfile or toml",
    ),
    (
        "locks[].pid",
        "the holder's process, 0 if it can't be seen from here",
    ),
    ("locks[].name", "its name"),
    ("locks[].user", "its user"),
    ("locks[].unit", "its unit, may be empty"),
    ("locks[].terminal", "its terminal, may be empty"),
    ("locks[].since_usec", "when the process started, or null"),
    ("remarks[].resource", "the resource"),
    ("remarks[].path", "the lock file"),
    ("remarks[].text", "why what looks like a lock isn't one"),
];

/// What `check` does.
pub const CHECK: &str = "\
Tells a monitoring system as Nagios or Icinga how all is, after the Monitoring
Plugins' guidelines: one line, performance data, details below; exit status 0
(OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN). Needs no rights. The plugin
check_interlock is this command.

Without options these are problems: a deadlock (CRITICAL), interlockd isn't
running or doesn't answer (CRITICAL); errors in the policy, a history that
can't be read or written, a task that didn't succeed within its expect-success,
one that an operator has held for a week (WARNING). All but the second can be
set otherwise as below, or left out with --ignore deadlocks, policy, database,
expect-success or hold.

EXPR is NAME=LIMIT or NAME:TASK=LIMIT, and a problem from the limit on:

  failed=500         units whose last run failed, and no retry is left
  failed=+50%        so much above the usual of this host: the mean of seven
  failed=+20         days without the last hour (OK until that is known)
  failures-hour=10   runs that failed within an hour; also failures-day
  wait=30min         the longest wait at a gate, now
  held=2h            the longest wait for a deployment, an operator's hold or
                     another job, now
  hold=2d            the oldest hold or skip by an operator, waited for or not
  frozen=1h          the longest freeze by a deployment, now
  deployment=3h      the oldest deployment that is alive (not by task)
  queue=1000         starts in the queue
  skips=3            starts given up in a row
  stale=1            units that run code from before a deployment
  success:TASK=26h   time since the task last succeeded
  deadlocks=1        deadlocks (not by task)
  expect-success, policy, database
                     have no limit: they are so or not

One of a task that the policy doesn't have is UNKNOWN, since a misspelt one
would be OK for ever. A task that has never succeeded counts from the
beginning of the history on.";

/// Fields of `check --json`.
pub const CHECK_FIELDS: &[(&str, &str)] = &[
    ("status", "OK, WARNING, CRITICAL or UNKNOWN"),
    ("summary", "one line about the host"),
    ("problems[].status", "WARNING, CRITICAL or UNKNOWN"),
    ("problems[].text", "what isn't well"),
    ("problems[].details", "array of lines"),
    ("notes", "array, what else is worth knowing"),
    ("performance[].label", "as failed or failed:TASK"),
    ("performance[].value", "a number, of seconds if so"),
    ("performance[].unit", "s, c (a counter) or empty"),
    ("performance[].warning", "from where on, or null"),
    ("performance[].critical", "from where on, or null"),
];

/// What `metrics` does.
pub const METRICS: &str = "\
Prints metrics in Prometheus' text format, as its textfile collector and
promtool(1) read it, or in OpenMetrics 1.0, in which counters' families are
called otherwise. By task, never by instance. If interlockd doesn't answer,
it prints interlock_up 0 and exits with 69.

With metrics-textfile in the policy a timer writes such a file for
node_exporter every 30 seconds, see interlock-policy(5).";

/// What `reload` does.
pub const RELOAD: &str = "\
Makes interlockd read the policy again, and prints every mistake in it.
systemd is reloaded as well (as by systemctl daemon-reload), so that gates and
drop-ins follow. No lease and no waiter is lost.";

/// Exit statuses, with what they mean.
pub const EXIT_STATUS: [(&str, &str); 11] = [
    ("0", "Success."),
    (
        "1",
        "Failure: a task, a deployment or something else failed.",
    ),
    (
        "2",
        "Wrong usage, as an unknown option or a template without an instance.",
    ),
    ("3", "The policy has errors (verify, reload)."),
    (
        "4",
        "No such task, group, deployment, resource, batch, action or failure.",
    ),
    (
        "35",
        "Refused, since it would wait for the very task that it was called from.",
    ),
    ("69", "interlockd can't be reached."),
    (
        "75",
        "The group of a deployment could not be brought to rest; try later.",
    ),
    ("77", "Access denied."),
    (
        "128+n",
        "Interrupted by signal n while it waited, as 130 by Ctrl-C.",
    ),
    (
        "other",
        "The command's own: of run, action, and deploy run once it has run.",
    ),
];

/// Fields of `status --json`.
pub const STATUS_FIELDS: &[(&str, &str)] = &[
    ("version", "interlockd's version"),
    ("policy_state", "good, last-good or partial"),
    (
        "policy_errors",
        "array, one line for each error in the policy",
    ),
    (
        "database_trouble",
        "what is wrong with the state database; empty if nothing is",
    ),
    ("tasks[].name", "the task's name in the policy"),
    ("tasks[].unit", "its unit"),
    (
        "tasks[].state",
        "idle, waiting, held, running, frozen or blocked",
    ),
    ("tasks[].detail", "one line about that state, may be empty"),
    (
        "tasks[].since_usec",
        "since when it is in that state, or null",
    ),
];

/// Fields of `why --json`.
pub const WHY_FIELDS: &[(&str, &str)] = &[
    ("name", "the task's name in the policy"),
    ("unit", "its unit"),
    ("state", "idle, waiting, held, running, frozen or blocked"),
    ("detail", "one line about that state, may be empty"),
    (
        "explanation",
        "the paragraph that is printed without --json",
    ),
    ("since_usec", "since when it is in that state, or null"),
    ("position", "its place in the queue from 1, or null"),
    ("waiting_for", "array of the resources that it waits for"),
    ("held_by", "array of the units that hold them"),
    ("uses", "object, shares that it uses of each resource"),
    ("priority", "number, higher is served first"),
    ("gated", "whether its starts wait at a gate"),
    ("runs", "how often it ran"),
    ("skips", "how often a start was given up"),
    ("last_skip_reason", "why, the last time, or null"),
    (
        "stale_since",
        "deployment since which its code is old, or null",
    ),
    (
        "usual_duration_usec",
        "how long its runs usually take, or null",
    ),
    (
        "usual_wait_usec",
        "how long it usually waits at its gate, or null",
    ),
];

/// Fields of `deadlocks --json`.
pub const DEADLOCKS_FIELDS: &[(&str, &str)] = &[
    ("deadlocks[].id", "its number"),
    ("deadlocks[].found_usec", "when it was found"),
    (
        "deadlocks[].kind",
        "nested-client, blocking-start or between-tasks",
    ),
    ("deadlocks[].unit", "the task's unit, may be empty"),
    ("deadlocks[].resource", "what is waited for, may be empty"),
    (
        "deadlocks[].state",
        "stuck, ended (a process of it, by interlockd), gone",
    ),
    (
        "deadlocks[].chain",
        "array, one line for each that waits for the next",
    ),
];

/// Fields of `verify --json`.
pub const VERIFY_FIELDS: &[(&str, &str)] = &[
    ("policy_state", "good, last-good or partial"),
    ("errors", "number of errors"),
    ("warnings", "number of warnings"),
    ("tasks", "number of tasks that would be under policy"),
    (
        "expressions_checked",
        "whether systemd-analyze checked calendars, spans",
    ),
    ("diagnostics[].path", "the fragment"),
    ("diagnostics[].line", "line, from 1"),
    ("diagnostics[].column", "column in characters, from 1"),
    ("diagnostics[].severity", "error or warning"),
    ("diagnostics[].text", "the offending line, may be empty"),
    ("diagnostics[].message", "what is wrong with it"),
    ("diagnostics[].notes", "array, other places that matter"),
    ("diagnostics[].help", "what to write instead, or null"),
];

/// Holds for every command's `--json`.
pub const JSON: &str = "\
Every command that shows something takes --json and then prints one object.
Fields that end in _usec are microseconds: points in time since 1970-01-01
00:00 UTC, durations as they are. null stands for none or unknown. Fields may
be added in later versions; none will be renamed or removed.";

/// What its environment does.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "COLUMNS",
        "How wide tables may be, instead of the terminal's width.",
    ),
    (
        "INTERLOCK_DEPLOYMENT, INTERLOCK_GROUP",
        "Set for the command that deploy run runs.",
    ),
    ("NO_COLOR", "If set and not empty, no colour is used."),
    ("TZ", "The time zone of the times shown."),
];

/// Copyable examples.
pub const EXAMPLES: [(&str, &str); 10] = [
    ("interlockctl status", "What runs, what waits."),
    ("interlockctl why dnf-automatic", "Why it doesn't run yet."),
    (
        "interlockctl verify /etc/interlock/policy.d",
        "Check fragments before they take effect.",
    ),
    (
        "interlockctl start import@foo",
        "Start an instance of a template task and wait for it.",
    ),
    (
        "ls /srv/packages | sed 's/^/import@/' | interlockctl submit --wait",
        "Queue an instance for each package and wait for all.",
    ),
    (
        "interlockctl history import --since yesterday --failed",
        "What failed since yesterday; why: interlockctl failures",
    ),
    (
        "interlockctl capacity import-slots 4 --reason 'slow disk'",
        "Four at a time from now on, whatever the policy says.",
    ),
    (
        "interlockctl deploy run --group mediawiki -- ./deploy.sh",
        "Deploy while nothing of mediawiki runs.",
    ),
    (
        "interlockctl deploy begin --group mediawiki --expires 30min",
        "The same in two steps; then: interlockctl deploy end",
    ),
    (
        "interlockctl queue --json | jq -r '.queue[].task'",
        "The names of those that wait.",
    ),
];

/// `Fields of --json:` and the fields, for the end of a command's `--help`.
pub fn fields(fields: &[(&str, &str)]) -> String {
    format!("Fields of --json:\n{}", table(fields))
}

/// What stands at the end of `interlockctl --help`.
pub fn after_help() -> String {
    format!(
        "Exit status:\n{}\n\n{JSON}\nThe fields are listed by each command's own --help.",
        table(&EXIT_STATUS)
    )
}

fn table(rows: &[(&str, &str)]) -> String {
    let wide = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, text)| format!("  {name:wide$}  {text}"))
        .collect();
    lines.join("\n")
}
