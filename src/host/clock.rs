//! The time, for what is allowed to depend on it: certificates' validity, progress, per-stage times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};

/// Seconds since 1970-01-01T00:00:00Z.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the time")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// The user's `SOURCE_DATE_EPOCH`, in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch/>).
///
/// # Errors
///
/// [`Kind::Input`] if the variable is set and is not a number.
pub(crate) fn source_date_epoch() -> Result<Option<u64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::new(Kind::Input, format!("`SOURCE_DATE_EPOCH` is `{text}`, which is not a number of seconds"))
            .hint("unset SOURCE_DATE_EPOCH, or set it to the seconds since 1970")
    })
}
