//! How a run ended, from what PID 1 told the journal of it: for the runs that nobody watched.

use interlock_core::ending::End;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::entry::{Entries, Entry, LIMIT, synchronise};

/// systemd's catalog has these (sd-messages.h).
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
const SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";
const SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
const FAILURE: &str = "d9b373ed55a64feb8242e02dbe79a49c";

/// When a run's lease was granted, by the clocks that are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since {
    /// Microseconds of `CLOCK_REALTIME`.
    pub realtime: u64,
    /// Microseconds of `CLOCK_MONOTONIC` of this boot; 0 if unknown. It counts more: the other one may have been set
    /// since, and a run that isn't found would be run again.
    pub monotonic: u64,
}

/// The end of the unit's first run that began then or later; `None` if none ended, the unit's LogLevelMax= keeps PID 1
/// from telling, or the journal can't be asked in time.
pub async fn end_of(unit: &str, since: Since) -> Option<End> {
    synchronise().await;
    let read = async {
        match (since.monotonic, this_boot().await) {
            (1.., Some(boot)) => read_back(unit, since.monotonic, boot).await,
            _ => read_forward(unit, since.realtime).await,
        }
    };
    timeout(LIMIT, read).await.ok()?
}

/// How the journal calls this boot, by PID 1's last entry. In a container it is another name than the one that
/// random(4) tells interlockd, whose /proc/sys is mounted anew for ProtectKernelTunables=.
async fn this_boot() -> Option<&'static str> {
    static BOOT: OnceCell<String> = OnceCell::const_new();
    let last = || async {
        let arguments = ["--lines=1", "--output-fields=MESSAGE", "_PID=1"].map(str::to_owned);
        Entries::read(&arguments)?.next().await?.text("_BOOT_ID")
    };
    let boot = BOOT.get_or_try_init(|| async { last().await.ok_or(()) });
    boot.await.ok().map(String::as_str)
}

fn arguments(unit: &str, first: &[&str]) -> Vec<String> {
    let fields = "--output-fields=MESSAGE,MESSAGE_ID,INVOCATION_ID,UNIT_RESULT,EXIT_CODE,EXIT_STATUS,\
                  _SOURCE_REALTIME_TIMESTAMP";
    let unit = format!("UNIT={unit}");
    let all = first.iter().copied().chain([fields, "_PID=1", &unit]);
    all.map(str::to_owned).collect()
}

/// From the newest entry of this boot back to that time; journalctl knows no beginning by this clock.
async fn read_back(unit: &str, monotonic: u64, boot: &str) -> Option<End> {
    let boot = format!("_BOOT_ID={boot}");
    let mut entries = Entries::read(&arguments(unit, &["--reverse", &boot]))?;
    let mut told = Vec::new();
    while let Some(entry) = entries.next().await {
        // Received a little later than sent, so that nothing of the run is missed.
        if entry.received().is_none_or(|at| at < monotonic) {
            break;
        }
        told.push(Told::from(&entry));
    }
    first_end(told.iter().rev())
}

fn first_end<'a>(told: impl Iterator<Item = &'a Told>) -> Option<End> {
    let mut run = Run::default();
    told.into_iter().find_map(|told| run.hear(told))
}

async fn read_forward(unit: &str, since: u64) -> Option<End> {
    // The journal's own time is a little later than the sender's.
    let from = format!("--since=@{}", since / 1_000_000);
    let mut entries = Entries::read(&arguments(unit, &[&from]))?;
    let mut run = Run::new(since);
    while let Some(entry) = entries.next().await {
        if let Some(end) = run.hear(&Told::from(&entry)) {
            return Some(end);
        }
    }
    None
}

/// The same of what journalctl has printed.
pub fn end_in(printed: &str, since: u64) -> Option<End> {
    let mut run = Run::new(since);
    let mut entries = printed.lines().filter_map(Entry::parse);
    entries.find_map(|entry| run.hear(&Told::from(&entry)))
}

/// What one entry of PID 1 says.
#[derive(Debug, Clone, Default)]
struct Told {
    at: u64,
    id: String,
    invocation: String,
    message: String,
    result: String,
    code: String,
    status: String,
}

impl From<&Entry> for Told {
    fn from(entry: &Entry) -> Self {
        let text = |field| entry.text(field).unwrap_or_default();
        Self {
            at: entry.at(),
            id: text("MESSAGE_ID"),
            invocation: text("INVOCATION_ID"),
            message: text("MESSAGE"),
            result: text("UNIT_RESULT"),
            code: text("EXIT_CODE"),
            status: text("EXIT_STATUS"),
        }
    }
}

/// The first run since then, as far as it has been heard.
#[derive(Debug, Default)]
struct Run {
    since: u64,
    end: End,
    is_stopped: bool,
}

impl Run {
    fn new(since: u64) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Its end, when that is told.
    fn hear(&mut self, told: &Told) -> Option<End> {
        if told.at < self.since || told.invocation.is_empty() {
            return None;
        }
        if self.end.invocation.is_empty() {
            // What is told first of another run is about one that began before.
            if told.id != STARTING && told.id != STARTED {
                return None;
            }
            self.end.invocation.clone_from(&told.invocation);
            self.end.started = told.at;
        } else if told.invocation != self.end.invocation {
            return None;
        }
        match told.id.as_str() {
            STOPPING => self.is_stopped = true,
            PROCESS_EXIT => self.exited(told),
            // A oneshot that remains active uses nothing from here on.
            STARTED if told.message.starts_with("Finished ") => return self.ends(told, "success"),
            SUCCESS if self.is_stopped => return self.ends(told, "stopped"),
            SUCCESS => return self.ends(told, "success"),
            SKIPPED => return self.ends(told, "exec-condition"),
            FAILURE => return self.ends(told, &told.result),
            _ => {}
        }
        None
    }

    /// Of the main process; of another of its commands if that never ran.
    fn exited(&mut self, told: &Told) {
        let is_first = self.end.exit_status.is_none() && self.end.signal.is_none();
        if !is_first && !told.message.starts_with("Main process") {
            return;
        }
        let number = told.status.parse().ok();
        match told.code.as_str() {
            "exited" => (self.end.exit_status, self.end.signal) = (number, None),
            "killed" | "dumped" => {
                (self.end.exit_status, self.end.signal) = (None, signal(&told.status));
            }
            _ => {}
        }
    }

    fn ends(&mut self, told: &Told, result: &str) -> Option<End> {
        self.end.ended = told.at;
        self.end.result = result.to_owned();
        if result == "success" && self.end.exit_status.is_none() && self.end.signal.is_none() {
            // PID 1 tells only of exits that aren't usual.
            self.end.exit_status = Some(0);
        }
        Some(self.end.clone())
    }
}

/// A number, or a name without `SIG`.
fn signal(status: &str) -> Option<i32> {
    status.parse().ok().or_else(|| {
        let name = format!("SIG{}", status.trim_start_matches("SIG"));
        let signal: nix::sys::signal::Signal = name.parse().ok()?;
        Some(signal as i32)
    })
}
