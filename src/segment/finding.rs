//! One thing that is wrong with a segment, and what to change.

use serde::{Deserialize, Serialize};

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum About {
    /// Somebody else has the VIP.
    Vip,
    /// Somebody else has the virtual router identifier.
    Router,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Finding {
    pub(crate) about: About,
    pub(crate) message: String,
    pub(crate) fix: String,
}
