//! Who is inside a transaction: a program amid something that mustn't be cut off, such as the installation of packages.

use std::collections::BTreeMap;

use super::Engine;
use crate::locks::Snapshot;
use crate::pid1::Pid1;
use crate::{cgroup, inhibitors};

impl Engine {
    /// Units, given with their control groups, whose processes hold a lock of a resource or an inhibitor, with the
    /// reason not to touch them.
    pub(super) async fn in_transactions(
        &self,
        pid1: &Pid1,
        units: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut busy = BTreeMap::new();
        if units.is_empty() {
            return busy;
        }
        let mut note = |pid: i32, why: String| {
            let Ok(Some(group)) = cgroup::of_process(pid) else {
                return;
            };
            let mut within = units
                .iter()
                .filter(|(_, own)| cgroup::is_within(&group, own));
            if let Some((unit, _)) = within.next() {
                busy.entry(unit.clone()).or_insert(why);
            }
        };
        let resources = self.policy.settings().resources().iter();
        let locks: Vec<_> = resources
            .flat_map(|(name, resource)| resource.lock_files.iter().map(move |l| (name, l)))
            .collect();
        if !locks.is_empty() {
            match Snapshot::take() {
                Ok(snapshot) => {
                    for (resource, lock) in locks {
                        for holder in snapshot.holders(lock).holders {
                            let why = format!(
                                "{} (pid {}) holds {} of {resource}",
                                holder.comm,
                                holder.pid,
                                lock.path.display()
                            );
                            note(holder.pid, why);
                        }
                    }
                }
                // Nobody is known not to be in a transaction.
                Err(error) => {
                    let why = format!("who holds locks can't be read ({error})");
                    let all = units.keys().map(|unit| (unit.clone(), why.clone()));
                    return all.collect();
                }
            }
        }
        match inhibitors::blocking(pid1.connection()).await {
            Ok(list) => {
                for it in list {
                    let pid = i32::try_from(it.pid).unwrap_or(0);
                    note(
                        pid,
                        format!("{} (pid {pid}) inhibits {}: {}", it.who, it.what, it.why),
                    );
                }
            }
            Err(error) => tracing::debug!(%error, "cannot ask logind for inhibitors"),
        }
        busy
    }
}
