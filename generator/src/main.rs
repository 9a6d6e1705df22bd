//! `interlock-generator`: compiles the policy to units when systemd starts or reloads (systemd.generator(7)).

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use interlock_generator::emit::{self, Output};
use interlock_generator::kmsg::Log;
use interlock_generator::plan::Plan;
use interlock_generator::policy::{self, Loaded};

/// Compiles the policy of interlock to systemd units.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    override_usage = "interlock-generator [--root DIR] NORMAL EARLY LATE\n       \
                      interlock-generator [--root DIR] --dry-run\n       \
                      interlock-generator [--root DIR] --check [DIR]",
    after_help = "Exits 0 if the policy is good, 1 after errors (what is good takes effect all the same), 2 if called wrongly."
)]
struct Args {
    /// Directory for units that yield to those in /etc (systemd.generator(7))
    #[arg(required_unless_present_any = ["dry_run", "check"], requires = "late")]
    normal: Option<PathBuf>,

    /// Directory for units that go before those in /etc
    early: Option<PathBuf>,

    /// Directory for units that yield to all others
    late: Option<PathBuf>,

    /// Print every file with its path instead of writing it
    #[arg(long, conflicts_with_all = ["normal", "check"])]
    dry_run: bool,

    /// Only say what is wrong with the policy, or with the fragments in DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "normal")]
    // clap's word for an option that may have a value.
    #[allow(clippy::option_option)]
    check: Option<Option<PathBuf>>,

    /// Read the policy and unit files below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

fn main() -> ExitCode {
    // systemd calls with three directories at each boot and reload: that way doesn't wait for an option parser.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [normal, early, late] = &args[..]
        && !args
            .iter()
            .any(|arg| arg.as_encoded_bytes().starts_with(b"-"))
    {
        return generate(
            Path::new("/"),
            Path::new(normal),
            Path::new(early),
            Path::new(late),
        );
    }
    let args = Args::parse();
    if !args.root.is_dir() {
        // Without this a misspelt root would be a host without policy.
        let error = format!("--root {}: not a directory", args.root.display());
        let mut log = Log::to_stderr();
        log.error(&error, &error);
        return exit_code(&log);
    }
    match (&args.check, args.normal, args.early, args.late) {
        (Some(dir), ..) => check(&args.root, dir.as_deref()),
        (None, Some(normal), Some(early), Some(late)) => {
            generate(&args.root, &normal, &early, &late)
        }
        _ => dry_run(&args.root),
    }
}

/// Writes the units; the part of the policy that is good takes effect whatever is wrong with the rest.
fn generate(root: &Path, normal: &Path, early: &Path, late: &Path) -> ExitCode {
    let mut log = Log::to_kmsg(root);
    let loaded = policy::load(root);
    // Warnings are for whoever asks (--check, interlockctl verify): at each reload they would fill the log.
    report_errors(&loaded, &mut log);
    let output = Output {
        normal,
        early,
        late,
    };
    let plan = Plan::new(&loaded.settings);
    let mut errors = emit::emit(&plan, &output);
    errors.extend(emit::emit_kept(root, &plan, &output));
    for error in errors {
        log.error(&error, &error);
    }
    if let Some(text) = &loaded.last_good
        && let Err(error) = emit::store_last_good(root, text)
    {
        // Nothing is wrong yet: only the next mistake in the policy would miss it.
        log.warning(error);
    }
    // The process ends now; freeing thousands of small things one by one first would only hold up the boot.
    std::mem::forget((plan, loaded));
    exit_code(&log)
}

fn dry_run(root: &Path) -> ExitCode {
    let mut log = Log::to_stderr();
    let loaded = policy::load(root);
    report(&loaded, &mut log);
    let plan = Plan::new(&loaded.settings).to_string();
    if let Err(error) = io::stdout().lock().write_all(plan.as_bytes()) {
        let error = format!("can't write to standard output: {error}");
        log.error(&error, &error);
    }
    exit_code(&log)
}

fn check(root: &Path, dir: Option<&Path>) -> ExitCode {
    let mut log = Log::to_stderr();
    let loaded = match dir {
        Some(dir) => policy::check(dir, root),
        None => policy::load(root),
    };
    report(&loaded, &mut log);
    exit_code(&log)
}

fn report(loaded: &Loaded, log: &mut Log) {
    for warning in loaded.diagnostics.iter().filter(|it| !it.is_error()) {
        log.warning(warning);
    }
    report_errors(loaded, log);
}

/// What is wrong, and what was done about it.
fn report_errors(loaded: &Loaded, log: &mut Log) {
    for error in loaded.diagnostics.iter().filter(|it| it.is_error()) {
        log.error(error, error.one_line());
    }
    for consequence in &loaded.consequences {
        log.warning(consequence);
    }
}

fn exit_code(log: &Log) -> ExitCode {
    if log.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
