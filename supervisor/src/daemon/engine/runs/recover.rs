//! What became of the runs that an earlier interlockd had begun: PID 1 knows those that go on, the journal those
//! that have ended. What nobody knows is run again.

use std::time::Duration;

use futures_util::future::join_all;
use interlock_core::ending::End;
use tokio::time::{Instant, timeout_at};

use super::super::Engine;
use super::conclude::unknown_end;
use super::{Conclusion, OpenRun};
use crate::clock;
use crate::logs::{self, Since};
use crate::store::{Entry, Outcome};

/// How long start-up waits for the journal. Gates wait as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run that nobody saw the end of.
struct Lost {
    task: String,
    unit: String,
    run: Option<i64>,
    entry: Option<Entry>,
    attempt: u32,
    boot: String,
    granted: Since,
    /// How it ended, if that was written down.
    end: Option<End>,
}

impl Engine {
    /// Once, as soon as PID 1 has said who holds, and before anything is granted: a run that has ended is not to
    /// be taken for one that a gate asks for now.
    pub(in super::super) async fn recover_runs(&mut self) {
        if std::mem::replace(&mut self.runs.recovered, true) {
            return;
        }
        self.write_what_is_unwritten();
        self.recover_ungated().await;
        self.find_ungated_runs().await;
        let lost = self.lost_runs();
        let deadline = Instant::now() + PATIENCE;
        // Each for itself: what is found in time counts, however long others take.
        let asked = lost.iter().map(|it| async move {
            match &it.end {
                Some(end) => Some(end.clone()),
                None => {
                    let end = logs::end_of(&it.unit, it.granted);
                    timeout_at(deadline, end).await.ok().flatten()
                }
            }
        });
        let mut ends = join_all(asked).await.into_iter();
        for it in lost {
            self.pulse.beat();
            let found = ends.next().flatten();
            let end = end_of_lost(found, it.boot == self.boot);
            tracing::info!(
                unit = it.unit,
                object_systemd_unit = it.unit,
                result = end.result,
                "a run of {} ended while interlockd was away ({})",
                it.unit,
                end.result
            );
            if let (Some(run), "interrupted") = (it.run, end.result.as_str()) {
                self.history.interrupted(run, "reboot");
            }
            self.conclude(Conclusion {
                not_after: it.entry.as_ref().map_or(0, |entry| entry.not_after),
                unit: it.unit,
                task: it.task,
                run: it.run,
                entry: it.entry,
                attempt: it.attempt,
                end,
                restarts_itself: false,
            });
        }
    }

    /// Starts from the queue of units without a gate: PID 1 had been told, or not.
    async fn recover_ungated(&mut self) {
        for entry in self.running_entries() {
            if self.policy.is_gated(&entry.unit) {
                continue;
            }
            let Some(pid1) = &self.pid1 else {
                return;
            };
            let state = pid1.states(vec![entry.unit.clone()]).await;
            let state = state.ok().and_then(|states| states.into_values().next());
            if state.is_some_and(|state| !state.is_down() || state.job.is_some()) {
                self.entry_is_over(entry.id, Outcome::Done);
            } else {
                self.entry_runs_again(Entry {
                    not_before: 0,
                    ..entry
                });
            }
        }
    }

    /// By the history, and by the queue: a power loss may have taken the history's last lines.
    fn lost_runs(&mut self) -> Vec<Lost> {
        let mut entries = self.running_entries();
        entries.retain(|entry| {
            let record = self.records.get(&entry.unit);
            record.is_none_or(|record| record.run.entry.as_ref() != Some(entry))
        });
        let open = std::mem::take(&mut self.runs.open);
        let runs = open.into_iter().map(|run: OpenRun| {
            let entry = entries.iter().position(|entry| entry.unit == run.unit);
            Lost {
                entry: entry.map(|at| entries.swap_remove(at)),
                task: run.task,
                unit: run.unit,
                run: Some(run.id),
                attempt: run.attempt,
                granted: Since {
                    realtime: run.granted,
                    // It means nothing in another boot.
                    monotonic: if run.boot == self.boot {
                        run.granted_monotonic
                    } else {
                        0
                    },
                },
                boot: run.boot,
                end: run.end,
            }
        });
        let mut lost: Vec<Lost> = runs.collect();
        let gated = entries
            .into_iter()
            .filter(|it| self.policy.is_gated(&it.unit));
        lost.extend(gated.map(|entry| Lost {
            task: entry.task.clone(),
            unit: entry.unit.clone(),
            run: None,
            attempt: entry.attempt,
            boot: entry.boot.clone(),
            granted: Since {
                realtime: entry.granted,
                monotonic: match entry.boot == self.boot {
                    true => entry.granted_monotonic,
                    false => 0,
                },
            },
            end: None,
            entry: Some(entry),
        }));
        lost
    }
}

fn end_of_lost(found: Option<End>, is_of_this_boot: bool) -> End {
    match found {
        Some(end) if !is_of_this_boot && was_shut_down(&end) => End {
            result: "interrupted".to_owned(),
            ..end
        },
        Some(end) => end,
        None if is_of_this_boot => unknown_end(clock::realtime()),
        None => End {
            result: "interrupted".to_owned(),
            ..unknown_end(clock::realtime())
        },
    }
}

/// Whether a run of an earlier boot ended as shutdown ends what runs.
fn was_shut_down(end: &End) -> bool {
    matches!(end.signal, Some(9 | 15)) || end.result == "timeout"
}
