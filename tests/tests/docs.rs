//! Documentation that can't drift: man pages, D-Bus files and examples say what the program knows, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use interlock_generator::policy;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a directory of the repository")
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tags of a man page's section (`.SH` or `.SS`): each `.B WORD` that follows a `.TP`.
fn tags(page: &str, section: &str) -> Vec<String> {
    let text = read(page);
    let is_heading = |line: &str| line.starts_with(".SH ") || line.starts_with(".SS ");
    let title = |line: &str| line[4..].trim_matches('"').to_owned();
    let body: Vec<&str> = text
        .lines()
        .skip_while(|line| !(is_heading(line) && title(line) == section))
        .skip(1)
        .take_while(|line| !is_heading(line))
        .collect();
    assert!(!body.is_empty(), "{page} has no section {section:?}");
    let tagged = body.windows(2).filter(|lines| lines[0] == ".TP");
    let bold = tagged.filter_map(|lines| lines[1].strip_prefix(".B "));
    bold.map(|tag| tag.replace("\\-", "-")).collect()
}

#[track_caller]
fn assert_same(what: &str, documented: &[String], known: &[&str]) {
    let mut seen = BTreeSet::new();
    for tag in documented {
        assert!(seen.insert(tag.as_str()), "{what}: {tag} is there twice");
    }
    let known: BTreeSet<&str> = known.iter().copied().collect();
    let missing: Vec<_> = known.difference(&seen).collect();
    let surplus: Vec<_> = seen.difference(&known).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{what}: not documented: {missing:?}; documented, but not there: {surplus:?}"
    );
}

/// What stands between `before` and the next `"`, wherever it occurs.
fn quoted_after<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    let parts = text.split(before).skip(1);
    parts
        .map(|part| part.split('"').next().unwrap_or_default())
        .collect()
}

#[test]
fn every_key_of_the_policy_has_its_man_page_entry_and_the_other_way_round() {
    const PAGE: &str = "packaging/man/interlock-policy.5";
    let tables = [
        ("TABLES", policy::TOP_KEYS),
        ("[resources.NAME]", policy::RESOURCE_KEYS),
        ("lock-files", policy::LOCK_FILE_KEYS),
        ("[windows.NAME]", policy::WINDOW_KEYS),
        ("[tasks.NAME]", policy::TASK_KEYS),
        ("on-deploy", policy::ON_DEPLOY_KEYS),
        ("retry", policy::RETRY_KEYS),
        ("[tasks.NAME.actions.NAME]", policy::ACTION_KEYS),
        ("[groups.NAME]", policy::GROUP_KEYS),
        ("[failures.NAME]", policy::FAILURE_KEYS),
        ("[history]", policy::HISTORY_KEYS),
    ];
    for (section, keys) in tables {
        assert_same(section, &tags(PAGE, section), keys);
    }
}

const INTERFACES: [&str; 6] = [
    "Manager",
    "Task",
    "Deployment",
    "History",
    "Queue",
    "Monitor",
];

#[test]
fn every_member_of_the_d_bus_interface_has_its_man_page_entry_and_the_other_way_round() {
    for interface in INTERFACES {
        let name = format!("org.interlock.Interlock1.{interface}");
        let xml = read(&format!("packaging/dbus/{name}.xml"));
        assert_eq!(quoted_after(&xml, "<interface name=\""), [name.as_str()]);
        let mut members = Vec::new();
        for kind in ["method", "signal", "property"] {
            members.extend(quoted_after(&xml, &format!("<{kind} name=\"")));
        }
        assert_same(&name, &tags("packaging/man/interlockd.8", &name), &members);
        for member in members {
            let comment = format!("<!-- {member}:");
            assert!(xml.contains(&comment), "{name}.{member} has no {comment}");
        }
    }
}

#[test]
fn bus_policy_lets_everybody_call_each_method_and_nothing_else() {
    let conf = read("packaging/dbus/org.interlock.Interlock1.conf");
    let (_, rules) = conf
        .split_once("<policy context=\"default\">")
        .expect("the default policy");
    for interface in INTERFACES {
        let name = format!("org.interlock.Interlock1.{interface}");
        let xml = read(&format!("packaging/dbus/{name}.xml"));
        let mut allowed = Vec::new();
        for rule in rules.split("<allow ").skip(1) {
            if quoted_after(rule, "send_interface=\"") == [name.as_str()] {
                allowed.extend(quoted_after(rule, "send_member=\"").first().copied());
            }
        }
        let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
        assert_same(
            &format!("bus policy, {name}"),
            &allowed,
            &quoted_after(&xml, "<method name=\""),
        );
    }
}

#[test]
fn every_polkit_action_has_its_man_page_entry_and_the_other_way_round() {
    let policy = read("packaging/polkit/org.interlock.Interlock1.policy");
    let documented = tags("packaging/man/interlockd.8", "POLKIT ACTIONS");
    assert_same(
        "polkit actions",
        &documented,
        &quoted_after(&policy, "<action id=\""),
    );
}

#[test]
fn every_message_id_has_its_man_page_entry_and_the_other_way_round() {
    let source = read("supervisor/src/journal.rs");
    let is_id = |text: &&str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let ids: Vec<&str> = quoted_after(&source, "&str = \"")
        .into_iter()
        .filter(is_id)
        .collect();
    let mut documented = tags("packaging/man/interlockd.8", "JOURNAL");
    // The section begins with the fields, in capitals.
    documented.retain(|tag| is_id(&tag.as_str()));
    assert!(!ids.is_empty());
    assert_same("message ids", &documented, &ids);
}

#[test]
fn every_option_of_the_generator_has_its_man_page_entry() {
    let page = read("packaging/man/interlock-generator.8").replace("\\-", "-");
    let source = read("generator/src/main.rs");
    let options: Vec<&str> = source
        .split("#[arg(long")
        .skip(1)
        .filter_map(|rest| {
            let mut lines = rest.split_once(")]\n")?.1.lines().map(str::trim_start);
            // Between the two there may be comments and other attributes.
            let field = lines.find(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
            field?.split(':').next()
        })
        .collect();
    assert!(options.contains(&"dry_run"), "{options:?}");
    for option in options {
        let option = format!("--{}", option.replace('_', "-"));
        let mut tagged = page.split(".TP\n").skip(1);
        let has_tag = |entry: &str| entry.lines().next().unwrap_or_default().contains(&option);
        assert!(tagged.any(has_tag), "{option}");
    }
}

#[test]
fn every_example_is_a_valid_policy() {
    let examples = repository().join("packaging/examples");
    let together = policy::check(&examples, Path::new("/"));
    let errors: Vec<String> = together
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_error())
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(together.settings.tasks().len() >= 5);
    for example in fs::read_dir(examples).unwrap() {
        let path = example.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let alone = policy::from_text(&text);
        assert!(alone.is_ok(), "{}: {alone:?}", path.display());
        // The comment at the top says where it goes.
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let place = format!("# /etc/interlock/policy.d/{name}: ");
        assert!(text.starts_with(&place), "{name} begins without {place:?}");
    }
}

#[test]
fn example_of_the_policy_man_page_is_a_valid_policy() {
    let page = read("packaging/man/interlock-policy.5");
    let (_, example) = page.split_once(".SH EXAMPLE\n.EX\n").expect("its example");
    let (example, _) = example.split_once(".EE").expect("its end");
    let settings = policy::from_text(&example.replace("\\-", "-"));
    assert!(settings.is_ok(), "{settings:?}");
}

#[test]
fn every_unit_and_page_that_is_shipped_is_in_the_package() {
    let spec = read("packaging/interlock.spec");
    for unit in fs::read_dir(repository().join("units")).unwrap() {
        let name = unit.unwrap().file_name().into_string().unwrap();
        assert!(spec.contains(&format!("%{{_unitdir}}/{name}\n")), "{name}");
    }
    for page in fs::read_dir(repository().join("packaging/man")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let heading = read(&format!("packaging/man/{name}"));
        let (title, section) = name.rsplit_once('.').expect("a section");
        assert!(
            heading.starts_with(&format!(".TH {title} {section} ")),
            "{name}"
        );
    }
}

/// Names of metrics in a text, without what a histogram or a counter adds to them.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names = text.split(|c| !is_name(c));
    let names = names.filter(|name| name.starts_with("interlock_"));
    let bare = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count", "_total", "_info"];
        let suffix = suffixes.iter().find_map(|it| name.strip_suffix(it));
        suffix.unwrap_or(name).to_owned()
    };
    names.map(bare).collect()
}

#[test]
fn alerts_and_dashboard_use_only_metrics_that_there_are() {
    let known = metrics_in(&read("supervisor/src/monitor/metrics.rs"));
    for file in ["prometheus-rules.yml", "grafana-dashboard.json"] {
        let used = metrics_in(&read(&format!("packaging/monitoring/{file}")));
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(used.len() > 5 && unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_metric_has_its_man_page_entry_and_the_other_way_round() {
    let known = metrics_in(&read("supervisor/src/monitor/metrics.rs"));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let documented = tags("packaging/man/interlockd.8", "METRICS");
    let bare: Vec<String> = documented.iter().flat_map(|tag| metrics_in(tag)).collect();
    assert_same("metrics", &bare, &known);
}
