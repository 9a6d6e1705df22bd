//! What a chaos run plays with: eight resources, fifty tasks of all types, orders, groups. Made from the seed.

mod files;
mod task;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::dice::Dice;
pub use task::{Role, Task};

/// The program of all tasks, inside the container.
pub const PROGRAM: &str = "/usr/local/libexec/testbed/chaos-task";

/// What the tasks of `Type=dbus` begin with, and the first part of their names on the bus.
pub const OWN: &str = "/usr/local/libexec/testbed/chaos-own";
/// See [`OWN`].
pub const BUS_NAMES: &str = "org.interlock.Chaos";

/// Where their units are: below /etc, so that a mask can stand above them.
pub const UNIT_DIR: &str = "/usr/local/lib/systemd/system";

/// Steps of dice that aren't steps of the driver.
const WORLD: u64 = u64::MAX;

/// The shares that exist of each.
const RESOURCES: [(&str, u32); 8] = [
    ("one", 1),
    ("lone", 1),
    ("locked", 1),
    ("pair", 2),
    ("trio", 3),
    ("quartet", 4),
    ("slots", 8),
    (ELASTIC, ELASTICITY),
];

/// What a repair of a task calls itself; it never runs while the task does.
pub const REPAIR: &str = "repair-of-oneshot1";

/// The task that can be repaired.
pub const REPAIRED: &str = "oneshot1.service";

/// The resource whose capacity is changed.
pub const ELASTIC: &str = "elastic";

/// How much the policy says that there is of it.
pub const ELASTICITY: u32 = 6;

/// The resource of the tasks that are lined up to see their order.
pub const LINE: &str = "line";

/// The template whose instances have timers, by a template as well.
pub const BEATS: &str = "beats";

/// All of it.
#[derive(Debug, Clone)]
pub struct World {
    /// The tasks with a unit of their own.
    pub tasks: Vec<Task>,
    /// Who runs before whom: oneshots of one policy order.
    pub before: Vec<(String, String)>,
    /// Groups, with the units whose starts they hold.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Shares that each template's instances use.
    pub templates: BTreeMap<String, BTreeMap<String, u32>>,
    files: Vec<(String, String)>,
}

fn shares(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
    of.iter()
        .map(|(name, share)| ((*name).to_owned(), *share))
        .collect()
}

struct Maker {
    dice: Dice,
    tasks: Vec<Task>,
}

impl Maker {
    /// One or two resources, some of them with weight.
    fn uses(&mut self) -> BTreeMap<String, u32> {
        let mut uses = BTreeMap::new();
        for _ in 0..*self.dice.one(&[1, 1, 1, 2, 2, 3]) {
            let (name, capacity) = *self.dice.one(&RESOURCES[..7]);
            let most = capacity.min(4) as usize;
            let share = u32::try_from(1 + self.dice.below(most)).unwrap_or(1);
            uses.insert(name.to_owned(), share);
        }
        uses
    }

    fn span(&mut self) -> &'static str {
        const SPANS: [&str; 5] = ["0", "0.05", "0.2", "0.5", "1"];
        SPANS[self.dice.below(SPANS.len())]
    }

    /// A task whose service has these lines; `mode` is its program's.
    fn add(&mut self, name: &str, mode: &str, status: &str, lines: &str) -> &mut Task {
        let uses = self.uses();
        let span = self.span();
        let program = if lines.contains("Type=notify") {
            format!("/bin/sh -c 'systemd-notify --ready; exec \"$$@\"' sh {PROGRAM}")
        } else if lines.contains("Type=dbus") {
            format!("{OWN} {BUS_NAMES}.{name} {PROGRAM}")
        } else {
            PROGRAM.to_owned()
        };
        let unit = format!("{name}.service");
        let service = format!(
            "{lines}ExecStart={program} {unit} {mode} {span} {status}\nExecStopPost={PROGRAM} {unit} post\n"
        );
        self.tasks.push(Task {
            name: name.to_owned(),
            role: Role::Any,
            uses,
            stays_active: false,
            unit_lines: Vec::new(),
            service,
            policy: String::new(),
            timer: None,
            command: false,
        });
        let last = self.tasks.len() - 1;
        &mut self.tasks[last]
    }

    fn plain(&mut self, name: &str, kind: &str) -> &mut Task {
        let lines = format!("Type={kind}\n");
        let task = self.add(name, "run", "0", &lines);
        task.stays_active = kind != "oneshot";
        task
    }

    fn tasks(&mut self) {
        for number in 0..6 {
            self.plain(&format!("oneshot{number}"), "oneshot");
        }
        for number in 0..2 {
            self.plain(&format!("simple{number}"), "simple");
            self.plain(&format!("exec{number}"), "exec");
            self.plain(&format!("notify{number}"), "notify").service += "NotifyAccess=all\n";
            let forking = self.add(&format!("forking{number}"), "fork", "0", "Type=forking\n");
            forking.stays_active = true;
            let stays = format!("remains{number}");
            self.add(&stays, "run", "0", "Type=oneshot\nRemainAfterExit=yes\n")
                .stays_active = true;
            self.add(
                &format!("restarts{number}"),
                "run",
                "flaky",
                "Type=oneshot\nRestart=on-failure\nRestartSec=100ms\n",
            );
            self.add(
                &format!("leaves{number}"),
                "leave",
                "0",
                "Type=oneshot\nKillMode=process\n",
            );
            self.add(&format!("ticks{number}"), "tick", "0", "Type=oneshot\n");
            self.plain(&format!("urgent{number}"), "oneshot").policy = "priority = 5\n".into();
        }
        self.plain("preempts", "oneshot").policy =
            "priority = 9\npreempts = [\"oneshot5\"]\n".into();
        self.add("fails", "run", "3", "Type=oneshot\n");
        self.add("fails-at-times", "run", "flaky", "Type=oneshot\n");
        self.plain("requires", "oneshot").unit_lines.extend([
            "Requires=oneshot0.service".into(),
            "After=oneshot0.service".into(),
        ]);
        self.plain("wants", "oneshot")
            .unit_lines
            .push("Wants=oneshot1.service".into());
        let conflicts = self.plain("conflicts", "oneshot");
        conflicts
            .unit_lines
            .push("Conflicts=conflicted.service".into());
        conflicts.role = Role::Refusable;
        self.plain("conflicted", "oneshot").role = Role::Refusable;
        let limited = self.plain("limited", "oneshot");
        limited.unit_lines.push("JobTimeoutSec=500ms".into());
        limited.role = Role::Refusable;
        let skipped = self.plain("skipped", "oneshot");
        skipped.policy = "when-busy = \"skip\"\n".into();
        skipped.role = Role::Refusable;
        let patient = self.plain("impatient", "oneshot");
        patient.policy = "max-wait = \"1s\"\n".into();
        patient.role = Role::Refusable;
        let careful = self.plain("careful", "oneshot");
        careful.policy = "uninterruptible = true\n".into();
        careful.role = Role::Uninterruptible;
        self.plain("dropped", "oneshot").role = Role::Dropped;
        for (name, timer) in [
            ("every3s", "OnCalendar=*:*:0/3\nAccuracySec=10ms\n"),
            (
                "pause2s",
                "OnActiveSec=1\nOnUnitInactiveSec=2\nAccuracySec=10ms\n",
            ),
        ] {
            let task = self.plain(name, "oneshot");
            task.timer = Some(timer.into());
            task.role = Role::Timed;
        }
        for name in ["first", "second", "third"] {
            self.plain(name, "oneshot");
        }
        self.plain("win-a", "oneshot").role = Role::Timed;
        self.plain("win-b", "oneshot").role = Role::Timed;
        for number in 0..2 {
            let name = format!("dbus{number}");
            self.plain(&name, "dbus").service += &format!("BusName={BUS_NAMES}.{name}\n");
            let name = format!("reloads{number}");
            let lines = "Type=notify-reload\nNotifyAccess=all\n";
            self.add(&name, "reload", "0", lines).stays_active = true;
        }
        self.plain("idle", "idle").role = Role::Late;
        self.command("commanded", "\"*:*:0/5\"");
    }

    /// A command that the policy makes a unit and a timer of.
    fn command(&mut self, name: &str, calendar: &str) {
        let task = self.plain(name, "oneshot");
        task.command = true;
        task.role = Role::Timed;
        task.policy = format!(
            "command = [\"{PROGRAM}\", \"{name}.service\", \"run\", \"0.1\", \"0\"]\ncalendar = {calendar}\n"
        );
    }

    fn named(&mut self, name: &str) -> &mut Task {
        let at = self.tasks.iter().position(|task| task.name == name);
        &mut self.tasks[at.unwrap_or(0)]
    }
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut maker = Maker {
            dice: Dice::of(seed, WORLD),
            tasks: Vec::new(),
        };
        maker.tasks();
        // A dependent that needs the same share as what it depends on is the hard case.
        let uses = maker.named("oneshot0").uses.clone();
        maker.named("requires").uses = uses;
        for name in ["preempts", "oneshot5"] {
            maker.named(name).uses = shares(&[("one", 1)]);
        }
        let repair = format!(
            "[tasks.oneshot1.actions.repair]\ncommand = [\"{PROGRAM}\", \"{REPAIR}\", \"run\", \"0.1\", \"0\"]\n"
        );
        maker.named("oneshot1").policy = repair;
        for (name, action) in [
            ("ticks0", "{ action = \"freeze\", fallback = \"stop\" }"),
            ("ticks1", "{ action = \"freeze\" }"),
            ("simple0", "{ action = \"restart\" }"),
            ("oneshot2", "{ action = \"stop\" }"),
            (
                "oneshot3",
                "{ action = \"checkpoint\", signal = \"SIGUSR1\", fallback = \"stop\" }",
            ),
            ("exec0", "{ action = \"stop\" }"),
            ("oneshot4", "{ action = \"protect\" }"),
            ("oneshot5", "{ action = \"ignore\" }"),
            ("every3s", "{ action = \"wait\" }"),
            ("pause2s", "{ action = \"freeze\" }"),
        ] {
            let _ = writeln!(maker.named(name).policy, "on-deploy = {action}");
        }
        for (task, before) in [("second", "first"), ("third", "second")] {
            let _ = writeln!(maker.named(task).policy, "after = [\"{before}\"]");
        }
        let mut world = Self {
            tasks: maker.tasks,
            before: [("first", "second"), ("second", "third"), ("win-a", "win-b")]
                .map(|(one, other)| (format!("{one}.service"), format!("{other}.service")))
                .into(),
            groups: BTreeMap::new(),
            templates: BTreeMap::from([
                ("once".to_owned(), shares(&[("slots", 1), ("quartet", 1)])),
                ("import".to_owned(), shares(&[(ELASTIC, 1)])),
                ("line".to_owned(), shares(&[(LINE, 1)])),
                (BEATS.to_owned(), shares(&[("slots", 2), ("trio", 1)])),
            ]),
            files: Vec::new(),
        };
        for (name, members) in [
            (
                "site",
                &["ticks0", "simple0", "oneshot2", "oneshot4", "every3s"][..],
            ),
            (
                "code",
                &["ticks0", "ticks1", "oneshot3", "exec0", "pause2s", "once"],
            ),
            ("queue", &["import", "commanded", "oneshot2", "oneshot5"]),
        ] {
            let members = members.iter().map(|name| (*name).to_owned()).collect();
            world.groups.insert(name.to_owned(), members);
        }
        world.write();
        world
    }

    /// Everything that is written into the container: path and text.
    #[must_use]
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// The task of this name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Where a task's own fragment of the policy is.
    #[must_use]
    pub fn fragment_path(name: &str) -> String {
        format!("/etc/interlock/policy.d/50-{name}.toml")
    }

    /// The capacity of each resource.
    #[must_use]
    pub fn capacities() -> BTreeMap<String, u32> {
        let all = RESOURCES.iter().copied().chain([(LINE, 1)]);
        all.map(|(name, capacity)| (name.to_owned(), capacity))
            .collect()
    }

    /// The timers that must go on for ever.
    #[must_use]
    pub fn timers(&self) -> Vec<String> {
        let own = self
            .tasks
            .iter()
            .filter(|task| task.timer.is_some() || task.command);
        own.map(|task| format!("{}.timer", task.name))
            .chain(["interlock-window-often.timer".to_owned()])
            .chain(["a", "b"].map(|instance| format!("{BEATS}@{instance}.timer")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_large_as_it_says_and_depends_on_the_seed_alone() {
        let world = World::of(1);
        assert!(world.tasks.len() >= 30, "{}", world.tasks.len());
        assert_eq!(format!("{world:?}"), format!("{:?}", World::of(1)));
        assert_ne!(format!("{world:?}"), format!("{:?}", World::of(2)));
    }

    #[test]
    fn has_tasks_of_all_types_of_systemd() {
        let world = World::of(1);
        for kind in [
            "simple",
            "exec",
            "forking",
            "oneshot",
            "dbus",
            "notify",
            "notify-reload",
            "idle",
        ] {
            let line = format!("Type={kind}\n");
            let is_there = |(path, text): &(String, String)| {
                path.ends_with(".service") && text.contains(&line)
            };
            assert!(world.files().iter().any(is_there), "{kind}");
        }
    }

    #[test]
    fn no_task_needs_more_than_there_is() {
        let capacities = World::capacities();
        for seed in 0..50 {
            for task in World::of(seed).tasks {
                assert!(
                    task.uses
                        .iter()
                        .all(|(name, share)| *share <= capacities[name])
                );
            }
        }
    }
}
