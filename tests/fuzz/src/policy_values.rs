//! A policy that is TOML, with hostile text for every value and every name.

use arbitrary::Unstructured;
use interlock_generator::host::UnknownHost;
use interlock_generator::policy::{self, Source};

use crate::input::{below, once_in};
use crate::{Target, hostile, units};

pub const TARGET: Target = Target {
    name: "policy_values",
    run,
    words: hostile::PIECES,
};

fn run(bytes: &[u8]) {
    let text = policy(&mut Unstructured::new(bytes));
    let path = "/etc/interlock/policy.d/10-a\n[Service].toml";
    let loaded = policy::from_sources(vec![Source::new(path, &*text)], &UnknownHost, "");
    for it in &loaded.diagnostics {
        let line = it.one_line();
        assert!(
            !line.contains("not TOML"),
            "the target is wrong: {line} in {text}"
        );
    }
    units::check(&loaded.settings);
}

/// Writes TOML.
struct Writer<'a, 'b> {
    text: String,
    input: &'a mut Unstructured<'b>,
}

impl Writer<'_, '_> {
    fn value(&mut self, plain: &str) -> String {
        string(&hostile::instead_of(self.input, plain))
    }

    /// A name: mostly a good one, since nothing comes of the others.
    fn name(&mut self, plain: &str) -> String {
        match once_in(self.input, 12) {
            true => string(&hostile::text(self.input)),
            false if once_in(self.input, 6) => {
                let odd = ["-", ":", "_", ".", "\\", "\\x2d", ".d", ".service.d", "--"];
                let odd = odd[below(self.input, odd.len())];
                string(&format!("{plain}{odd}"))
            }
            false => string(plain),
        }
    }

    fn table(&mut self, kind: &str, name: &str) {
        self.text.push_str(&format!("[{kind}.{name}]\n"));
    }

    /// A key, now and then left out.
    fn key(&mut self, key: &str, plain: &str) {
        if !once_in(self.input, 4) {
            let value = self.value(plain);
            self.text.push_str(&format!("{key} = {value}\n"));
        }
    }

    fn always(&mut self, key: &str, value: &str) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }

    fn list(&mut self, plain: &[&str]) -> String {
        let mut values: Vec<String> = plain.iter().map(|plain| self.value(plain)).collect();
        for _ in 0..below(self.input, 4) {
            values.push(string(&hostile::text(self.input)));
        }
        format!("[{}]", values.join(", "))
    }
}

fn policy(input: &mut Unstructured<'_>) -> String {
    let mut writer = Writer {
        text: String::new(),
        input,
    };
    let it = &mut writer;
    if once_in(it.input, 3) {
        let command = it.list(&["/bin/notify"]);
        it.always("notify-command", &command);
        it.key("metrics-textfile", "/var/lib/node_exporter/interlock.prom");
    }
    let resource = it.name("r");
    it.table("resources", &resource);
    it.key("description", "a resource");
    if once_in(it.input, 2) {
        let (path, comm) = (it.value("/run/lock"), it.value("dnf"));
        let file = format!("[{{ path = {path}, kind = \"pidfile\", comm = {comm} }}]");
        it.always("lock-files", &file);
        let clients = it.list(&["dnf"]);
        it.always("clients", &clients);
    }
    let names: Vec<String> = ["job", "other", "timed"].map(|plain| it.name(plain)).into();
    command_task(it, &names[0], &resource);
    it.table("tasks", &names[1]);
    if once_in(it.input, 3) {
        let stem = "x".repeat(200 + below(it.input, 40));
        it.always("unit", &string(&format!("{stem}.service")));
    } else {
        it.key("unit", "other.service");
    }
    it.always("uses", &format!("{{ {resource} = 1 }}"));
    it.always("after", &format!("[{}]", names[0]));
    it.key("max-runtime", "1h");
    if once_in(it.input, 2) {
        it.always("uninterruptible", "true");
        it.key("stop-timeout", "5min");
    }
    it.table("tasks", &names[2]);
    let command = it.list(&["/bin/true"]);
    it.always("command", &command);
    let calendar = it.list(&["daily"]);
    it.always("calendar", &calendar);
    it.key("randomized-delay", "1h");
    it.key("expect-success", "1d");
    let window = it.name("w");
    it.table("windows", &window);
    it.key("description", "a window");
    it.key("calendar", "*-*-* 02:00");
    it.key("randomized-delay", "30min");
    it.always("order", &format!("[{}, {}]", names[0], names[1]));
    let group = it.name("g");
    it.table("groups", &group);
    it.key("description", "a group");
    it.always("tasks", &format!("[{}, {}]", names[0], names[1]));
    if once_in(it.input, 3) {
        let hook = it.list(&["/bin/depool"]);
        it.always("before-settle", &hook);
    }
    let failure = it.name("f");
    it.table("failures", &failure);
    it.always("kind", "\"transient\"");
    it.key("pattern", "timed out");
    writer.text
}

fn command_task(it: &mut Writer<'_, '_>, name: &str, resource: &str) {
    it.table("tasks", name);
    let command = it.list(&["/bin/echo", "an argument"]);
    it.always("command", &command);
    it.always("uses", &format!("[{resource}]"));
    it.key("description", "a command");
    it.key("user", "nobody");
    it.key("group", "nogroup");
    it.key("working-directory", "/srv/a b");
    it.key("calendar", "*-*-* 03:00");
    it.key("randomized-delay", "10min");
    it.key("max-runtime", "2h");
    it.key("max-wait", "6h");
    if !once_in(it.input, 4) {
        let (variable, value) = (it.name("NAME"), it.value("a value"));
        it.always(
            "environment",
            &format!("{{ {variable} = {value}, B = \"%n\" }}"),
        );
    }
    if once_in(it.input, 3) {
        let (signal, command) = (it.value("SIGUSR1"), it.list(&["/bin/checkpoint"]));
        let how = match once_in(it.input, 2) {
            true => format!("signal = {signal}"),
            false => format!("command = {command}"),
        };
        it.always(
            "on-deploy",
            &format!("{{ action = \"checkpoint\", {how} }}"),
        );
    }
}

/// As a basic string of TOML, which can hold anything.
pub fn string(text: &str) -> String {
    let mut string = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => string.push_str("\\\""),
            '\\' => string.push_str("\\\\"),
            c if c.is_control() => string.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}
