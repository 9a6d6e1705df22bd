//! What monitoring is told: the same facts as metrics, and as a verdict against thresholds.
//!
//! Pure: no bus, no database, no clock. Whoever asks brings the [`Facts`] (org.interlock.Interlock1.Monitor does),
//! so that a metric and a check can't disagree, and all of it is tested without a daemon.

mod check;
mod exposition;
mod facts;
#[cfg(test)]
mod hold_tests;
mod measure;
mod metrics;
mod threshold;
mod verdict;

#[cfg(test)]
mod tests;

pub use check::{Request, check};
pub use exposition::Format;
pub use facts::{
    BUCKETS, Deployment, Facts, Hold, Live, LiveTask, Past, PastTask, QueueDepth, ResourceUse,
    Sample, Standing, State,
};
pub use metrics::{down, metrics};
pub use threshold::{MalformedThreshold, Threshold};
pub use verdict::{Problem, Status, Verdict};
