//! JSON report, for programs.

use crate::error::{Doing, Kind, Result};
use crate::lab::rehearse::report::Report;

pub(super) fn text(report: &Report) -> Result<String> {
    serde_json::to_string_pretty(report)
        .map(|text| text + "\n")
        .doing(Kind::Internal, || "writing the report".into())
}
