//! The policy's timers over a daemon-reload: systemd starts none that is new, and fails one that it masks.

use std::collections::BTreeSet;

use interlock_generator::plan::{Directory, Plan};

use super::Engine;
use super::policy::Policy;
use crate::pid1::{Pid1, UnitState};

impl Policy {
    /// The timers that the generator makes, and those that it masks.
    pub(super) fn timers(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let plan = Plan::new(self.settings());
        let mut made = BTreeSet::new();
        let mut masked = BTreeSet::new();
        for entry in plan.entries() {
            if entry.path.contains('/') || !entry.path.ends_with(".timer") {
                continue;
            }
            match entry.directory {
                Directory::Early => masked.insert(entry.path.clone()),
                Directory::Normal | Directory::Late => made.insert(entry.path.clone()),
            };
        }
        (made, masked)
    }
}

impl Engine {
    /// Generated timers are started at boot by timers.target; a reload alone starts nothing.
    pub(super) async fn start_timers(&self, timers: BTreeSet<String>) {
        for (pid1, timer) in self
            .timers_that(timers, |s| s.load == "loaded" && s.is_down())
            .await
        {
            if let Err(error) = pid1.start(&timer, "fail").await {
                tracing::warn!(timer, %error, "cannot start a timer of the policy");
            }
        }
    }

    /// What is masked or gone would otherwise elapse once more; one that ran while it was masked has failed
    /// by that (`Result=resources`), which is nobody's failure.
    pub(super) async fn stop_timers(&self, timers: BTreeSet<String>) {
        let is_stale = |s: &UnitState| s.load != "loaded" && s.active != "inactive";
        for (pid1, timer) in self.timers_that(timers, is_stale).await {
            if let Err(error) = pid1.stop(&timer, "fail").await {
                tracing::debug!(timer, %error, "cannot stop a timer that the policy masks or no longer has");
            }
            if let Err(error) = pid1.reset_failed(&timer).await {
                tracing::debug!(timer, %error, "cannot reset a timer");
            }
        }
    }

    /// A timer that a window had masked goes on when it is freed, if its owner has enabled it.
    pub(super) async fn unmask_timers(&self, timers: impl Iterator<Item = &String>) {
        let mut enabled = BTreeSet::new();
        for timer in timers {
            let Some(pid1) = &self.pid1 else {
                return;
            };
            if pid1.is_enabled(timer).await.unwrap_or(false) {
                enabled.insert(timer.clone());
            }
        }
        self.start_timers(enabled).await;
    }

    async fn timers_that(
        &self,
        timers: BTreeSet<String>,
        test: impl Fn(&UnitState) -> bool,
    ) -> Vec<(Pid1, String)> {
        let Some(pid1) = self.pid1.clone() else {
            return Vec::new();
        };
        if timers.is_empty() {
            return Vec::new();
        }
        let states = pid1
            .states(timers.into_iter().collect())
            .await
            .unwrap_or_default();
        let chosen = states.into_values().filter(test);
        chosen.map(|state| (pid1.clone(), state.name)).collect()
    }
}
