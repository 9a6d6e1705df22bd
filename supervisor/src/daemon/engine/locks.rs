//! Who holds resources' locks: what `interlockctl locks` shows.

use super::Engine;
use crate::locks::Snapshot;
use crate::person::Person;

/// Somebody who holds a resource's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockView {
    /// The resource.
    pub resource: String,
    /// The lock file.
    pub path: String,
    /// How it is held: `posix`, `ofd`, `flock`, `pidfile` or `toml`.
    pub kind: String,
    /// Who holds it.
    pub holder: Person,
}

/// Why something that looks like a lock isn't one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRemark {
    /// The resource.
    pub resource: String,
    /// The lock file.
    pub path: String,
    /// One line.
    pub text: String,
}

impl Engine {
    pub(super) fn lock_views(&self) -> (Vec<LockView>, Vec<LockRemark>) {
        let mut held = Vec::new();
        let mut remarks = Vec::new();
        let snapshot = Snapshot::take();
        for (resource, settings) in self.policy.settings().resources() {
            for file in &settings.lock_files {
                let path = file.path.display().to_string();
                let mut remark = |text: String| {
                    remarks.push(LockRemark {
                        resource: resource.clone(),
                        path: path.clone(),
                        text,
                    });
                };
                let probe = match &snapshot {
                    Ok(snapshot) => snapshot.holders(file),
                    Err(error) => {
                        remark(format!("who holds locks can't be read: {error}"));
                        continue;
                    }
                };
                probe.remarks.into_iter().for_each(remark);
                held.extend(probe.holders.into_iter().map(|holder| LockView {
                    resource: resource.clone(),
                    path: path.clone(),
                    kind: holder.kind.name().to_owned(),
                    holder: Person::of(holder.pid),
                }));
            }
        }
        (held, remarks)
    }
}
