//! The files of a world: its units and its policy.

use std::fmt::Write as _;

use super::{BEATS, LINE, PROGRAM, RESOURCES, UNIT_DIR, World};

impl World {
    pub(super) fn write(&mut self) {
        let mut policy = String::new();
        for (name, capacity) in RESOURCES.iter().copied().chain([(LINE, 1)]) {
            let _ = writeln!(policy, "[resources.{name}]\ncapacity = {capacity}");
            if name == "locked" {
                let _ = writeln!(
                    policy,
                    "lock-files = [{{ path = \"/run/testbed/locked\", kind = \"flock\" }}]"
                );
            }
        }
        policy += "[windows.often]\ncalendar = \"*:*:0/7\"\npersistent = false\norder = [\"win-a\", \"win-b\"]\n";
        for (name, members) in &self.groups {
            let _ = writeln!(
                policy,
                "[groups.{name}]\ntasks = {members:?}\ngrace = \"100ms\"\nmax-wait = \"8s\""
            );
        }
        for (template, uses) in &self.templates {
            let uses: Vec<String> = uses
                .iter()
                .map(|(name, n)| format!("{name} = {n}"))
                .collect();
            let _ = writeln!(
                policy,
                "[tasks.{template}]\nunit = \"{template}@.service\"\nuses = {{ {} }}",
                uses.join(", ")
            );
            if template == "import" {
                policy += "retry = { attempts = 5, delay = \"500ms\", max-delay = \"1s\" }\n";
            }
        }
        let _ = writeln!(
            policy,
            "[tasks.line-holder]\nunit = \"line-holder.service\"\nuses = [\"{LINE}\"]"
        );
        let mut files = vec![("/etc/interlock/policy.d/10-chaos.toml".to_owned(), policy)];
        let unit = |lines: &str, service: &str| {
            format!("[Unit]\nStartLimitIntervalSec=0\n{lines}[Service]\n{service}")
        };
        // The instance's number of failures stands in its name.
        for (template, arguments) in [
            ("once", "run 0.1 0"),
            ("import", "run 0.1 tries:%i"),
            ("line", "run 0 0"),
            (BEATS, "run 0.2 0"),
        ] {
            let text = unit(
                "",
                &format!(
                    "Type=oneshot\nExecStart={PROGRAM} %n {arguments}\nExecStopPost={PROGRAM} %n post\n"
                ),
            );
            files.push((format!("{UNIT_DIR}/{template}@.service"), text));
        }
        files.push((
            format!("{UNIT_DIR}/{BEATS}@.timer"),
            "[Timer]\nOnCalendar=*:*:0/4\nAccuracySec=10ms\n[Install]\nWantedBy=multi-user.target\n".to_owned(),
        ));
        files.push((
            format!("{UNIT_DIR}/line-holder.service"),
            unit(
                "",
                "Type=oneshot\nExecStart=/bin/sh -c 'read x </run/testbed/line.fifo'\n",
            ),
        ));
        for task in &self.tasks {
            files.push((Self::fragment_path(&task.name), task.fragment()));
            if task.command {
                continue;
            }
            let lines: String = task
                .unit_lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect();
            files.push((
                format!("{UNIT_DIR}/{}", task.unit()),
                unit(&lines, &task.service),
            ));
            if let Some(timer) = &task.timer {
                files.push((
                    format!("{UNIT_DIR}/{}.timer", task.name),
                    format!("[Timer]\n{timer}[Install]\nWantedBy=multi-user.target\n"),
                ));
            }
        }
        self.files = files;
    }
}
