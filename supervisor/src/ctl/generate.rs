//! `interlockctl generate`: man page and completions, made from the command line's own definition.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::cli::{Cli, GenerateArgs, Generated};
use super::deploy::manual as deploy;
use super::error::{CtlError, Outcome};
use super::history::manual as history;
use super::manual;
use super::queue::manual as queue;

const NAME: &str = "interlockctl";

/// A command, and the fields that it prints with their descriptions.
type Fields = (&'static str, &'static [(&'static str, &'static str)]);

const FIELDS: &[Fields] = &[
    ("status --json", manual::STATUS_FIELDS),
    ("why --json", manual::WHY_FIELDS),
    ("queue --json", queue::QUEUE_FIELDS),
    ("queue list --json", queue::LIST_FIELDS),
    ("queue batches --json", queue::BATCHES_FIELDS),
    ("capacity --json", queue::CAPACITY_FIELDS),
    ("history --json", history::HISTORY_FIELDS),
    ("history --exceeding SPAN --json", history::EXCEEDING_FIELDS),
    ("history --at-risk --json", history::AT_RISK_FIELDS),
    ("failures --json", history::FAILURES_FIELDS),
    ("deadlocks --json", manual::DEADLOCKS_FIELDS),
    ("verify --json", manual::VERIFY_FIELDS),
    ("locks --json", manual::LOCKS_FIELDS),
    ("deploy list --json", deploy::LIST_FIELDS),
    ("deploy show --json", deploy::SHOW_FIELDS),
];

/// Writes what was asked for.
pub fn run(args: &GenerateArgs) -> Result<Outcome, CtlError> {
    let written = match args.what {
        Generated::Man => {
            man_page().and_then(|page| fs::write(args.dir.join("interlockctl.1"), page))
        }
        Generated::Completions => completions(&args.dir),
    };
    let what = || format!("can't write to {}", args.dir.display());
    written.map_err(|source| CtlError::Io {
        what: what(),
        source,
    })?;
    Ok(Outcome::Done)
}

fn completions(dir: &Path) -> io::Result<()> {
    let shown = shown(NAME, &Cli::command()).version(env!("CARGO_PKG_VERSION"));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut shown.clone(), NAME, dir)?;
    }
    Ok(())
}

/// Without what is hidden from people: clap_complete would offer it.
fn shown(name: &'static str, command: &Command) -> Command {
    let visible = visible(command).map(|sub| match sub.get_name() {
        // Those that have commands of their own. (A command's name can't be made from one that isn't static.)
        "deploy" => shown("deploy", sub),
        "queue" => shown("queue", sub),
        "failures" => shown("failures", sub),
        _ => sub.clone(),
    });
    Command::new(name)
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_help_subcommand(true)
        .subcommand_required(command.is_subcommand_required_set())
        .args_conflicts_with_subcommands(command.is_args_conflicts_with_subcommands_set())
        .args(command.get_arguments().cloned())
        .subcommands(visible.collect::<Vec<Command>>())
}

/// interlockctl(1), all commands on one page.
fn man_page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone())
        .title("INTERLOCKCTL")
        .source(concat!("interlock ", env!("CARGO_PKG_VERSION")))
        .manual("interlock");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(&command).to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    commands(&command).to_writer(&mut page)?;
    closing().to_writer(&mut page)?;
    Ok(page)
}

fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    let callable = all(command).into_iter();
    for (at, (name, sub)) in callable
        .filter(|(_, sub)| !sub.is_subcommand_required_set())
        .enumerate()
    {
        if at > 0 {
            roff.control("br", []);
        }
        roff.text(usage(&name, sub));
    }
    roff
}

/// Every command with how it is called (`deploy run`), each before those below it.
fn all(command: &Command) -> Vec<(String, &Command)> {
    let mut found = Vec::new();
    for sub in visible(command) {
        let name = sub.get_name().to_owned();
        let below = all(sub).into_iter();
        let below = below.map(|(below, sub)| (format!("{name} {below}"), sub));
        let below: Vec<_> = below.collect();
        found.push((name, sub));
        found.extend(below);
    }
    found
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn shown_args(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version")
}

fn usage(name: &str, sub: &Command) -> Vec<Inline> {
    let mut line = vec![bold(format!("{NAME} {name}"))];
    for arg in shown_args(sub) {
        line.push(roman(" "));
        let optional = !arg.is_required_set();
        if optional {
            line.push(roman("["));
        }
        line.extend(call(arg));
        if optional {
            line.push(roman("]"));
        }
    }
    line
}

/// `-l|--full` for an option, `--expires SPAN` for one with a value, `TASK` for an argument.
fn call(arg: &Arg) -> Vec<Inline> {
    let mut call = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => vec![
            bold(format!("-{short}")),
            roman("|"),
            bold(format!("--{long}")),
        ],
        (None, Some(long)) => vec![bold(format!("--{long}"))],
        _ if arg.is_last_set() => {
            return vec![
                bold("--"),
                roman(" "),
                italic(arg.get_id().as_str().to_uppercase()),
                roman("..."),
            ];
        }
        _ => {
            let several = matches!(arg.get_action(), ArgAction::Append);
            let name = arg.get_value_names().and_then(<[_]>::first);
            let name = name.map_or(arg.get_id().as_str(), |name| name.as_str());
            let mut call = vec![italic(name.to_uppercase())];
            call.extend(several.then(|| roman("...")));
            return call;
        }
    };
    if arg.get_action().takes_values() {
        let names = arg.get_value_names().unwrap_or_default();
        let value = names.first().map_or("", |name| name.as_str());
        call.extend([roman(" "), italic(value)]);
    }
    call
}

fn commands(command: &Command) -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["COMMANDS"]);
    for (name, sub) in all(command) {
        roff.control("SS", [name.as_str()]);
        if !sub.is_subcommand_required_set() {
            roff.text(usage(&name, sub));
            roff.control("PP", []);
        }
        let about = sub.get_long_about().or(sub.get_about());
        paragraphs(
            &mut roff,
            &about.map(ToString::to_string).unwrap_or_default(),
        );
        for arg in shown_args(sub) {
            roff.control("TP", []);
            roff.text(call(arg));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            roff.text([roman(format!("{help}."))]);
        }
    }
    roff
}

fn closing() -> Roff {
    let mut roff = Roff::default();
    roff.control("SH", ["EXIT STATUS"]);
    list(&mut roff, &manual::EXIT_STATUS);
    roff.control("SH", ["JSON"]);
    paragraphs(&mut roff, manual::JSON);
    for (command, fields) in FIELDS {
        roff.control("SS", [*command]);
        list(&mut roff, fields);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    list(&mut roff, &manual::ENVIRONMENT);
    roff.control("SH", ["EXAMPLES"]);
    list(&mut roff, &manual::EXAMPLES);
    roff.control("SH", ["SEE ALSO"]);
    let pages = [
        ("interlock", "7"),
        ("interlock-policy", "5"),
        ("interlockd", "8"),
        ("interlock-deploy@.service", "8"),
        ("interlock-generator", "8"),
        ("systemctl", "1"),
    ];
    for (at, (page, section)) in pages.into_iter().enumerate() {
        let end = if at + 1 < pages.len() { "," } else { "" };
        roff.text([bold(page), roman(format!("({section}){end}"))]);
    }
    roff
}

fn list(roff: &mut Roff, rows: &[(&str, &str)]) {
    for (name, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}

/// What is indented is a table: it keeps its lines and its spaces.
fn paragraphs(roff: &mut Roff, text: &str) {
    let mut is_table = false;
    for line in text.lines() {
        if line.starts_with(' ') != is_table {
            is_table = !is_table;
            roff.control(if is_table { "EX" } else { "EE" }, []);
        }
        if line.is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    if is_table {
        roff.control("EE", []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_lines() {
        let mut roff = Roff::default();
        paragraphs(&mut roff, "All:\n\n  a   one\n  b   two\n\nNo more.");
        let text = roff.to_roff();
        assert!(
            text.ends_with("All:\n.PP\n.EX\n  a   one\n  b   two\n.EE\n.PP\nNo more.\n"),
            "{text}"
        );
    }

    fn page() -> String {
        // roff writes a minus sign as \-.
        String::from_utf8(man_page().unwrap())
            .unwrap()
            .replace("\\-", "-")
    }

    #[test]
    fn the_man_page_has_every_command_option_exit_status_and_json_field() {
        let page = page();
        let mut command = Cli::command();
        command.build();
        for (name, sub) in all(&command) {
            let heading = match name.contains(' ') {
                true => format!(".SS \"{name}\"\n"),
                false => format!(".SS {name}\n"),
            };
            assert!(page.contains(&heading), "{name}");
            for arg in shown_args(sub).filter_map(|arg| arg.get_long()) {
                assert!(page.contains(&format!("--{arg}")), "{arg}");
            }
        }
        let fields = FIELDS.iter().flat_map(|(_, fields)| *fields);
        for (name, _) in manual::EXIT_STATUS.iter().chain(fields) {
            assert!(page.contains(&format!("\\fB{name}\\fR\n")), "{name}");
        }
    }

    #[test]
    fn what_is_hidden_is_neither_on_the_man_page_nor_completed() {
        assert!(!page().contains("generate") && !page().contains("deploy hold"));
        let dir = tempfile::tempdir().unwrap();
        completions(dir.path()).unwrap();
        for file in ["interlockctl.bash", "_interlockctl", "interlockctl.fish"] {
            let text = fs::read_to_string(dir.path().join(file)).unwrap();
            assert!(
                text.contains("verify") && text.contains("take-over"),
                "{file}"
            );
            assert!(
                !text.contains("generate")
                    && !text.contains("deploy hold")
                    && !text.contains("deploy__hold"),
                "{file}"
            );
        }
    }
}
