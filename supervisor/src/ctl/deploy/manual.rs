//! The words of `interlockctl deploy` for `--help` and interlockctl(1).

/// What `deploy` does.
pub const DEPLOY: &str = "\
A deployment is a period in which the tasks of a group are at rest, so that
code and configuration can be replaced. From its first moment no task of the
group is started: starts wait at their gates. Tasks that run are brought to
rest as their on-deploy says (interlock-policy(5)). At its end all that was
interrupted goes on or is started again, and what waited is started.

Beginning one, and ending one's own, needs polkit's word for the action
org.interlock.Interlock1.deploy; to end somebody else's, the action is
org.interlock.Interlock1.manage.";

/// What `run` does.
pub const RUN: &str = "\
Begins a deployment, waits until the group is at rest, runs COMMAND, and ends
the deployment, whatever COMMAND did. Meanwhile it says on standard error whom
it waits for, for how long usually, and until when at most.

COMMAND's environment has INTERLOCK_DEPLOYMENT (the deployment's id) and
INTERLOCK_GROUP. The exit status is COMMAND's, or 128 and the signal's number
if a signal killed it; 127 if it isn't there, 126 if it can't be run; 75 if the
group could not be brought to rest, so that COMMAND was not run; 1 if COMMAND
succeeded, but something could not be started again or a hook failed.

SIGINT, SIGTERM and SIGHUP end the deployment while the group is brought to
rest; while COMMAND runs they are passed on to it. If interlockctl itself is
killed, interlockd ends the deployment as failed.";

/// What `begin` does.
pub const BEGIN: &str = "\
Begins a deployment, waits until the group is at rest, and prints the
deployment's id. It goes on until deploy end, or until it expires; then it ends
as failed. If the group can't be brought to rest the exit status is 75, and
nothing is left at rest.

Where one process sees a deployment through, deploy run is the better choice:
it ends as soon as that process does.";

/// What `end` does.
pub const END: &str = "\
Ends a deployment and waits until all goes again. ID may be left out if only
one is alive, or only one of the group. The exit status is 1 if the deployment
ended as failed, as when something could not be started again.";

/// What `extend` does.
pub const EXTEND: &str = "Lets a deployment of deploy begin expire SPAN from now.";

/// What `take-over` does.
pub const TAKE_OVER: &str = "\
Makes a deployment one's own, as when the host that deploys has been lost. It
then lives until it expires or is ended; its former holder doesn't count any
more, and deploy run no longer ends it.";

/// What `list` does.
pub const LIST: &str = "\
Lists the deployments that are alive; with --all also the last 20 that have
ended, the oldest first.

States: settling (its tasks are brought to rest), ready (all are at rest),
ending (all go again), ended, failed.";

/// What `show` does.
pub const SHOW: &str = "\
Shows a deployment: who began it and why, and what became of each task. ID may
be left out if only one is alive.";

/// Fields of `deploy list --json`.
pub const LIST_FIELDS: &[(&str, &str)] = &[
    ("deployments[].id", "its id"),
    ("deployments[].group", "its group in the policy"),
    (
        "deployments[].state",
        "settling, ready, ending, ended or failed",
    ),
    ("deployments[].reason", "why it was begun, may be empty"),
    ("deployments[].owner", "user, program and pid, for people"),
    ("deployments[].since_usec", "when it was begun"),
    (
        "deployments[].expires_usec",
        "when it ends by itself, or null",
    ),
];

/// Fields of `deploy show --json`.
pub const SHOW_FIELDS: &[(&str, &str)] = &[
    ("id", "its id"),
    ("group", "its group in the policy"),
    ("state", "settling, ready, ending, ended or failed"),
    ("detail", "one line about that state, may be empty"),
    ("reason", "why it was begun, may be empty"),
    ("owner", "user, program and pid, for people"),
    ("owner_uid", "the owner's user number"),
    ("since_usec", "when it was begun"),
    ("ready_since_usec", "when all was at rest, or null"),
    ("ended_usec", "when it ended or failed, or null"),
    ("expires_usec", "when it ends by itself, or null"),
    ("deadline_usec", "when settling is given up, or null"),
    ("tasks[].task", "the task's name in the policy"),
    ("tasks[].unit", "its unit"),
    ("tasks[].action", "what is done to it, as in on-deploy"),
    (
        "tasks[].state",
        "what became of it, see interlockd(8), Tasks",
    ),
    ("tasks[].detail", "one line about that state, may be empty"),
    ("tasks[].since_usec", "since when, or null"),
    (
        "tasks[].usual_usec",
        "how long its runs usually take, or null",
    ),
];
