//! Package transactions that a case sees into: dnf installs a package whose `%post` is the case's.

use anyhow::Result;

use crate::machine::Machine;
use crate::rpm::{Package, Repository};

/// The resource that dnf's and rpm's transactions use, with their locks.
pub const RPM_DB: &str = "[resources.rpm-db]
lock-files = [
    { path = \"/var/lib/rpm/.rpm.lock\", kind = \"posix\" },
    { path = \"/var/lib/dnf/rpmdb_lock.pid\", kind = \"pidfile\", comm = \"dnf\" },
]
";

/// rpm's own lock.
pub const RPM_LOCK: &str = "/var/lib/rpm/.rpm.lock";

/// Installs the package `slow`, and writes down when dnf itself begins and ends.
pub const INSTALL: &str = "/usr/local/libexec/testbed/task dnf begin
dnf -y --quiet --disablerepo='*' --enablerepo=slow install slow </dev/null 2>&1
status=$?
/usr/local/libexec/testbed/task dnf end
exit $status
";

/// Puts the package `slow` with this `%post` where [`INSTALL`] finds it.
///
/// # Errors
///
/// If it can't be built.
pub fn provide(machine: &Machine, post: &str) -> Result<()> {
    withdraw(machine)?;
    Repository::new(&[Package::new("slow", "1").post(post)], &[])?.install(machine, "slow")
}

/// Takes it out again.
///
/// # Errors
///
/// If the machine doesn't do as told.
pub fn withdraw(machine: &Machine) -> Result<()> {
    machine
        .sh("rm -rf /srv/slow /etc/yum.repos.d/slow.repo /var/cache/dnf/slow*; rpm -e --noscripts slow 2>/dev/null; true")
        .map(drop)
}
