//! An importer of hundreds of packages, some of which fail for a while and some for good: nobody has to do anything, and
//! the causes can be told from the packages.

use anyhow::{Context, Result, ensure};
use interlock_tests::case::Case;
use interlock_tests::service::Service;

use super::queue::instances;

cases![batch_of_imports_succeeds_without_a_hand_but_for_what_is_broken];

const PACKAGES: usize = 300;
const BROKEN: usize = 20;
const ATTEMPTS: usize = 4;

/// Imports the package whose number is `$1`. Every 15th is broken; every 20th of the others fails for a while,
/// in one of three ways, once or twice.
const IMPORT: &str = r#"
number=$1 count=/run/testbed/import.$1
attempt=$(($(cat "$count" 2>/dev/null) + 1))
echo "$attempt" >"$count"
name="lib$(printf %04x "$((number * 7919 % 65536))")-dev"
if ((number % 15 == 0)); then
    echo "reading /srv/packages/$number/manifest.json"
    echo "package \"$name\" has no field 'version' at line $((number + attempt)) of /srv/packages/$number/manifest.json"
    exit 1
fi
if ((number % 20 == 7 && attempt <= 1 + number / 20 % 2)); then
    case $((number % 3)) in
    0) echo "fetching '$name': no answer from 10.1.$((number % 256)).$attempt after $((30000 + number)) ms"; exit 75 ;;
    1) echo "database is locked by process $$ (/srv/import/work-$number/state.db)"; exit 5 ;;
    2) echo "$(date -u +%FT%TZ) request 0x$(printf %08x "$((number * 99991))") for \"$name\" was refused: 503"; exit 69 ;;
    esac
fi
echo "$name" >>/run/testbed/imported
"#;

fn batch_of_imports_succeeds_without_a_hand_but_for_what_is_broken(case: &Case<'_>) -> Result<()> {
    case.write("/run/testbed/importer", IMPORT)?;
    case.services(&[Service::template("importer")
        .command("/bin/bash /run/testbed/importer %i")
        .unit("StartLimitIntervalSec=0")])?;
    case.policy(&format!(
        "[resources.slots]\ncapacity = 8\n[tasks.importer]\nunit = \"importer@.service\"\nuses = [\"slots\"]\n\
         retry = {{ attempts = {ATTEMPTS}, delay = \"100ms\", max-delay = \"1s\" }}\n"
    ))?;
    let packages = instances("importer", 1..=PACKAGES);
    let fail_for_a_while = (1..=PACKAGES)
        .filter(|number| number % 20 == 7 && number % 15 != 0)
        .count();
    ensure!(fail_for_a_while == PACKAGES / 20, "{fail_for_a_while}");
    case.submit("--batch packages", &packages)?;
    let batch = case.batch_ends("packages")?;
    ensure!(
        batch.number("done") == (PACKAGES - BROKEN) as u64
            && batch.number("failed") == BROKEN as u64,
        "{batch:#?}"
    );
    let imported = case.read("/run/testbed/imported")?;
    ensure!(
        imported.lines().count() == PACKAGES - BROKEN,
        "{} packages were imported",
        imported.lines().count()
    );
    // A handful of causes, not hundreds of lines.
    let causes = case.causes_become("importer", |causes| {
        causes.iter().map(|cause| cause.number("hard")).sum::<u64>() == BROKEN as u64
    })?;
    ensure!(causes.len() <= 6, "{causes:#?}");
    ensure!(causes.len() >= 4, "{causes:#?}");
    let broken = causes
        .iter()
        .find(|cause| cause.text("text").contains("has no field"))
        .context("the broken packages' cause is missing")?;
    ensure!(
        broken.number("hard") == BROKEN as u64
            && broken.number("units") == BROKEN as u64
            && broken.number("count") == (BROKEN * ATTEMPTS) as u64,
        "{broken:#?}"
    );
    let others = causes.iter().filter(|cause| *cause != broken);
    for cause in others {
        ensure!(
            cause.number("hard") == 0 && cause.number("recovered") > 0,
            "{cause:#?}"
        );
    }
    let told = case.sh("interlockctl failures importer")?;
    ensure!(told.lines().count() <= 20, "{told}");
    println!(
        "systemd {}: {PACKAGES} imports, {} of them done, {} causes:\n{told}",
        case.version(),
        batch.number("done"),
        causes.len()
    );
    case.sh("systemctl reset-failed 'importer@*'").map(drop)
}
