//! A conflict on a segment, and its fix.

use serde::{Deserialize, Serialize};

/// Subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum About {
    /// Another machine has the VIP.
    Vip,
    /// Another machine uses the virtual router identifier.
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
