//! The words of `interlockctl hold`, `release` and `holds` for `--help` and interlockctl(1).

/// What `hold` does.
pub const HOLD: &str = "\
Holds tasks: starts that come from now on, and those that wait at their gates
already, wait there until interlockctl release, or until the time that is given.
They are neither lost nor refused (but by the end of their window), and keep no
resource from others. What runs, runs on; starts from the queue stay in it;
repairs (interlockctl action) aren't concerned. A template is held with all its
instances, or one instance, as TASK@INSTANCE. Holds are kept over a restart of
interlockd, over reboots, and while the policy is without the task.

With --skip-next the next start, or the next N, is given up instead, also one
that waits already: nothing fails by that, it is in the history, and the start
after that is an ordinary one. A restart by systemd (Restart=) or at the end of
a deployment is no new start. What a socket or path unit starts can't be
skipped, since that would start it again at once.

Another hold of the same task takes the place of the first; a hold and a skip
stand beside each other.";

/// What `release` does.
pub const RELEASE: &str = "\
Takes back all holds and skips of exactly these tasks or instances. What waits
at the gates goes on, unless something else holds it. The exit status is 4 if
one of them isn't held.";

/// What `holds` does.
pub const HOLDS: &str = "\
Lists which tasks operators hold, or want skipped, with who, why and until when.";

/// Fields of `holds --json`.
pub const HOLDS_FIELDS: &[(&str, &str)] = &[
    ("holds[].task", "the task's name in the policy"),
    (
        "holds[].unit",
        "its unit, its template for all instances, or one instance",
    ),
    ("holds[].reason", "why"),
    ("holds[].by", "who said so"),
    ("holds[].since_usec", "since when"),
    ("holds[].until_usec", "when it ends by itself, or null"),
    (
        "holds[].skip_next",
        "how many starts are to be skipped; 0 if they wait",
    ),
    (
        "holds[].waiting",
        "array of the units that wait at their gates",
    ),
    ("holds[].known", "whether the policy has the task"),
];
