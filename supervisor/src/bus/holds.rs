//! Holds, between D-Bus and the engine.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use super::Row;
use super::caller::Options;
use super::error::Error;
use crate::daemon::engine::{HoldEnd, HoldError, HoldRequest, HoldView};

/// What `HoldTask` was called with.
pub(super) fn request(
    task: String,
    reason: String,
    by: String,
    options: HashMap<String, OwnedVariant>,
) -> Result<HoldRequest, Error> {
    let mut options = Options::new(options, &["for", "until", "skip-next"])?;
    let end = match (options.span("for")?, options.microseconds("until")?) {
        (None, None) => HoldEnd::Never,
        (Some(span), None) => HoldEnd::After(span),
        (None, Some(at)) => HoldEnd::At(at),
        (Some(_), Some(_)) => {
            return Err(Error::InvalidArgs(
                "for and until say the same thing: give one of them".to_owned(),
            ));
        }
    };
    Ok(HoldRequest {
        task,
        reason,
        by,
        end,
        skips: options.number("skip-next")?,
    })
}

pub(super) fn error(error: HoldError) -> Error {
    match error {
        HoldError::Request(error) => error.into(),
        HoldError::NotHeld(_) => Error::NotHeld(error.to_string()),
        HoldError::Store(_) => Error::Failed(error.to_string()),
        HoldError::NotGated(_)
        | HoldError::Blocked(_)
        | HoldError::NoReason
        | HoldError::ReasonTooLong
        | HoldError::Past(_)
        | HoldError::BadSkips(_)
        | HoldError::Triggered { .. } => Error::InvalidArgs(error.to_string()),
    }
}

/// For `ListHolds`.
pub(super) fn row(it: HoldView) -> Row {
    let hold = it.hold;
    Row::from([
        ("task", Variant::from(hold.task)),
        ("unit", Variant::from(hold.unit)),
        ("reason", Variant::from(hold.reason)),
        ("by", Variant::from(hold.by)),
        ("since", Variant::from(hold.since)),
        ("until", Variant::from(hold.until)),
        ("skip-next", Variant::from(hold.skips)),
        ("waiting", Variant::from(it.waiting)),
        ("known", Variant::from(it.is_known)),
    ])
}
