//! Brings what was written from the log of changes into the file (https://www.sqlite.org/wal.html#ckpt), on a thread
//! of its own: that waits for the disk, and the engine must not.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

use super::schema;

/// After so many changes; each has about ten pages of 4 KiB.
const CHANGES: u32 = 50;

/// Whoever writes waits for nobody here; this is for a file that is just being opened.
const BUSY: Duration = Duration::from_secs(1);

/// Counts changes, and has them brought over now and then. The thread ends with it.
#[derive(Debug)]
pub(super) struct Checkpoints {
    changes: u32,
    thread: Option<SyncSender<()>>,
}

impl Checkpoints {
    /// For this file; in memory there is nothing to do.
    pub(super) fn of(path: &Path) -> Self {
        let none = Self {
            changes: 0,
            thread: None,
        };
        if path == Path::new(":memory:") {
            return none;
        }
        let (sender, receiver) = sync_channel(1);
        let path = path.to_owned();
        let started = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || keep(&path, &receiver));
        match started {
            Ok(_) => Self {
                changes: 0,
                thread: Some(sender),
            },
            Err(error) => {
                tracing::warn!(%error, "the state database's log is not emptied by a thread of its own");
                none
            }
        }
    }

    /// Whether the thread does it, so that the writer needn't.
    pub(super) fn are_made(&self) -> bool {
        self.thread.is_some()
    }

    /// One more change was written.
    pub(super) fn changed(&mut self) {
        self.changes += 1;
        if self.changes >= CHANGES
            && let Some(thread) = &self.thread
        {
            self.changes = 0;
            // Full: it is told already.
            let _ = thread.try_send(());
        }
    }
}

fn keep(path: &Path, due: &Receiver<()>) {
    let mut database: Option<Connection> = None;
    while due.recv().is_ok() {
        let open = database
            .take()
            .map_or_else(|| schema::connect_writer(path), Ok);
        let done = open.and_then(|database| {
            database.busy_timeout(BUSY)?;
            // PASSIVE waits neither for readers nor for writers; what it can't bring over now is for next time.
            database.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            Ok(database)
        });
        match done {
            Ok(open) => database = Some(open),
            Err(error) => tracing::debug!(%error, "the state database's log is not emptied"),
        }
    }
}
