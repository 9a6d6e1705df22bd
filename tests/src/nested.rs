//! Packages whose scriptlets call the package manager, as those of the incident did, and packages that look alike.

use anyhow::Result;

use crate::machine::Machine;
use crate::rpm::{Package, Repository};

/// How many packages one transaction of `many` installs.
pub const MANY: usize = 200;

/// A `%post` that waits for what it calls by asking again and again, as tools do that show progress.
const SPINNING: &str = "python3 -c '
import subprocess
child = subprocess.Popen([\"dnf\", \"-y\", \"install\", \"inner\"])
while child.poll() is None:
    pass
'; true";

/// Slow, and asks the package database and the repositories as scriptlets may.
const ASKING: &str = "rpm -q nothing; dnf -q repoquery --installed nested-shell; rpm -qa; sleep 3
dnf -q repoquery inner; true";

/// Makes `outer` (whose scriptlet installs `inner` by dnf), `spinning` (the same below a parent that spins), `asking`,
/// `many` and `tiny` known to a machine's dnf; `tiny` is in /srv/nested as well.
///
/// # Errors
///
/// If packages can't be built or dnf refuses.
pub fn provide(machine: &Machine) -> Result<()> {
    let nested = "dnf -y install inner; true";
    let packages = [
        Package::new("nested-shell", "1").provides("/bin/sh"),
        Package::new("inner", "1"),
        Package::new("outer", "1").post(nested),
        Package::new("spinning", "1").post(SPINNING),
        Package::new("asking", "1").post(ASKING),
        Package::new("tiny", "1").post("rpm -q tiny; true"),
        Package::new("many", "1").parts(MANY),
    ];
    Repository::new(&packages, &[])?.install(machine, "nested")?;
    machine
        .sh("dnf -y --quiet install nested-shell </dev/null; dnf -y --quiet makecache </dev/null")
        .map(drop)
}

/// Takes all of it out again.
///
/// # Errors
///
/// If the machine is gone.
pub fn withdraw(machine: &Machine) -> Result<()> {
    machine
        .sh("rm -rf /srv/nested /etc/yum.repos.d/nested.repo
             rpm -qa --qf '%{NAME}\\n' nested-shell inner outer spinning asking tiny 'many*' |
                 xargs -r rpm -e --nodeps --noscripts; true")
        .map(drop)
}
