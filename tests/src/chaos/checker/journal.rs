//! PID 1's journal: what it started, how jobs ended, what failed.

use serde_json::Value;

/// "Unit is starting", `SD_MESSAGE_UNIT_STARTING`.
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
/// "The unit's process exited", `SD_MESSAGE_UNIT_PROCESS_EXIT`.
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
/// "The unit has entered the failed state", `SD_MESSAGE_UNIT_FAILURE_RESULT`.
const FAILURE_RESULT: &str = "d9b373ed55a64feb8242e02dbe79a49c";

/// An entry of PID 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Seconds since the epoch.
    pub at: f64,
    /// The kind of message.
    pub id: String,
    /// The unit.
    pub unit: String,
    /// The unit's invocation.
    pub invocation: String,
    /// Number of the job, if it is about one.
    pub job: u64,
    /// What the job was for.
    pub job_type: String,
    /// How it ended.
    pub job_result: String,
    /// How the unit failed.
    pub unit_result: String,
    /// How the process ended: `exited`, `killed`, `dumped`.
    pub exit_code: String,
    /// With which status or signal.
    pub exit_status: String,
    /// The text.
    pub message: String,
}

/// PID 1's entries in order.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: Vec<Entry>,
}

impl Journal {
    /// Reads what `journalctl -o json _PID=1` printed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|value| {
                let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                Entry {
                    at: field("__REALTIME_TIMESTAMP").parse().unwrap_or(0.0) / 1e6,
                    id: field("MESSAGE_ID"),
                    unit: field("UNIT"),
                    invocation: field("INVOCATION_ID"),
                    job: field("JOB_ID").parse().unwrap_or(0),
                    job_type: field("JOB_TYPE"),
                    job_result: field("JOB_RESULT"),
                    unit_result: field("UNIT_RESULT"),
                    exit_code: field("EXIT_CODE"),
                    exit_status: field("EXIT_STATUS"),
                    message: field("MESSAGE"),
                }
            })
            .collect();
        Self { entries }
    }

    /// All of them.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Ends of jobs.
    pub fn job_ends(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| !entry.job_result.is_empty())
    }

    /// Units that entered the failed state.
    pub fn failures(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.id == FAILURE_RESULT)
    }

    /// Ends of main processes that PID 1 tells of.
    pub fn exits(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.id == PROCESS_EXIT)
    }
}

impl Entry {
    /// Whether a start begins here.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.id == STARTING
    }
}
