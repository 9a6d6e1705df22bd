//! Hostile values of a policy, read back by systemd itself: each property is exactly what was meant, and all others are
//! as those of a task with plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use arbitrary::Unstructured;
use fastrand::Rng;
use interlock_fuzz::{text, toml_string};
use interlock_generator::policy;
use interlock_tests::case::Case;
use serde_json::{Map, Value};

cases![systemd_reads_each_value_of_a_policy_as_it_was_meant];

/// Command tasks; those that the policy refuses aren't among them.
const TASKS: usize = 60;
/// Windows over some of them.
const WINDOWS: usize = 8;
/// What is asked for only the properties that all units have.
const PLAIN: &str = "None";
/// So many may be refused by systemd alone, of which no list is known of what it refuses.
const UNLOADED: usize = 3;
/// Faults that are shown.
const SHOWN: usize = 12;

/// What differs from unit to unit, and is looked at for itself or says nothing.
const OWN: [&str; 18] = [
    "Id",
    "Names",
    "Description",
    "After",
    "Requires",
    "RequiresMountsFor",
    "WantsMountsFor",
    "FragmentPath",
    "DropInPaths",
    "SourcePath",
    "Asserts",
    "TriggeredBy",
    "WantedBy",
    "ExecStart",
    "ExecStartEx",
    "Environment",
    "Before",
    "ConsistsOf",
];
const VALUES: [&str; 4] = ["User", "Group", "WorkingDirectory", "TimeoutStartUSec"];

/// A command task as it is meant.
#[derive(Debug, Clone)]
struct Meant {
    name: String,
    argv: Vec<String>,
    description: String,
    user: String,
    group: String,
    directory: String,
    environment: BTreeMap<String, String>,
    /// Beside `daily`.
    calendar: String,
    minutes: u64,
}

impl Meant {
    fn random(rng: &mut Rng, number: usize) -> Self {
        let bytes: Vec<u8> = (0..2000).map(|_| rng.u8(..)).collect();
        let mut input = Unstructured::new(&bytes);
        // Control characters and such are refused by the policy.
        let mut hostile = |plain: &str| {
            let text: String = text(&mut input)
                .chars()
                .filter(|c| is_allowed(*c))
                .collect();
            match rng.usize(..4) {
                0 => text,
                1 => plain.to_owned(),
                2 => format!("{plain}{text}"),
                _ => format!("{plain} {text} {plain}"),
            }
        };
        let mut argv = vec![format!("/bin/{}", hostile("echo"))];
        argv.extend((0..4).map(|_| hostile("an argument")));
        let path = hostile("srv").replace("//", "/");
        Self {
            name: String::new(),
            argv,
            description: hostile("a command"),
            user: if number.is_multiple_of(4) {
                hostile("nobody")
            } else {
                "nobody".to_owned()
            },
            group: if number % 4 == 1 {
                hostile("nogroup")
            } else {
                "nogroup".to_owned()
            },
            directory: format!("/{}", path.trim_matches([' ', '/'])),
            environment: [
                ("A".to_owned(), hostile("a value")),
                ("_b1".to_owned(), hostile("")),
            ]
            .into(),
            calendar: hostile("daily"),
            minutes: rng.u64(1..1000),
        }
        .named(rng, number)
    }

    fn named(mut self, rng: &mut Rng, number: usize) -> Self {
        let odd: String = (0..rng.usize(..6))
            .map(|_| char::from(b"-_.:\\aZ09"[rng.usize(..9)]))
            .collect();
        self.name = format!("f{number}q{odd}x");
        self
    }

    fn plain() -> Self {
        Self {
            name: "plain".to_owned(),
            argv: vec!["/bin/echo".to_owned()],
            description: "plain".to_owned(),
            user: "nobody".to_owned(),
            group: "nogroup".to_owned(),
            directory: "/srv".to_owned(),
            environment: BTreeMap::new(),
            calendar: "daily".to_owned(),
            minutes: 1,
        }
    }

    fn toml(&self) -> String {
        let list = |words: &[String]| {
            let words: Vec<String> = words.iter().map(|word| toml_string(word)).collect();
            words.join(", ")
        };
        let environment: Vec<String> = self
            .environment
            .iter()
            .map(|(k, v)| format!("{k} = {}", toml_string(v)))
            .collect();
        format!(
            "[tasks.{}]\ncommand = [{}]\ndescription = {}\nuser = {}\ngroup = {}\nworking-directory = {}\n\
             environment = {{ {} }}\ncalendar = [\"daily\", {}]\nrandomized-delay = \"{minutes}min\"\n\
             max-runtime = \"{minutes}min\"\n",
            toml_string(&self.name),
            list(&self.argv),
            toml_string(&self.description),
            toml_string(&self.user),
            toml_string(&self.group),
            toml_string(&self.directory),
            environment.join(", "),
            toml_string(&self.calendar),
            minutes = self.minutes
        )
    }
}

fn is_allowed(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !(0xFDD0..=0xFDEF).contains(&code) && code & 0xFFFE != 0xFFFE
}

fn systemd_reads_each_value_of_a_policy_as_it_was_meant(case: &Case<'_>) -> Result<()> {
    let seed = std::env::var("INTERLOCK_FUZZ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u32 = seed.unwrap_or_else(|| fastrand::u32(..));
    let mut rng = Rng::with_seed(seed.into());
    let mut meant = vec![Meant::plain()];
    let mut refused = 0;
    while meant.len() <= TASKS {
        let one = Meant::random(&mut rng, meant.len());
        match policy::from_text(&one.toml()) {
            Ok(_) => meant.push(one),
            Err(_) => refused += 1,
        }
    }
    let windows: Vec<Vec<usize>> = (0..WINDOWS)
        .map(|_| {
            let mut members = rng.choose_multiple(1..meant.len(), 6);
            // Alike in all windows: orders that contradict each other are refused.
            members.sort_unstable();
            members
        })
        .collect();
    case.policy(&whole(&meant, &windows))?;
    let units = read_back(case, &meant, &windows)?;
    let (mut faults, mut unloaded) = (Vec::new(), Vec::new());
    let baseline = &units["plain.service"];
    for (number, it) in meant.iter().enumerate() {
        let unit = format!("{}.service", it.name);
        if units[&unit]["LoadState"] != "loaded" {
            // It doesn't run at all, but the policy should have said so.
            unloaded.push(format!("{} {it:?}", units[&unit]["LoadError"]));
            continue;
        }
        let mut compare = |what: &str, found: &Value, wanted: Value| {
            if *found != wanted {
                faults.push(format!("{unit}: {what} is {found}, not {wanted}"));
            }
        };
        service(it, &units[&unit], &mut compare);
        unlike(&units[&unit], baseline, &mut compare);
        // A window starts its members; they have no timer of their own.
        if !windows.iter().flatten().any(|member| *member == number) {
            timer(it, &units[&format!("{}.timer", it.name)], &mut compare);
        }
    }
    for (number, window) in windows.iter().enumerate() {
        order(&meant, window, number, &units, &mut faults);
    }
    if unloaded.len() > UNLOADED {
        faults.append(&mut unloaded);
    }
    // What runs by the clock goes with its task.
    case.sh("systemctl stop 'f*q*x.timer' plain.timer 'interlock-window-w*.timer'")?;
    ensure!(
        faults.is_empty(),
        "{} faults, seed {seed}:\n{}",
        faults.len(),
        faults[..faults.len().min(SHOWN)].join("\n")
    );
    eprintln!(
        "{}: {TASKS} tasks as they were meant ({refused} refused before, by systemd alone {unloaded:?}), seed {seed}",
        case.version()
    );
    Ok(())
}

fn whole(meant: &[Meant], windows: &[Vec<usize>]) -> String {
    let mut policy: String = meant.iter().map(Meant::toml).collect();
    for (number, window) in windows.iter().enumerate() {
        let order: Vec<String> = window
            .iter()
            .map(|task| toml_string(&meant[*task].name))
            .collect();
        let _ = writeln!(
            policy,
            "[windows.w{number}]\ncalendar = \"*-*-{:02}\"\norder = [{}]",
            number + 1,
            order.join(", ")
        );
    }
    policy
}

/// All properties of all units, by unit and name.
fn read_back(
    case: &Case<'_>,
    meant: &[Meant],
    windows: &[Vec<usize>],
) -> Result<BTreeMap<String, Map<String, Value>>> {
    let mut wanted = Vec::new();
    for it in meant {
        wanted.push((format!("{}.service", it.name), "Service"));
        wanted.push((format!("{}.timer", it.name), "Timer"));
    }
    let members: BTreeSet<usize> = windows.iter().flatten().copied().collect();
    for member in members {
        let gate = format!("interlock-gate@{}.service.service", meant[member].name);
        wanted.push((gate, PLAIN));
    }
    for number in 0..windows.len() {
        wanted.push((format!("interlock-window-w{number}.target"), PLAIN));
    }
    let list: String = wanted
        .iter()
        .map(|(unit, kind)| format!("{} {kind}\n", object(unit)))
        .collect();
    case.write("/run/testbed/units", &list)?;
    let answers = case.sh(
        "while read -r path kind; do
             for interface in Unit $kind; do
                 [ $interface = None ] || busctl --json=short call org.freedesktop.systemd1 $path \
                     org.freedesktop.DBus.Properties GetAll s org.freedesktop.systemd1.$interface || exit 1
             done
         done </run/testbed/units",
    )?;
    let mut answers = answers.lines();
    let mut units = BTreeMap::new();
    for (unit, kind) in wanted {
        let mut properties = Map::new();
        for _ in 0..if kind == PLAIN { 1 } else { 2 } {
            let mut answer: Value =
                serde_json::from_str(answers.next().context("too few answers")?)?;
            let found = answer["data"][0].take();
            let found = found.as_object().context("no properties")?;
            properties.extend(
                found
                    .iter()
                    .map(|(name, value)| (name.clone(), value["data"].clone())),
            );
        }
        units.insert(unit, properties);
    }
    Ok(units)
}

/// A unit's path on the bus (sd_bus_path_encode(3)).
fn object(unit: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        match byte.is_ascii_alphabetic() || byte.is_ascii_digit() && at > 0 {
            true => path.push(byte.into()),
            false => {
                let _ = write!(path, "_{byte:02x}");
            }
        }
    }
    path
}

fn service(it: &Meant, found: &Map<String, Value>, compare: &mut impl FnMut(&str, &Value, Value)) {
    let unit = format!("{}.service", it.name);
    compare("Id", &found["Id"], unit.clone().into());
    compare("Names", &found["Names"], vec![unit.clone()].into());
    compare(
        "Description",
        &found["Description"],
        it.description.trim_matches([' ', '\t']).into(),
    );
    compare(
        "ExecStart",
        &found["ExecStart"][0][1],
        it.argv.clone().into(),
    );
    compare("the second command", &found["ExecStart"][1], Value::Null);
    let mut environment: Vec<String> = it
        .environment
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    environment.push(format!("INTERLOCK_TASK={}", it.name));
    environment.push("INTERLOCK_HOLDS=".to_owned());
    compare("Environment", &found["Environment"], environment.into());
    compare("User", &found["User"], it.user.clone().into());
    compare("Group", &found["Group"], it.group.clone().into());
    compare(
        "WorkingDirectory",
        &found["WorkingDirectory"],
        it.directory.clone().into(),
    );
    compare(
        "TimeoutStartUSec",
        &found["TimeoutStartUSec"],
        (it.minutes * 60_000_000).into(),
    );
    let requires = names(found, "Requires");
    let gate = format!("interlock-gate@{unit}.service");
    compare(
        "requires its gate",
        &requires.contains(&gate).into(),
        true.into(),
    );
    compare(
        "after its gate",
        &names(found, "After").contains(&gate).into(),
        true.into(),
    );
    let own = |name: &&String| !is_usual(name) && **name != gate;
    let others: Vec<String> = requires.iter().filter(own).cloned().collect();
    compare(
        "requires nothing else",
        &others.into(),
        Vec::<String>::new().into(),
    );
    compare(
        "Asserts",
        &found["Asserts"][0][3],
        format!("/run/interlock/lease/{unit}").into(),
    );
}

/// What every service has, or what its directory brings with it.
fn is_usual(name: &str) -> bool {
    let usual = [
        "sysinit.target",
        "basic.target",
        "system.slice",
        "systemd-journald.socket",
        "-.mount",
    ];
    usual.contains(&name) || name.ends_with(".mount")
}

/// All that wasn't meant to be set.
fn unlike(
    found: &Map<String, Value>,
    baseline: &Map<String, Value>,
    compare: &mut impl FnMut(&str, &Value, Value),
) {
    for (name, value) in found {
        if !OWN.contains(&name.as_str()) && !VALUES.contains(&name.as_str()) {
            compare(name, value, baseline[name].clone());
        }
    }
}

fn timer(it: &Meant, found: &Map<String, Value>, compare: &mut impl FnMut(&str, &Value, Value)) {
    compare(
        "timer's Unit",
        &found["Unit"],
        format!("{}.service", it.name).into(),
    );
    compare("timer's Persistent", &found["Persistent"], true.into());
    compare(
        "timer's delay",
        &found["RandomizedDelayUSec"],
        (it.minutes * 60_000_000).into(),
    );
    compare(
        "timer's Description",
        &found["Description"],
        format!("Timer of {}.service", it.name).into(),
    );
    compare(
        "timer's other times",
        &found["TimersMonotonic"],
        Vec::<String>::new().into(),
    );
    let calendar = found["TimersCalendar"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let daily = calendar
        .iter()
        .filter(|event| event[1] == "*-*-* 00:00:00")
        .count();
    // What is no calendar event is left out by systemd, with a warning; the other one counts.
    compare(
        "timer's events",
        &(daily >= 1 && calendar.len() <= 2).into(),
        true.into(),
    );
}

fn names(found: &Map<String, Value>, property: &str) -> BTreeSet<String> {
    let list = found[property].as_array().into_iter().flatten();
    list.filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// Each task and each gate comes after the earlier ones of its window, and the target after all.
fn order(
    meant: &[Meant],
    window: &[usize],
    number: usize,
    units: &BTreeMap<String, Map<String, Value>>,
    faults: &mut Vec<String>,
) {
    let unit = |task: &usize| format!("{}.service", meant[*task].name);
    let members: BTreeSet<String> = window.iter().map(unit).collect();
    let target = &units[&format!("interlock-window-w{number}.target")];
    for property in ["Wants", "After"] {
        if !names(target, property).is_superset(&members) {
            faults.push(format!(
                "window {number} has {property}={:?}",
                target[property]
            ));
        }
    }
    for (place, task) in window.iter().enumerate() {
        let before: BTreeSet<String> = window[..place].iter().map(unit).collect();
        for later in [unit(task), format!("interlock-gate@{}.service", unit(task))] {
            let is_loaded = units[&later]["LoadState"] == "loaded";
            if is_loaded && !names(&units[&later], "After").is_superset(&before) {
                faults.push(format!("{later} isn't after {before:?}"));
            }
        }
    }
}
