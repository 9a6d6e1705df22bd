//! The words of `interlockctl queue`, `submit` and `capacity` for `--help` and interlockctl(1).

/// What `queue` does.
pub const QUEUE: &str = "\
Lists the tasks that wait at their gates, in the order in which they are served,
and says how many starts were submitted and wait for their time; those are
listed by queue list.";

/// Fields of `queue --json`.
pub const QUEUE_FIELDS: &[(&str, &str)] = &[
    ("queue[].position", "its place, from 1"),
    ("queue[].task", "the task's name in the policy"),
    ("queue[].unit", "its unit"),
    (
        "queue[].waiting_for",
        "array of the resources that it waits for",
    ),
    ("queue[].reason", "one line about what it waits for"),
    ("queue[].since_usec", "since when it waits, or null"),
];

/// What `queue list` does.
pub const LIST: &str = "\
Lists what was submitted and hasn't ended, and retries that are due later, in
the order in which they are started: by priority, then first come, first served.
One is started when there is room for what its task uses, beside all who run and
all who wait at gates; a start by anybody else counts as the one that is queued.

States: queued; delayed (a retry whose time hasn't come); behind (a task or a
transaction of packages from inside which it was submitted); running.";

/// Fields of `queue list --json`.
pub const LIST_FIELDS: &[(&str, &str)] = &[
    ("total", "how many there are, listed or not"),
    ("entries[].id", "its number"),
    ("entries[].unit", "its unit"),
    ("entries[].task", "the task's name in the policy"),
    ("entries[].state", "queued, delayed, behind or running"),
    ("entries[].detail", "one line about what it waits for"),
    ("entries[].priority", "number, higher is started first"),
    ("entries[].position", "its place from 1, or null"),
    ("entries[].batch", "its batch, may be empty"),
    ("entries[].by", "who submitted it"),
    ("entries[].at_usec", "when"),
    ("entries[].not_before_usec", "when it is due, or null"),
    ("entries[].attempt", "number of the attempt, from 1"),
    ("entries[].kind", "submitted or retry"),
];

/// What `queue batches` does.
pub const BATCHES: &str = "\
Lists the batches that go on and the last ones that have ended, the oldest
first, with how many of each are done, failed for good, wait and run, and when
it may be over, as estimated from those that are done.";

/// Fields of `queue batches --json`.
pub const BATCHES_FIELDS: &[(&str, &str)] = &[
    ("batches[].id", "its id"),
    ("batches[].name", "its name, may be empty"),
    ("batches[].by", "who submitted it"),
    ("batches[].at_usec", "when"),
    ("batches[].total", "how many are in it"),
    ("batches[].done", "how many ended well"),
    ("batches[].failed", "how many failed for good"),
    ("batches[].cancelled", "how many were cancelled"),
    ("batches[].waiting", "how many wait, retries included"),
    ("batches[].running", "how many run"),
    ("batches[].ended_usec", "when it ended, or null"),
    ("batches[].finish_usec", "when it may end, or null"),
];

/// What `queue cancel` does.
pub const CANCEL: &str = "\
Takes starts out of the queue that wait, and says how many. What runs, runs on.
The exit status is 4 if one that is named isn't in the queue, and 1 if all that
are named have begun meanwhile.";

/// What `queue move` does.
pub const MOVE: &str = "Moves starts that wait in the queue before or behind the others.";

/// What `queue pause` does.
pub const PAUSE: &str = "\
Starts nothing more of the queue, or of one task in it, until queue resume; also
after a reboot. What runs, runs on, and starts by others aren't concerned.

With --drain it returns when nothing runs any more that the queue has started.
Ctrl-C ends the waiting, not the pause.";

/// What `queue resume` does.
pub const RESUME: &str = "\
Starts again what queue pause has held. Without TASK it takes back the pause of
all; tasks that were paused by their names stay so.";

/// What `submit` does.
pub const SUBMIT: &str = "\
Queues starts of tasks. They are on disk when this returns, and survive a kill
of interlockd and a reboot. Each is started when there is room for what its task
uses (see queue list); one that is queued already isn't queued twice. Failed
runs are tried again as the task's retry says.

Without TASK they are read from standard input, one per line; empty lines and
those that begin with # are passed over. Thousands are no trouble:

    ls /srv/packages | sed 's/^/import@/' | interlockctl submit --wait

Many that are submitted together, or with --batch or --wait, make a batch; see
queue batches. With --wait the exit status is 1 if one of them failed for good
or was cancelled; on a terminal it shows meanwhile how far they are. Ctrl-C ends
the waiting, not the batch. Those that were queued already aren't waited for.

Called from inside a task, they are started after that task; with
--after-transaction also after the package transaction in whose scriptlet it is
called. Packages do so with the macro %interlock_submit TASK.";

/// What `capacity` does.
pub const CAPACITY: &str = "\
Lists how many shares there are of each resource and how many are held; or
changes that for a resource, whatever the policy says, until it is given back to
the policy; also over a reboot. If more is held than there is now, nothing is
stopped, and nothing more is started until it fits.";

/// Fields of `capacity --json`.
pub const CAPACITY_FIELDS: &[(&str, &str)] = &[
    ("resources[].resource", "its name"),
    ("resources[].capacity", "how many shares there are"),
    ("resources[].policy", "how many the policy says"),
    ("resources[].used", "how many are held"),
    ("resources[].by", "who changed it, or null"),
    ("resources[].reason", "why, may be empty"),
    ("resources[].since_usec", "when, or null"),
];
