//! The plan: which files and links a policy compiles to. Pure and deterministic; no I/O.

mod command;
mod group;
mod metrics;
mod order;
mod task;
mod window;

use std::fmt;

use crate::names;
use crate::policy::settings::Settings;
use crate::unitfile::UnitFile;
pub use order::Order;

/// The output directories of systemd.generator(7), by their priority against other unit files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Directory {
    /// Below `/etc/systemd/system`, above `/usr/lib/systemd/system`.
    Normal,
    /// Above `/etc/systemd/system`.
    Early,
    /// Below everything.
    Late,
}

impl Directory {
    /// All of them, in the order in which systemd passes them.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Early, Self::Late];
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Early => "early",
            Self::Late => "late",
        })
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A unit or a drop-in.
    File(UnitFile),
    /// A symbolic link to this target.
    Link(String),
}

/// One file or link of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The directory it goes into.
    pub directory: Directory,
    /// Its path below that: a file name, or `DIRECTORY/NAME`.
    pub path: String,
    /// What stands there.
    pub content: Content,
    /// Whether a unit may not start without this drop-in.
    guard: bool,
}

impl Entry {
    /// The unit that would start unguarded if this entry couldn't be written.
    pub fn guards(&self) -> Option<&str> {
        let unit = self.path.strip_suffix(names::DROP_IN)?;
        unit.strip_suffix(".d/").filter(|_| self.guard)
    }
}

/// Everything that a policy compiles to, sorted by directory and path, each path once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    entries: Vec<Entry>,
}

impl Plan {
    /// Compiles a policy.
    pub fn new(settings: &Settings) -> Self {
        let mut plan = Self {
            entries: Vec::with_capacity(settings.tasks().len() * 2),
        };
        // Of two entries with one path the first stays; a blocked unit must stay blocked.
        for (unit, origin) in settings.blocked() {
            task::block(&mut plan, unit, origin);
        }
        let order = Order::new(settings);
        for task in settings.tasks().values() {
            task::drop_ins(&mut plan, &order, task);
            if let Some(command) = &task.command {
                command::units(&mut plan, task, command, order.in_window(task));
            }
        }
        for (name, window) in settings.windows() {
            window::units(&mut plan, settings, name, window);
        }
        for (name, group) in settings.groups() {
            group::stop(&mut plan, settings, name, group);
        }
        if let Some(textfile) = settings.metrics_textfile() {
            metrics::units(&mut plan, textfile);
        }
        plan.entries
            .sort_by(|a, b| (a.directory, &a.path).cmp(&(b.directory, &b.path)));
        plan.entries
            .dedup_by(|b, a| (a.directory, &a.path) == (b.directory, &b.path));
        plan
    }

    /// The files and links.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether something is to stand at this path.
    pub fn has(&self, directory: Directory, path: &str) -> bool {
        let wanted = (directory, path);
        let entries = &self.entries;
        entries
            .binary_search_by(|it| (it.directory, it.path.as_str()).cmp(&wanted))
            .is_ok()
    }

    fn file(&mut self, directory: Directory, path: String, file: UnitFile) {
        self.entries.push(Entry {
            directory,
            path,
            content: Content::File(file),
            guard: false,
        });
    }

    /// Adds the drop-in of a unit, or of a gate; `guard` if the unit may not start without it.
    fn drop_in(&mut self, unit: &str, guard: bool, file: UnitFile) {
        self.entries.push(Entry {
            directory: Directory::Normal,
            path: [unit, ".d/", names::DROP_IN].concat(),
            content: Content::File(file),
            guard,
        });
    }

    fn link(&mut self, directory: Directory, path: String, target: String) {
        self.entries.push(Entry {
            directory,
            path,
            content: Content::Link(target),
            guard: false,
        });
    }
}

/// As `--dry-run` prints it: each file below its path.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            match &entry.content {
                Content::File(file) => {
                    writeln!(f, "==> {}/{}\n{file}", entry.directory, entry.path)?;
                }
                Content::Link(target) => {
                    writeln!(f, "==> {}/{} -> {target}\n", entry.directory, entry.path)?;
                }
            }
        }
        Ok(())
    }
}
